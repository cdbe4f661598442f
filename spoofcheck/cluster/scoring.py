"""The second stage: actors that run the network over chunks; samples end here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spoofcheck.cluster.chunks import Chunk, Failure, Hardware, HeardChunk
from spoofcheck.cluster.rows import rows_of, values_of
from spoofcheck.cluster.setup import Setup
from spoofcheck.detect.hearing import ScoredWindow
from spoofcheck.detect.scan import Scanner
from spoofcheck.detect.scorer import HeardWindow, WindowScorer

if TYPE_CHECKING:
    import pyarrow as pa


class ChunkScorer:
    """Hears chunks. What goes wrong comes out as a row, which ends the scan: Ray would try the same again."""

    def __init__(self, setup: Setup) -> None:
        self._scorer: WindowScorer | None = None
        self._failure: Failure | None = None
        try:
            self._scorer = setup.scanner(Scanner).scorer
        except Exception as error:
            self._failure = Failure(type(error).__name__, str(error))

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Rows of heard chunks for rows of chunks."""
        chunks = list(values_of(batch, Chunk))
        return rows_of((chunk.input, chunk) for chunk in self._heard(chunks))

    def _heard(self, chunks: Sequence[Chunk]) -> list[HeardChunk]:
        failure = self._failure
        if self._scorer is not None:
            try:
                return heard_chunks(self._scorer, chunks)
            except Exception as error:
                failure = Failure(type(error).__name__, str(error))
        return [HeardChunk(c.input, c.number, c.edition, (), None, failure, None, None) for c in chunks]


def heard_chunks(scorer: WindowScorer, chunks: Sequence[Chunk]) -> list[HeardChunk]:
    """Chunks of any recordings, heard together: what the network says of a window does not hang on its company."""
    samples = [w.samples for chunk in chunks for w in chunk.windows if w.samples is not None]
    heard = iter(_scored(scorer, samples))
    hardware = Hardware(str(scorer.device), str(scorer.dtype).removeprefix("torch."), scorer.runtime)
    results = []
    for chunk in chunks:
        windows = tuple(
            (
                w.channel,
                ScoredWindow(
                    w.start_sample,
                    w.end_sample,
                    w.speech_s,
                    w.not_scored,
                    None if w.samples is None else next(heard),
                ),
            )
            for w in chunk.windows
        )
        is_heard = any(window.heard is not None for _, window in windows)
        results.append(
            HeardChunk(
                chunk.input,
                chunk.number,
                chunk.edition,
                windows,
                chunk.opened,
                chunk.end,
                chunk.content,
                hardware if is_heard else None,
            )
        )
    return results


def _scored(scorer: WindowScorer, samples: Sequence[NDArray[np.float32]]) -> list[HeardWindow]:
    """All windows; an asynchronous device gets its next batch before the last one is read."""
    heard: list[HeardWindow] = []
    begun: deque[Callable[[], list[HeardWindow]]] = deque()
    for start in range(0, len(samples), scorer.batch_windows):
        begun.append(scorer.begin(samples[start : start + scorer.batch_windows]))
        while len(begun) >= scorer.runner.in_flight:
            heard += begun.popleft()()
    for pending in begun:
        heard += pending()
    return heard
