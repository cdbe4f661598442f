"""A model directory's `config.json`: architecture, window, calibration, decision rule, provenance.

A directory holds a detector (`task` "detector": is it synthetic?) or a tracer (`task` "tracer": which system made it?).
Keys under `front_end`, `back_end` and `head`, other than `kind`, are the constructor arguments of the named module.
Importing this module does not import torch.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from spoofcheck.errors import ModelError, brief
from spoofcheck.schema import TracingFigure, ValidationFigure, ValidityLimits
from spoofcheck.wholefile import read_whole

CONFIG_FILE = "config.json"
MAX_CONFIG_BYTES = 16 << 20
MAX_WEIGHTS_BYTES = 16 << 30
MAX_WINDOW_SAMPLES = 10 * 60 * 16_000
_Size = Annotated[int, Field(gt=0, le=1 << 16)]
_Few = Annotated[int, Field(gt=0, le=256)]
"""Bounds of an architecture: whatever a configuration says, it is soon known how large a network it describes."""

_Record = TypeVar("_Record", bound=BaseModel)


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SpectralStemConfig(_Config):
    """Arguments of `spoofcheck.nets.stem.SpectralStem`."""

    kind: Literal["spectral-stem"] = "spectral-stem"
    channels: tuple[_Size, ...] = Field(default=(64, 64, 128, 256, 256, 256), min_length=1, max_length=256)
    fft_samples: _Size = 320
    hop_samples: _Size = 160
    compression: float = Field(default=0.3, gt=0, le=1)


class XlsrConfig(_Config):
    """Arguments of `spoofcheck.nets.xlsr.Xlsr`; the defaults are XLS-R 300M's geometry."""

    kind: Literal["xlsr"] = "xlsr"
    hidden_size: _Size = 1024
    layers: _Few = 24
    heads: _Few = 16
    feed_forward_size: _Size = 4096
    conv_channels: _Size = 512
    position_kernel: _Size = 128
    position_groups: _Few = 16
    dropout: float = Field(default=0.0, ge=0, lt=1)
    output: Literal["last", "all-layers"] = "last"


class WhisperEncoderConfig(_Config):
    """Arguments of `spoofcheck.nets.whisper.WhisperFeatures`; the defaults are Whisper base's geometry."""

    kind: Literal["whisper-encoder"] = "whisper-encoder"
    width: _Size = 512
    heads: _Few = 8
    feed_forward_size: _Size = 2048
    mel_bands: _Size = 80
    positions: _Size = 200
    use_layers: tuple[_Few, ...] = Field(default=(1, 2, 3), min_length=1, max_length=256)
    combine: Literal["mean", "concat"] = "mean"
    dropout: float = Field(default=0.0, ge=0, lt=1)


class MelSpectrogramConfig(_Config):
    """Arguments of `spoofcheck.nets.mel.MelSpectrogram`."""

    kind: Literal["mel-spectrogram"] = "mel-spectrogram"
    bands: _Size = 128
    fft_samples: _Size = 1024
    hop_samples: _Size = 256


class VoiceStatisticsConfig(_Config):
    """Arguments of `spoofcheck.nets.statistics.VoiceStatistics`; it always gives 34 channels and one frame."""

    kind: Literal["voice-statistics"] = "voice-statistics"
    fft_samples: _Size = 2048
    hop_samples: _Size = 512
    pitch_low_hz: float = Field(default=65.0, gt=0)
    pitch_high_hz: float = Field(default=500.0, gt=0, lt=8_000)


class VoiceFeaturesConfig(_Config):
    """Of `spoofcheck.nets.features.VoiceFeatures`, which takes no arguments: 47 channels and one frame."""

    kind: Literal["voice-features"] = "voice-features"


SingleFrontEndConfig = Annotated[
    SpectralStemConfig | XlsrConfig | WhisperEncoderConfig | MelSpectrogramConfig, Field(discriminator="kind")
]


class ConcatConfig(_Config):
    """Arguments of `spoofcheck.nets.frontends.Concat`."""

    kind: Literal["concat"] = "concat"
    parts: tuple[SingleFrontEndConfig, ...] = Field(min_length=2, max_length=256)
    project_to: _Size | None = None

    @field_validator("parts")
    @classmethod
    def _frames_are_moments(cls, parts: tuple[SingleFrontEndConfig, ...]) -> tuple[SingleFrontEndConfig, ...]:
        if any(isinstance(part, XlsrConfig) and part.output != "last" for part in parts):
            raise ValueError("an xlsr part must have output 'last': the frames of all layers follow one another")
        return parts


AnyFrontEndConfig = (
    SpectralStemConfig
    | XlsrConfig
    | WhisperEncoderConfig
    | MelSpectrogramConfig
    | VoiceStatisticsConfig
    | VoiceFeaturesConfig
    | ConcatConfig
)
FrontEndConfig = Annotated[AnyFrontEndConfig, Field(discriminator="kind")]


class _Nes2NetConfig(_Config):
    channels: _Size = 1024
    blocks: _Few = 8
    scale: _Few = 8
    dilation: _Few = 2
    se_ratio: _Few = 1
    dropout: float = Field(default=0.2, ge=0, lt=1)
    pooling: Literal["mean", "astp"] = "mean"


class Nes2NetXConfig(_Nes2NetConfig):
    """Arguments of `spoofcheck.nets.nes2net.Nes2Net` without local attention."""

    kind: Literal["nes2net-x"] = "nes2net-x"


class Nes2NetLaConfig(_Nes2NetConfig):
    """Arguments of `spoofcheck.nets.nes2net.Nes2Net` with local attention."""

    kind: Literal["nes2net-la"] = "nes2net-la"
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)


class AasistConfig(_Config):
    """Arguments of `spoofcheck.nets.aasist.Aasist`; the defaults are the published XLS-R + AASIST's geometry."""

    kind: Literal["aasist"] = "aasist"
    channels: _Size = 1024
    width: int = Field(default=128, ge=6, le=1 << 16)
    filters: tuple[_Size, ...] = Field(default=(32, 32, 64, 64, 64, 64), min_length=1, max_length=256)
    graph_channels: _Size = 64
    stack_channels: _Size = 32
    keep_share: float = Field(default=0.5, gt=0, le=1)
    graph_temperature: float = Field(default=2.0, gt=0)
    stack_temperature: float = Field(default=100.0, gt=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    readout_dropout: float = Field(default=0.5, ge=0, lt=1)
    maps_norm: bool = False


class MelCnnConfig(_Config):
    """Arguments of `spoofcheck.nets.melcnn.MelCnn`."""

    kind: Literal["mel-cnn"] = "mel-cnn"
    channels: _Size = 128
    widths: tuple[_Size, ...] = Field(default=(32, 64, 128, 256), min_length=1, max_length=256)
    dropout: float = Field(default=0.2, ge=0, lt=1)


class StatisticsReadoutConfig(_Config):
    """Arguments of `spoofcheck.nets.readout.StatisticsReadout`."""

    kind: Literal["statistics-readout"] = "statistics-readout"
    channels: _Size = 1024


class BoostedTreesConfig(_Config):
    """Arguments of `spoofcheck.nets.trees.BoostedTrees`: the shapes of its buffers."""

    kind: Literal["boosted-trees"] = "boosted-trees"
    channels: _Size = 34
    trees: int = Field(ge=1, le=10_000)
    nodes: int = Field(ge=1, le=65_535)


AnyBackEndConfig = (
    Nes2NetLaConfig | Nes2NetXConfig | AasistConfig | MelCnnConfig | StatisticsReadoutConfig | BoostedTreesConfig
)
BackEndConfig = Annotated[AnyBackEndConfig, Field(discriminator="kind")]


class MemberConfig(_Config):
    """One detector of an ensemble: its name, the SHA-256 of its `model.safetensors`, and what it weighs."""

    model: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    weight: float


class EnsembleConfig(_Config):
    """How the raw scores of several detectors become one (`spoofcheck.nets.ensemble`).

    Members lie beside the ensemble or among the shipped models. The first lends its front-end, whose features a tracer
    may share, and its validity gate.

    Attributes:
        fusion: "weighted-probability": the weighted mean of the members' probabilities (the sigmoid of a raw score),
            and its logit as the raw score; "logistic": the weighted sum of the raw scores, and `bias`.
        channels: of the first member's front-end.
    """

    kind: Literal["ensemble"] = "ensemble"
    channels: _Size
    fusion: Literal["weighted-probability", "logistic"]
    members: tuple[MemberConfig, ...] = Field(min_length=2)
    bias: float = 0.0

    @model_validator(mode="after")
    def _weights_are_shares(self) -> Self:
        names = [member.model for member in self.members]
        if len(set(names)) < len(names):
            raise ValueError("a member is named twice")
        weights = [member.weight for member in self.members]
        if self.fusion == "weighted-probability":
            if min(weights) <= 0 or abs(sum(weights) - 1) > 1e-6:
                raise ValueError("the weights of probabilities must be above 0 and sum to 1")
            if self.bias != 0:
                raise ValueError("a mean of probabilities has no bias")
        return self

    @property
    def words(self) -> str:
        """Fusion and members, for reports."""
        members = ", ".join(f"{one.model} {one.weight:.3g} ({one.weights_sha256[:12]})" for one in self.members)
        bias = f", bias {self.bias:+.3g}" if self.fusion == "logistic" else ""
        return f"{self.fusion.replace('-', ' ')} ensemble of {members}{bias}"


class LayerAttentionConfig(_Config):
    """Arguments of `spoofcheck.nets.tracer.LayerAttention`; the defaults are the published tracer's geometry."""

    kind: Literal["layer-attention"] = "layer-attention"
    channels: _Size = 1024
    heads: _Few = 4
    hidden: _Size = 128


class PooledEmbeddingConfig(_Config):
    """Arguments of `spoofcheck.nets.tracer.PooledEmbedding`."""

    kind: Literal["pooled-embedding"] = "pooled-embedding"
    channels: _Size = 1024
    bottleneck: _Size = 128
    embedding: _Size = 128
    dropout: float = Field(default=0.2, ge=0, lt=1)


class StatisticsEmbeddingConfig(_Config):
    """Arguments of `spoofcheck.nets.embedding.StatisticsEmbedding`."""

    kind: Literal["statistics-embedding"] = "statistics-embedding"
    channels: _Size = 1024
    embedding: _Size = 64
    scale: float = Field(default=16.0, gt=0)


AnyHeadConfig = LayerAttentionConfig | PooledEmbeddingConfig | StatisticsEmbeddingConfig
HeadConfig = Annotated[AnyHeadConfig, Field(discriminator="kind")]


class CropConfig(_Config):
    """How a recording that is no multiple of the window is covered."""

    short: Literal["repeat"] = "repeat"
    tail: Literal["align-end"] = "align-end"


class LogisticMap(_Config):
    """`spoof_llr = slope * raw_score + intercept`, natural log."""

    slope: float = Field(gt=0)
    intercept: float


class CalibrationConfig(_Config):
    """How raw scores become bounded likelihood ratios, for one window and for a whole exhibit.

    A raw score is the spoof logit minus the bona fide logit; an exhibit's is the mean over its scored
    windows.
    """

    method: Literal["logistic"] = "logistic"
    window: LogisticMap
    exhibit: LogisticMap
    llr_bound: float = Field(gt=0, description="largest magnitude of an LLR the calibration data support")
    data: str
    bonafide_trials: PositiveInt
    spoof_trials: PositiveInt


class DecisionConfig(_Config):
    """Thresholds of the decision rule; LLRs are natural logs, positive supports synthetic."""

    spoof_threshold_llr: float
    bonafide_threshold_llr: float
    window_threshold_llr: float
    partial_min_windows: PositiveInt
    partial_threshold_llr: float
    min_window_speech_s: float = Field(ge=0)
    min_exhibit_speech_s: float = Field(ge=0)


UNCALIBRATED_DECISION = DecisionConfig(
    spoof_threshold_llr=0.0,
    bonafide_threshold_llr=0.0,
    window_threshold_llr=0.0,
    partial_min_windows=2,
    partial_threshold_llr=0.0,
    min_window_speech_s=0.5,
    min_exhibit_speech_s=2.0,
)
"""The decision rule of a detector without calibration.

Of it only the least speech holds: there is no LLR that a threshold could be compared with, and no document states the
thresholds. `spoofcheck models calibrate` sets them together with the calibration.
"""


class ValidatedConfig(_Config):
    """The input conditions the model was validated on; outside them a verdict is inconclusive."""

    min_sample_rate_hz: PositiveInt
    min_bandwidth_hz: float = Field(ge=0)
    min_snr_db: float
    max_clipping_share: float = Field(ge=0, le=1)


class GateConfig(_Config):
    """Arguments of `spoofcheck.nets.gate.Gate`, and the distances at which an LLR shrinks and is refused."""

    components: _Size
    features: _Size = Field(description="twice the front-end's channels")
    data: str = Field(description="what distances are measured to, and the limits were chosen on")
    window: ValidityLimits
    exhibit: ValidityLimits


class _AnyModel(_Config):
    """What detectors and tracers share."""

    format_version: Literal[1] = 1
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    front_end: FrontEndConfig
    sample_rate_hz: Literal[16_000] = 16_000
    window_samples: int = Field(default=64_000, gt=0, le=MAX_WINDOW_SAMPLES)
    crop: CropConfig = CropConfig()
    waveform: Literal["as-decoded"] = Field(
        default="as-decoded", description="samples enter as they are: no change of level, no normalisation"
    )
    licence: str
    training_data: str
    limitations: tuple[str, ...] = ()

    def _described(self, rest: str) -> str:
        parts = self.front_end.parts if isinstance(self.front_end, ConcatConfig) else (self.front_end,)
        return f"{' + '.join(_front_end_words(part) for part in parts)} -> {rest}"


class ModelConfig(_AnyModel):
    """The whole of a detector's `config.json`."""

    task: Literal["detector"] = "detector"
    back_end: Annotated[AnyBackEndConfig | EnsembleConfig, Field(discriminator="kind")]
    label_order: tuple[Literal["spoof"], Literal["bonafide"]] = ("spoof", "bonafide")
    calibration: CalibrationConfig | None = None
    """None: uncalibrated. It gives raw scores, but no LLR and no verdict, and of `decision` only the speech holds."""
    decision: DecisionConfig
    validated: ValidatedConfig
    gate: GateConfig | None = None
    validation: tuple[ValidationFigure, ...] = ()

    @property
    def architecture(self) -> str:
        """Front-end and back-end in a few words, for reports."""
        if isinstance(self.back_end, EnsembleConfig):
            return self.back_end.words
        return self._described(f"{self.back_end.kind}, {self.back_end.channels} channels")


class OpenSetConfig(_Config):
    """When a tracer says that none of its sources made a clip: what the method measures is below the threshold.

    `max-softmax` is the published tracers' rule, on the largest softmax; `prototype-cosine` is a rule on the largest
    cosine to a prototype, which says the same of a source whatever others there are.
    """

    method: Literal["max-softmax", "prototype-cosine"] = "max-softmax"
    threshold: float = Field(ge=-1, le=1)
    data: str = Field(description="what the threshold was chosen on")

    @model_validator(mode="after")
    def _is_a_share(self) -> Self:
        if self.method == "max-softmax" and self.threshold < 0:
            raise ValueError("a threshold on a softmax cannot be negative")
        return self

    @property
    def words(self) -> str:
        """The rule as a scan applies and states it."""
        measure = "cosine" if self.method == "prototype-cosine" else "softmax, averaged over the traced windows"
        return f"{UNKNOWN_SOURCE} when the largest similarity ({measure}) is below {self.threshold:g}"


class CosineCalibration(LogisticMap):
    """`llr = slope * cosine + intercept`, natural log, bounded; and what it was fitted and measured on."""

    llr_bound: float = Field(gt=0, description="largest magnitude of an LLR the trials support")
    data: str
    target_trials: PositiveInt = Field(description="trials of the first proposition")
    other_trials: PositiveInt = Field(description="trials of the second proposition")
    eer: float = Field(ge=0, le=1)
    cllr: float = Field(ge=0)


ClassName = Annotated[str, StringConstraints(min_length=1, max_length=100)]

SystemPattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]

UNSEEN = "unseen"
"""What a clip is called in an evaluation that no class of a tracer made; no class may have this name."""

UNKNOWN_SOURCE = "unknown"
"""What a scan says of an exhibit that the open-set rule gives to no class; no class may have this name."""


class TracerConfig(_AnyModel):
    """The whole of a tracer's `config.json`."""

    task: Literal["tracer"] = "tracer"
    head: HeadConfig
    classes: tuple[ClassName, ...] = Field(min_length=2, description="in the order of the logits")
    systems: dict[ClassName, Annotated[tuple[SystemPattern, ...], Field(min_length=1)]] = Field(
        default={}, description="glob patterns of the systems a class stands for, beside the one of its own name"
    )
    open_set: OpenSetConfig
    groups: tuple[Annotated[tuple[ClassName, ...], Field(min_length=2)], ...] = Field(
        default=(), description="classes that cannot be told apart; none is in two groups"
    )
    source_calibration: CosineCalibration | None = Field(
        default=None, description="of the cosine to a source: a system of it made the clip, or another one did"
    )
    link_calibration: CosineCalibration | None = Field(
        default=None, description="of the cosine of two clips: systems of one source made them, or of two"
    )
    validation: tuple[TracingFigure, ...] = ()

    @field_validator("classes")
    @classmethod
    def _tells_classes_apart(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        repeated = [name for i, name in enumerate(classes) if name in classes[:i]]
        if repeated:
            raise ValueError(f"the class {repeated[0]!r} occurs twice")
        taken = [name for name in classes if name in (UNSEEN, UNKNOWN_SOURCE)]
        if taken:
            raise ValueError(f"{taken[0]!r} is what the open-set rule answers; a class needs another name")
        return classes

    @model_validator(mode="after")
    def _rule_has_its_prototypes(self) -> Self:
        if self.open_set.method == "prototype-cosine" and not isinstance(self.head, StatisticsEmbeddingConfig):
            raise ValueError(f"open_set.method 'prototype-cosine' needs a head with prototypes, not {self.head.kind!r}")
        return self

    @model_validator(mode="after")
    def _calibrations_have_their_cosines(self) -> Self:
        calibrated = self.source_calibration is not None or self.link_calibration is not None
        if calibrated and not isinstance(self.head, StatisticsEmbeddingConfig):
            raise ValueError(f"calibrations of cosines need a head with prototypes, not {self.head.kind!r}")
        return self

    @model_validator(mode="after")
    def _groups_are_of_classes(self) -> Self:
        grouped = [name for group in self.groups for name in group]
        strangers = sorted(set(grouped) - set(self.classes))
        if strangers:
            raise ValueError(f"'groups' names {strangers[0]!r}, which is not among the classes")
        if len(set(grouped)) < len(grouped):
            raise ValueError("'groups' names a class twice")
        return self

    @model_validator(mode="after")
    def _systems_are_of_classes(self) -> Self:
        strangers = sorted(self.systems.keys() - set(self.classes))
        if strangers:
            raise ValueError(f"'systems' names {strangers[0]!r}, which is not among the classes")
        return self

    def class_of(self, system: str) -> str | None:
        """The class that stands for a system: the one of its name, else the first with a fitting pattern, else None.

        Patterns are `fnmatch`'s and mind upper and lower case: `"piper*"` fits `"piper-1.2"`.
        """
        if system in self.classes:
            return system
        fitting = (
            name for name in self.classes if any(fnmatchcase(system, glob) for glob in self.systems.get(name, ()))
        )
        return next(fitting, None)

    @property
    def architecture(self) -> str:
        """Front-end and head in a few words, for reports."""
        return self._described(f"{self.head.kind}, {self.head.channels} channels, {len(self.classes)} classes")


AnyModelConfig = ModelConfig | TracerConfig


def _front_end_words(config: AnyFrontEndConfig) -> str:
    return "xlsr (all layers)" if isinstance(config, XlsrConfig) and config.output == "all-layers" else config.kind


def read_config(directory: Path) -> ModelConfig:
    """The configuration of a detector's directory.

    Raises:
        ModelError: no such directory or file, not JSON, a key that is missing, unknown or out of range (named), or a
        tracer's directory.
    """
    return parse_config(read_model_file(directory, CONFIG_FILE), directory / CONFIG_FILE)


def read_tracer_config(directory: Path) -> TracerConfig:
    """The configuration of a tracer's directory.

    Raises:
        ModelError: as `read_config`; also a detector's directory.
    """
    return parse_tracer_config(read_model_file(directory, CONFIG_FILE), directory / CONFIG_FILE)


def read_any_config(directory: Path) -> AnyModelConfig:
    """The configuration of a model directory of either task.

    Raises:
        ModelError: as `read_config`, or a task that is neither "detector" nor "tracer".
    """
    return parse_any_config(read_model_file(directory, CONFIG_FILE), directory / CONFIG_FILE)


def read_model_file(directory: Path, name: str) -> bytes:
    """A file of a model directory.

    A symbolic link is followed, as caches of hubs hold files in that way; what is read is what is hashed.

    Raises:
        ModelError: no such directory, or the file is missing, unreadable, no regular file or larger than any may be.
    """
    if not directory.is_dir():
        raise ModelError(f"{directory}: no such model directory")
    most = MAX_CONFIG_BYTES if name == CONFIG_FILE else MAX_WEIGHTS_BYTES
    try:
        return read_whole(directory / name, most)
    except OSError as error:
        raise ModelError(f"{directory / name}: cannot be read ({error.strerror})") from error


def read_optional_record(path: Path, form: type[_Record], what: str) -> _Record | None:
    """A record beside a model's files; None where there is none.

    Args:
        form: of its JSON.
        what: it is called when it is damaged.

    Raises:
        ModelError: it is damaged.
    """
    try:
        return form.model_validate_json(read_whole(path, MAX_CONFIG_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ModelError(f"{path}: not a readable {what}") from error


def parse_config(data: bytes, source: Path) -> ModelConfig:
    """Check the bytes of a detector's `config.json`; `source` is named in errors."""
    config = parse_any_config(data, source)
    if isinstance(config, TracerConfig):
        raise ModelError(f"{source}: describes a tracer, not a detector; a tracer is given with --tracer")
    return config


def parse_tracer_config(data: bytes, source: Path) -> TracerConfig:
    """Check the bytes of a tracer's `config.json`; `source` is named in errors."""
    config = parse_any_config(data, source)
    if isinstance(config, ModelConfig):
        raise ModelError(f"{source}: describes a detector, not a tracer; only a tracer can be given with --tracer")
    return config


def parse_any_config(data: bytes, source: Path) -> AnyModelConfig:
    """Check the bytes of a `config.json` of either task; `source` is named in errors."""
    try:
        task = _Task.model_validate_json(data).task
        return (TracerConfig if task == "tracer" else ModelConfig).model_validate_json(data)
    except ValidationError as error:
        raise ModelError(f"{source}: {_describe(error)}") from error


class _Task(BaseModel):
    """The one key that says how to read the others; an older `config.json` without it is a detector's."""

    task: Literal["detector", "tracer"] = "detector"


def _describe(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False)
    first = details[0]
    if not first["loc"]:
        return first["msg"]
    key = brief(".".join(str(part) for part in first["loc"]))
    more = f" (and {len(details) - 1} more problems)" if len(details) > 1 else ""
    return f"key '{key}': {brief(first['msg'])}{more}"


def config_json(config: AnyModelConfig) -> str:
    """The text of `config.json`: indented, every key spelt out, one final newline."""
    return json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
