"""The document an evaluation leaves behind (JSON): what was measured, on what, with which trials and intervals.

Rates are fractions, 0 to 1. Scores go the field's way, HIGHER MEANS BONA FIDE; a calibrated model's are natural-log
LLRs. Definitions: the ASVspoof 5 evaluation plan (track 1), or the MultiAPI paper's code where `metrics` says so.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from spoofcheck.schema import ModelInfo, OutsideText, ToolInfo

EVALUATION_VERSION: Final = "1.0"

MetricSet = Literal["asvspoof5", "multiapi"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(_Model):
    """A 95 % bootstrap interval."""

    low: float = Field(description="lower edge")
    high: float = Field(description="upper edge")


class DataInfo(_Model):
    """What was measured on."""

    name: OutsideText = Field(description="of the data set, as given or by its files")
    protocol: str = Field(description="kind of protocol, or 'scores' for a score file")
    files: dict[OutsideText, str] = Field(description="SHA-256 of every protocol, key and score file, by path")
    windows: Literal["first", "all", "given"] = Field(description="which windows made a trial's score")
    unscored: int = Field(ge=0, description="trials without a score: no speech, or unreadable")


class Caveat(_Model):
    """Something a reader of the figures must know."""

    code: str = Field(description="stable, e.g. 'shared-sources'")
    message: OutsideText = Field(description="one sentence")


class Rates(_Model):
    """Error figures of one set of trials.

    `act_dcf` and `cllr` are null for scores that are no LLRs; with `multiapi` metrics, the costs are not normalised
    and `act_dcf` is the cost at the set's own EER threshold.
    """

    bonafide_trials: int = Field(ge=0, description="human trials")
    spoof_trials: int = Field(ge=0, description="synthetic trials")
    eer: float = Field(ge=0, le=1, description="equal error rate")
    eer_interval: Interval | None = Field(description="of the EER; null where too few sources are known")
    min_dcf: float = Field(description="minimum detection cost")
    act_dcf: float | None = Field(description="actual detection cost")
    cllr: float | None = Field(description="log-likelihood-ratio cost, bits")
    cllr_min: float | None = Field(description="the same after ideal calibration")


class Transfer(_Model):
    """Errors at a threshold that was fixed on OTHER data (the dev set)."""

    threshold: float = Field(description="accepted as bona fide at or above, field's direction")
    fixed_on: OutsideText = Field(description="where the threshold comes from")
    fpr: float = Field(ge=0, le=1, description="share of bona fide trials taken for spoofs (miss rate)")
    fnr: float = Field(ge=0, le=1, description="share of spoofs accepted as bona fide (false accepts)")
    hter: float = Field(ge=0, le=1, description="mean of both")


class Group(_Model):
    """Figures of a part of the trials, or of all trials without a part."""

    name: OutsideText = Field(description="system, language, codec, or seen/unseen")
    rates: Rates = Field(description="its error figures; spoofs of a system against all human trials")
    transfer: Transfer | None = Field(default=None, description="at the fixed threshold")


class Curve(_Model):
    """A drawn line: as many x as y."""

    x: tuple[float, ...] = Field(description="horizontal")
    y: tuple[float, ...] = Field(description="vertical")


class DetectionPlots(_Model):
    """What the pictures are drawn from; thinned to a few hundred points."""

    det: Curve = Field(description="false accepts (x) against misses (y)")
    histogram_edges: tuple[float, ...] = Field(description="of the score histograms")
    histogram_bonafide: tuple[int, ...] = Field(description="human trials per bin")
    histogram_spoof: tuple[int, ...] = Field(description="synthetic trials per bin")
    tippett_bonafide: Curve | None = Field(description="LLR against share of human trials above it; null without LLRs")
    tippett_spoof: Curve | None = Field(description="LLR against share of spoofs above it; null without LLRs")
    reliability: Curve | None = Field(
        description="mean predicted against observed share of human speech, bins of equal size at a prior of one half"
    )


class Detection(_Model):
    """Figures of a detector."""

    metrics: MetricSet = Field(description="which definitions")
    scores_are_llrs: bool = Field(description="whether scores are calibrated natural-log LLRs")
    overall: Rates = Field(description="all trials")
    transfer: Transfer | None = Field(description="at the dev threshold; null where none was given")
    by_system: tuple[Group, ...] = Field(default=(), description="each spoofing system against all human trials")
    without_system: tuple[Group, ...] = Field(default=(), description="all trials but those of one system")
    by_seen: tuple[Group, ...] = Field(default=(), description="systems that training knew, and those it did not")
    by_language: tuple[Group, ...] = Field(default=(), description="per language, trials of both classes")
    by_codec: tuple[Group, ...] = Field(default=(), description="per codec, trials of both classes")
    plots: DetectionPlots = Field(description="what the pictures are drawn from")


class ClassRow(_Model):
    """One line of the tracing table."""

    name: OutsideText = Field(description="class")
    trials: int = Field(ge=0, description="trials that truly are of this class")
    precision: float = Field(ge=0, le=1)
    recall: float = Field(ge=0, le=1)
    f1: float = Field(ge=0, le=1)


class OpenSet(_Model):
    """How well unseen sources are told from seen ones, by the rule's confidence."""

    auroc: float = Field(ge=0, le=1, description="area under the ROC of seen against unseen")
    fpr95: float = Field(ge=0, le=1, description="share of unseen accepted where 95 % of the seen are")
    oscr: float = Field(ge=0, le=1, description="area under correct classification over false acceptance")


class EmbeddingMap(_Model):
    """A picture of the embeddings in two dimensions; distances between far points mean nothing."""

    method: Literal["t-sne", "umap"] = Field(description="how it was made")
    x: tuple[float, ...]
    y: tuple[float, ...]
    classes: tuple[OutsideText, ...] = Field(description="true class of each point")


class Tracing(_Model):
    """Figures of a tracer."""

    rule: str = Field(description="the open-set rule and its threshold, in words")
    seen: ClassRow = Field(description="macro over the seen classes")
    unseen: ClassRow = Field(description="the single class of everything unseen")
    overall: ClassRow = Field(description="macro over all classes, the unseen one included")
    accuracy: float = Field(ge=0, le=1, description="share of trials given their right class")
    accuracy_interval: Interval | None = Field(description="of the accuracy")
    classes: tuple[ClassRow, ...] = Field(description="every class, 'unseen' last")
    confusion: tuple[tuple[int, ...], ...] = Field(description="rows: truth, columns: decision; order of classes")
    open_set: OpenSet | None = Field(description="null where the trials hold no unseen or no seen source")
    embedding_map: EmbeddingMap | None = Field(default=None, description="null where not asked for")


class EvaluationDocument(_Model):
    """One model, or one score file, on one set of trials."""

    evaluation_version: Literal["1.0"] = Field(default=EVALUATION_VERSION, description="of this document form")
    tool: ToolInfo = Field(description="what program made this document")
    made_at: str = Field(description="ISO 8601, UTC")
    model: ModelInfo | None = Field(description="what scored; null for a score file")
    tracer: OutsideText | None = Field(default=None, description="name, version and hash of a tracer; null otherwise")
    data: DataInfo = Field(description="what was measured on")
    warnings: tuple[Caveat, ...] = Field(default=(), description="what a reader must know first")
    eer: float | None = Field(default=None, description="of a detector: `detection.overall.eer`")
    min_dcf: float | None = Field(default=None, description="likewise")
    act_dcf: float | None = Field(default=None, description="likewise")
    cllr: float | None = Field(default=None, description="likewise")
    detection: Detection | None = Field(default=None, description="figures of a detector")
    tracing: Tracing | None = Field(default=None, description="figures of a tracer")


class Difference(_Model):
    """Two models on the same trials."""

    first: OutsideText = Field(description="name of the first")
    second: OutsideText = Field(description="name of the second")
    statistic: str = Field(description="what is compared, e.g. 'eer'")
    difference: float = Field(description="second minus first: negative when the second errs less")
    interval: Interval | None = Field(description="of the difference, trials resampled alike for both")


class Comparison(_Model):
    """Several models side by side on the trials that all of them scored."""

    evaluation_version: Literal["1.0"] = Field(default=EVALUATION_VERSION, description="of this document form")
    tool: ToolInfo = Field(description="what program made this document")
    made_at: str = Field(description="ISO 8601, UTC")
    data: DataInfo = Field(description="the common trials")
    names: tuple[OutsideText, ...] = Field(description="of the models, as given")
    documents: tuple[EvaluationDocument, ...] = Field(description="each on the common trials")
    differences: tuple[Difference, ...] = Field(description="every pair, every statistic")
