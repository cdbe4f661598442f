"""Shortcuts in a corpus: how well the label can be told from what is not synthesis, before a network finds out."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoofcheck.errors import InputError, UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.training.copies import origin_of
from spoofcheck.training.made import Failed
from spoofcheck.training.nuisance import CLIP_FEATURES, clip_nuisances, grouped_nuisance_auc

WARN_ABOVE = 0.6
"""An AUC above this is a warning: what a network can learn this way it will learn."""

_MOST_CODECS = 8


@dataclass(frozen=True, slots=True)
class Measured:
    """A clip and its nuisance features."""

    clip: Clip
    features: Mapping[str, float]
    codec: str


@dataclass(frozen=True, slots=True)
class Shortcut:
    """How well one feature (or `"all together"`) tells the label, in cross-validation.

    Attributes:
        auc: folds drawn clip by clip, a clip and its copies together.
        by_speaker: no speaker (of a repository; a clip and its copies where none is known) in training and test both.
        by_repo: no repository in both.

    None stands where there are too few to part.
    """

    feature: str
    auc: float | None
    by_speaker: float | None
    by_repo: float | None

    @property
    def is_warning(self) -> bool:
        """Whether any of the AUCs lies above `WARN_ABOVE`."""
        return any(auc is not None and auc > WARN_ABOVE for auc in (self.auc, self.by_speaker, self.by_repo))


@dataclass(frozen=True, slots=True)
class ShortcutReport:
    """What was found: `shortcuts[0]` is all features together, the single ones follow, the strongest first."""

    bonafide: int
    spoof: int
    speakers: int
    repos: int
    shortcuts: tuple[Shortcut, ...]


def choose(clips: Sequence[Clip], most: int, seed: int) -> list[Clip]:
    """At most `most` clips of each class, drawn by their names, in the order of the list."""
    kept: set[int] = set()
    for spoof in (False, True):
        members = [index for index, clip in enumerate(clips) if clip.is_spoof is spoof]
        kept |= set(sorted(members, key=lambda index: _draw(clips[index], seed))[:most])
    return [clip for index, clip in enumerate(clips) if index in kept]


def measure_all(clips: Sequence[Clip], workers: int = 1) -> Generator[Measured | Failed]:
    """Measure clips, in their order, whatever the number of threads."""
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        yield from pool.map(_measure, clips)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def find_shortcuts(measured: Sequence[Measured], seed: int = 0) -> ShortcutReport:
    """Tell the labels of clips from their nuisance features.

    Raises:
        UsageError: fewer than 10 clips of a class; nothing could be said.
    """
    labels = np.array([int(item.clip.is_spoof) for item in measured], dtype=np.int64)
    counts = [int(np.count_nonzero(labels == label)) for label in (0, 1)]
    if min(counts) < 10:
        raise UsageError(f"{counts[0]} bona fide and {counts[1]} spoofed clips can be read; at least 10 of each needed")
    origins = [origin_of(item.clip) for item in measured]
    speakers = [
        origin if item.clip.speaker == UNKNOWN else f"{item.clip.repo}/{item.clip.speaker}"
        for item, origin in zip(measured, origins, strict=True)
    ]
    repos = [item.clip.repo for item in measured]

    def judge(feature: str, columns: NDArray[np.float64]) -> Shortcut:
        return Shortcut(
            feature, *(grouped_nuisance_auc(columns, labels, groups, seed) for groups in (origins, speakers, repos))
        )

    columns = {
        "codec": _codec_columns(measured),
        **{name: np.array([[item.features[name]] for item in measured]) for name in CLIP_FEATURES},
    }
    single = [judge(name, values) for name, values in columns.items()]
    together = judge("all together", np.concatenate(list(columns.values()), axis=1))
    return ShortcutReport(
        bonafide=counts[0],
        spoof=counts[1],
        speakers=len(set(speakers)),
        repos=len(set(repos)),
        shortcuts=(together, *sorted(single, key=lambda shortcut: -(shortcut.auc or 0.0))),
    )


def _codec_columns(measured: Sequence[Measured]) -> NDArray[np.float64]:
    """One column for each of the most frequent codecs."""
    names = [item.codec for item in measured]
    common = sorted(set(names), key=lambda name: (-names.count(name), name))[:_MOST_CODECS]
    return np.array([[float(name == column) for column in common] for name in names])


def _measure(clip: Clip) -> Measured | Failed:
    try:
        features, codec = clip_nuisances(clip.path)
        return Measured(clip, features, codec)
    except InputError as error:
        return Failed(clip.name, error.message)


def _draw(clip: Clip, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{clip.repo}/{clip.name}".encode("utf-8", "surrogateescape")).digest()
