"""Recordings read in worker processes: whatever a hostile file does to a decoder, it costs that file alone.

Each thread of `Readers` has a process of its own, which reads one recording after the other (`detect.readerprocess`).
One that dies, or passes its limits, is killed with the decoder programs it started; the recording becomes an
`InputError`, and the next one has a new process. Items travel through a pipe: a window is a copy of 256 kB, nothing is
shared, so nothing can be left behind.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from spoofcheck.detect.limits import ReadLimits
from spoofcheck.detect.readerprocess import BEAT, READY, Job, Refused, Start
from spoofcheck.detect.readers import ReadItem, ReadRecording
from spoofcheck.errors import InputError
from spoofcheck.types import AudioFile, ReadPosition, RecordingSummary, Window, samples_to_seconds

_WATCH_S = 0.1
_WATCHDOG = "spoofcheck-reader-watchdog"
_START_S = 300.0
"""Loading torch from a cold or crowded disk; a reader that takes longer will not come."""
_CPU_TIME_IS_UP = -getattr(signal, "SIGXCPU", 0) or None

_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from spoofcheck.detect.readerprocess import main
main()
"""


class ReaderProcesses:
    """Processes that read recordings; a context manager that leaves none behind.

    They start when they are needed and stay until the last `with` of them ends, so that a service can keep them from
    one scan to the next: `with scanner.processes: ...`. May be entered again, and from several threads.

    Args:
        limits: on each recording.
    """

    def __init__(self, limits: ReadLimits | None = None) -> None:
        self._limits = limits or ReadLimits()
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._users = 0
        self._is_over = threading.Event()
        self._watchdog: threading.Thread | None = None

    def __enter__(self) -> Self:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._is_over = threading.Event()
                arguments = (self._is_over,)
                self._watchdog = threading.Thread(target=self._watch, args=arguments, name=_WATCHDOG, daemon=True)
                self._watchdog.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            self._is_over.set()
            workers, self._all, self._idle = self._all, set(), []
        for worker in workers:
            worker.end()

    def pids(self) -> list[int]:
        """Of the processes that are there now."""
        with self._lock:
            return sorted(worker.pid for worker in self._all)

    def read(
        self, read: ReadRecording, path: Path, cancelled: Callable[[], bool] = lambda: False
    ) -> Generator[ReadItem]:
        """Read one recording in a process, as `read(path, cancelled)` would here; inside the `with`, in any thread.

        Args:
            read: can be pickled.
            path: the recording.
            cancelled: asked now and then; once true, the process is killed and the stream ends.

        Raises:
            InputError: what `read` raises; `decode-timeout`, `decode-memory`, or `decode-crashed`.
            Exception: what else `read` raises.
            RuntimeError: outside the `with`.
        """
        worker = self._lease(read)
        try:
            yield from worker.read(Job(read, path), self._limits, cancelled)
        finally:
            self._give_back(worker)

    def _lease(self, read: ReadRecording) -> _Worker:
        with self._lock:
            if not self._users:
                raise RuntimeError("reader processes are used inside their `with`")
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive:
                    return worker
                self._all.discard(worker)
                worker.end()
            worker = _Worker(self._limits, read)
            self._all.add(worker)
            return worker

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            if worker.is_idle and worker in self._all:
                self._idle.append(worker)
                return
            self._all.discard(worker)
        worker.end()

    def _watch(self, is_over: threading.Event) -> None:
        while not is_over.wait(_WATCH_S):
            with self._lock:
                workers = list(self._all)
            for worker in workers:
                worker.check()


class _Worker:
    """One process and what it is doing."""

    def __init__(self, limits: ReadLimits, read: ReadRecording) -> None:
        # Not `multiprocessing`: that would run the caller's main module again. `-P`, and our own path, keep the current
        # folder out of it, which may be the evidence's.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both were asked for as pipes")
        self._inlet: IO[bytes] = self._process.stdin
        self._outlet: IO[bytes] = self._process.stdout
        self._limits = limits
        self._state = threading.Lock()
        self._cancelled: Callable[[], bool] = lambda: False
        self._waiting_since_s: float | None = None
        self._waited_s = 0.0
        self._allowed_s = _START_S
        self._stall_s = _START_S
        self._killed_because = ""
        self._is_started = False
        self.is_idle = True
        self._send(Start(limits, read))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def read(self, job: Job, limits: ReadLimits, cancelled: Callable[[], bool]) -> Generator[ReadItem]:
        """The items of one recording; the process is idle again when that ends by itself."""
        self._cancelled = cancelled
        self.is_idle = False
        try:
            answer = yield from self._items(job, limits)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            if not cancelled():
                raise self._why_it_ended() from error
            return
        if isinstance(answer, MemoryError):
            allowed = f"{limits.memory_bytes / (1 << 20):,.0f} MiB"
            raise InputError("decode-memory", f"Reading it was given up: it took more than {allowed} of memory.")
        self.is_idle = True
        if isinstance(answer, Refused):
            raise InputError(answer.code, answer.message)
        if isinstance(answer, Exception):
            raise answer

    def _items(self, job: Job, limits: ReadLimits) -> Generator[ReadItem, None, object]:
        """The items, and then what ended them."""
        if not self._is_started:
            self._is_started = self._receive() == READY
        file: AudioFile | None = None
        self._waited_s, self._stall_s, self._allowed_s = 0.0, limits.stall_s, limits.allowed_s(file, 0.0)
        self._send(job)
        while True:
            message = self._receive()
            if message == BEAT:
                continue
            if isinstance(message, AudioFile):
                file = message
                limits.check_length(file.header_duration_s)
                self._allowed_s = limits.allowed_s(file, 0.0)
            elif isinstance(message, Window | ReadPosition):
                limits.check_length(samples_to_seconds(message.end_sample))
                self._allowed_s = limits.allowed_s(file, samples_to_seconds(message.end_sample))
            elif not isinstance(message, RecordingSummary):
                return message
            yield message

    def check(self) -> None:
        """Kill the process when it passed a limit or nobody listens any more; called by the watchdog."""
        with self._state:
            since_s = self._waiting_since_s
            if since_s is None:
                return
            waiting_s = time.monotonic() - since_s
            if self._cancelled():
                why = "it was cancelled"
            elif waiting_s > self._stall_s:
                why = f"nothing came of it for {self._stall_s:g} s"
            elif self._waited_s + waiting_s > self._allowed_s:
                why = f"it took more than {self._allowed_s:.0f} s"
            else:
                return
            self._killed_because = why
        self._kill()

    def end(self) -> None:
        """End the process, and what it started, and forget it."""
        self._kill()
        with suppress(OSError):  # what was never read by the other end
            self._inlet.close()
        self._outlet.close()
        self._process.wait()

    def _send(self, message: object) -> None:
        data = pickle.dumps(message, protocol=5)
        with suppress(BrokenPipeError):  # the answer, or its absence, tells
            self._inlet.write(data)
            self._inlet.flush()

    def _receive(self) -> object:
        with self._state:
            self._waiting_since_s = time.monotonic()
        try:
            return pickle.load(self._outlet)
        finally:
            with self._state:
                self._waited_s += time.monotonic() - self._waiting_since_s
                self._waiting_since_s = None

    def _why_it_ended(self) -> InputError:
        code = self._process.wait()
        if self._killed_because or code == _CPU_TIME_IS_UP:
            why = self._killed_because or f"it took more than {self._allowed_s:.0f} s of CPU time"
            return InputError("decode-timeout", f"Reading it was given up: {why}.")
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return InputError("decode-crashed", f"Reading it ended the process that read it ({how}).")

    def _kill(self) -> None:
        if self._process.poll() is not None:
            return
        children = _children_of(self.pid)
        self._process.kill()
        for pid in children:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _children_of(pid: int) -> list[int]:
    """Decoder programs that a process started and waits for; empty where the system does not say.

    The process is stopped while it is looked at: what it started would otherwise outlive it.
    """
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.is_dir():
        return []
    found: list[int] = []
    with suppress(OSError):
        os.kill(pid, signal.SIGSTOP)
        for task in tasks.iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found
