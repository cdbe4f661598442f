"""Published architectures, and a checkpoint of one of them made into a model directory of ours.

The settings are those of the published code (github.com/XuepingZhang/MultiAPI-Spoof): windows of 64,600 samples, the
waveform as it is, short recordings repeated. Its evaluation draws a random window; ours never does. No calibration
comes with a checkpoint, so a detector gives raw scores until `spoofcheck models calibrate` has fitted one.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from spoofcheck.errors import OutputError, UsageError
from spoofcheck.nets.checkpoints import read_checkpoint
from spoofcheck.nets.config import (
    CONFIG_FILE,
    UNCALIBRATED_DECISION,
    AasistConfig,
    AnyModelConfig,
    BackEndConfig,
    LayerAttentionConfig,
    ModelConfig,
    Nes2NetLaConfig,
    Nes2NetXConfig,
    OpenSetConfig,
    TracerConfig,
    ValidatedConfig,
    XlsrConfig,
    config_json,
)
from spoofcheck.nets.fairseq import Converted, Layout, convert, detector_layout, tracer_layout
from spoofcheck.nets.index import (
    CARD_FILE,
    WEIGHTS_FILE,
    Arch,
    Origin,
    is_plain_name,
    read_index,
    write_origin,
)

WINDOW_SAMPLES = 64_600
TRACED_CLASSES = tuple(f"A{index}" for index in range(21))
"""The published tracer's classes in the order of its logits: the anonymous APIs of MultiAPI Spoof seen in training."""

_VALIDATED = ValidatedConfig(
    min_sample_rate_hz=16_000, min_bandwidth_hz=3_200.0, min_snr_db=15.0, max_clipping_share=0.02
)
"""Nobody measured these systems outside such conditions: the rate they were trained at, the rest as for our own."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A published system: what it is made of. Exactly one of `back_end` and `head` is set."""

    front_end: XlsrConfig
    back_end: BackEndConfig | None = None
    head: LayerAttentionConfig | None = None

    def layout(self) -> Layout:
        """What a checkpoint of it holds."""
        if self.head is not None:
            return tracer_layout(self.front_end, self.head, len(TRACED_CLASSES))
        assert self.back_end is not None
        return detector_layout(self.front_end, self.back_end)


ARCHITECTURES: dict[Arch, Architecture] = {
    "xlsr-nes2net-la": Architecture(XlsrConfig(), Nes2NetLaConfig()),
    "xlsr-nes2net-x": Architecture(XlsrConfig(), Nes2NetXConfig()),
    "xlsr-aasist": Architecture(XlsrConfig(), AasistConfig(maps_norm=True)),
    "xlsr-tracer": Architecture(XlsrConfig(output="all-layers"), head=LayerAttentionConfig()),
}


@dataclass(frozen=True, slots=True)
class Description:
    """What is said of an imported model.

    Attributes:
        name: of the model.
        arch: key of `ARCHITECTURES`.
        licence: of the weights.
        training_data: what they were trained on.
        limitations: what the model must not be relied on for.
        source: paper and code; empty when not known.
        repository: on a hub; None for a file of the user's own.
        revision: commit of the repository.
        file: of the checkpoint, as its repository or folder names it.
    """

    name: str
    arch: Arch
    licence: str
    training_data: str
    limitations: tuple[str, ...]
    source: str
    repository: str | None
    revision: str | None
    file: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A model directory that was made from a checkpoint."""

    directory: Path
    origin: Origin


def check_target(name: str, out: Path) -> None:
    """Refuse what could not be found again, or would overwrite something, before anything is read or downloaded.

    Raises:
        UsageError: the name is no plain one or a shipped model's, or something lies at `out`.
    """
    if not is_plain_name(name):
        raise UsageError(f"--name {name!r}: a model's name has lower case letters, digits, '.', '_' and '-' only")
    if name in read_index().models:
        raise UsageError(f"{name!r} is the name of a shipped model; give another one with --name")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: there is something already; remove it, or give another folder with --out")


def import_checkpoint(
    checkpoint: Path, out: Path, description: Description, sha256: str, architecture: Architecture | None = None
) -> Imported:
    """Make a model directory of a checkpoint: complete, or not there at all.

    Args:
        checkpoint: a `state_dict`, pickled or as safetensors.
        out: where the directory is to lie.
        description: what its configuration and card say.
        sha256: of the checkpoint, measured by whoever checked it.
        architecture: instead of the one that `description.arch` names, for small ones in tests.

    Raises:
        ModelError: the checkpoint cannot be read safely, or does not hold this architecture's weights.
        OutputError: the directory cannot be written.
    """
    architecture = architecture or ARCHITECTURES[description.arch]
    converted = convert(read_checkpoint(checkpoint), architecture.layout(), checkpoint)
    config = _config(architecture, description, sha256)
    origin = Origin(
        arch=description.arch,
        repository=description.repository,
        revision=description.revision,
        file=description.file,
        sha256=sha256,
        loaded=converted.loaded,
        dropped=converted.dropped,
    )
    try:
        _write(out, config, converted, _card(config, description, origin), origin)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror})") from error
    return Imported(out, origin)


def _config(architecture: Architecture, description: Description, sha256: str) -> AnyModelConfig:
    version = f"sha256-{sha256[:12]}" if description.revision is None else description.revision[:12]
    if architecture.head is not None:
        return TracerConfig(
            name=description.name,
            version=version,
            front_end=architecture.front_end,
            head=architecture.head,
            window_samples=WINDOW_SAMPLES,
            licence=description.licence,
            training_data=description.training_data,
            limitations=description.limitations,
            classes=TRACED_CLASSES,
            open_set=OpenSetConfig(threshold=0.5, data="none: the published rule, 'unseen' below half of the softmax"),
        )
    assert architecture.back_end is not None
    return ModelConfig(
        name=description.name,
        version=version,
        front_end=architecture.front_end,
        back_end=architecture.back_end,
        window_samples=WINDOW_SAMPLES,
        licence=description.licence,
        training_data=description.training_data,
        limitations=description.limitations,
        calibration=None,
        decision=UNCALIBRATED_DECISION,
        validated=_VALIDATED,
    )


def _write(out: Path, config: AnyModelConfig, converted: Converted, card: str, origin: Origin) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        save_file(converted.state, beside / WEIGHTS_FILE)
        (beside / CONFIG_FILE).write_text(config_json(config), encoding="utf-8")
        (beside / CARD_FILE).write_text(card, encoding="utf-8")
        write_origin(beside, origin)
        beside.chmod(0o755)  # a temporary directory is for its owner alone
        if out.is_dir():
            out.rmdir()  # empty, as `check_target` saw; anything in it by now stops the rename
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _card(config: AnyModelConfig, description: Description, origin: Origin) -> str:
    what = "Tracer" if config.task == "tracer" else "Detector"
    place = (
        "a file"
        if origin.repository is None
        else f"`{origin.repository}` at `{origin.revision or 'an unknown commit'}`"
    )
    lines = [
        f"# {config.name} {config.version}",
        "",
        f"{what} imported from a published checkpoint: {config.architecture}.",
        "",
        f"- Licence of the weights: **{config.licence}**",
        f"- Trained on: {config.training_data}",
        f"- Made from: `{origin.file}` of {place}, SHA-256 `{origin.sha256}`",
    ]
    if description.source:
        lines.append(f"- Source: {description.source}")
    lines += ["", "## Calibration", ""]
    if config.task == "tracer":
        lines.append(
            "None. Similarities are softmax values, not probabilities; the open-set rule is the published one."
        )
    else:
        lines.append(
            "None came with the checkpoint: it gives raw scores (spoof logit minus bona fide logit), but no likelihood "
            "ratio and no verdict. `spoofcheck models calibrate` fits a calibration on your own labelled recordings."
        )
    lines += ["", "## What it must not be relied on for", "", *(f"- {text}" for text in config.limitations)]
    lines += ["", "## Weights", "", "| part | tensors |", "|---|---:|"]
    lines += [f"| {group} | {count} |" for group, count in origin.loaded.items()]
    lines += [f"| dropped: {group} | {count} |" for group, count in origin.dropped.items()]
    return "\n".join(lines) + "\n"
