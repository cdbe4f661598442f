"""What examines: jobs of the store, and the files of requests that wait for their result.

The files of all requests wait in one bounded queue (`serve.pool`). A job is claimed when its first file is begun, and
done when its document lies on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from spoofcheck.detect.custody import check_again, with_custody
from spoofcheck.detect.toolinfo import run_info
from spoofcheck.nets.config import CosineCalibration
from spoofcheck.render.json import render
from spoofcheck.schema import Finding, ScanDocument, UnknownGroup
from spoofcheck.serve.errors import ApiError
from spoofcheck.serve.jobs import JobStore
from spoofcheck.serve.messages import LoadedModel, Setup
from spoofcheck.serve.metrics import Metrics
from spoofcheck.serve.models import FileProgress, Job, JobOptions, Upload
from spoofcheck.serve.pool import ModelPool, PoolOptions
from spoofcheck.serve.settings import Settings

_LOG = logging.getLogger("spoofcheck.serve.engine")

RETRY_AFTER_S = 5.0

RESULT_FILE = "result.json"

Findings = tuple[Finding, ...]


class Engine:
    """Examines files in model processes, with a bounded queue.

    Args:
        settings: of the server.
        store: of the jobs that `submit` is given.
        metrics: that count what is done.
        pool: where files are examined; started by `start`, closed by `drain`.
        finished: told of each job that is over, with what the store says of it then.
    """

    def __init__(
        self,
        settings: Settings,
        store: JobStore,
        metrics: Metrics,
        pool: ModelPool,
        finished: Callable[[Job], None] = lambda job: None,  # noqa: ARG005
    ) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._finished = finished
        self._pool = pool
        self._models: dict[str | None, LoadedModel] = {}
        self._jobs: dict[str, _RunningJob] = {}
        self._requests = 0
        self._stop_at_s: float | None = None

    async def start(self) -> None:
        """Load the model.

        Raises:
            ModelError: it cannot be used, or a control misbehaves.
        """
        ready = await asyncio.to_thread(self._pool.start)
        self._models = {None: ready.models[0]} | {model.name: model for model in ready.models}
        pool = self._pool
        self._metrics.watch(queued=lambda: pool.waiting, running=lambda: pool.running, up=lambda: pool.up)

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        """What was loaded, the default one first; empty before `start`."""
        return tuple(model for name, model in self._models.items() if name is not None)

    @property
    def document(self) -> ScanDocument:
        """A document of the default model without findings: tool, model, options and controls."""
        return self._models[None].document

    @property
    def is_ready(self) -> bool:
        """Whether files are examined at once: a model process is up, and the server does not stop."""
        return self._pool.up > 0 and not self.is_stopping

    @property
    def is_stopping(self) -> bool:
        """Whether the server was told to stop."""
        return self._stop_at_s is not None

    def check_room(self, files: int) -> None:
        """Refuse what would not be taken, before it is read.

        Raises:
            ApiError: 429, too much is waiting; 503, the server is about to stop.
        """
        if self.is_stopping:
            raise ApiError(503, "The server is about to stop; try again later.", RETRY_AFTER_S)
        if self._pool.waiting + files > self._settings.queue_limit:
            raise ApiError(429, "Too many recordings are waiting; try again later.", RETRY_AFTER_S)

    async def submit(self, job: Job) -> None:
        """Take a queued job of the store; it is examined in the background.

        Raises:
            ApiError: see `check_room`.
        """
        self.check_room(len(job.files))
        self.resume(job)

    def resume(self, job: Job) -> None:
        """As `submit`, for a job that was taken before the server was started again."""
        running = _RunningJob(job)
        self._put(running.files)
        self._jobs[job.id] = running
        running.task = asyncio.create_task(self._run(running))

    async def examine(self, uploads: Sequence[Upload], options: JobOptions) -> ScanDocument:
        """Examine files and wait for the result; cancelling the call cancels the examination.

        Returns:
            The document that `spoofcheck scan --json` would write, with the files by their display names.

        Raises:
            ApiError: see `check_room`; and 503, it took longer than `request_deadline_s`.
        """
        self.check_room(len(uploads))
        self._requests += 1
        try:
            async with asyncio.timeout(self._settings.request_deadline_s):
                return await self._examined(self._put(_Files(uploads, options)))
        except TimeoutError:
            raise ApiError(503, "It could not be examined in time; send it as a job to /v1/scans.", 60.0) from None
        finally:
            self._requests -= 1

    def progress(self, job_id: str) -> tuple[FileProgress, ...]:
        """How far the files of a job have come, in their order; empty for one that is not with the engine."""
        running = self._jobs.get(job_id)
        return () if running is None else tuple(running.files.progress)

    async def cancel(self, job_id: str) -> None:
        """Stop examining a job, and wait until nothing of it goes on."""
        running = self._jobs.get(job_id)
        if running is None or running.task is None:
            return
        running.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running.task
        # A task that is cancelled before it ran leaves this to others.
        self._jobs.pop(job_id, None)
        self._take_back(running.files)

    def begin_stop(self) -> None:
        """Take nothing any more; the grace period begins."""
        if self._stop_at_s is None:
            self._stop_at_s = time.monotonic() + self._settings.shutdown_grace_s

    async def drain(self) -> None:
        """Let what runs finish within the grace period, give the rest back to the store, end the model processes."""
        self.begin_stop()
        assert self._stop_at_s is not None
        for running in list(self._jobs.values()):
            if not running.claimed:  # it waits in the store
                await self.cancel(running.job.id)
        tasks = [running.task for running in self._jobs.values() if running.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, self._stop_at_s - time.monotonic()))
        for job_id in list(self._jobs):
            await self.cancel(job_id)
            if await asyncio.to_thread(self._store.requeue, job_id):
                _LOG.info("job goes on after the next start", extra={"job": job_id})
        await asyncio.to_thread(self._pool.close)

    async def _run(self, running: _RunningJob) -> None:
        """Examine a job and keep its result; whatever happens, the store knows of it."""
        job = running.job
        try:
            examined = asyncio.create_task(self._examined(running.files))
            try:
                await running.files.first_begun.wait()
                running.claimed = await asyncio.to_thread(self._store.claim, job.id)
                if not running.claimed:
                    return
                document = await examined
            finally:
                examined.cancel()
            result = self._settings.jobs_dir / job.id / RESULT_FILE
            await asyncio.to_thread(_write, result, render(document))
            if await asyncio.to_thread(self._store.finish, job.id, result):
                self._metrics.jobs.labels("done").inc()
        except Exception as error:
            _LOG.exception("job failed", extra={"job": job.id})
            message = f"The server failed to examine it ({type(error).__name__}); its log says more."
            await asyncio.to_thread(self._store.fail, job.id, message)
            self._metrics.jobs.labels("failed").inc()
        finally:
            self._jobs.pop(job.id, None)
        await self._wind_up(job)

    async def _wind_up(self, job: Job) -> None:
        """A job is over: its uploads go, its receiver is told."""
        if not self._settings.keep_uploads:
            await asyncio.to_thread(remove_uploads, job)
        over = await asyncio.to_thread(self._store.get, job.id)
        if over is not None:
            self._finished(over)

    def _put(self, files: _Files) -> _Files:
        """Let the pool have the files, at once: what is refused for want of room must know of them."""
        loop = asyncio.get_running_loop()
        for number, upload in enumerate(files.uploads):
            client = _Client(loop, files, number)
            key = self._pool.put(upload.path, upload.size_bytes, files.options, client)
            files.waiting.append((key, client.result))
        return files

    def _take_back(self, files: _Files) -> None:
        """What is not done of them is not wanted any more."""
        for key, result in files.waiting:
            if not result.done() or result.cancelled():
                self._pool.cancel(key)

    async def _examined(self, files: _Files) -> ScanDocument:
        """The document of files that were put; those that are not done when this is cancelled are taken back."""
        started_at = datetime.now(UTC)
        try:
            results = await asyncio.gather(*(result for _, result in files.waiting))
        finally:
            self._take_back(files)
        self._metrics.count(results)
        return await asyncio.to_thread(self._document, files, results, started_at)

    def _document(self, files: _Files, results: Sequence[Findings], started_at: datetime) -> ScanDocument:
        """What `spoofcheck scan --json` would write."""
        model = self._models[files.options.model]
        findings: list[Finding] = []
        for upload, found in zip(files.uploads, results, strict=True):
            findings += _checked(upload, found)
        named, groups = _grouped(findings, model.link_calibration)
        document = model.document
        return document.model_copy(
            update={
                "run": run_info(started_at, complete=True),
                "options": document.options.model_copy(update={"channels": files.options.channels}),
                "unknown_groups": groups,
                "findings": named,
            }
        )


class _Files:
    """Files that are examined together for one document, and how far they have come; used in the event loop alone."""

    def __init__(self, uploads: Sequence[Upload], options: JobOptions) -> None:
        self.uploads = tuple(uploads)
        self.options = options
        self.progress = [FileProgress() for _ in uploads]
        self.waiting: list[tuple[int, asyncio.Future[Findings]]] = []
        self.first_begun = asyncio.Event()


class _RunningJob:
    """A job that the engine has."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.files = _Files(job.files, job.options)
        self.claimed = False
        self.task: asyncio.Task[None] | None = None


class _Client:
    """Brings what the pool says of one file into the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, files: _Files, number: int) -> None:
        self._loop = loop
        self._files = files
        self._number = number
        self.result: asyncio.Future[Findings] = loop.create_future()

    def begun(self) -> None:
        self._call(self._files.first_begun.set)

    def heard(self, share: float, duration_s: float | None) -> None:
        self._call(self._set_progress, FileProgress(share, duration_s))

    def done(self, findings: Findings) -> None:
        self._call(self._finish, findings)

    def gave_up(self, message: str) -> None:
        name = self._files.uploads[self._number].display_name
        self._call(self._finish, (Finding.skipped(name, "internal-error", message),))

    def _set_progress(self, progress: FileProgress) -> None:
        self._files.progress[self._number] = progress

    def _finish(self, findings: Findings) -> None:
        before = self._files.progress[self._number]
        self._files.progress[self._number] = replace(before, share=1.0, done=True)
        if not self.result.done():
            self.result.set_result(findings)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, *arguments)


def remove_uploads(job: Job) -> None:
    """Remove what came with a job; its result stays."""
    for upload in job.files:
        upload.path.unlink(missing_ok=True)


def remove_job_files(settings: Settings, job_id: str) -> None:
    """Remove the folder of a job."""
    shutil.rmtree(settings.jobs_dir / job_id, ignore_errors=True)


def model_pool(settings: Settings, metrics: Metrics) -> ModelPool:
    """The model processes that the settings ask for, not yet started."""
    setup = Setup(
        models=tuple(
            str(model.absolute()) if isinstance(model, Path) else model
            for model in (settings.model, *settings.more_models)
        ),
        device=settings.device,
        threshold_llr=settings.threshold_llr,
        controls=settings.controls,
        max_duration_s=settings.max_duration_s,
    )
    return ModelPool(PoolOptions(setup, settings.workers, settings.temporary_dir), metrics.restarts.inc)


def _checked(upload: Upload, found: Findings) -> list[Finding]:
    """The findings of a file under the name that its sender gave it, with its hash once more."""
    named = [finding.model_copy(update={"path": upload.display_name}) for finding in found]
    hashes = {finding.sha256 for finding in named if finding.sha256 is not None}
    checks = {sha256: check_again(upload.path, sha256) for sha256 in hashes}
    return [each if each.sha256 is None else with_custody(each, checks[each.sha256]) for each in named]


def _grouped(
    findings: list[Finding], calibration: CosineCalibration | None
) -> tuple[Findings, tuple[UnknownGroup, ...]]:
    """The findings with the names of groups of unknown exhibits."""
    unknown = [each for each in findings if each.trace is not None and each.trace.decision == "unknown"]
    if calibration is None or len(unknown) < 2:
        return tuple(findings), ()
    # Loads torch; nearly no job needs it.
    from spoofcheck.detect.clusters import group_unknowns

    named, groups, _ = group_unknowns(findings, calibration, None)
    return named, groups


def _write(path: Path, text: str) -> None:
    """Whole or not at all; nothing when its job was forgotten meanwhile, and its folder is gone."""
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8", newline="")
    beside.replace(path)
