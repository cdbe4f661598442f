"""What a model's calibration by its user rests on: `calibration.json` in the model's directory. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from spoofcheck.evaluation.clips import Clip
from spoofcheck.nets.config import read_optional_record

CALIBRATION_FILE = "calibration.json"


class CalibrationRecord(BaseModel):
    """The whole of `calibration.json`.

    Attributes:
        model: name, version, and SHA-256 of weights and configuration of the model that was calibrated.
        data: what the recordings are called.
        files: SHA-256 of the protocol files, by name.
        clips_sha256: of the recordings, see `evaluation.audit.manifest_sha256`.
        clips: how many the protocol names and are there, by label.
        systems: recordings that were fitted on, by spoofing system.
        unscored: recordings without a score, by problem.
        is_separable: whether every synthetic recording scored higher than every human one.
        figures: of the cross-validation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spoofcheck: str
    git_commit: str | None
    model: dict[str, str]
    data: str
    files: dict[str, str]
    clips_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    clips: dict[str, int]
    systems: dict[str, int]
    unscored: dict[str, int]
    is_separable: bool
    figures: dict[str, Any]


def read_calibration_record(directory: Path) -> CalibrationRecord | None:
    """The record of a model directory; None where there is none.

    Raises:
        ModelError: it is damaged.
    """
    return read_optional_record(directory / CALIBRATION_FILE, CalibrationRecord, "record of a calibration")


def present(clips: Sequence[Clip]) -> list[Clip]:
    """The clips whose recordings are on this machine: those that a record's hash is of."""
    return [clip for clip in clips if clip.path.is_file()]
