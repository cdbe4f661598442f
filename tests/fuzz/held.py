"""What a process holds: descriptors, threads, processes it started, memory. For Linux, which says so in `/proc`."""

from __future__ import annotations

import os
import resource
import threading
from dataclasses import dataclass
from pathlib import Path

MARK = "SPOOFCHECK_FUZZ_MARK"
"""Environment variable that every process started from here inherits, and that tells them from all others."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is held at one moment."""

    descriptors: frozenset[str]
    threads: frozenset[str]
    processes: frozenset[int]
    files: frozenset[str]

    def more_than(self, earlier: Held) -> list[str]:
        """What came and did not go, in words."""
        return [
            f"{kind} left behind: {', '.join(map(str, sorted(now - before)))}"
            for kind, now, before in (
                ("descriptors", self.descriptors, earlier.descriptors),
                ("threads", self.threads, earlier.threads),
                ("processes", self.processes, earlier.processes),
                ("temporary files", self.files, earlier.files),
            )
            if now - before
        ]


def held(mark: str, temporary: Path) -> Held:
    """What this process holds, and the processes that bear the mark, wherever they hang in the tree.

    Args:
        mark: value of `MARK` in the environment of this process.
        temporary: where temporary files go.
    """
    return Held(
        frozenset(_descriptors()),
        frozenset(thread.name for thread in threading.enumerate()),
        frozenset(_marked(mark)),
        frozenset(str(path.relative_to(temporary)) for path in temporary.rglob("*")),
    )


def peak_rss_bytes() -> int:
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_rss_of_children_bytes() -> int:
    """The most memory a process had that ended since this one began: a reader, or a decoder program."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _descriptors() -> list[str]:
    names = []
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208  its own descriptor is among them, and gone below
        try:
            names.append(f"{entry} -> {Path(f'/proc/self/fd/{entry}').readlink()}")
        except OSError:
            continue
    return names


def _marked(mark: str) -> list[int]:
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
