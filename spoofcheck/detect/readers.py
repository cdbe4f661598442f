"""Threads that read recordings ahead of the network, with back-pressure and a clean end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from spoofcheck.errors import InputError
from spoofcheck.schema import Finding
from spoofcheck.types import AudioFile, ReadPosition, RecordingSummary, Skipped, Window


@dataclass(frozen=True, slots=True)
class Known:
    """A recording that was judged before, and need not be read."""

    findings: tuple[Finding, ...]


ReadItem = AudioFile | Window | ReadPosition | RecordingSummary
Item = ReadItem | Skipped | Known
ReadRecording = Callable[[Path, Callable[[], bool]], Generator[ReadItem]]
"""Reads one recording; asks the given function now and then whether to give up."""
ReadAny = Callable[[Path, Callable[[], bool]], Generator[ReadItem | Known]]
"""As `ReadRecording`, or says what is known of it."""

_READ_AHEAD_ITEMS = 64
"""Windows waiting between readers and network: 16 MiB, enough to keep it busy."""

_POLL_S = 0.1
"""How long a blocked reader may take to notice that nobody listens any more."""


class Readers:
    """Reads inputs in `workers` threads; a context manager that never leaves a thread or file open.

    Every input ends with exactly one `RecordingSummary`, `Skipped` or `Known`. An error nobody foresaw is raised in the
    consumer when `debug` is set, and otherwise becomes a `Skipped("internal-error")`: one file must not cost a folder.
    """

    def __init__(self, inputs: Sequence[Path | Skipped], read: ReadAny, workers: int, debug: bool) -> None:
        self._inputs = inputs
        self._read = read
        self._debug = debug
        self._queue: queue.Queue[tuple[int, Item | BaseException]] = queue.Queue(_READ_AHEAD_ITEMS)
        self._next_input = iter(range(len(inputs)))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"spoofcheck-reader-{n}", daemon=True)
            for n in range(min(workers, len(inputs)))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def items(self) -> Iterator[tuple[int, Item]]:
        """`(index of the input, item)` as they come; items of one input are in order, inputs interleave."""
        open_inputs = len(self._inputs)
        while open_inputs:
            index, item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, RecordingSummary | Skipped | Known):
                open_inputs -= 1
            yield index, item

    def _work(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                index = next(self._next_input, None)
            if index is None:
                return
            self._read_one(index)

    def _read_one(self, index: int) -> None:
        entry = self._inputs[index]
        if isinstance(entry, Skipped):
            self._put(index, entry)
            return
        try:
            with closing(self._read(entry, self._stop.is_set)) as items:
                for item in items:
                    if not self._put(index, item):
                        return
        except InputError as error:
            self._put(index, Skipped(entry, error.code, error.message))
        except Exception as error:
            if self._debug:
                self._put(index, error)
                return
            message = f"Unexpected {type(error).__name__}: {error}. Please report it with the output of --debug."
            self._put(index, Skipped(entry, "internal-error", message))

    def _put(self, index: int, item: Item | BaseException) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put((index, item), timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False
