"""Our own API: scans as jobs, models, and what an operator watches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ConfigDict, Field, ValidationError

from spoofcheck.document import parse_document
from spoofcheck.render import Format, render
from spoofcheck.schema import ModelInfo, ScanDocument
from spoofcheck.serve.access import Caller, access_of, caller
from spoofcheck.serve.answers import errors
from spoofcheck.serve.engine import remove_job_files
from spoofcheck.serve.errors import ApiError
from spoofcheck.serve.examples import MODEL_LIST, SCAN_DOCUMENT
from spoofcheck.serve.jobs import new_id
from spoofcheck.serve.models import OVER, Job, JobOptions, JobState, Upload, Value
from spoofcheck.serve.security import REPORT_POLICY
from spoofcheck.serve.service import Service, forget, service
from spoofcheck.serve.status import EXAMPLE_ID, JobList, JobStatus, job_status, scan_path
from spoofcheck.serve.uploads import (
    UploadLimits,
    budget_of,
    discard,
    keep_base64,
    limits_of,
    media_type,
    receive_form,
    receive_json,
)
from spoofcheck.serve.webhooks import check_secret, parse_receivers, parse_target

router = APIRouter()

_EVENTS_EVERY_S = 0.3
_MOST_FIELD_CHARS = 100

TheCaller = Annotated[Caller, Depends(caller)]
TheService = Annotated[Service, Depends(service)]
ScanId = Annotated[
    str,
    InPath(pattern="^[A-Za-z0-9_-]{22}$", description="of the scan", openapi_examples={"one": {"value": EXAMPLE_ID}}),
]


async def own_job(scan_id: ScanId, who: TheCaller, made: TheService) -> Job:
    """The job of that id, if it is the caller's.

    Raises:
        ApiError: 404, there is none, or it is another's.
    """
    job = await asyncio.to_thread(made.store.get, scan_id, who.name)
    if job is None:
        raise ApiError(404, "There is no such scan.")
    return job


OwnJob = Annotated[Job, Depends(own_job)]


class ScanOptions(JobOptions):
    """What a request for a scan may say beside its files."""

    webhook: str | None = Field(
        default=None, description="https URL that is told when the scan is over; only hosts that the operator listed"
    )
    webhook_secret: str | None = Field(
        default=None, description="16 to 256 printable ASCII characters that the message is signed with", repr=False
    )

    def job_options(self) -> JobOptions:
        """Without what is not about the examination."""
        return JobOptions.model_validate(self.model_dump(include=set(JobOptions.model_fields)))


class Base64File(Value):
    """One file inside JSON."""

    name: str = Field(default="", max_length=1_000, description="for display")
    base64: str = Field(description="content, RFC 4648 with padding")


class JsonScan(ScanOptions):
    """A request for a scan as JSON."""

    files: tuple[Base64File, ...] = Field(min_length=1, description="recordings")


class ServedModel(Value):
    """A model that requests may choose."""

    name: str = Field(description="by which it is chosen")
    version: str = Field(description="of the model")
    default: bool = Field(description="whether it is used when none is named")
    info: ModelInfo = Field(description="as results state it")


class ModelList(Value):
    """The models of this server."""

    model_config = ConfigDict(json_schema_extra={"examples": [MODEL_LIST]})

    models: tuple[ServedModel, ...] = Field(description="the default one first")


class Health(Value):
    """Whether the server answers."""

    status: Literal["ok"] = Field(default="ok", description="always ok", examples=["ok"])


def _json_schema() -> dict[str, Any]:
    """Of `JsonScan`, in one piece: nothing in the description refers to it."""
    schema = JsonScan.model_json_schema()
    schema.pop("$defs")
    schema["properties"]["files"]["items"] = Base64File.model_json_schema()
    return schema


_SCAN_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["files"],
                "properties": {
                    "files": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                        "description": "recordings, in whatever format `spoofcheck scan` reads",
                    },
                    "model": {"type": "string", "description": "one of GET /v1/models"},
                    "channels": {"type": "string", "enum": ["auto", "mix", "each"], "default": "auto"},
                    "acoustics": {"type": "boolean", "default": True},
                    "pictures": {"type": "boolean", "default": True},
                    "excerpts": {"type": "boolean", "default": False},
                    "webhook": {"type": "string"},
                    "webhook_secret": {"type": "string"},
                },
                "additionalProperties": False,
            },
        },
        "application/json": {
            "schema": _json_schema(),
            "example": {"files": [{"name": "voicemail.mp3", "base64": "SUQzBAAAAAAA"}], "channels": "auto"},
        },
    },
}


_EVENT_EXAMPLE = 'event: status\ndata: {"id": "mR8oYw1tQ2m0U100lD4s8g", "state": "running", "progress": 0.42}\n\n'

Form = TypeVar("Form", bound=ScanOptions)


@router.post(
    "/v1/scans",
    status_code=202,
    response_model=JobStatus,
    responses=errors(400, 403, 408, 413, 415, 503),
    openapi_extra={"requestBody": _SCAN_BODY},
    tags=["scans"],
)
async def create_scan(request: Request, response: Response, who: TheCaller, made: TheService) -> JobStatus:
    """Send recordings to be examined; the answer says where to follow the scan."""
    made.engine.check_room(1)
    limits = limits_of(request)
    async with contextlib.AsyncExitStack() as body:
        if media_type(request) == "multipart/form-data":
            form = await body.enter_async_context(receive_form(request, made.settings.incoming_dir, limits))
            uploads = form.uploads()
            options = _validated(ScanOptions, form.fields)
        else:
            budget = budget_of(request)
            document = await body.enter_async_context(receive_json(request, limits, budget))
            wanted = _validated(JsonScan, document)
            options = wanted
            uploads = await _decoded(body, wanted, made, limits)
        if not uploads:
            raise ApiError(400, "Send at least one recording in the field 'files'.")
        _check_options(options, made)
        made.engine.check_room(len(uploads))
        await access_of(request).charge(who, uploads)
        job = await _kept(made, who, options, uploads)
    try:
        await made.engine.submit(job)
    except ApiError:
        await forget(made, job.id)
        raise
    response.headers["Location"] = scan_path(job.id)
    return job_status(job)


@router.get("/v1/scans", responses=errors(), tags=["scans"])
async def list_scans(who: TheCaller, made: TheService) -> JobList:
    """The caller's own scans, newest first."""
    jobs = await asyncio.to_thread(made.store.of_owner, who.name)
    return JobList(scans=tuple(job_status(job, made.engine.progress(job.id)) for job in jobs))


@router.get(
    "/v1/scans/{scan_id}",
    response_model=ScanDocument,
    responses={
        **errors(404),
        202: {"model": JobStatus, "description": "It waits or runs: its progress."},
        200: {
            "description": "It is done: the document that `spoofcheck scan --json` writes.",
            "content": {"application/json": {"example": SCAN_DOCUMENT}},
        },
    },
    tags=["scans"],
)
async def get_scan(job: OwnJob, made: TheService) -> Response:
    """The result once the scan is done, byte for byte as it was written; its progress (202) before.

    A scan that failed answers 500 with the reason.
    """
    if job.state is JobState.DONE:
        return FileResponse(_result(job), media_type="application/json")
    if job.state in OVER:
        raise ApiError(500, job.error or "The scan was cancelled.")
    status = job_status(job, made.engine.progress(job.id))
    return Response(status.model_dump_json(), 202, media_type="application/json")


@router.get("/v1/scans/{scan_id}/status", responses=errors(404), tags=["scans"])
async def get_status(job: OwnJob, made: TheService) -> JobStatus:
    """Where the scan is, whatever its state."""
    return job_status(job, made.engine.progress(job.id))


@router.get(
    "/v1/scans/{scan_id}/report.html",
    response_class=HTMLResponse,
    responses={
        **errors(404, 409, is_json=False),
        200: {"content": {"text/html": {"example": "<!doctype html><title>Evidence report</title>"}}},
    },
    tags=["scans"],
)
async def get_report(job: OwnJob) -> Response:
    """The evidence report, one self-contained page."""
    if job.state is not JobState.DONE:
        raise ApiError(409, f"The scan is {job.state}: there is no report.")
    page = await asyncio.to_thread(_report, _result(job))
    return HTMLResponse(page, headers={"Content-Security-Policy": REPORT_POLICY})


@router.get(
    "/v1/scans/{scan_id}/events",
    response_class=EventSourceResponse,
    responses={**errors(404, is_json=False), 200: {"content": {"text/event-stream": {"example": _EVENT_EXAMPLE}}}},
    tags=["scans"],
)
async def follow_scan(job: OwnJob, made: TheService) -> AsyncIterator[ServerSentEvent]:
    """Progress as server-sent events named `status`; the data is that of `/status`. Ends when the scan is over."""
    last: JobStatus | None = None
    now: Job | None = job
    while now is not None:
        status = job_status(now, made.engine.progress(now.id))
        if status != last:
            yield ServerSentEvent(event="status", data=status)
            last = status
        if now.state in OVER or made.engine.is_stopping:
            return
        await asyncio.sleep(_EVENTS_EVERY_S)
        now = await asyncio.to_thread(made.store.get, job.id)
    taken_back = job.model_copy(update={"state": JobState.CANCELLED})
    yield ServerSentEvent(event="status", data=job_status(taken_back))


@router.delete("/v1/scans/{scan_id}", status_code=204, responses=errors(404), tags=["scans"])
async def delete_scan(job: OwnJob, made: TheService) -> Response:
    """Stop the scan if it is not over, remove its recordings and its result, and forget it."""
    await forget(made, job.id)
    return Response(status_code=204)


@router.get("/v1/models", responses=errors(), tags=["models"])
async def list_models(_who: TheCaller, made: TheService) -> ModelList:
    """The models that a scan may choose."""
    return ModelList(
        models=tuple(
            ServedModel(
                name=model.name, version=model.document.model.version, default=number == 0, info=model.document.model
            )
            for number, model in enumerate(made.engine.models)
        )
    )


@router.get("/healthz", responses=errors(open_to_all=True), tags=["operation"])
async def healthz() -> Health:
    """Whether the process answers."""
    return Health()


@router.get("/readyz", responses=errors(503, open_to_all=True), tags=["operation"])
async def readyz(made: TheService) -> Health:
    """Whether recordings are examined now: a model is loaded, jobs can be kept, and the server does not stop."""
    is_kept = await asyncio.to_thread(made.store.is_writable)
    if not (made.engine.is_ready and is_kept):
        raise ApiError(503, "The server is not ready.", 5.0)
    return Health()


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={**errors(is_json=False), 200: {"content": {"text/plain": {"example": "spoofcheck_queue_files 0.0\n"}}}},
    tags=["operation"],
)
async def metrics(_who: TheCaller, made: TheService) -> Response:
    """Counters for Prometheus: requests, queue, windows, seconds of audio, failures."""
    return Response(made.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _validated(form: type[Form], fields: dict[str, Any]) -> Form:
    """What a request says, checked.

    Raises:
        ApiError: 422, with the field and what is wrong with it.
    """
    try:
        return form.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part)[:_MOST_FIELD_CHARS] for part in first["loc"])
        raise ApiError(422, f"{where}: {first['msg']}") from error


async def _decoded(
    body: contextlib.AsyncExitStack, wanted: JsonScan, made: Service, limits: UploadLimits
) -> tuple[Upload, ...]:
    """The files of a JSON body; those that are not moved elsewhere go at the end of `body`."""
    if len(wanted.files) > limits.files:
        raise ApiError(413, f"More than {limits.files} files in one request.")
    uploads: list[Upload] = []
    body.callback(lambda: discard(uploads))
    for file in wanted.files:
        left_bytes = limits.total_bytes - sum(upload.size_bytes for upload in uploads)
        within = replace(limits, total_bytes=left_bytes)
        uploads.append(await keep_base64(file.base64, file.name, made.settings.incoming_dir, within))
    return tuple(uploads)


def _check_options(options: ScanOptions, made: Service) -> None:
    """Whether this server can honour them.

    Raises:
        ApiError: 422 for a model that is not served; 400 and 403 for a receiver that cannot be told.
    """
    served = [model.name for model in made.engine.models]
    if options.model is not None and options.model not in served:
        raise ApiError(422, f"model: this server offers {', '.join(served)}")
    if options.webhook is not None:
        parse_target(options.webhook, parse_receivers(made.settings.webhook_hosts))
        check_secret(options.webhook_secret)


async def _kept(made: Service, who: Caller, options: ScanOptions, uploads: Sequence[Upload]) -> Job:
    """The new job, its files in a folder of its own."""
    job_id = new_id()
    try:
        files = await asyncio.to_thread(_moved, uploads, made.settings.jobs_dir / job_id)
        return await asyncio.to_thread(
            made.store.create,
            who.name,
            options.job_options(),
            files,
            job_id=job_id,
            webhook_url=options.webhook,
            webhook_secret=None if options.webhook is None else options.webhook_secret,
        )
    except BaseException:  # nobody knows of the folder
        await asyncio.to_thread(remove_job_files, made.settings, job_id)
        raise


def _moved(uploads: Sequence[Upload], folder: Path) -> list[Upload]:
    folder.mkdir(mode=0o700)
    moved = []
    for upload in uploads:
        path = upload.path.rename(folder / upload.path.name)
        moved.append(upload.model_copy(update={"path": path}))
    return moved


def _result(job: Job) -> Path:
    if job.result_path is None:
        raise RuntimeError(f"{job.id}: done without a result")
    return job.result_path


def _report(result: Path) -> str:
    return render(parse_document(result.read_bytes(), "result"), Format.HTML)
