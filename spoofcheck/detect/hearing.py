"""Recordings on their way through the network: read ahead, their windows batched over files, heard in input order."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spoofcheck.detect.progress import Progress
from spoofcheck.detect.readers import Known, ReadAny, Readers, ReadItem, ReadRecording
from spoofcheck.detect.scorer import HeardWindow, WindowScorer
from spoofcheck.schema import Finding
from spoofcheck.types import AudioFile, ReadPosition, RecordingSummary, Skipped, Window, samples_to_seconds


class FindingStore(Protocol):
    """Findings of earlier scans with the same model and options. `find` is called from several threads."""

    def find(self, path: Path, cancelled: Callable[[], bool]) -> tuple[Finding, ...] | None:
        """The findings of a file of this content, as if it had just been judged; None when it is to be read."""

    def keep(self, path: Path, findings: tuple[Finding, ...]) -> None:
        """Keep what was found, durably, before the next recording is judged; known findings come again."""


@dataclass(slots=True)
class ScoredWindow:
    """A window without its samples, and what the network said of it.

    Attributes:
        not_scored: why it is not for the network, see `types.Window`; None when it is.
        heard: None until the network has heard it, and when it does not.
    """

    start_sample: int
    end_sample: int
    speech_s: float | None
    not_scored: str | None
    heard: HeardWindow | None = None


@dataclass(frozen=True, slots=True)
class HeardRecording:
    """An input that is done with reading and network.

    Attributes:
        entry: as it was given.
        windows: by channel, in order of time.
        outcome: what ended the reading.
    """

    entry: Path | Skipped
    windows: dict[int | None, list[ScoredWindow]]
    outcome: RecordingSummary | Skipped | Known

    @property
    def path(self) -> Path:
        """Of the input, as it was given."""
        return self.entry.path if isinstance(self.entry, Skipped) else self.entry

    def heard(self) -> dict[int | None, list[HeardWindow | None]]:
        """What the network said of each window, by channel."""
        return {channel: [window.heard for window in windows] for channel, windows in self.windows.items()}

    def has_finite_scores(self) -> bool:
        """Whether every score is a number that can be judged."""
        every = (heard for windows in self.heard().values() for heard in windows)
        return all(
            math.isfinite(heard.raw_score) and math.isfinite(heard.validity_distance or 0.0)
            for heard in every
            if heard is not None
        )


class Hearing:
    """Reads recordings in threads and runs their windows through the network in batches that cross files.

    Args:
        scorer: the network.
        read: reads one recording, or knows its findings.
        workers: threads that read.
        debug: raise what nobody foresaw.
    """

    def __init__(self, scorer: WindowScorer, read: ReadAny, workers: int, debug: bool) -> None:
        self._scorer = scorer
        self._read = read
        self._workers = workers
        self._debug = debug

    def recordings(self, entries: Sequence[Path | Skipped], watcher: Progress) -> Generator[HeardRecording]:
        """Every input, in the order given, as soon as it and those before it are done."""
        files = {i: _FileInProgress(entry) for i, entry in enumerate(entries)}
        batch = _Batch(self._scorer)
        first_open = 0
        with Readers(entries, self._read, self._workers, self._debug) as readers:
            for index, item in readers.items():
                file = files[index]
                if isinstance(item, AudioFile):
                    watcher.opened(item.path, item.header_duration_s)
                elif isinstance(item, Window):
                    file.add(item, batch)
                    watcher.heard(file.path, samples_to_seconds(item.end_sample))
                elif isinstance(item, ReadPosition):
                    watcher.heard(file.path, samples_to_seconds(item.end_sample))
                else:
                    file.outcome = item
                if len(batch) >= self._scorer.batch_windows:
                    batch.begin()
                while first_open in files and files[first_open].is_complete():
                    yield files.pop(first_open).done()
                    first_open += 1
            batch.finish()
            for index in sorted(files):
                yield files[index].done()


def stored_first(store: FindingStore, read: ReadRecording) -> ReadAny:
    """Read only what a store does not know."""

    def reading(path: Path, cancelled: Callable[[], bool]) -> Generator[ReadItem | Known]:
        findings = store.find(path, cancelled)
        if findings is not None:
            yield Known(findings)
            return
        with closing(read(path, cancelled)) as items:
            yield from items

    return reading


@dataclass(slots=True)
class _FileInProgress:
    entry: Path | Skipped
    windows: dict[int | None, list[ScoredWindow]] = field(default_factory=dict)
    outcome: RecordingSummary | Skipped | Known | None = None
    unscored: int = 0

    @property
    def path(self) -> Path:
        return self.entry.path if isinstance(self.entry, Skipped) else self.entry

    def add(self, window: Window, batch: _Batch) -> None:
        scored = ScoredWindow(window.start_sample, window.end_sample, window.speech_s, window.not_scored)
        self.windows.setdefault(window.channel, []).append(scored)
        if window.samples is not None:
            self.unscored += 1
            batch.add(self, scored, window.samples)

    def is_complete(self) -> bool:
        return self.outcome is not None and self.unscored == 0

    def done(self) -> HeardRecording:
        if self.outcome is None:
            raise RuntimeError(f"{self.path}: judged before it was read to its end")
        return HeardRecording(self.entry, self.windows, self.outcome)


class _Batch:
    """Windows of any files that wait for the network, and those that are on their way through it."""

    def __init__(self, scorer: WindowScorer) -> None:
        self._scorer = scorer
        self._owners: list[tuple[_FileInProgress, ScoredWindow]] = []
        self._waiting: list[NDArray[np.float32]] = []
        self._begun: deque[tuple[list[tuple[_FileInProgress, ScoredWindow]], Callable[[], list[HeardWindow]]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, file: _FileInProgress, window: ScoredWindow, samples: NDArray[np.float32]) -> None:
        self._owners.append((file, window))
        self._waiting.append(samples)

    def begin(self) -> None:
        """Send what waits on its way; an asynchronous device gets its next batch before the last one is read."""
        self._begun.append((self._owners, self._scorer.begin(self._waiting)))
        self._owners, self._waiting = [], []
        while len(self._begun) >= self._scorer.runner.in_flight:
            self._collect()

    def finish(self) -> None:
        """Score all that is left."""
        self.begin()
        while self._begun:
            self._collect()

    def _collect(self) -> None:
        owners, pending = self._begun.popleft()
        for (file, window), heard in zip(owners, pending(), strict=True):
            window.heard = heard
            file.unscored -= 1
