"""What happens in folders, by watchdog: inotify for local ones, or listing them again and again for network folders.

Only a hint. Events may be lost (the kernel's queue runs over, a network folder tells of nothing that others do), so
whoever uses this also lists the folders now and then. What waits here is one mark a path, however many the events.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.polling import PollingObserverVFS

from spoofcheck.audio.inputs import display_path
from spoofcheck.errors import UsageError

POLL_S: Final = 5.0
"""How often a folder is listed where events are made by listing."""
_COLLECT_S: Final = 0.1
_MOST_MARKS: Final = 100_000

_EVENTS: Final = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileClosedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]
_LIMIT: Final = (
    "{folder}: the system's limit for watching folders is reached; raise it with 'sysctl fs.inotify.max_user_watches="
    "1048576 fs.inotify.max_user_instances=1024' (as root), or use --poll"
)


class Mark(Enum):
    """What is known of a path by events; a later one replaces an earlier one."""

    TOUCHED = auto()
    CLOSED = auto()
    """By its writer, or renamed from a name in the same folders: complete."""
    LEFT = auto()
    """It has another name now."""


class FolderEvents:
    """Marks on paths in folders; a context manager that leaves no thread behind.

    Args:
        roots: folders, none inside another.
        poll_s: list the folders this often instead of asking the kernel for events; None asks the kernel.

    Raises:
        UsageError: on entry, the system watches no more folders.
    """

    def __init__(self, roots: Sequence[Path], poll_s: float | None = None) -> None:
        self._roots = tuple(roots)
        self._poll_s = poll_s
        self._marks: dict[Path, Mark] = {}
        self._lost = False
        self._changed = threading.Condition()
        self._observer: BaseObserver | None = None
        self._watches: dict[Path, tuple[ObservedWatch, tuple[int, int]]] = {}

    def __enter__(self) -> Self:
        self._observer = self._new_observer()
        try:
            for root in self._roots:
                self._watch(self._observer, root)
            self.check_limit()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._observer is not None:
            _end(self._observer)
        self._observer = None
        self._watches.clear()

    def wait(self, timeout_s: float) -> None:
        """Until there are marks, or the time is up; a moment longer for what comes with them."""
        with self._changed:
            if not self._marks and not self._lost:
                self._changed.wait(timeout_s)
            is_told = bool(self._marks or self._lost)
        if is_told:
            time.sleep(min(timeout_s, _COLLECT_S))

    def drain(self) -> dict[Path, Mark] | None:
        """The marks since the last call, in the order in which they came; None when they were too many to be kept."""
        with self._changed:
            marks, self._marks = self._marks, {}
            lost, self._lost = self._lost, False
        return None if lost else marks

    def renew(self) -> None:
        """Watch again what is a different folder now than when it was last watched, or was away.

        Raises:
            UsageError: as on entry.
        """
        observer = self._observer
        if observer is None:
            raise RuntimeError("events come inside the `with`")
        alive = {emitter.watch for emitter in observer.emitters if emitter.is_alive()}
        for root in self._roots:
            watch, identity = self._watches.get(root, (None, None))
            if watch in alive and identity == _identity(root):
                continue
            if watch is not None:
                del self._watches[root]
                observer.unschedule(watch)
            self._watch(observer, root)

    def check_limit(self) -> None:
        """Find out whether a folder within these could be watched if it were made now.

        watchdog says nothing when it could not watch a folder inside the watched one.

        Raises:
            UsageError: it could not.
        """
        if self._poll_s is not None:
            return
        for root in self._roots[:1]:
            probe = self._new_observer()
            try:
                probe.schedule(FileSystemEventHandler(), os.fspath(root), recursive=False, event_filter=[])
            except OSError as error:
                _raise_limit(error, root)
            finally:
                _end(probe)

    def _new_observer(self) -> BaseObserver:
        observer: BaseObserver | None = None
        try:
            observer = Observer() if self._poll_s is None else _polling(self._poll_s)
            observer.start()
        except OSError as error:
            if observer is not None:
                _end(observer)
            _raise_limit(error, self._roots[0])
            raise
        return observer

    def _watch(self, observer: BaseObserver, root: Path) -> None:
        identity = _identity(root)
        if identity is None:
            return
        try:
            watch = observer.schedule(_Handler(self._mark), os.fspath(root), recursive=True, event_filter=[*_EVENTS])
        except OSError as error:
            _raise_limit(error, root)
            return  # it is away, or may not be listed: `renew` tries again
        self._watches[root] = (watch, identity)

    def _mark(self, path: Path, mark: Mark) -> None:
        with self._changed:
            self._marks.pop(path, None)
            self._marks[path] = mark
            if len(self._marks) > _MOST_MARKS:
                self._marks.clear()
                self._lost = True
            self._changed.notify()


class _Handler(FileSystemEventHandler):
    """Called in the observer's thread."""

    def __init__(self, mark: Callable[[Path, Mark], None]) -> None:
        self._mark = mark

    def dispatch(self, event: FileSystemEvent) -> None:
        if isinstance(event, FileMovedEvent | DirMovedEvent):
            if event.src_path:
                self._mark(_path(event.src_path), Mark.LEFT)
            if event.dest_path:
                self._mark(_path(event.dest_path), Mark.CLOSED)
        else:
            self._mark(_path(event.src_path), Mark.CLOSED if isinstance(event, FileClosedEvent) else Mark.TOUCHED)


def _path(name: bytes | str) -> Path:
    return Path(os.fsdecode(name))


def _polling(poll_s: float) -> BaseObserver:
    # Links are not followed: two of them that lead upwards would have a folder listed for ever.
    return PollingObserverVFS(stat=os.lstat, listdir=os.scandir, polling_interval=poll_s)


def _end(observer: BaseObserver) -> None:
    observer.stop()
    with suppress(RuntimeError):  # it never ran
        observer.join()


def _identity(root: Path) -> tuple[int, int] | None:
    """Which folder a path leads to; None when there is none."""
    try:
        entry = root.stat()
    except OSError:
        return None
    return entry.st_dev, entry.st_ino


def _raise_limit(error: OSError, folder: Path) -> None:
    if error.errno in (errno.ENOSPC, errno.EMFILE):
        raise UsageError(_LIMIT.format(folder=display_path(folder))) from error
