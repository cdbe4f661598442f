"""Recordings of watched folders as they become ready to be examined, and what came of them.

Events say where to look, a list of all that is there once a minute makes good for those that were lost, and
`watching.Arrivals` says what is ready. What may be a recording is decided as `audio.inputs.find_inputs` does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from spoofcheck.audio.inputs import claims_audio, display_path, find_inside
from spoofcheck.detect.folderevents import POLL_S, FolderEvents, Mark
from spoofcheck.detect.watching import TEMPORARY, Arrivals
from spoofcheck.errors import InputError, UsageError
from spoofcheck.schema import Finding, Verdict
from spoofcheck.types import Skipped

DEFAULT_SETTLE_S: Final = 2.0
DEFAULT_RESCAN_S: Final = 60.0
_RESCAN_SHARE: Final = 0.05
"""Of the time, that listing the folders may take."""
_BATCH: Final = 32
"""Recordings that are handed out at once: enough to keep readers and network busy."""
_EVERYTHING: Final = ("*",)

_COMES_AGAIN: Final = frozenset({"changed-while-reading"})
_IS_GONE: Final = frozenset({"not-found"})


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How folders are watched."""

    settle_s: float = DEFAULT_SETTLE_S
    """How long a file must stay unchanged before it is read."""
    rescan_s: float = DEFAULT_RESCAN_S
    """How often all files are listed, to find those that no event told of."""
    new_only: bool = False
    """Leave out what is there at the start."""
    poll: bool = False
    """List the folders instead of asking the kernel for events."""


class FolderWatch:
    """Watches folders; a context manager that leaves no thread behind.

    Args:
        roots: folders, absolute, none inside another.
        options: see `WatchOptions`.
        own: files and folders that are never looked at: what the caller writes.
        notice: told, in one line, of what is no finding: a file that was deleted before it was read, a folder that
            is away. Names are as found.
        clock: seconds that never go back.

    Raises:
        UsageError: on entry, a folder is missing or is inside another, or the system watches no more folders.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        options: WatchOptions | None = None,
        own: Sequence[Path] = (),
        notice: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._roots = tuple(roots)
        self._options = options or WatchOptions()
        self._own = _below(self._roots, own)
        self._notice = notice
        self._clock = clock
        self._arrivals = Arrivals(self._options.settle_s)
        self._events = FolderEvents(self._roots, POLL_S if self._options.poll else None)
        self._next_rescan_s = 0.0
        self._away: set[Path] = set()
        self._limit_told = False
        self.vanished = 0

    def __enter__(self) -> Self:
        check_roots(self._roots)
        # Before there are events: what comes between is not known, and the first list finds it.
        if self._options.new_only:
            for root in self._roots:
                for path in self._inside(root):
                    self._arrivals.ignored(path)
        self._events.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.__exit__(kind, error, trace)

    @property
    def unexamined(self) -> int:
        """How many files arrived and are not examined."""
        return self._arrivals.unexamined()

    def wait(self) -> list[Path | Skipped]:
        """Wait for recordings that are ready, a few at once; every one is to be given to `done`, in any order."""
        while True:
            self.notice()
            found = list(self._ready())
            if found:
                return found
            now_s = self._clock()
            due_s = self._arrivals.next_due_s()
            until_s = self._next_rescan_s if due_s is None else min(due_s, self._next_rescan_s)
            if not self._arrivals.has_ready():
                self._events.wait(max(0.0, until_s - now_s))

    def notice(self) -> None:
        """Take in what happened meanwhile; cheap, and to be called between recordings."""
        marks = self._events.drain()
        now_s = self._clock()
        if marks is None or now_s >= self._next_rescan_s:
            self._rescan(now_s)
        for path, mark in (marks or {}).items():
            if mark is Mark.LEFT:
                self._arrivals.moved(path)
                continue
            for found in self._inside(path):
                self._arrivals.touched(found, now_s, closed=mark is Mark.CLOSED)
        for path in self._arrivals.settle(now_s):
            self._tell_vanished(path)

    def done(self, path: Path, findings: Sequence[Finding]) -> bool:
        """Take in what came of a recording.

        Returns:
            Whether the findings count. They do not when the file changed while it was read, and will come again, or
            when it was deleted before.
        """
        codes = {reason.code for each in findings if each.verdict is Verdict.SKIPPED for reason in each.reasons}
        if codes & _COMES_AGAIN:
            self._arrivals.dropped(path)
            self._arrivals.touched(path, self._clock())
            self._notice(f"{display_path(path)}: changed while it was read; it is read again when it has settled")
            return False
        if codes & _IS_GONE:
            self._arrivals.dropped(path)
            self._tell_vanished(path)
            return False
        self._arrivals.done(path, next((each.sha256 for each in findings if each.sha256), None))
        return True

    def _ready(self) -> Iterator[Path | Skipped]:
        """What of the files that are ready is to be examined; all others are done."""
        for path in self._arrivals.take(_BATCH):
            try:
                entries = list(find_inside(self._root_of(path), path, exclude=TEMPORARY))
                unchanged = bool(entries) and self._arrivals.is_unchanged(path)
            except InputError:  # the reading will say so again
                unchanged = False
            if unchanged or not entries:
                self._arrivals.done_as_before(path)
                continue
            entry = entries[0]
            if (entry.path if isinstance(entry, Skipped) else entry) == path:
                yield entry
            else:  # a folder that could not be listed, and can be now: the next list has what is in it
                self._arrivals.done(path)

    def _rescan(self, now_s: float) -> None:
        """List everything, and see to it that all folders are watched."""
        complete = True
        for root in self._roots:
            complete &= self._is_there(root)
        self._watch_again()
        found = (path for root in self._roots if root not in self._away for path in self._inside(root))
        self._arrivals.listed(found, now_s, complete=complete)
        took_s = self._clock() - now_s
        self._next_rescan_s = self._clock() + max(self._options.rescan_s, took_s / _RESCAN_SHARE)

    def _watch_again(self) -> None:
        try:
            self._events.renew()
            self._events.check_limit()
        except UsageError as error:
            if not self._limit_told:
                self._notice(f"{error}; until then, what arrives in new folders is found every minute")
            self._limit_told = True
        else:
            self._limit_told = False

    def _is_there(self, root: Path) -> bool:
        """Whether a root can be listed; told when that changes."""
        try:
            with os.scandir(root):
                pass
        except OSError as error:
            if root not in self._away:
                self._notice(f"{display_path(root)}: cannot be listed now ({error.strerror or error}); still waiting")
            self._away.add(root)
            return False
        if root in self._away:
            self._notice(f"{display_path(root)}: can be listed again")
        self._away.discard(root)
        return True

    def _inside(self, path: Path) -> Iterator[Path]:
        """All that is at a place and may be looked at, recording or not."""
        root = self._root_of(path)
        # Not `find_inputs`: of a file and a link to it, that takes whichever comes first.
        for entry in find_inside(root, path, include=_EVERYTHING, exclude=TEMPORARY):
            found = entry.path if isinstance(entry, Skipped) else entry
            if found != root and not self._is_own(found):
                yield found

    def _root_of(self, path: Path) -> Path:
        return next(root for root in self._roots if path.is_relative_to(root))

    def _is_own(self, path: Path) -> bool:
        # By name: a link to one of them is left out as every link to what is found where it lies.
        return any(path == own or own in path.parents for own in self._own)

    def _tell_vanished(self, path: Path) -> None:
        if not claims_audio(path.name):
            return
        self.vanished += 1
        self._notice(f"{display_path(path)}: deleted before it was read")


def _below(roots: Sequence[Path], places: Sequence[Path]) -> tuple[Path, ...]:
    """Those of the places that are inside a root, as a search of the root finds them."""
    real_roots = [(root, os.path.realpath(root)) for root in roots]
    real_places = [Path(os.path.realpath(place)) for place in places]
    return tuple(
        root / place.relative_to(real_root)
        for root, real_root in real_roots
        for place in real_places
        if place.is_relative_to(real_root)
    )


def check_roots(roots: Sequence[Path]) -> None:
    """Refuse folders that cannot be watched.

    Raises:
        UsageError: one is missing, is no folder, or is inside another.
    """
    real = {root: Path(os.path.realpath(root)) for root in roots}
    for root, place in real.items():
        if not place.is_dir():
            what = "is no folder" if place.exists() else "there is no such folder"
            raise UsageError(f"{display_path(root)}: {what}; watch takes folders")
    for root, place in real.items():
        for other, above in real.items():
            if root is not other and place.is_relative_to(above):
                raise UsageError(f"{display_path(root)}: is inside {display_path(other)}, which is watched too")
