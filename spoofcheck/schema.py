"""The result document: what `--json` writes, `spoofcheck report` reads and every renderer sees.

A saved document is valid input. `spoof_llr` is a natural-log likelihood ratio: positive supports "synthetic".
All text that came from outside (paths, metadata) is stored as found, bytes that are not UTF-8 as `\\xNN`;
escaping for a terminal or a page is the renderer's duty.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

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
    UNCALIBRATED = "uncalibrated"
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

    start_s: float = Field(ge=0, description="from the start of the recording")
    end_s: float = Field(ge=0, description="end of what the recording gives to this window")
    speech_s: float | None = Field(description="seconds of speech inside; null when voice activity was not measured")
    raw_score: float | None = Field(description="spoof logit minus bona fide logit; null when not scored")
    spoof_llr: float | None = Field(
        description="natural-log LR, positive supports synthetic; null when not scored, and by an uncalibrated model"
    )
    not_scored: str | None = Field(default=None, description="why the window has no score: 'no-speech', 'budget'")
    validity_distance: float | None = Field(
        default=None, description="of its features to the calibration data; null without a validity gate or score"
    )


class Span(_Model):
    """A stretch of consecutive windows flagged together; its edges are no finer than the window."""

    start_s: float = Field(ge=0, description="start of the first window")
    end_s: float = Field(ge=0, description="end of the last window")
    spoof_llr: float = Field(description="mean LLR of the windows inside")
    windows: int = Field(ge=1, description="how many windows, those without a score left out")


class QualityInfo(_Model):
    """Condition of the examined channel."""

    silence_share: float = Field(description="share of 20 ms frames below -60 dBFS, 0 to 1")
    snr_db: float | None = Field(description="level of speech over level of the rest; null without both")
    clipping_share: float = Field(description="share of samples in runs at the extreme of the scale, 0 to 1")
    bandwidth_hz: float = Field(description="highest frequency within 60 dB of the strongest band")
    peak_dbfs: float = Field(description="highest sample")
    rms_dbfs: float = Field(description="root mean square of all samples")


class MediaInfo(_Model):
    """Identity of the file beyond its hash."""

    size_bytes: int = Field(description="size of the file")
    modified_at: str = Field(description="ISO 8601, UTC")
    container: OutsideText = Field(description="by content, not by name")
    codec: OutsideText = Field(description="coding of the samples")
    sample_rate_hz: int = Field(description="as stored; the analysis works at 16 kHz")
    channels: int = Field(description="as stored")
    bit_depth: int | None = Field(description="bits per stored sample; null for lossy codecs")
    decoder: str = Field(description="'soundfile' or 'ffmpeg'")
    pcm_sha256: str = Field(description="SHA-256 of the decoded PCM, native rate, interleaved little-endian float32")


class SourceMatch(_Model):
    """One known source, and how similar a traced exhibit is to it; it is never said that the source made it."""

    name: OutsideText = Field(description="the source")
    similarity: float = Field(
        ge=-1,
        le=1,
        description="by the trace's measure: 'cosine' to the source's prototype, or 'softmax', the mean output over "
        "the traced windows, relative among sources that sum to 1; no probability of origin",
    )
    origin: Literal["shipped", "enrolled"] = Field(
        default="shipped", description="shipped with the tracer, or enrolled by its user from clips"
    )
    llr: float | None = Field(
        default=None,
        description="natural-log LR of this similarity, bounded: a system of this source made the exhibit, against "
        "another one did; null without such a calibration, for an unknown exhibit, and when the channel test failed",
    )


ChannelTestPart = Literal["residue", "codec"]


class ChannelTest(_Model):
    """Whether a trace rests on the speech: the same tracing without speech, and of a copy through a codec.

    A source that is found in what is not speech, or lost in a copy, may be known by its channel.
    """

    residue_s: float = Field(ge=0, description="seconds without speech that were traced; 0 when there was too little")
    residue_decision: OutsideText | None = Field(
        default=None, description="what the open-set rule says of them; null when there was too little"
    )
    residue_similarity: float | None = Field(
        default=None, ge=-1, le=1, description="their similarity to the source of the trace's decision"
    )
    codec: str = Field(description="what the traced windows went through for the copy, in words")
    codec_decision: OutsideText = Field(description="what the open-set rule says of the copy")
    codec_closest: OutsideText = Field(description="the source that the copy is closest to, whatever the rule says")
    codec_similarity: float = Field(ge=-1, le=1, description="its similarity to the source of the trace's decision")
    failed: tuple[ChannelTestPart, ...] = Field(
        default=(),
        description="'residue': the same decision without speech; 'codec': the copy is far less close to it",
    )


class TraceInfo(_Model):
    """The open-set decision on one exhibit: a known source that it is most similar to, or none of them."""

    decision: OutsideText = Field(description="name of the most similar source, or 'unknown'")
    rule: OutsideText = Field(description="the open-set rule with its threshold, in words")
    measure: Literal["softmax", "cosine"] = Field(default="softmax", description="what similarities are")
    threshold: float = Field(ge=-1, le=1, description="of the rule: below it, unknown")
    windows: int = Field(ge=1, description="windows that were traced")
    enrolled: int = Field(ge=1, description="sources it was compared with, shipped and enrolled")
    group: tuple[OutsideText, ...] = Field(
        default=(),
        description="the decision's source and those that cannot be told apart from it; empty when it stands alone",
    )
    unknown_group: OutsideText | None = Field(
        default=None, description="e.g. 'Unknown-1': unknown exhibits that are alike share the name; null without any"
    )
    channel_test: ChannelTest | None = Field(
        default=None, description="null when the decision is 'unknown', and for tracers without prototypes"
    )
    embedding: tuple[float, ...] | None = Field(
        default=None, description="the exhibit as the tracer places it, at unit length; null without prototypes"
    )


class CustodyCheck(_Model):
    """The file as it was when the run had ended."""

    checked_at: str = Field(description="ISO 8601, UTC")
    sha256: str | None = Field(description="SHA-256 of the file at that time; null when it could not be read any more")
    unchanged: bool = Field(description="whether it is that of the file when it was examined")


class AcousticMeasure(_Model):
    """One measured property of the speech, beside what is usual; it explains and does not decide."""

    name: str = Field(description="stable kebab-case identifier")
    label: str = Field(description="for readers")
    unit: str = Field(description="of the value; empty for ratios")
    value: float | None = Field(description="null when it could not be measured")
    human_percentile: float | None = Field(
        default=None, ge=0, le=100, description="share of the human reference recordings below the value, in percent"
    )
    synthetic_percentile: float | None = Field(
        default=None, ge=0, le=100, description="share of the synthetic reference recordings below it, in percent"
    )
    remark: str | None = Field(default=None, description="a plain sentence when the value is unusual; null else")


class AcousticObservations(_Model):
    """What was measured in an exhibit beside the network, and against which recordings."""

    examined_s: float = Field(ge=0, description="seconds of the exhibit that were measured")
    reference: str = Field(description="what the percentiles are of")
    reference_sha256: str = Field(description="SHA-256 of the reference file")
    human_recordings: int = Field(ge=1, description="in the reference")
    synthetic_recordings: int = Field(ge=1, description="in the reference")
    measures: tuple[AcousticMeasure, ...] = Field(description="in the order of the report")


class StabilityRun(_Model):
    """The exhibit once more after a change that should not matter."""

    name: str = Field(description="stable kebab-case identifier, e.g. 'gain+6db'")
    label: str = Field(description="for readers")
    spoof_llr: float | None = Field(description="pooled LLR; null when the changed exhibit got none")
    verdict: Verdict = Field(description="what the decision rule says of it")
    flipped: bool = Field(
        default=False, description="whether it ends on the other side than the unchanged exhibit; see the card's flips"
    )


class StabilityCard(_Model):
    """How far the result depends on changes that should not matter."""

    runs: tuple[StabilityRun, ...] = Field(min_length=1, description="in the order in which they were made")
    lowest_llr: float | None = Field(description="over the unchanged exhibit and all runs")
    highest_llr: float | None = Field(description="over the unchanged exhibit and all runs")
    flips: int = Field(ge=0, description="runs that end on the other side: spoof or partial against bonafide")


class Excerpt(_Model):
    """A window to listen to."""

    direction: Literal["for", "against"] = Field(
        description="'for': the strongest for the exhibit's pooled direction; 'against': the strongest against it"
    )
    start_s: float = Field(ge=0, description="from the start of the recording")
    end_s: float = Field(ge=0, description="end")
    spoof_llr: float = Field(description="of the window")
    media_type: Literal["audio/flac", "audio/ogg"] = Field(description="of the data")
    data_base64: str = Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$", description="the encoded audio")


class SpeechStretch(_Model):
    """Where the voice activity detector hears speech."""

    start_s: float = Field(ge=0, description="from the start of the recording")
    end_s: float = Field(ge=0, description="end")


class Pictures(_Model):
    """What a report draws of an exhibit beside its scores."""

    peaks: tuple[tuple[int, int], ...] = Field(
        description="lowest and highest sample of equal stretches, full scale is 127"
    )
    speech: tuple[SpeechStretch, ...] = Field(description="empty without a voice activity detector")
    spectrogram_png_base64: str = Field(
        pattern=r"^[A-Za-z0-9+/]*={0,2}$", description="grey levels, time from left to right, frequency upwards"
    )
    spectrogram_hz: float = Field(gt=0, description="highest frequency of the spectrogram; it begins at 0")
    spectrogram_db: tuple[float, float] = Field(description="levels of white and black, dB re the strongest")


class ControlResult(_Model):
    """A bundled recording of known origin, scored in the same run."""

    name: OutsideText = Field(description="of the file")
    truth: Literal["bonafide", "spoof"] = Field(description="what it is")
    sha256: str = Field(description="SHA-256 of the file")
    verdict: Verdict = Field(description="what the decision rule says of it")
    raw_score: float | None = Field(description="mean raw score")
    spoof_llr: float | None = Field(description="pooled LLR")
    as_expected: bool | None = Field(
        description="false: no result of this run can be relied on; null: the model is uncalibrated, and says nothing "
        "that a control could contradict"
    )
    message: str = Field(description="one sentence")


class HandOver(_Model):
    """One step of the chain of custody, as the case file states it."""

    date: OutsideText = Field(description="as written")
    given_by: OutsideText = Field(description="who handed over")
    received_by: OutsideText = Field(description="who received")
    note: OutsideText = Field(default="", description="free text")


class CaseExhibit(_Model):
    """What the case file calls a recording."""

    file: OutsideText = Field(description="path or name")
    reference: OutsideText = Field(description="the exhibit's reference in the case")
    description: OutsideText = Field(default="", description="free text")


class CaseInfo(_Model):
    """The case file's content: all of it is the user's word."""

    number: OutsideText = Field(description="case number")
    client: OutsideText = Field(default="", description="who asked")
    examiner: OutsideText = Field(default="", description="who examines")
    lab: OutsideText = Field(default="", description="where")
    question: OutsideText = Field(default="", description="the question asked")
    exhibits: tuple[CaseExhibit, ...] = Field(default=(), description="named recordings")
    hand_over: tuple[HandOver, ...] = Field(default=(), description="chain of custody before the examination")
    sha256: str = Field(description="SHA-256 of the case file")


class Finding(_Model):
    """One exhibit (one channel of one recording), or one input that could not be scored."""

    path: OutsideText = Field(description="as named or found; bytes that are not UTF-8 as \\xNN")
    channel: int | None = Field(description="0-based channel; null for mono, for the mix, and for skipped inputs")
    sha256: str | None = Field(description="SHA-256 of the file; null when it could not be read")
    duration_s: float | None = Field(description="null for skipped inputs")
    speech_s: float | None = Field(description="by the voice activity detector; null for skipped inputs")
    verdict: Verdict = Field(description="what the decision rule says")
    spoof_llr: float | None = Field(description="pooled natural-log LR of the exhibit, bounded; null when not given")
    raw_score: float | None = Field(description="mean raw score of the scored windows; null when none was")
    reasons: tuple[Reason, ...] = Field(description="the first one decided the verdict")
    spans: tuple[Span, ...] = Field(default=(), description="stretches flagged together")
    windows: tuple[WindowResult, ...] = Field(default=(), description="every window, scored or not")
    sources: tuple[SourceMatch, ...] = Field(default=(), description="most similar known sources, closest first")
    trace: TraceInfo | None = Field(default=None, description="the open-set decision; null when not traced")
    media: MediaInfo | None = Field(default=None, description="identity of the file; null for skipped inputs")
    quality: QualityInfo | None = Field(default=None, description="condition of the channel; null for skipped inputs")
    validity_distance: float | None = Field(
        default=None, description="median over the scored windows; null without a validity gate or score"
    )

    exhibit: OutsideText | None = Field(default=None, description="reference in the case; null when it has none")
    custody: CustodyCheck | None = Field(default=None, description="null for skipped inputs and when not checked")
    acoustics: AcousticObservations | None = Field(default=None, description="null when not measured")
    stability: StabilityCard | None = Field(default=None, description="null when not asked for")
    excerpts: tuple[Excerpt, ...] = Field(default=(), description="windows to listen to; empty when not asked for")
    pictures: Pictures | None = Field(default=None, description="null when not asked for")

    @classmethod
    def skipped(cls, path: str, code: str, message: str) -> Self:
        """The finding of an input that could not be examined, and why."""
        return cls(
            path=path,
            channel=None,
            sha256=None,
            duration_s=None,
            speech_s=None,
            verdict=Verdict.SKIPPED,
            spoof_llr=None,
            raw_score=None,
            reasons=(Reason(code=code, message=message),),
        )

    @model_validator(mode="after")
    def _a_trace_names_sources(self) -> Self:
        if self.trace is not None and not self.sources:
            raise ValueError("a traced finding names the sources it was compared with")
        return self


class ToolInfo(_Model):
    """What program made this document."""

    name: Literal["spoofcheck"] = Field(default="spoofcheck", description="always spoofcheck")
    version: str = Field(description="of spoofcheck")
    git_commit: str | None = Field(description="commit of the checkout; null for an installed package")
    command_line: tuple[OutsideText, ...] = Field(description="as given")
    python: str = Field(description="version")
    platform: str = Field(description="operating system and machine")
    libraries: dict[str, str] = Field(description="versions of what decodes and computes")


class EngineInfo(_Model):
    """What a scan over a cluster ran on; its results do not hang on it."""

    name: Literal["ray"] = Field(default="ray", description="always ray; a scan on one machine has no engine")
    version: str = Field(description="of Ray")
    readers: int = Field(ge=1, description="actors that fetched and decoded")
    networks: int = Field(ge=1, description="actors that ran the detector")
    judges: int = Field(ge=1, description="actors that decided, traced and gathered evidence")
    nodes: int = Field(ge=1, description="machines of the cluster when the scan began")


class RunInfo(_Model):
    """The volatile part: when, where, how long."""

    started_at: str = Field(description="ISO 8601, UTC")
    finished_at: str = Field(description="ISO 8601, UTC")
    elapsed_s: float = Field(description="from start to finish")
    host: str = Field(description="name of the machine")
    complete: bool = Field(description="false when the run was interrupted before every input was examined")
    engine: EngineInfo | None = Field(default=None, description="null for a scan on one machine")
    from_store: int = Field(
        default=0, ge=0, description="inputs that the same run had judged before, and whose findings were kept"
    )


class CalibrationInfo(_Model):
    """How raw scores became likelihood ratios, and within which bound."""

    method: str = Field(description="how the map was fitted")
    data: str = Field(description="what it was fitted on")
    bonafide_trials: int = Field(description="human exhibits it was fitted on")
    spoof_trials: int = Field(description="synthetic exhibits it was fitted on")
    llr_bound: float = Field(description="no LLR beyond plus or minus this is reported")


class ValidityLimits(_Model):
    """What a distance to the calibration data does to an LLR: it shrinks linearly from the one limit to the other."""

    shrink_from: float = Field(gt=0, description="full weight up to here")
    refuse_from: float = Field(gt=0, description="no weight, and no verdict, from here on")
    share_shrunk: float = Field(ge=0, le=1, description="share of the calibration data beyond the first limit")
    share_refused: float = Field(ge=0, le=1, description="share of the calibration data beyond the second limit")

    @model_validator(mode="after")
    def _shrinks_before_it_refuses(self) -> Self:
        if self.refuse_from <= self.shrink_from:
            raise ValueError(f"refuse_from {self.refuse_from:g} must be above shrink_from {self.shrink_from:g}")
        return self


class ValidityInfo(_Model):
    """The validity gate: distances are 1 in root mean square over the calibration data."""

    data: str = Field(description="what distances are measured to, and the limits were chosen on")
    window: ValidityLimits = Field(description="of a window")
    exhibit: ValidityLimits = Field(description="of an exhibit: the median over its scored windows")


class ModelInfo(_Model):
    """Which model scored, and what it was made of."""

    name: str = Field(description="of the model")
    version: str = Field(description="of the model, not of spoofcheck")
    architecture: str = Field(description="front-end and back-end")
    weights_sha256: str = Field(description="SHA-256 of model.safetensors")
    config_sha256: str = Field(description="SHA-256 of config.json")
    licence: str = Field(description="of the weights")
    training_data: str = Field(description="what the model was trained on")
    calibration: CalibrationInfo | None = Field(
        default=None, description="from raw score to LLR; null for an uncalibrated model, which gives neither"
    )
    limitations: tuple[str, ...] = Field(description="what the model must not be relied on for")
    validation: tuple[ValidationFigure, ...] = Field(default=(), description="measured error figures")
    validity: ValidityInfo | None = Field(default=None, description="limits of the validity gate; null without one")
    conditions: tuple[ConditionFigure, ...] = Field(default=(), description="error figures per condition of the input")
    percentiles: tuple[ScorePercentile, ...] = Field(
        default=(), description="of the pooled LLRs of the calibration data; empty when the model has no record of them"
    )


class ValidationFigure(_Model):
    """One measured error figure of the model; it says nothing about a single case."""

    dataset: str = Field(description="what was measured on")
    level: Literal["window", "exhibit"] = Field(description="what one trial is")
    bonafide_trials: int = Field(description="human trials")
    spoof_trials: int = Field(description="synthetic trials")
    eer: float = Field(ge=0, le=1, description="equal error rate, 0 to 1")
    eer_low: float = Field(ge=0, le=1, description="lower edge of the 95 % bootstrap interval")
    eer_high: float = Field(ge=0, le=1, description="upper edge of the 95 % bootstrap interval")
    min_dcf: float = Field(description="minimum normalised detection cost")
    act_dcf: float = Field(description="the same at the threshold of the calibration")
    cllr: float = Field(description="log-likelihood-ratio cost, bits")
    cllr_min: float = Field(description="the same after ideal calibration")


class ConditionFigure(ValidationFigure):
    """The same on recordings that went through one change, e.g. a codec."""

    condition: str = Field(description="stable identifier, e.g. 'mp3-64k'; 'original' for recordings as they are")


class ScorePercentile(_Model):
    """One percentile of the pooled LLRs of the calibration data, within the bound of the calibration."""

    percent: float = Field(ge=0, le=100, description="share of the recordings below")
    bonafide_llr: float = Field(description="of human recordings")
    spoof_llr: float = Field(description="of synthetic recordings")


class TracingFigure(_Model):
    """What a tracer was measured to do on one set of trials; null where the trials cannot say it."""

    dataset: str = Field(description="what was measured on")
    seen_trials: int = Field(ge=0, description="trials of enrolled sources")
    unseen_trials: int = Field(ge=0, description="trials of all other sources")
    accuracy: float | None = Field(default=None, ge=0, le=1, description="share of trials decided rightly")
    macro_f1_seen: float | None = Field(
        default=None, ge=0, le=1, description="mean F1 of the enrolled sources, over their trials"
    )
    unseen_precision: float | None = Field(default=None, ge=0, le=1, description="share of 'unknown' that is so")
    unseen_recall: float | None = Field(default=None, ge=0, le=1, description="share of the others told as 'unknown'")
    auroc: float | None = Field(default=None, ge=0, le=1, description="of enrolled against other sources")
    fpr95: float | None = Field(
        default=None, ge=0, le=1, description="share of the others accepted where 95 % of the enrolled are"
    )
    oscr: float | None = Field(
        default=None, ge=0, le=1, description="area under correct classification over false acceptance"
    )


class CosineCalibrationInfo(_Model):
    """How a cosine becomes a likelihood ratio, and what that was measured on."""

    data: str = Field(description="what it was fitted on")
    target_trials: int = Field(ge=1, description="trials of the first proposition")
    other_trials: int = Field(ge=1, description="trials of the second proposition")
    llr_bound: float = Field(gt=0, description="no LLR beyond plus or minus this is reported")
    eer: float = Field(ge=0, le=1, description="equal error rate of the cosine, 0 to 1")
    cllr: float = Field(description="log-likelihood-ratio cost of the LLRs, bits")


class TracerInfo(_Model):
    """Which tracer compared exhibits with known sources, and what it knows."""

    name: str = Field(description="of the tracer")
    version: str = Field(description="of the tracer, not of spoofcheck")
    architecture: str = Field(description="front-end and head")
    weights_sha256: str = Field(description="SHA-256 of model.safetensors")
    config_sha256: str = Field(description="SHA-256 of config.json")
    licence: str = Field(description="of the weights")
    training_data: str = Field(description="what the tracer was trained on")
    classes: tuple[OutsideText, ...] = Field(min_length=1, description="the sources shipped with it")
    rule: str = Field(description="the open-set rule with its threshold, in words")
    threshold: float = Field(ge=-1, le=1, description="of the rule: below it, unknown")
    threshold_data: str = Field(description="where the threshold comes from")
    groups: tuple[tuple[OutsideText, ...], ...] = Field(
        default=(), description="shipped sources that the tracer cannot tell apart"
    )
    source_calibration: CosineCalibrationInfo | None = Field(
        default=None, description="of the similarity to a source; null without LLRs of sources"
    )
    link_calibration: CosineCalibrationInfo | None = Field(
        default=None, description="of the similarity of two exhibits; null without groups of unknown exhibits"
    )
    limitations: tuple[str, ...] = Field(description="what the tracer must not be relied on for")
    validation: tuple[TracingFigure, ...] = Field(default=(), description="measured figures")


class EnrolledSourceInfo(_Model):
    """One source that the user enrolled, and what it rests on."""

    name: OutsideText = Field(description="as the user called it")
    note: OutsideText = Field(description="the user's word on where its clips are from; may be empty")
    created_at: str = Field(description="ISO 8601, UTC")
    revision: int = Field(ge=1, description="raised whenever it is enrolled again")
    clips: int = Field(ge=1, description="recordings it was made from")
    content_sha256: str = Field(description="SHA-256 of the clips' hashes and embeddings")
    closest: int = Field(ge=0, description="of its clips, those found again with the clip itself left out")
    confused_with: tuple[OutsideText, ...] = Field(
        default=(), description="sources that it could not be told apart from when it was enrolled"
    )


class SourceStoreInfo(_Model):
    """The file of enrolled sources that exhibits were compared with."""

    path: OutsideText = Field(description="as given or found")
    sha256: str = Field(description="of its content, as the file states it")
    sources: tuple[EnrolledSourceInfo, ...] = Field(description="in the order of enrolling")


class UnknownGroup(_Model):
    """Exhibits that no known source is close to, and that are alike."""

    name: OutsideText = Field(description="e.g. 'Unknown-1'")
    exhibits: int = Field(ge=1, description="findings of this document that belong to it")
    earlier: int = Field(default=0, ge=0, description="exhibits of the same case scanned before, not in this document")


class OptionsInfo(_Model):
    """The options that shaped the numbers."""

    window_s: float = Field(description="length of a window")
    hop_s: float = Field(description="distance between windows")
    channels: Literal["auto", "mix", "each"] = Field(description="how channels were examined")
    vad: bool = Field(description="whether windows without speech were left unscored")
    min_window_speech_s: float = Field(description="speech a window needs to be scored")
    min_exhibit_speech_s: float = Field(description="speech an exhibit needs for a verdict")
    spoof_threshold_llr: float | None = Field(description="at or above: spoof; null for an uncalibrated model")
    bonafide_threshold_llr: float | None = Field(description="at or below: bonafide; null likewise")
    window_threshold_llr: float | None = Field(description="windows at or above count as flagged; null likewise")
    partial_min_windows: int = Field(ge=1, description="fewest consecutive flagged windows that make a stretch")
    partial_threshold_llr: float | None = Field(description="least mean LLR of such a stretch; null likewise")
    device: str = Field(description="where the network ran")
    dtype: str = Field(description="its floating point type")
    runtime: Literal["torch", "onnx"] = Field(default="torch", description="what ran it")
    trace_all: bool = Field(default=False, description="whether exhibits were traced whatever their verdict")
    budget_s: float | None = Field(
        default=None,
        gt=0,
        description="most seconds of audio that the network heard of an exhibit, in windows spread evenly over those "
        "with speech; null when it heard all of them",
    )


EvidenceKind = Literal["acoustics", "pictures", "excerpts", "stability"]
"""What is made of exhibits beside their verdicts when it is asked for."""


MAX_SHARDS: Final = 1_000_000
"""That the inputs of a scan can be divided into."""


class ShardInfo(_Model):
    """Which part of the inputs a document holds, when a scan was divided with `--shard`.

    Inputs are numbered from 0 in the order found; shard I of N has those whose number modulo N is I - 1.
    """

    index: int = Field(ge=1, description="1 for the first shard")
    count: int = Field(ge=1, le=MAX_SHARDS, description="shards that the inputs were divided into")
    inputs: int = Field(ge=1, le=1_000_000_000, description="of all shards together")
    inputs_sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$", description="of the paths of all inputs in order, in UTF-8, a NUL after each"
    )
    input_numbers: tuple[int, ...] = Field(description="of each finding, the number of its input; ascending")
    evidence: tuple[EvidenceKind, ...] = Field(default=(), description="what was asked for beside the verdicts")

    @model_validator(mode="after")
    def _numbers_are_its_own(self) -> Self:
        if self.index > self.count:
            raise ValueError(f"there is no shard {self.index} of {self.count}")
        former = -1
        for number in self.input_numbers:
            if not former <= number < self.inputs or number % self.count != self.index - 1:
                raise ValueError(f"input {number} is not one of shard {self.index} of {self.count}, or not in order")
            former = number
        return self

    @property
    def own_inputs(self) -> int:
        """How many of the inputs are this shard's."""
        return len(range(self.index - 1, self.inputs, self.count))


class MergedPart(_Model):
    """A result document that another one was joined from."""

    name: OutsideText = Field(description="of the file, without its folder")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the file")
    shard: int | None = Field(default=None, ge=1, description="its index; null when it was no shard")
    parts: int = Field(default=0, ge=0, description="results that it was itself joined from; the file names them")
    findings: int = Field(ge=0, description="that came from it")
    run: RunInfo = Field(description="when, where, how long, and whether it came to its end")
    command_line: tuple[OutsideText, ...] = Field(description="as given")
    python: str | None = Field(default=None, description="version, where it is not the document's; null: the same")
    platform: str | None = Field(default=None, description="likewise")
    libraries: dict[str, str] | None = Field(default=None, description="likewise")
    controls: tuple[ControlResult, ...] | None = Field(
        default=None, description="likewise: scores may differ between machines by rounding"
    )


class MergeInfo(_Model):
    """What a document was joined from with `spoofcheck merge`."""

    parts: tuple[MergedPart, ...] = Field(min_length=1, description="shards in their order, else as given")
    shards: int | None = Field(default=None, ge=1, description="that the inputs were divided into; null without shards")
    inputs: int | None = Field(default=None, ge=1, description="of all shards together; null without shards")
    inputs_sha256: str | None = Field(default=None, description="as in `ShardInfo`; null without shards")
    missing_shards: tuple[int, ...] = Field(default=(), description="shards that no result was given of")
    missing_inputs: int = Field(default=0, ge=0, description="of all shards together: inputs without a finding")


class ScanDocument(_Model):
    """Everything one scan found, with what is needed to repeat it."""

    schema_version: Literal["1.0"] = Field(default=SCHEMA_VERSION, description="of this document form")
    tool: ToolInfo = Field(description="what program made this document")
    run: RunInfo = Field(description="when, where, how long")
    model: ModelInfo = Field(description="what scored")
    tracer: TracerInfo | None = Field(default=None, description="what compared with known sources; null without one")
    enrolled: SourceStoreInfo | None = Field(default=None, description="sources of the user's own; null without any")
    unknown_groups: tuple[UnknownGroup, ...] = Field(default=(), description="unknown exhibits that are alike, by name")
    options: OptionsInfo = Field(description="what shaped the numbers")
    case: CaseInfo | None = Field(default=None, description="null without a case file")
    note: OutsideText | None = Field(default=None, description="the examiner's free text; null without any")
    controls: tuple[ControlResult, ...] = Field(default=(), description="empty when none were scored")
    shard: ShardInfo | None = Field(default=None, description="null for a scan that was not divided")
    merged: MergeInfo | None = Field(default=None, description="null for what one scan wrote")
    findings: tuple[Finding, ...] = Field(description="in the order of the inputs")

    @model_validator(mode="after")
    def _shard_fits_its_findings(self) -> Self:
        if self.shard is None:
            return self
        if self.merged is not None:
            raise ValueError("a shard is not joined from others")
        numbers = self.shard.input_numbers
        if len(numbers) != len(self.findings):
            raise ValueError("a shard has the number of its input for every finding")
        if self.run.complete and len(set(numbers)) != self.shard.own_inputs:
            raise ValueError("a shard that came to its end has a finding for each of its inputs")
        return self

    @model_validator(mode="after")
    def _ratios_come_from_a_calibration(self) -> Self:
        options = self.options
        thresholds = (
            options.spoof_threshold_llr,
            options.bonafide_threshold_llr,
            options.window_threshold_llr,
            options.partial_threshold_llr,
        )
        if self.model.calibration is not None:
            if None in thresholds:
                raise ValueError("the model is calibrated, but a threshold of its rule is missing")
            if any(finding.verdict is Verdict.UNCALIBRATED for finding in self.findings):
                raise ValueError("the model is calibrated, but a finding's verdict is 'uncalibrated'")
            return self
        if thresholds != (None,) * len(thresholds):
            raise ValueError("the model is uncalibrated, but there are thresholds for its likelihood ratios")
        for finding in self.findings:
            if _has_ratio(finding):
                raise ValueError(f"the model is uncalibrated, but there is a likelihood ratio for {finding.path!r}")
            if finding.verdict not in _WITHOUT_RATIO:
                raise ValueError(f"the model is uncalibrated, but there is a verdict for {finding.path!r}")
        if any(control.spoof_llr is not None for control in self.controls):
            raise ValueError("the model is uncalibrated, but there is a likelihood ratio for a control")
        return self


_WITHOUT_RATIO = frozenset({Verdict.UNCALIBRATED, Verdict.INCONCLUSIVE, Verdict.SKIPPED})
"""What an uncalibrated model's findings may be: without a scored window they are inconclusive as any other."""


def _has_ratio(finding: Finding) -> bool:
    """Whether a finding states a likelihood ratio of synthetic against human speech anywhere."""
    return (
        finding.spoof_llr is not None
        or bool(finding.spans or finding.excerpts)
        or finding.stability is not None
        or any(window.spoof_llr is not None for window in finding.windows)
    )


ModelInfo.model_rebuild()
