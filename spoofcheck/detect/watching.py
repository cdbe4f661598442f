"""When files that arrive in watched folders are ready to be examined: events and a clock in, paths out.

Nothing here waits, watches or reads: whoever does tells `Arrivals` what happened and what time it is, and gives it a
function that looks at a file. A file is ready when it has settled, that is when two looks at it, a given time apart,
saw the same. That time is short for a file that its writer closed or that was renamed into place. Events may come late,
twice, in any order or never: `Arrivals.listed` makes good for every one that was lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from spoofcheck.audio.files import sha256_of

CLOSED_SETTLES_S: Final = 0.25
"""A file closed by its writer waits for no longer: what copies a file sets its times and rights after that."""

TEMPORARY: Final = ("*.part", "*.partial", "*.filepart", "*.tmp", "*.temp", "*.crdownload", "*.download", "*~")
"""Names of what is still on its way, as globs; it is waited for until it has another. So is what begins with a dot."""


class Stamp(NamedTuple):
    """What the file system says of a file; any change of its bytes changes it, whoever sets the file's times."""

    size_bytes: int
    modified_ns: int
    changed_ns: int


Look = Callable[[Path], Stamp | None]
"""Looks at a file; None when there is none."""


def look_at(path: Path) -> Stamp | None:
    """The stamp of a file, links followed; of the link itself where it leads nowhere. Nothing is opened."""
    for look in (os.stat, os.lstat):
        try:
            entry = look(path)
        except (OSError, ValueError):
            continue
        return Stamp(entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns)
    return None


@dataclass(slots=True)
class _Waiting:
    stamp: Stamp
    since_s: float
    closed: bool


class _Known(NamedTuple):
    stamp: Stamp
    sha256: bytes | None


class Arrivals:
    """The files of watched folders: which of them wait to settle, are ready, are being examined, and are known.

    A path waits or is ready, never both and never twice; one in hand may also wait, when it changed meanwhile. What is
    kept grows with the number of files that are there, never with time.

    Args:
        settle_s: how long a file must stay unchanged.
        look: looks at a file.
    """

    def __init__(self, settle_s: float, look: Look = look_at) -> None:
        self._settle_s = settle_s
        self._closed_settles_s = min(settle_s, CLOSED_SETTLES_S)
        self._look = look
        self._waiting: dict[str, _Waiting] = {}
        self._ready: dict[str, Stamp] = {}
        self._in_hand: dict[str, Stamp] = {}
        self._known: dict[str, _Known] = {}

    def touched(self, path: Path, now_s: float, *, closed: bool = False) -> None:
        """Something happened to a file, or it is there: wait until it has settled, if it is not what is known.

        Args:
            path: of the file.
            now_s: by a clock that never goes back.
            closed: its writer closed it, or it was renamed to this name.
        """
        name, stamp = os.fspath(path), self._look(path)
        if stamp is None:  # if it was waited for, `settle` tells of it
            return
        if stamp == self._stamp_of(name):
            self._waiting.pop(name, None)
            return
        self._ready.pop(name, None)
        waiting = self._waiting.get(name)
        if waiting is None or waiting.stamp != stamp or waiting.closed != closed:
            self._waiting[name] = _Waiting(stamp, now_s, closed)

    def moved(self, path: Path) -> None:
        """A file has another name now, which is told apart: this one is forgotten."""
        for each in (self._waiting, self._ready, self._known):
            each.pop(os.fspath(path), None)

    def ignored(self, path: Path) -> None:
        """A file is there and need not be examined as it is."""
        stamp = self._look(path)
        if stamp is not None:
            self._known[os.fspath(path)] = _Known(stamp, None)

    def listed(self, paths: Iterable[Path], now_s: float, *, complete: bool = True) -> None:
        """All files that are there: wait for those that nobody told of, forget those that are gone.

        Args:
            paths: of every file.
            now_s: as for `touched`.
            complete: False when some folder could not be listed: then nothing is forgotten.
        """
        seen: set[str] = set()
        for path in paths:
            name = os.fspath(path)
            seen.add(name)
            if name not in self._waiting:
                self.touched(path, now_s)
        if complete:
            for name in self._known.keys() - seen:
                del self._known[name]

    def settle(self, now_s: float) -> list[Path]:
        """Look at the files that waited long enough; those that stayed the same are ready from now on.

        Returns:
            Files that vanished while they were waited for.
        """
        vanished: list[Path] = []
        for name, waiting in list(self._waiting.items()):
            if now_s < self._due_s(waiting):
                continue
            stamp = self._look(Path(name))
            if stamp is not None and stamp != waiting.stamp:
                self._waiting[name] = _Waiting(stamp, now_s, waiting.closed)
                continue
            del self._waiting[name]
            if stamp is None:
                vanished.append(Path(name))
            else:
                self._ready[name] = stamp
        return vanished

    def next_due_s(self) -> float | None:
        """When `settle` has something to do next, by the clock of `now_s`; None when nothing waits."""
        return min(map(self._due_s, self._waiting.values()), default=None)

    def take(self, limit: int) -> list[Path]:
        """Up to `limit` files that are ready, in the order in which they got so; each is in hand until it is `done`."""
        names = [name for name, _ in zip(self._ready, range(limit), strict=False)]
        for name in names:
            self._in_hand[name] = self._ready.pop(name)
        return [Path(name) for name in names]

    def has_ready(self) -> bool:
        """Whether `take` gives something."""
        return bool(self._ready)

    def done(self, path: Path, sha256: str | None = None) -> None:
        """A file in hand was examined.

        Args:
            path: of the file.
            sha256: of what was examined, hexadecimal; None when it was not read.
        """
        name = os.fspath(path)
        self._known[name] = _Known(self._in_hand.pop(name), None if sha256 is None else bytes.fromhex(sha256))

    def done_as_before(self, path: Path) -> None:
        """A file in hand need not be examined: what is known of it, if anything, holds for it as it is now."""
        name = os.fspath(path)
        known = self._known.get(name)
        self._known[name] = _Known(self._in_hand.pop(name), None if known is None else known.sha256)

    def dropped(self, path: Path) -> None:
        """A file in hand is gone, or is to be waited for again: nothing is known of it."""
        self._in_hand.pop(os.fspath(path))
        self._known.pop(os.fspath(path), None)

    def is_unchanged(self, path: Path, sha256_now: Callable[[Path], str] = sha256_of) -> bool:
        """Whether a file in hand holds what it did when it was last examined, though something happened to it.

        Raises:
            InputError: it cannot be read.
        """
        known = self._known.get(os.fspath(path))
        return known is not None and known.sha256 is not None and bytes.fromhex(sha256_now(path)) == known.sha256

    def unexamined(self) -> int:
        """How many files arrived and are not examined: they wait, are ready or in hand."""
        return len(self._waiting.keys() | self._ready.keys() | self._in_hand.keys())

    def _stamp_of(self, name: str) -> Stamp | None:
        """As the file is going to be examined, or was."""
        if name in self._ready:
            return self._ready[name]
        if name in self._in_hand:
            return self._in_hand[name]
        return self._known[name].stamp if name in self._known else None

    def _due_s(self, waiting: _Waiting) -> float:
        return waiting.since_s + (self._closed_settles_s if waiting.closed else self._settle_s)
