"""The result document: what `--json` writes, `spoofcheck report` reads and every renderer sees.

A saved document is valid input. `spoof_llr` is a natural-log likelihood ratio: positive supports "synthetic".
All text that came from outside (paths, metadata) is stored as found, bytes that are not UTF-8 as `\\xNN`;
escaping for a terminal or a page is the renderer's duty.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SCHEMA_VERSION: Final = "1.0"

_SURROGATE = re.compile("[\ud800-\udfff]")


def _escape_surrogate(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def escape_undecodable(text: str) -> str:
    r"""`text` with the lone surrogates Python keeps for bytes that are not UTF-8 written as `\xNN`.

    JSON cannot carry a lone surrogate; a saved result would otherwise fail at the very end of a scan.
    """
    return _SURROGATE.sub(_escape_surrogate, text)


OutsideText = Annotated[str, AfterValidator(escape_undecodable)]
"""Text that came from outside: as found, but always encodable."""


class Verdict(StrEnum):
    """What the decision rule says of one exhibit; never a statement of fact about its origin."""

    BONAFIDE = "bonafide"
    SPOOF = "spoof"
    PARTIAL = "partial"
    INCONCLUSIVE = "inconclusive"
    SKIPPED = "skipped"


FLAGGED = frozenset({Verdict.SPOOF, Verdict.PARTIAL})
"""The verdicts that make `scan` exit with 1."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Reason(_Model):
    """Why a verdict is what it is, or what to beware of."""

    code: str = Field(description="stable kebab-case identifier")
    message: OutsideText = Field(description="one sentence for the analyst")


class WindowResult(_Model):
    """One window of the recording."""

    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    speech_s: float | None = Field(
        description="seconds of speech inside; null when voice activity was not measured"
    )
    raw_score: float | None = Field(description="spoof logit minus bona fide logit; null when not scored")
    spoof_llr: float | None = Field(
        description="natural-log LR, positive supports synthetic; null when not scored"
    )
    not_scored: str | None = Field(default=None, description="why the window has no score, e.g. 'no-speech'")


class Span(_Model):
    """A stretch of consecutive windows flagged together; its edges are no finer than the window."""

    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    spoof_llr: float = Field(description="mean LLR of the windows inside")
    windows: int = Field(ge=1)


class QualityInfo(_Model):
    """Condition of the examined channel."""

    silence_share: float
    snr_db: float | None
    clipping_share: float
    bandwidth_hz: float
    peak_dbfs: float
    rms_dbfs: float


class MediaInfo(_Model):
    """Identity of the file beyond its hash."""

    size_bytes: int
    modified_at: str = Field(description="ISO 8601, UTC")
    container: OutsideText
    codec: OutsideText
    sample_rate_hz: int
    channels: int
    bit_depth: int | None
    decoder: str
    pcm_sha256: str = Field(
        description="SHA-256 of the decoded PCM, native rate, interleaved little-endian float32"
    )


class SourceMatch(_Model):
    """One candidate generator of a traced exhibit; filled once a tracer is loaded."""

    name: OutsideText
    similarity: float


class Finding(_Model):
    """One exhibit (one channel of one recording), or one input that could not be scored."""

    path: OutsideText
    channel: int | None = Field(
        description="0-based channel; null for mono, for the mix, and for skipped inputs"
    )
    sha256: str | None = Field(description="SHA-256 of the file; null when it could not be read")
    duration_s: float | None
    speech_s: float | None
    verdict: Verdict
    spoof_llr: float | None = Field(
        description="pooled natural-log LR of the exhibit, bounded; null when not given"
    )
    raw_score: float | None = Field(description="mean raw score of the scored windows; null when none was")
    reasons: tuple[Reason, ...] = Field(description="the first one decided the verdict")
    spans: tuple[Span, ...] = ()
    windows: tuple[WindowResult, ...] = ()
    sources: tuple[SourceMatch, ...] = ()
    media: MediaInfo | None = None
    quality: QualityInfo | None = None


class ToolInfo(_Model):
    """What program made this document."""

    name: Literal["spoofcheck"] = "spoofcheck"
    version: str
    git_commit: str | None
    command_line: tuple[OutsideText, ...]
    python: str
    platform: str
    libraries: dict[str, str]


class RunInfo(_Model):
    """The volatile part: when, where, how long."""

    started_at: str
    finished_at: str
    elapsed_s: float
    host: str
    complete: bool = Field(description="false when the run was interrupted before every input was examined")


class CalibrationInfo(_Model):
    """How raw scores became likelihood ratios, and within which bound."""

    method: str
    data: str
    bonafide_trials: int
    spoof_trials: int
    llr_bound: float


class ModelInfo(_Model):
    """Which model scored, and what it was made of."""

    name: str
    version: str
    architecture: str
    weights_sha256: str
    config_sha256: str
    licence: str
    training_data: str
    calibration: CalibrationInfo
    limitations: tuple[str, ...]
    validation: tuple[ValidationFigure, ...] = ()


class ValidationFigure(_Model):
    """One measured error figure of the model; it says nothing about a single case."""

    dataset: str
    level: Literal["window", "exhibit"]
    bonafide_trials: int
    spoof_trials: int
    eer: float = Field(ge=0, le=1)
    eer_low: float = Field(ge=0, le=1, description="lower edge of the 95 % bootstrap interval")
    eer_high: float = Field(ge=0, le=1, description="upper edge of the 95 % bootstrap interval")
    min_dcf: float
    act_dcf: float
    cllr: float
    cllr_min: float


class OptionsInfo(_Model):
    """The options that shaped the numbers."""

    window_s: float
    hop_s: float
    channels: Literal["auto", "mix", "each"]
    vad: bool
    min_window_speech_s: float
    min_exhibit_speech_s: float
    spoof_threshold_llr: float
    bonafide_threshold_llr: float
    window_threshold_llr: float
    device: str
    dtype: str


class ScanDocument(_Model):
    """Everything one scan found, with what is needed to repeat it."""

    schema_version: Literal["1.0"] = SCHEMA_VERSION
    tool: ToolInfo
    run: RunInfo
    model: ModelInfo
    options: OptionsInfo
    findings: tuple[Finding, ...]


ModelInfo.model_rebuild()
