"""What a detector's training record holds beyond its configuration: figures per condition, and where scores lie.

The record (`training.json`) is no part of a model; its figures are used where it belongs to the model: the error
figures in it are those of the configuration, which is read together with the weights. The record of a shipped model is
checked against the index of models, too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from spoofcheck.errors import ModelError
from spoofcheck.nets.bundle import Bundle
from spoofcheck.nets.config import MAX_CONFIG_BYTES
from spoofcheck.nets.index import INDEX_FILE, RECORD_FILE, shipped_entry
from spoofcheck.schema import ConditionFigure, ScorePercentile, ValidationFigure
from spoofcheck.wholefile import read_whole

ORIGINAL = "original"
"""The condition of recordings as they are."""

_MEASURED = frozenset(ValidationFigure.model_fields) - {"dataset", "level"}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Percentile(_Part):
    percent: float
    bonafide: float
    spoof: float


class _Level(_Part):
    percentiles: tuple[_Percentile, ...] = ()


class _Plot(_Part):
    exhibit: _Level = _Level()


class _Split(_Part):
    exhibit: dict[str, Any]
    conditions: dict[str, dict[str, Any]] = {}
    calibration_plot: _Plot = _Plot()


class _Figures(_Part):
    dev: _Split


class _Record(_Part):
    figures: _Figures


def recorded_figures(bundle: Bundle) -> tuple[tuple[ConditionFigure, ...], tuple[ScorePercentile, ...]]:
    """Error figures per condition of the data that the calibration was set on, and percentiles of their LLRs.

    Both are empty for a model without a record, and with one that is not its own.

    Raises:
        ModelError: the record of a shipped model was changed.
    """
    data = _record_bytes(bundle.directory)
    try:
        split = None if data is None else _Record.model_validate_json(data).figures.dev
    except ValidationError:
        split = None
    if split is None:
        return (), ()
    own = next((each for each in bundle.config.validation if _is_that_of(each, split.exhibit)), None)
    if own is None:
        return (), ()
    conditions = {ORIGINAL: split.exhibit, **split.conditions}
    try:
        return (
            tuple(_condition(own.dataset, name, figures) for name, figures in conditions.items()),
            tuple(
                ScorePercentile(percent=each.percent, bonafide_llr=each.bonafide, spoof_llr=each.spoof)
                for each in split.calibration_plot.exhibit.percentiles
            ),
        )
    except ValidationError:
        return (), ()


def _record_bytes(directory: Path) -> bytes | None:
    entry = shipped_entry(directory)
    listed = None if entry is None else entry.files.get(RECORD_FILE)
    try:
        data = read_whole(directory / RECORD_FILE, MAX_CONFIG_BYTES)
    except OSError:
        if listed is not None:
            raise ModelError(f"{directory / RECORD_FILE}: cannot be read; install spoofcheck again") from None
        return None
    if entry is None:
        return data
    if listed is None:
        return None
    if hashlib.sha256(data).hexdigest() != listed.sha256:
        raise ModelError(f"{directory / RECORD_FILE}: SHA-256 differs from {INDEX_FILE}; install spoofcheck again")
    return data


def _is_that_of(figure: ValidationFigure, recorded: dict[str, Any]) -> bool:
    return figure.level == "exhibit" and all(recorded.get(name) == getattr(figure, name) for name in _MEASURED)


def _condition(dataset: str, name: str, figures: dict[str, Any]) -> ConditionFigure:
    measured = {key: value for key, value in figures.items() if key in _MEASURED}
    return ConditionFigure.model_validate({"dataset": dataset, "level": "exhibit", "condition": name, **measured})
