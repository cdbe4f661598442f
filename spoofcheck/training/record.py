"""What a model directory says of its own making (`training.json`), so that anyone can repeat and check it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from spoofcheck import __version__
from spoofcheck.nets import index
from spoofcheck.nets.config import read_optional_record

RECORD_FILE = index.RECORD_FILE
_LIBRARIES = ("lightning", "numpy", "scikit-learn", "soundfile", "soxr", "torch", "torchaudio")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataRecord(_Part):
    """The clips of a run.

    Attributes:
        sha256: of each split: names, labels, systems and contents.
        clips: of each split, by label.
        seen_systems: what trained the model.
        seen_speakers: number of speakers known by name in the training data.
        problems: files that were missing or broken, and left out.
        warnings: what the splits share.
    """

    sha256: dict[str, str]
    clips: dict[str, dict[str, int]]
    seen_systems: tuple[str, ...]
    seen_speakers: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


class RunRecord(_Part):
    """How the run went; `best_epoch` counts from 1 and was chosen on dev."""

    epochs: int | None
    best_epoch: int | None
    metric: str | None
    value: float | None
    devices: int
    precision: str
    parameters: int
    nuisance_auc: float | None


class TrainingRecord(_Part):
    """The whole of `training.json`."""

    recipe: dict[str, Any]
    recipe_sha256: str
    spoofcheck: str
    git_commit: str | None
    libraries: dict[str, str]
    python: str
    data: DataRecord
    run: RunRecord
    figures: dict[str, Any]


def training_record(
    recipe: dict[str, Any],
    recipe_sha256: str,
    commit: str | None,
    data: DataRecord,
    run: RunRecord,
    figures: dict[str, Any],
) -> TrainingRecord:
    """The record of a run by this program and the libraries that it runs with."""
    return TrainingRecord(
        recipe=recipe,
        recipe_sha256=recipe_sha256,
        spoofcheck=__version__,
        git_commit=commit,
        libraries={name: version(name) for name in _LIBRARIES},
        python=platform.python_version(),
        data=data,
        run=run,
        figures=figures,
    )


def read_record(directory: Path) -> TrainingRecord | None:
    """The record of a model directory, or None when it has none.

    Raises:
        ModelError: it is damaged.
    """
    return read_optional_record(directory / RECORD_FILE, TrainingRecord, "training record")
