"""The other end of `detect.isolation`: a process that reads recordings and tells what it reads on its standard output.

It is told `Start`, and then one `Job` after the other, as pickles on its standard input; it answers with pickles:
`READY` once, and for every job `BEAT`s, items, and at last `DONE`, `Refused` or the exception that ended it.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

from spoofcheck.detect.limits import ReadLimits
from spoofcheck.detect.readers import ReadItem, ReadRecording
from spoofcheck.errors import InputError
from spoofcheck.types import AudioFile, ReadPosition, Window, samples_to_seconds

READY, BEAT, DONE = "ready", "beat", "done"

_BEAT_S = 1.0
_PIPE_BYTES = 1 << 20
_NO_MEMORY = ("not enough memory", "can't allocate memory", "cannot allocate memory", "can't start new thread")


@dataclass(frozen=True, slots=True)
class Start:
    """What a reader process is told first.

    Attributes:
        limits: on each recording.
        read: how the first one will be read; what that needs is loaded before memory is measured and clocks run.
    """

    limits: ReadLimits
    read: ReadRecording


@runtime_checkable
class Loadable(Protocol):
    """A reading that needs more than its own module."""

    def load(self) -> None:
        """Load it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One recording and how to read it."""

    read: ReadRecording
    path: Path


@dataclass(frozen=True, slots=True)
class Refused:
    """The `InputError` that ended a job."""

    code: str
    message: str


def main() -> None:
    """Read recordings until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started us: it ends this one
    inlet, outlet = sys.stdin.buffer, _own_output()
    # Whoever waits may be gone at any time.
    with suppress(BrokenPipeError, EOFError):
        start = pickle.load(inlet)
        limits = start.limits
        if isinstance(start.read, Loadable):
            start.read.load()
        _limit_memory(limits.memory_bytes)
        _tell(outlet, READY)
        while True:
            if not _serve(pickle.load(inlet), limits, outlet):
                return


def _serve(job: Job, limits: ReadLimits, outlet: IO[bytes]) -> bool:
    """Read one recording; False when the process had better not go on."""
    clock = _Clock(limits, outlet)
    try:
        with closing(_read(job, clock)) as items:
            for item in items:
                _tell(outlet, item)
    except BrokenPipeError:
        raise
    except InputError as error:
        _tell(outlet, Refused(error.code, error.message))
        return True
    except Exception as error:
        is_short = isinstance(error, MemoryError) or any(text in str(error).lower() for text in _NO_MEMORY)
        with suppress(MemoryError):
            _tell(outlet, MemoryError() if is_short else _sendable(error))
        return not is_short
    _tell(outlet, DONE)
    return True


def _read(job: Job, clock: _Clock) -> Generator[ReadItem]:
    with closing(job.read(job.path, clock.beat)) as items:
        for item in items:
            clock.saw(item)
            yield item


class _Clock:
    """Gives signs of life, and keeps the CPU time that the system grants in step with the recording."""

    def __init__(self, limits: ReadLimits, outlet: IO[bytes]) -> None:
        self._limits = limits
        self._outlet = outlet
        self._last_beat_s = time.monotonic()
        self._begin_s = time.process_time()
        self._granted_s = 0.0
        self._file: AudioFile | None = None
        self._grant(0.0)

    def beat(self) -> bool:
        """A reading asks whether to give up: never, the process is killed then."""
        if time.monotonic() - self._last_beat_s >= _BEAT_S:
            _tell(self._outlet, BEAT)
            self._last_beat_s = time.monotonic()
        return False

    def saw(self, item: ReadItem) -> None:
        """An item came out."""
        if isinstance(item, AudioFile):
            self._file = item
            self._grant(0.0)
        elif isinstance(item, Window | ReadPosition):
            self._grant(samples_to_seconds(item.end_sample))

    def _grant(self, position_s: float) -> None:
        allowed_s = self._limits.allowed_s(self._file, position_s)
        if allowed_s > self._granted_s:
            self._granted_s = allowed_s
            _limit_cpu(self._begin_s + allowed_s)


def _tell(outlet: IO[bytes], message: object) -> None:
    pickle.dump(message, outlet, protocol=5)
    outlet.flush()


def _sendable(error: Exception) -> Exception:
    """The exception itself where it survives the journey, else its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _own_output() -> IO[bytes]:
    """Standard output under another number; what libraries print goes to standard error."""
    outlet = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(ImportError, AttributeError, OSError):  # fewer switches between the two ends, where the system can
        import fcntl

        fcntl.fcntl(outlet.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return outlet


def _limit_memory(more_bytes: int) -> None:
    resource = _resource()
    if resource is None:
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        held_bytes = _address_space_bytes()
        if held_bytes:
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (held_bytes + more_bytes, hard))


def _limit_cpu(total_s: float) -> None:
    resource = _resource()
    if resource is None:
        return
    with suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(total_s) + 1, hard))


def _resource() -> Any:
    try:
        import resource
    except ImportError:
        return None
    return resource


def _address_space_bytes() -> int:
    """0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
