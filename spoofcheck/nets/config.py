"""A model directory's `config.json`: architecture, window, calibration, decision rule, provenance.

Keys under `front_end` and `back_end`, other than `kind`, are the constructor arguments of the named module.
Importing this module does not import torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from spoofcheck.errors import ModelError
from spoofcheck.schema import ValidationFigure

CONFIG_FILE = "config.json"


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SpectralStemConfig(_Config):
    """Arguments of `spoofcheck.nets.stem.SpectralStem`."""

    kind: Literal["spectral-stem"] = "spectral-stem"
    channels: tuple[PositiveInt, ...] = Field(default=(64, 64, 128, 256, 256, 256), min_length=1)
    fft_samples: PositiveInt = 320
    hop_samples: PositiveInt = 160
    compression: float = Field(default=0.3, gt=0, le=1)


class XlsrConfig(_Config):
    """Arguments of `spoofcheck.nets.xlsr.Xlsr`; the defaults are XLS-R 300M's geometry."""

    kind: Literal["xlsr"] = "xlsr"
    hidden_size: PositiveInt = 1024
    layers: PositiveInt = 24
    heads: PositiveInt = 16
    feed_forward_size: PositiveInt = 4096
    conv_channels: PositiveInt = 512
    position_kernel: PositiveInt = 128
    position_groups: PositiveInt = 16
    dropout: float = Field(default=0.0, ge=0, lt=1)


class WhisperEncoderConfig(_Config):
    """Arguments of `spoofcheck.nets.whisper.WhisperFeatures`; the defaults are Whisper base's geometry."""

    kind: Literal["whisper-encoder"] = "whisper-encoder"
    width: PositiveInt = 512
    heads: PositiveInt = 8
    feed_forward_size: PositiveInt = 2048
    mel_bands: PositiveInt = 80
    positions: PositiveInt = 200
    use_layers: tuple[PositiveInt, ...] = Field(default=(1, 2, 3), min_length=1)
    combine: Literal["mean", "concat"] = "mean"
    dropout: float = Field(default=0.0, ge=0, lt=1)


SingleFrontEndConfig = Annotated[SpectralStemConfig | XlsrConfig | WhisperEncoderConfig, Field(discriminator="kind")]


class ConcatConfig(_Config):
    """Arguments of `spoofcheck.nets.frontends.Concat`."""

    kind: Literal["concat"] = "concat"
    parts: tuple[SingleFrontEndConfig, ...] = Field(min_length=2)
    project_to: PositiveInt | None = None


AnyFrontEndConfig = SpectralStemConfig | XlsrConfig | WhisperEncoderConfig | ConcatConfig
FrontEndConfig = Annotated[AnyFrontEndConfig, Field(discriminator="kind")]


class _Nes2NetConfig(_Config):
    channels: PositiveInt = 1024
    blocks: PositiveInt = 8
    scale: PositiveInt = 8
    dilation: PositiveInt = 2
    se_ratio: PositiveInt = 1
    dropout: float = Field(default=0.2, ge=0, lt=1)
    pooling: Literal["mean", "astp"] = "mean"


class Nes2NetXConfig(_Nes2NetConfig):
    """Arguments of `spoofcheck.nets.nes2net.Nes2Net` without local attention."""

    kind: Literal["nes2net-x"] = "nes2net-x"


class Nes2NetLaConfig(_Nes2NetConfig):
    """Arguments of `spoofcheck.nets.nes2net.Nes2Net` with local attention."""

    kind: Literal["nes2net-la"] = "nes2net-la"
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)


AnyBackEndConfig = Nes2NetLaConfig | Nes2NetXConfig
BackEndConfig = Annotated[AnyBackEndConfig, Field(discriminator="kind")]


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


class ValidatedConfig(_Config):
    """The input conditions the model was validated on; outside them a verdict is inconclusive."""

    min_sample_rate_hz: PositiveInt
    min_bandwidth_hz: float = Field(ge=0)
    min_snr_db: float
    max_clipping_share: float = Field(ge=0, le=1)


class ModelConfig(_Config):
    """The whole of `config.json`."""

    format_version: Literal[1] = 1
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    task: Literal["detector"] = "detector"
    front_end: FrontEndConfig
    back_end: BackEndConfig
    sample_rate_hz: Literal[16_000] = 16_000
    window_samples: PositiveInt = 64_000
    crop: CropConfig = CropConfig()
    label_order: tuple[Literal["spoof"], Literal["bonafide"]] = ("spoof", "bonafide")
    calibration: CalibrationConfig
    decision: DecisionConfig
    validated: ValidatedConfig
    licence: str
    training_data: str
    limitations: tuple[str, ...] = ()
    validation: tuple[ValidationFigure, ...] = ()

    @property
    def architecture(self) -> str:
        """Front-end and back-end in a few words, for reports."""
        parts = self.front_end.parts if isinstance(self.front_end, ConcatConfig) else (self.front_end,)
        front_end = " + ".join(part.kind for part in parts)
        return f"{front_end} -> {self.back_end.kind}, {self.back_end.channels} channels"


def read_config(directory: Path) -> ModelConfig:
    """The configuration of a model directory.

    Raises:
        ModelError: no such directory or file, not JSON, or a key that is missing, unknown or out of range
        (named).
    """
    return parse_config(read_model_file(directory, CONFIG_FILE), directory / CONFIG_FILE)


def read_model_file(directory: Path, name: str) -> bytes:
    """A file of a model directory.

    Raises:
        ModelError: no such directory, or the file is missing or unreadable.
    """
    if not directory.is_dir():
        raise ModelError(f"{directory}: no such model directory")
    try:
        return (directory / name).read_bytes()
    except OSError as error:
        raise ModelError(f"{directory / name}: cannot be read ({error.strerror})") from error


def parse_config(data: bytes, source: Path) -> ModelConfig:
    """Check the bytes of a `config.json`; `source` is named in errors."""
    try:
        return ModelConfig.model_validate_json(data)
    except ValidationError as error:
        raise ModelError(f"{source}: {_describe(error)}") from error


def _describe(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False)
    first = details[0]
    if not first["loc"]:
        return first["msg"]
    key = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(details) - 1} more problems)" if len(details) > 1 else ""
    return f"key '{key}': {first['msg']}{more}"


def config_json(config: ModelConfig) -> str:
    """The text of `config.json`: indented, every key spelt out, one final newline."""
    return json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
