"""Dev and test recordings scored as `spoofcheck scan` scores them, as they are and under other conditions."""

from __future__ import annotations

import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from spoofcheck.detect.scan import Scanner
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.schema import Finding
from spoofcheck.training.conditions import ORIGINAL, degrade
from spoofcheck.training.corpus import read_mono
from spoofcheck.training.progress import Steps
from spoofcheck.training.recipe import FinishRule
from spoofcheck.types import SAMPLE_RATE_HZ

LONG = "long"
"""Human clips of one repository strung together: what a long recording's windows do."""
_LONG_S = 120.0
_CHUNK = 48

Split = Literal["dev", "test"]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A scored recording.

    Attributes:
        raw_score: mean raw score of its windows, spoof logit minus bona fide logit.
        windows: start and end in seconds, and raw score, of each scored window.
        fold: name of the fold whose network scored it because it had never met it; None where there are no folds.
        distance: to the calibration data, the median over its scored windows; None without a validity gate.
        window_distances: of each scored window; empty without a gate.
    """

    split: Split
    condition: str
    clip: Clip
    speech_s: float
    raw_score: float
    windows: tuple[tuple[float, float, float], ...]
    fold: str | None = None
    distance: float | None = None
    window_distances: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """Something to be scored: a clip under a condition, or several clips in a row."""

    split: Split
    condition: str
    clip: Clip
    parts: tuple[Clip, ...]


def recordings_of(
    clips: Sequence[Clip], split: Split, rule: FinishRule, cap: Literal["train", "dev", "test"] | None = None
) -> list[Recording]:
    """What a split is measured on.

    Args:
        cap: whose caps hold; the split's own where not said.
    """
    originals = capped(clips, rule.most_per_system.get(cap or split))
    degraded = capped(clips, rule.most_per_system_degraded.get(cap or split))
    recordings = [Recording(split, ORIGINAL, clip, (clip,)) for clip in originals]
    recordings += [Recording(split, condition, clip, (clip,)) for condition in rule.conditions for clip in degraded]
    if rule.conditions:
        recordings += [Recording(split, LONG, parts[0], parts) for parts in long_recordings(clips)]
    return recordings


def score_exhibits(scanner: Scanner, recordings: Sequence[Recording], workers: int, steps: Steps) -> list[Exhibit]:
    """Score recordings; those without a scored window (no speech, unreadable) are left out."""
    exhibits = []
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(workers) as pool:
        watched = steps.over(
            _findings(scanner, recordings, Path(folder), pool), "Scoring dev and test", len(recordings)
        )
        for recording, finding in zip(recordings, watched, strict=True):
            if finding.raw_score is None:
                continue
            windows = tuple((w.start_s, w.end_s, w.raw_score) for w in finding.windows if w.raw_score is not None)
            exhibits.append(
                Exhibit(
                    recording.split, recording.condition, recording.clip, finding.speech_s or 0.0, finding.raw_score,
                    windows, None, finding.validity_distance,
                    tuple(w.validity_distance for w in finding.windows if w.validity_distance is not None),
                )
            )  # fmt: skip
    return exhibits


def write_scores(path: Path, weights_sha256: str, exhibits: Sequence[Exhibit]) -> None:
    """Keep what a model said of exhibits, one JSON object a line below the hash of its weights."""
    rows: list[dict[str, object]] = [{"weights_sha256": weights_sha256}]
    rows += [
        {
            "split": one.split, "condition": one.condition, "repo": one.clip.repo, "clip": one.clip.name,
            "speech_s": one.speech_s, "windows": one.windows,
        }
        for one in exhibits
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_scores(path: Path, weights_sha256: str, recordings: Sequence[Recording]) -> list[Exhibit]:
    """The exhibits of recordings as `write_scores` kept them; recordings it does not hold are left out.

    Raises:
        UsageError: no such file, a damaged one, or scores of other weights.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        header, *rows = (json.loads(line) for line in lines)
        kept = {(row["split"], row["condition"], row["repo"], row["clip"]): row for row in rows}
        if header["weights_sha256"] != weights_sha256:
            raise UsageError(f"{path}: holds the scores of other weights ({header['weights_sha256'][:12]})")
        exhibits = []
        for one in recordings:
            row = kept.get((one.split, one.condition, one.clip.repo, one.clip.name))
            if row is not None:
                windows = tuple((float(start), float(end), float(raw)) for start, end, raw in row["windows"])
                mean = sum(raw for _, _, raw in windows) / len(windows)
                exhibits.append(Exhibit(one.split, one.condition, one.clip, float(row["speech_s"]), mean, windows))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: no readable scores of a training run") from error
    return exhibits


def capped(clips: Sequence[Clip], most: int | None) -> list[Clip]:
    """At most so many clips of one system of a repository, twice as many human ones; drawn with a fixed seed."""
    if most is None:
        return list(clips)
    groups: dict[tuple[str, str, bool], list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.repo, clip.system, clip.is_spoof].append(clip)
    rng = random.Random(0)
    chosen = []
    for (_, _, is_spoof), members in sorted(groups.items()):
        limit = most * (1 if is_spoof else 2)
        chosen += members if len(members) <= limit else rng.sample(members, limit)
    return chosen


def long_recordings(clips: Sequence[Clip]) -> Iterator[tuple[Clip, ...]]:
    """Human clips of one repository, speaker by speaker, strung to about two minutes."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if not clip.is_spoof and clip.duration_s is not None:
            groups[clip.repo].append(clip)
    for _, members in sorted(groups.items()):
        part: list[Clip] = []
        for clip in sorted(members, key=lambda clip: (clip.speaker, clip.name)):
            part.append(clip)
            if _duration_s(part) >= _LONG_S:
                yield tuple(part)
                part = []
        if _duration_s(part) >= _LONG_S / 3:
            yield tuple(part)


def _duration_s(clips: Sequence[Clip]) -> float:
    return sum(clip.duration_s or 0.0 for clip in clips)


def _findings(
    scanner: Scanner, recordings: Sequence[Recording], folder: Path, pool: ProcessPoolExecutor
) -> Iterator[Finding]:
    for start in range(0, len(recordings), _CHUNK):
        members = recordings[start : start + _CHUNK]
        paths = list(pool.map(partial(audio_of, folder=folder), members, range(start, start + len(members))))
        yield from scanner.findings(paths)
        for path in paths:
            if path.is_relative_to(folder):
                path.unlink()


def audio_of(recording: Recording, number: int, folder: Path) -> Path:
    """The file to be scored; one that cannot be made is an empty file, which a scan skips."""
    if recording.condition == ORIGINAL:
        return recording.clip.path
    made = folder / f"{number}.wav"
    try:
        if recording.condition == LONG:
            waves = [read_mono(part) for part in recording.parts]
            wave = np.concatenate([wave / (np.abs(wave).max() + 1e-6) * 0.7 for wave in waves])
        else:
            wave = degrade(read_mono(recording.clip), recording.condition, recording.clip.name)
        soundfile.write(made, wave, SAMPLE_RATE_HZ, subtype="FLOAT")
    except UsageError:
        made.touch()
    return made
