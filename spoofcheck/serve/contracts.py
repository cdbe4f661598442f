"""The REST contracts of two older systems, on our models; `docs/serve-contracts.md` has their words.

Both wait for their result. What they ask for is answered in their form; what findings cannot carry in that form is said
in added fields, which their clients pass over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

import anyio.to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from spoofcheck.audio.signatures import HEAD_BYTES, container_of
from spoofcheck.render.text import printable
from spoofcheck.schema import Finding, ScanDocument, Verdict
from spoofcheck.serve.access import Caller, ShownKey, ShownToken, access_of, caller
from spoofcheck.serve.answers import errors
from spoofcheck.serve.errors import ApiError, ErrorBody
from spoofcheck.serve.examples import PREDICTION, VOICE_DETECTION
from spoofcheck.serve.explanation import (
    Classification,
    Opinion,
    caution,
    explain,
    named_measures,
    opinion,
    strongest_stretch,
)
from spoofcheck.serve.models import JobOptions, Upload
from spoofcheck.serve.service import service
from spoofcheck.serve.settings import Settings
from spoofcheck.serve.uploads import (
    budget_of,
    discard,
    keep_base64,
    limits_of,
    receive_form,
    receive_json,
)

router = APIRouter(tags=["contracts of older systems"])

Language = Literal["Tamil", "English", "Hindi", "Malayalam", "Telugu", "auto"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

_MP4: Final = frozenset({"m4a", "mp4", "mov", "3gp"})
FORMATS: Final = {
    "mp3": frozenset({"mp3"}),
    "wav": frozenset({"wav", "rf64"}),
    "webm": frozenset({"webm", "matroska"}),
    "ogg": frozenset({"ogg"}),
    "flac": frozenset({"flac", "ogg"}),
    "m4a": _MP4,
    "aac": _MP4 | {"aac"},
}
"""The containers that pass for each `audioFormat`: recorders write AAC into MP4, and FLAC may lie in Ogg."""

DEEPFAKE: Final = "\N{LARGE RED CIRCLE} Deepfake detected!"
NO_DEEPFAKE: Final = "\N{LARGE GREEN CIRCLE} Audio appears authentic."
"""The label lines of the older API, word for word: its clients look for the first. They are its words, not findings."""

_OPTIONS: Final = JobOptions(channels="mix", acoustics=True, pictures=False)
_FOR_TEXT: Final = JobOptions(channels="mix", acoustics=False, pictures=False)
"""The text says nothing of what is measured beside the score, and measuring takes longer than scoring."""

Result = TypeVar("Result")


class _Camel(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False)


class VoiceRequest(_Camel):
    """What `POST /api/voice-detection` is sent; further fields are passed over."""

    language: str = Field(description="Tamil, English, Hindi, Malayalam, Telugu or auto; it changes no number")
    audio_format: str = Field(description="mp3, wav, webm, ogg, flac, m4a or aac; the content is checked against it")
    audio_base64: str = Field(description="the recording's bytes as base64 (RFC 4648), without a data URL's prefix")


class Stretch(_Camel):
    """A part of the recording; its edges are no finer than the window."""

    start_s: float
    end_s: float
    spoof_llr: float = Field(description="natural log; positive supports synthetic speech")


class Windows(_Camel):
    """The windows of the whole recording, however long it is."""

    count: int
    scored: int = Field(description="those with enough speech")
    flagged: int = Field(description="scored at or above the window threshold")
    strongest: Stretch | None = Field(description="what speaks most for the direction of the result")
    stretches: tuple[Stretch, ...] = Field(description="flagged together")


class Feature(_Camel):
    """A measured feature; it explains, and has no weight in the score."""

    name: str
    label: str
    value: float
    unit: str = Field(description="empty for ratios")
    human_percentile: float | None = Field(description="share of human reference recordings below the value")
    synthetic_percentile: float | None = Field(description="likewise of synthetic ones")


class _Told(_Camel):
    """What every answer adds to the older contracts."""

    classification: Classification
    confidence_score: float = Field(
        gt=0,
        lt=1,
        description="posterior of the named classification, from the calibrated LLR at the stated prior; it is no "
        "measured rate of being right, and no statement about this recording alone",
    )
    explanation: str
    verdict: Verdict = Field(description="of the decision rule; 'inconclusive' and 'partial' are results, too")
    inconclusive: bool = Field(description="true: the classification is only the sign of the LLR; do not rely on it")
    spoof_llr: float = Field(description="natural-log LR that the score rests on; positive supports synthetic speech")
    prior_synthetic: float = Field(gt=0, lt=1, description="the stated prior")
    caution: str
    duration_s: float | None
    speech_s: float | None
    windows: Windows
    features: tuple[Feature, ...]
    model: str = Field(description="name and version")


class _VoiceHead(_Camel):
    status: Literal["success"] = "success"
    language: Language = Field(description="as it was sent; nothing detects it")


class _TextHead(_Camel):
    status: Literal["success"] = "success"
    text: str = Field(description="the older API's text")


class VoiceDetection(_Told, _VoiceHead):
    """The answer of `POST /api/voice-detection`; the older contract's fields come first."""

    model_config = ConfigDict(json_schema_extra={"examples": [VOICE_DETECTION]})


class Prediction(_Told, _TextHead):
    """The answer of `POST /api/predict` to `Accept: application/json`."""

    model_config = ConfigDict(json_schema_extra={"examples": [PREDICTION]})

    scan: dict[str, Any] = Field(description="the document that `spoofcheck scan --json` writes (docs/json.md)")


async def contract_caller(request: Request, key: ShownKey = None, token: ShownToken = None) -> Caller:
    """As `access.caller`; without a valid key these contracts answer 403.

    Raises:
        ApiError: 403 or 429.
    """
    try:
        return await caller(request, key, token)
    except ApiError as error:
        if error.status == 401:
            raise ApiError(403, error.message) from error
        raise


Who = Annotated[Caller, Depends(contract_caller)]

_ERRORS: Final = {
    **{status: said for status, said in errors(400, 403, 408, 413, 415, 503).items() if status != 401},
    403: {
        "model": ErrorBody,
        "description": "No valid key; or a page of another site asks.",
        "content": {"application/json": {"example": {"status": "error", "message": "The API key is not valid."}}},
    },
}


@router.post(
    "/api/voice-detection",
    response_model=VoiceDetection,
    responses=_ERRORS,
    summary="Is this voice AI-generated or human? (JSON)",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["language", "audioFormat", "audioBase64"],
                        "properties": {
                            "language": {"type": "string", "enum": list(LANGUAGES)},
                            "audioFormat": {"type": "string", "enum": list(FORMATS)},
                            "audioBase64": {"type": "string", "format": "byte", "minLength": 4},
                        },
                    },
                    "example": {
                        "language": "Tamil",
                        "audioFormat": "mp3",
                        "audioBase64": "SUQzBAAAAAAAI1RTU0UAAAAPAAAD...",
                    },
                }
            },
        },
    },
)
async def voice_detection(request: Request, who: Who) -> VoiceDetection:
    """Classify one recording that comes as base64.

    Raises:
        ApiError: 400, 408, 413, 415, 422, 429, 503.
    """
    service(request).engine.check_room(1)
    settings: Settings = request.app.state.settings
    limits = limits_of(request)
    upload: Upload | None = None
    try:
        async with receive_json(request, limits, budget_of(request)) as body:
            asked = _asked(body)
            del body
            language, audio_format = _language(asked.language), _format(asked.audio_format)
            upload = await keep_base64(asked.audio_base64, None, settings.incoming_dir, limits)
            del asked
        await anyio.to_thread.run_sync(_check_content, upload, audio_format)
        result = await _examined(request, who, upload, _OPTIONS)
    finally:
        discard([] if upload is None else [upload])
    return VoiceDetection(language=language, **_fields(result, settings.prior_synthetic))


@router.post(
    "/api/predict",
    response_model=Prediction,
    responses={
        200: {
            "description": "A label line and `Confidence: NN.NN%`; the full result for `Accept: application/json`.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": f"{DEEPFAKE}\nConfidence: 95.42%"}},
        },
        **_ERRORS,
    },
    summary="Is this recording a deepfake? (a file, answered in text)",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["audio"],
                        "properties": {"audio": {"type": "string", "format": "binary"}},
                    }
                }
            },
        },
    },
)
async def predict(request: Request, who: Who) -> Response:
    """Classify one recording that comes as the multipart field `audio`.

    Raises:
        ApiError: 400, 408, 413, 415, 422, 429, 503.
    """
    service(request).engine.check_room(1)
    settings: Settings = request.app.state.settings
    async with receive_form(request, settings.incoming_dir, limits_of(request)) as form:
        found = form.uploads("audio")
        if len(found) != 1:
            raise ApiError(422, "Send one recording as the multipart field 'audio', with a file name.")
        # The older client looks for words anywhere in the answer: its own file name must not be among them.
        upload = found[0].model_copy(update={"display_name": "audio"})
        wants_json = prefers_json(request.headers.get("accept", ""))
        result = await _examined(request, who, upload, _OPTIONS if wants_json else _FOR_TEXT)
    text = prediction_text(result.finding, result.told)
    if not wants_json:
        return PlainTextResponse(text)
    full = Prediction(
        text=text,
        scan=result.document.model_dump(mode="json"),
        **_fields(result, settings.prior_synthetic),
    )
    return Response(full.model_dump_json(by_alias=True), media_type="application/json")


def prediction_text(finding: Finding, told: Opinion) -> str:
    """The text of the older API: a label line, `Confidence: NN.NN%`; then why, where a result is inconclusive."""
    lines = [
        DEEPFAKE if told.classification == "AI_GENERATED" else NO_DEEPFAKE,
        f"Confidence: {100 * told.score:.2f}%",
    ]
    if finding.verdict is Verdict.INCONCLUSIVE:
        lines.append(f"Inconclusive: {finding.reasons[0].message}")
    return "\n".join(lines)


def prefers_json(accept: str) -> bool:
    """Whether an `Accept` header ranks JSON above plain text; a tie is for the text, which the contract is of."""
    return _quality(accept, "application/json") > _quality(accept, "text/plain")


def _quality(accept: str, media_type: str) -> float:
    """The `q` of the most specific range that matches (RFC 9110, section 12.5.1); 0 where none does."""
    kind = media_type.partition("/")[0]
    best, found = -1, 0.0
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        rank = {"*/*": 0, f"{kind}/*": 1, media_type: 2}.get(name, -1)
        if rank <= best:
            continue
        best, found = rank, 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    found = min(1.0, max(0.0, float(parameter[2:])))
                except ValueError:
                    found = 0.0
    return found


@dataclass(frozen=True, slots=True)
class _Examined:
    """What one recording was found to be; `told` and the two thresholds (natural log) come from a calibrated model."""

    document: ScanDocument
    finding: Finding
    told: Opinion
    llr_bound: float
    window_threshold_llr: float


async def _examined(request: Request, who: Caller, upload: Upload, options: JobOptions) -> _Examined:
    settings: Settings = request.app.state.settings
    engine = service(request).engine
    engine.check_room(1)
    await access_of(request).charge(who, [upload])
    document = await _unless_gone(request, engine.examine([upload], options))
    finding, calibration = document.findings[0], document.model.calibration
    told, threshold_llr = opinion(finding, settings.prior_synthetic), document.options.window_threshold_llr
    if told is None or calibration is None or threshold_llr is None:
        # A word and a number without any findings would be made up.
        raise ApiError(422, f"The recording cannot be classified: {printable(finding.reasons[0].message)}")
    return _Examined(document, finding, told, calibration.llr_bound, threshold_llr)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, which is cancelled when the client leaves: nobody waits for it any more."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.create_task(work), asyncio.create_task(gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ApiError(400, "The client left before the result.")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def _asked(body: dict[str, Any]) -> VoiceRequest:
    try:
        return VoiceRequest.model_validate(body)
    except ValidationError as error:
        # Never the value: it may be a whole recording.
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ApiError(422, f"{printable(where)}: {first['msg']}") from None


def _language(named: str) -> Language:
    for language in LANGUAGES:
        if named.strip().lower() == language.lower():
            return language
    raise ApiError(422, f"language: one of {', '.join(LANGUAGES)}.")


def _format(named: str) -> str:
    audio_format = named.strip().lower().removeprefix(".")
    if audio_format not in FORMATS:
        raise ApiError(415, f"audioFormat: one of {', '.join(FORMATS)}.")
    return audio_format


def _check_content(upload: Upload, audio_format: str) -> None:
    with upload.path.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
    container = container_of(head)
    # What shows no container may still be sound that the decoder knows. An ID3 tag may begin MP3 and AAC alike.
    passes = container is None or container in FORMATS[audio_format] or (head[:3] == b"ID3" and audio_format == "aac")
    if not passes:
        raise ApiError(415, f"audioFormat says {audio_format}, but the content is {container}.")


def _fields(result: _Examined, prior: float) -> dict[str, Any]:
    document, finding, told = result.document, result.finding, result.told
    scored = [window.spoof_llr for window in finding.windows if window.spoof_llr is not None]
    strongest = strongest_stretch(finding)
    return {
        "classification": told.classification,
        "confidence_score": told.score,
        "explanation": explain(finding, told, result.llr_bound),
        "verdict": finding.verdict,
        "inconclusive": finding.verdict is Verdict.INCONCLUSIVE,
        "spoof_llr": told.llr,
        "prior_synthetic": prior,
        "caution": caution(finding),
        "duration_s": finding.duration_s,
        "speech_s": finding.speech_s,
        "windows": Windows(
            count=len(finding.windows),
            scored=len(scored),
            flagged=sum(llr >= result.window_threshold_llr for llr in scored),
            strongest=None if strongest is None else _stretch(*strongest),
            stretches=tuple(_stretch(span.start_s, span.end_s, span.spoof_llr) for span in finding.spans),
        ),
        "features": tuple(
            Feature(
                name=measure.name,
                label=measure.label,
                value=measure.value or 0.0,
                unit=measure.unit,
                human_percentile=measure.human_percentile,
                synthetic_percentile=measure.synthetic_percentile,
            )
            for measure in named_measures(finding)
        ),
        "model": f"{document.model.name} {document.model.version}",
    }


def _stretch(start_s: float, end_s: float, spoof_llr: float) -> Stretch:
    return Stretch(start_s=start_s, end_s=end_s, spoof_llr=spoof_llr)
