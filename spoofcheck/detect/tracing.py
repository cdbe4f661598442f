"""Which enrolled source a recording is most similar to, or that it is like none of them.

The windows at or above the window threshold are traced, and all scored windows where there are none. A window's
similarities are the tracer's softmax outputs; an exhibit's are their mean over its traced windows: one window with an
extreme logit cannot decide alone, the threshold keeps its scale, and a single window gives the published rule. The
source is unknown when the largest similarity is below the tracer's threshold.

A tracer hears the detector's windows: one of another length is cut at its end, or repeated, to fit. The recording is
read a second time for it, so that no samples are kept until the verdict is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from spoofcheck.detect.scorer import BatchedNetwork, DeviceName
from spoofcheck.errors import InputError
from spoofcheck.nets.bundle import TracerBundle
from spoofcheck.nets.config import UNKNOWN_SOURCE, TracerConfig
from spoofcheck.schema import SourceMatch, TraceInfo
from spoofcheck.types import AudioFile, RecordingSummary, Window, WindowScore

SOURCES_LISTED = 3
"""How many of the most similar sources a finding names."""

ReadAgain = Callable[[RecordingSummary], Generator[AudioFile | Window | RecordingSummary]]
"""Reads a recording a second time: the same windows by channel and index, all of them with samples."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What tracing says of one exhibit."""

    sources: tuple[SourceMatch, ...]
    info: TraceInfo


@dataclass(frozen=True, slots=True)
class TracedWindow:
    """A tracer's output for one window.

    Attributes:
        probabilities: float64 `[classes]`, softmax.
        embedding: float32 `[D]`, what the last layer sees.
    """

    probabilities: NDArray[np.float64]
    embedding: NDArray[np.float32]


class TracerScorer(BatchedNetwork[TracedWindow]):
    """Runs a loaded tracer over windows; arguments and errors as for `BatchedNetwork`."""

    def __init__(self, bundle: TracerBundle, device: DeviceName = "auto", batch_windows: int | None = None) -> None:
        super().__init__(bundle.network, device, batch_windows)
        self.bundle = bundle
        self._network = bundle.network

    def trace(self, windows: Sequence[NDArray[np.float32]]) -> list[TracedWindow]:
        """Similarities and embeddings of windows, each float32 `[window_samples]`."""
        return self.rows(windows)

    @torch.inference_mode()
    def _forward(self, windows: Sequence[NDArray[np.float32]]) -> list[TracedWindow]:
        with self._precision():
            embeddings = self._network.embed(self._on_device(windows))
            logits = self._network.classify(embeddings)
        probabilities = logits.double().cpu().softmax(dim=1).numpy()
        rows = zip(probabilities, embeddings.float().cpu().numpy(), strict=True)
        return [TracedWindow(probability, embedding) for probability, embedding in rows]


def windows_to_trace(windows: Sequence[WindowScore], window_threshold_llr: float) -> frozenset[int]:
    """Indices of the scored windows at or above the threshold, or of all scored windows where none is."""
    scored = {i: window.spoof_llr for i, window in enumerate(windows) if window.spoof_llr is not None}
    flagged = frozenset(i for i, llr in scored.items() if llr >= window_threshold_llr)
    return flagged or frozenset(scored)


def judge_source(similarities: Sequence[float], windows: int, config: TracerConfig) -> Trace:
    """The open-set decision on an exhibit.

    Args:
        similarities: one per class, the mean over the traced windows.
        windows: how many were traced.
        config: the tracer's classes and threshold.

    Equal similarities stand in the order of the classes.
    """
    ranked = sorted(zip(similarities, config.classes, strict=True), key=lambda pair: -pair[0])
    # A mean of softmax outputs may end a rounding error above 1.
    sources = tuple(SourceMatch(name=name, similarity=min(1.0, value)) for value, name in ranked[:SOURCES_LISTED])
    is_known = sources[0].similarity >= config.open_set.threshold
    return Trace(
        sources=sources,
        info=TraceInfo(
            decision=sources[0].name if is_known else UNKNOWN_SOURCE,
            rule=config.open_set.words,
            threshold=config.open_set.threshold,
            windows=windows,
            enrolled=len(config.classes),
        ),
    )


def fitted(samples: NDArray[np.float32], window_samples: int) -> NDArray[np.float32]:
    """A window of another length, `[N]`, cut at its end or repeated to `[window_samples]`."""
    return samples if len(samples) == window_samples else np.resize(samples, window_samples)


def trace_recording(
    scorer: TracerScorer,
    summary: RecordingSummary,
    wanted: Mapping[int | None, Collection[int]],
    read_again: ReadAgain,
) -> dict[int | None, Trace]:
    """Trace the wanted windows of a recording that was read and judged before.

    Args:
        scorer: the tracer.
        summary: what the first reading ended with.
        wanted: indices of windows by channel.
        read_again: opens the second reading.

    Returns:
        A trace per channel that has wanted windows.

    Raises:
        InputError: it cannot be read any more, it changed (`changed-while-reading`), or the tracer's output is not
            finite (`score-not-finite`).
    """
    window_samples = scorer.bundle.config.window_samples
    pools = {channel: _Pool(len(scorer.bundle.config.classes)) for channel, indices in wanted.items() if indices}
    waiting: list[tuple[_Pool, NDArray[np.float32]]] = []

    def pool_waiting() -> None:
        for (pool, _), traced in zip(waiting, scorer.trace([samples for _, samples in waiting]), strict=True):
            pool.add(traced)
        waiting.clear()

    with closing(read_again(summary)) as items:
        for window in _windows(items, summary):
            if window.samples is None or window.index not in wanted.get(window.channel, ()):
                continue
            waiting.append((pools[window.channel], fitted(window.samples, window_samples)))
            if len(waiting) >= scorer.batch_windows:
                pool_waiting()
    pool_waiting()
    return {channel: judge_source(pool.mean(), pool.windows, scorer.bundle.config) for channel, pool in pools.items()}


def _windows(
    items: Iterator[AudioFile | Window | RecordingSummary], first_reading: RecordingSummary
) -> Iterator[Window]:
    """The windows of a second reading, which must end as the first one did."""
    for item in items:
        if isinstance(item, Window):
            yield item
        elif isinstance(item, RecordingSummary) and item.sha256 != first_reading.sha256:
            raise InputError("changed-while-reading", "The file changed after it was judged.")


@dataclass(slots=True)
class _Pool:
    """The running sum of an exhibit's similarities: what is kept does not grow with the recording."""

    classes: int
    windows: int = 0
    total: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.total = np.zeros(self.classes)

    def add(self, traced: TracedWindow) -> None:
        self.total += traced.probabilities
        self.windows += 1

    def mean(self) -> list[float]:
        if not self.windows or not math.isfinite(self.total.sum()):
            raise InputError("score-not-finite", "The tracer gave no finite output.")
        return [float(value) for value in self.total / self.windows]
