"""A tracer on a protocol's clips: deterministic, resumable, shared out over processes.

A clip is decided as `scan` decides an exhibit: by a tracer with prototypes on the cosines of the mean embedding of its
windows, by any other on their mean softmax outputs. `first` is the published protocols' way: the first window alone,
from the first sample, without a speech gate. `all` takes every window that holds speech, one a hop as `scan` does, of
all channels that `scan` would examine apart. There is no detector here that could flag windows, so none is preferred.

A clip's true class is the one that stands for its `system` (`TracerConfig.class_of`), or unseen. Human speech is no
trial of a tracer: it is left out.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.gallery import confidence, embedding_head, gallery_of, unit
from spoofcheck.detect.readers import Readers
from spoofcheck.detect.scan import ScanOptions, hop_samples
from spoofcheck.detect.scorer import DeviceName, TracedWindow, TracerScorer
from spoofcheck.errors import UsageError
from spoofcheck.evalschema import EmbeddingMap, Tracing
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.document import Unscored
from spoofcheck.evaluation.firstwindows import first_windows
from spoofcheck.evaluation.scorefiles import trial_names
from spoofcheck.evaluation.scoring import WindowMode
from spoofcheck.evaluation.shards import Team
from spoofcheck.evaluation.tracing import MIN_MAP_POINTS, MapMethod, decided_figures, embedding_map, tracing_figures
from spoofcheck.evaluation.workfolder import Job, Watch, rows_of
from spoofcheck.nets.bundle import TracerBundle
from spoofcheck.nets.config import UNSEEN
from spoofcheck.types import AudioFile, RecordingSummary, Skipped, Window

MIN_WINDOW_SPEECH_S = 0.5
"""Speech that a window of `all` needs, as the shipped detectors ask for."""

_FORM = 2
"""Of a row in a work folder; raised whenever the way similarities come about changes."""

_SOFTMAX_RULE = "unseen when the largest softmax probability, averaged over {windows}, is below {threshold:g}"
_PROTOTYPE_RULE = "unseen when the {measure} of the mean embedding of {windows} to the sources is below {threshold:g}"
_PROTOTYPE_MEASURES = {"prototype-cosine": "largest cosine", "max-softmax": "largest softmax of the scaled cosines"}
_WINDOW_WORDS = {"first": "the first window alone", "all": "all windows with speech"}


@dataclass(frozen=True, slots=True)
class TracedClip:
    """What a tracer says of one clip.

    Attributes:
        name: of the trial.
        probabilities: `[classes]`, mean softmax over the windows; None when there is no window.
        embedding: `[D]`, mean over the windows, not of unit length; None likewise, and when no embeddings are kept.
        windows: how many were traced.
        problem: why there are no probabilities, e.g. `"no-speech"`; None when there are.
    """

    name: str
    probabilities: tuple[float, ...] | None
    embedding: tuple[float, ...] | None
    windows: int
    problem: str | None = None


class ClipTracer:
    """A tracer ready to trace clips.

    Args:
        bundle: the tracer.
        windows: which windows of a clip are traced.
        device: where the network runs.
        batch_windows: windows per forward pass on a GPU; None for the device's default.
        workers: threads that read ahead; None by cores. Changes no result.
        min_window_speech_s: speech that a window of `all` needs.
        embeddings: keep the embeddings, for a map. Those of a tracer with prototypes are always kept.

    Raises:
        UsageError: the device is not there.
    """

    def __init__(
        self,
        bundle: TracerBundle,
        windows: WindowMode,
        device: DeviceName = "auto",
        batch_windows: int | None = None,
        workers: int | None = None,
        *,
        min_window_speech_s: float = MIN_WINDOW_SPEECH_S,
        embeddings: bool = False,
    ) -> None:
        self.bundle = bundle
        self.windows: WindowMode = windows
        self._scorer = TracerScorer(bundle, device, batch_windows)
        self._workers = workers or max(1, min(8, (os.cpu_count() or 1) - 1))
        self._min_window_speech_s = min_window_speech_s
        self._embeddings = embeddings or embedding_head(bundle) is not None

    def job(self) -> Job[TracedClip]:
        """The tracing as `rows_of` runs it."""
        parts = (
            _FORM,
            self.bundle.weights_sha256,
            self.bundle.config_sha256,
            self.windows,
            self._scorer.dtype,
            self._min_window_speech_s,
            self._embeddings,
        )
        identity = hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
        name = "".join(char if char.isalnum() else "-" for char in self.bundle.config.name)
        return Job(f"{name}-{self.windows}-{identity}", self.trace, _revived)

    def trace(self, names: Sequence[str], clips: Sequence[Clip]) -> Generator[TracedClip]:
        """Trace clips one by one, lazily and in order; closing the iterator stops the readers."""
        pools = self._all_windows(clips) if self.windows == "all" else self._first_windows(clips)
        with closing(pools):
            for name, pool in zip(names, pools, strict=True):
                yield pool.row(name, self._embeddings)

    def _first_windows(self, clips: Sequence[Clip]) -> Generator[_Pool]:
        paths = [clip.path for clip in clips]
        at_once = max(self._scorer.batch_windows, self._workers)
        with closing(first_windows(paths, self.bundle.config.window_samples, self._workers, at_once)) as lists:
            for heard in lists:
                traced = iter(self._scorer.trace([samples for samples in heard if not isinstance(samples, str)]))
                for samples in heard:
                    pool = _Pool()
                    if isinstance(samples, str):
                        pool.problem = samples
                    else:
                        pool.add(next(traced))
                    yield pool

    def _all_windows(self, clips: Sequence[Clip]) -> Generator[_Pool]:
        config = self.bundle.config
        read = partial(
            _read,
            window_samples=config.window_samples,
            hop_samples=hop_samples(ScanOptions(), config.window_samples),
            min_window_speech_s=self._min_window_speech_s,
        )
        pools = {i: _Pool() for i in range(len(clips))}
        waiting: list[tuple[_Pool, NDArray[np.float32]]] = []
        first_open = 0
        with Readers([clip.path for clip in clips], read, self._workers, debug=False) as readers:
            for index, item in readers.items():
                pool = pools[index]
                if isinstance(item, Window) and item.samples is not None:
                    pool.waiting += 1
                    waiting.append((pool, item.samples))
                elif isinstance(item, Skipped | RecordingSummary):
                    pool.ended = True
                    pool.problem = item.code if isinstance(item, Skipped) else None
                if len(waiting) >= self._scorer.batch_windows:
                    self._pool(waiting)
                while first_open in pools and pools[first_open].ended and not pools[first_open].waiting:
                    yield pools.pop(first_open)
                    first_open += 1
            self._pool(waiting)
            for index in sorted(pools):
                yield pools[index]

    def _pool(self, waiting: list[tuple[_Pool, NDArray[np.float32]]]) -> None:
        for (pool, _), traced in zip(waiting, self._scorer.trace([samples for _, samples in waiting]), strict=True):
            pool.add(traced)
            pool.waiting -= 1
        waiting.clear()


def evaluate_tracer(
    tracer: ClipTracer,
    clips: Sequence[Clip],
    *,
    team: Team,
    work: Path | None = None,
    watch: Watch[TracedClip] | None = None,
    map_method: MapMethod | None = None,
    draws: int = 1_000,
    seed: int = 0,
) -> tuple[Tracing, tuple[Unscored, ...]]:
    """Trace a protocol's spoofed clips and measure.

    Args:
        tracer: made with `embeddings` when a map is wanted.
        clips: of a protocol; bona fide ones are left out.
        team: the processes of this run; each returns the same figures.
        work: a folder that all processes see, or None to keep nothing.
        watch: sees the clips that this process traces.
        map_method: how the embedding map is made, in the first process only; None for no map.
        draws: resampled sets of the accuracy's interval.
        seed: of the draws and of the map.

    Returns:
        The figures, and the clips that could not be traced.

    Raises:
        UsageError: no spoofed clip, none that could be traced, two clips of one name, a work folder that not all
            processes see, or a map by a package that is not installed.
        OutputError: the work folder cannot be written.
    """
    spoofs = [clip for clip in clips if clip.is_spoof]
    if not spoofs:
        raise UsageError("the protocol names no spoofed clip: there is nothing to trace")
    names = trial_names(spoofs)
    rows = rows_of(tracer.job(), names, spoofs, team=team, work=work, watch=watch)
    trials = [(clip, rows[name]) for name, clip in zip(names, spoofs, strict=True)]
    unscored = tuple(Unscored(row.name, row.problem) for _, row in trials if row.problem is not None)
    traced = [(clip, row) for clip, row in trials if row.probabilities is not None]
    if not traced:
        raise UsageError(f"not one of {len(spoofs)} spoofed clips could be traced ({unscored[0].problem})")
    truths = [tracer.bundle.config.class_of(clip.system) or UNSEEN for clip, _ in traced]
    figures = clip_figures(
        tracer.bundle,
        traced,
        tracer.windows,
        draws=draws,
        seed=seed,
        embedding_map=_map([row for _, row in traced], truths, map_method if team.is_first else None, seed),
    )
    return figures, unscored


def clip_figures(
    bundle: TracerBundle,
    traced: Sequence[tuple[Clip, TracedClip]],
    windows: WindowMode,
    *,
    draws: int = 1_000,
    seed: int = 0,
    embedding_map: EmbeddingMap | None = None,
) -> Tracing:
    """Figures of clips that a tracer heard, by its own open-set rule.

    Args:
        bundle: the tracer; a clip's true class is the one that stands for its system, or unseen.
        traced: at least one; rows with probabilities and, of a tracer with prototypes, embeddings.
        windows: which windows of a clip were traced.

    The others as for `tracing_figures`.

    Raises:
        ValueError: no clips, or a row without what the rule needs.
    """
    config = bundle.config
    truths = [config.class_of(clip.system) or UNSEEN for clip, _ in traced]
    groups = [clip.source for clip, _ in traced]
    rule = rule_of(bundle, windows)
    if embedding_head(bundle) is None:
        return tracing_figures(
            truths,
            np.asarray([row.probabilities for _, row in traced]),
            config.classes,
            config.open_set.threshold,
            groups,
            rule=rule,
            draws=draws,
            seed=seed,
            embedding_map=embedding_map,
        )
    gallery, confident = gallery_of(bundle), confidence(bundle)
    similarities = [gallery.similarities(unit(_embedding_of(row))) for _, row in traced]
    return decided_figures(
        truths,
        np.array([row.argmax() for row in similarities], np.int64),
        np.array([confident(row) for row in similarities]),
        config.classes,
        config.open_set.threshold,
        groups,
        rule=rule,
        draws=draws,
        seed=seed,
        embedding_map=embedding_map,
    )


def rule_of(bundle: TracerBundle, windows: WindowMode) -> str:
    """How a clip's class is decided, in words."""
    open_set = bundle.config.open_set
    form = _SOFTMAX_RULE if embedding_head(bundle) is None else _PROTOTYPE_RULE
    return form.format(
        measure=_PROTOTYPE_MEASURES[open_set.method], windows=_WINDOW_WORDS[windows], threshold=open_set.threshold
    )


def _embedding_of(row: TracedClip) -> tuple[float, ...]:
    if row.embedding is None:
        raise ValueError(f"{row.name}: traced without an embedding")
    return row.embedding


def _map(rows: Sequence[TracedClip], truths: Sequence[str], method: MapMethod | None, seed: int) -> EmbeddingMap | None:
    embeddings = [row.embedding for row in rows if row.embedding is not None]
    if method is None or len(embeddings) < MIN_MAP_POINTS:
        return None
    return embedding_map(np.asarray(embeddings), truths, method, seed)


def _read(
    path: Path,
    cancelled: Callable[[], bool],
    *,
    window_samples: int,
    hop_samples: int,
    min_window_speech_s: float,
) -> Generator[AudioFile | Window | RecordingSummary]:
    return read_windows(
        path,
        window_samples=window_samples,
        hop_samples=hop_samples,
        channels="auto",
        vad=True,
        min_window_speech_s=min_window_speech_s,
        cancelled=cancelled,
    )


def _revived(fields: dict[str, Any]) -> TracedClip:
    row = TracedClip(**fields)
    return TracedClip(
        row.name,
        None if row.probabilities is None else tuple(row.probabilities),
        None if row.embedding is None else tuple(row.embedding),
        row.windows,
        row.problem,
    )


@dataclass(slots=True)
class _Pool:
    """The running sums of one clip; what is kept does not grow with its length."""

    probabilities: NDArray[np.float64] | float = 0.0
    embedding: NDArray[np.float64] | float = 0.0
    windows: int = 0
    waiting: int = field(default=0)
    ended: bool = False
    problem: str | None = None

    def add(self, traced: TracedWindow) -> None:
        self.probabilities = self.probabilities + traced.probabilities
        self.embedding = self.embedding + traced.embedding.astype(np.float64)
        self.windows += 1

    def row(self, name: str, with_embedding: bool) -> TracedClip:
        if self.problem is not None or not self.windows:
            return TracedClip(name, None, None, 0, self.problem or "no-speech")
        probabilities, embedding = (
            tuple(_floats(total, self.windows)) for total in (self.probabilities, self.embedding)
        )
        if not all(math.isfinite(value) for value in (*probabilities, *embedding)):
            return TracedClip(name, None, None, 0, "score-not-finite")
        return TracedClip(name, probabilities, embedding if with_embedding else None, self.windows)


def _floats(total: NDArray[np.float64] | float, windows: int) -> Iterator[float]:
    return (float(value) for value in np.atleast_1d(total) / windows)
