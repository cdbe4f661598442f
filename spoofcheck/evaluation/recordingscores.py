"""Raw scores of a protocol's recordings and of each of their windows: what a calibration is fitted on."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from spoofcheck.detect.validity import exhibit_distance
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.scoring import ClipScorer
from spoofcheck.evaluation.workfolder import Job
from spoofcheck.schema import Finding

_FORM = 1
"""Of a row in a work folder; raised whenever the way a score comes about changes."""


@dataclass(frozen=True, slots=True)
class RecordingScores:
    """What a detector says of one recording, before any calibration.

    Attributes:
        name: of the trial.
        raw_score: spoof logit minus bona fide logit, mean over the scored windows of all its channels; None without
            any.
        distance: to the data of the model's validity gate, median over these windows; None without a gate.
        windows: raw score and distance of each scored window.
        problem: why there is no score, e.g. `"no-speech"` or `"not-found"`; None when there is one.
    """

    name: str
    raw_score: float | None
    distance: float | None = None
    windows: tuple[tuple[float, float | None], ...] = ()
    problem: str | None = None


def recording_job(scorer: ClipScorer) -> Job[RecordingScores]:
    """The scoring of recordings as `workfolder.rows_of` runs it, all windows as `scan` hears them."""

    def make(names: Sequence[str], clips: Sequence[Clip]) -> Generator[RecordingScores]:
        for name, exhibits in zip(names, scorer.recordings([clip.path for clip in clips]), strict=True):
            yield _scores(name, exhibits)

    identity = hashlib.sha256(f"{_FORM} {scorer.identity}".encode()).hexdigest()
    return Job(f"windows-{identity[:12]}", make, _revived)


def _scores(name: str, exhibits: Sequence[Finding]) -> RecordingScores:
    windows = tuple(
        (window.raw_score, window.validity_distance)
        for exhibit in exhibits
        for window in exhibit.windows
        if window.raw_score is not None
    )
    if not windows:
        return RecordingScores(name, None, problem=exhibits[0].reasons[0].code)
    raw_score = sum(score for score, _ in windows) / len(windows)
    return RecordingScores(name, raw_score, exhibit_distance(distance for _, distance in windows), windows)


def _revived(fields: dict[str, Any]) -> RecordingScores:
    windows = tuple((float(score), None if distance is None else float(distance)) for score, distance in
                    fields.pop("windows"))  # fmt: skip
    return RecordingScores(**fields, windows=windows)
