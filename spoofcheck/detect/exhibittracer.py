"""A tracer at work in a scan: exhibits that were judged are compared with the sources that it knows.

A tracer with prototypes and the detector's own front-end needs no pass of its own: the detector's pass gives the
embedding of every scored window. For any other tracer the recording is read a second time, so that no samples are kept
until the verdict is known. It hears the detector's windows; one of another length is cut at its end, or repeated, to
fit. The channel test reads the recording again as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.recording import windows_again
from spoofcheck.detect.channeltest import channel_test
from spoofcheck.detect.gallery import Floats, embedding_head, require_prototypes
from spoofcheck.detect.readers import ReadItem
from spoofcheck.detect.scorer import DeviceName, HeardWindow, TracerScorer, fitted
from spoofcheck.detect.sourcestore import SourceStore, StoreTracer, default_store, read_store
from spoofcheck.detect.tracing import Trace, judge_embedding, judge_source, known_sources, with_channel_test
from spoofcheck.errors import InputError, UsageError
from spoofcheck.nets.bundle import Bundle, TracerBundle, load_tracer
from spoofcheck.nets.config import UNKNOWN_SOURCE, read_tracer_config
from spoofcheck.nets.embedding import StatisticsEmbedding
from spoofcheck.nets.index import find_model, shipped_tracer
from spoofcheck.nets.precision import Precision
from spoofcheck.nets.sharing import may_share_front_end, shares_front_end
from spoofcheck.types import RecordingSummary

ReadAgain = Callable[[RecordingSummary], Generator[ReadItem]]
"""Reads a recording a second time: the same windows by channel and index, all of them with samples."""

Wanted = Mapping[int | None, Collection[int]]
"""Indices of the windows to trace, by channel."""

Heard = Mapping[int | None, Sequence[HeardWindow | None]]
"""What the detector said of all windows, by channel; None of those it did not score."""


@dataclass(frozen=True, slots=True)
class EnrolledSources:
    """A store of enrolled sources and where it was read from."""

    path: Path
    store: SourceStore


class ExhibitTracer:
    """A tracer ready to trace the exhibits of a scan.

    Args:
        detector: whose verdicts and windows it follows. Where it has the tracer's very front-end, both use its one.
        bundle: the tracer.
        enrolled: sources of the user's own; only for a tracer with prototypes.
        device: where the network runs.
        batch_windows: as for `build_runner`.
        precision: see `chosen_dtype`.

    Raises:
        UsageError: enrolled sources for a tracer without prototypes, or a device that is not there.
        ModelError: an enrolled source does not fit the tracer.
    """

    def __init__(
        self,
        detector: Bundle,
        bundle: TracerBundle,
        enrolled: EnrolledSources | None = None,
        device: DeviceName = "auto",
        batch_windows: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        self.bundle = bundle
        self.enrolled = enrolled
        sources = () if enrolled is None else enrolled.store.sources
        head = require_prototypes(bundle) if sources else embedding_head(bundle)
        self._known = None if head is None else known_sources(bundle, sources)
        self._is_shared = shares_front_end(detector, bundle)
        if self._is_shared:
            bundle.network.front_end = detector.network.front_end
        self._scorer = TracerScorer(bundle, device, batch_windows, precision)

    @property
    def shared_head(self) -> StatisticsEmbedding | None:
        """What the detector's own pass is to compute embeddings with; None when the tracer needs a pass of its own."""
        return embedding_head(self.bundle) if self._is_shared else None

    def traces(
        self, summary: RecordingSummary, wanted: Wanted, heard: Heard, read_again: ReadAgain
    ) -> dict[int | None, Trace]:
        """Trace a recording that was read and judged before.

        Args:
            summary: what the first reading ended with.
            wanted: windows to trace.
            heard: with embeddings where `shared_head` was asked for them.
            read_again: opens another reading.

        Returns:
            A trace per channel that has wanted windows.

        Raises:
            InputError: it cannot be read any more, it changed (`changed-while-reading`), or the tracer's output is not
                finite (`score-not-finite`); or this machine cannot run the channel test (`no-channel-test`).
        """
        chosen = {channel: sorted(indices) for channel, indices in wanted.items() if indices}
        if self.shared_head is not None:
            pools = {channel: _pool_of(heard[channel], indices) for channel, indices in chosen.items()}
        else:
            pools = self._read(summary, chosen, read_again)
        traces = {channel: self._judged(pool) for channel, pool in pools.items()}
        return {
            channel: self._tested(trace, summary, channel, chosen[channel], read_again)
            for channel, trace in traces.items()
        }

    def _read(
        self, summary: RecordingSummary, wanted: Mapping[int | None, Sequence[int]], read_again: ReadAgain
    ) -> dict[int | None, RunningMean]:
        pools = {channel: RunningMean() for channel in wanted}
        sets = {channel: frozenset(indices) for channel, indices in wanted.items()}
        waiting: list[tuple[RunningMean, NDArray[np.float32]]] = []

        def pool_waiting() -> None:
            traced = self._scorer.trace([samples for _, samples in waiting])
            for (pool, _), window in zip(waiting, traced, strict=True):
                pool.add(window.probabilities if self._known is None else window.embedding)
            waiting.clear()

        with closing(read_again(summary)) as items:
            for window in windows_again(items, summary):
                if window.samples is None or window.index not in sets.get(window.channel, ()):
                    continue
                waiting.append((pools[window.channel], self._fitted(window.samples)))
                if len(waiting) >= self._scorer.batch_windows:
                    pool_waiting()
        pool_waiting()
        return pools

    def _judged(self, pool: RunningMean) -> Trace:
        mean = pool.mean()
        if mean is None:
            raise InputError("score-not-finite", "The tracer gave no finite output.")
        if self._known is None:
            return judge_source(mean.tolist(), pool.rows, self.bundle.config)
        try:
            return judge_embedding(mean, pool.rows, self._known)
        except ValueError as error:
            raise InputError("score-not-finite", "The tracer's outputs cancel each other out.") from error

    def _tested(
        self,
        trace: Trace,
        summary: RecordingSummary,
        channel: int | None,
        traced: Sequence[int],
        read_again: ReadAgain,
    ) -> Trace:
        if self._known is None or trace.info.decision == UNKNOWN_SOURCE:
            return trace
        with closing(read_again(summary)) as items:
            try:
                test = channel_test(
                    (window for window in windows_again(items, summary) if window.channel == channel),
                    traced,
                    trace.info.decision,
                    trace.sources[0].similarity,
                    self._known.gallery,
                    self._known.accepts,
                    trace.info.group,
                    self._embedded,
                    self.bundle.config.window_samples,
                )
            except UsageError as error:  # this machine lacks the test's codec; a verdict does not hang on that
                raise InputError("no-channel-test", str(error)) from error
        return with_channel_test(trace, test)

    def _embedded(self, windows: Sequence[NDArray[np.float32]]) -> Floats:
        """Unit rows `[n, D]` of windows."""
        traced = self._scorer.trace([self._fitted(samples) for samples in windows])
        return np.stack([window.embedding for window in traced]).astype(np.float64)

    def _fitted(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return fitted(samples, self.bundle.config.window_samples)


@dataclass(slots=True)
class RunningMean:
    """The mean of rows `[D]` in the order they come; what is kept does not grow with a recording."""

    rows: int = 0
    _total: Floats | None = None

    def add(self, row: NDArray[np.float32] | Floats) -> None:
        """Add one row."""
        values = row.astype(np.float64)
        self._total = values if self._total is None else self._total + values
        self.rows += 1

    def mean(self) -> Floats | None:
        """Float64 `[D]`; None without rows, or when one of them was not finite."""
        if self._total is None or not math.isfinite(self._total.sum()):
            return None
        return self._total / self.rows


def shipped_twin(detector: Bundle) -> TracerBundle | None:
    """The shipped tracer, if there is one with the detector's own front-end.

    Raises:
        ModelError: it is damaged.
    """
    name = shipped_tracer()
    if name is None:
        return None
    directory = find_model(name)
    if not may_share_front_end(detector.config, read_tracer_config(directory)):
        return None
    tracer = load_tracer(directory)
    return tracer if shares_front_end(detector, tracer) else None


def enrolled_sources(bundle: TracerBundle, path: Path | None) -> EnrolledSources | None:
    """The sources that were enrolled with a tracer.

    Args:
        bundle: the tracer.
        path: of the store; None for the user's own, which need not be there.

    Raises:
        UsageError: no such file, a store of another tracer, or one that is named for a tracer without prototypes.
        ModelError: a damaged store.
    """
    if path is None:
        path = default_store()
        if embedding_head(bundle) is None or not path.exists():
            return None
    require_prototypes(bundle)
    store = read_store(path)
    store.tracer.check(
        path, identity_of(bundle), "leave its sources out with --no-sources, or name another file with --sources"
    )
    return EnrolledSources(path, store)


def identity_of(bundle: TracerBundle) -> StoreTracer:
    """The tracer as files of its embeddings name it."""
    return StoreTracer(name=bundle.config.name, version=bundle.config.version, weights_sha256=bundle.weights_sha256)


def _pool_of(heard: Sequence[HeardWindow | None], indices: Sequence[int]) -> RunningMean:
    pool = RunningMean()
    for index in indices:
        window = heard[index]
        if window is None or window.embedding is None:
            raise RuntimeError(f"window {index} was traced without an embedding")
        pool.add(window.embedding)
    return pool
