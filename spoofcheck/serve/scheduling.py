"""Which of the files that wait are examined next, and together: pure decisions.

Short files go first, but no file waits for ever: whatever its size, it counts less with every second it has waited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spoofcheck.serve.models import JobOptions

BYTES_PER_WAITED_S = 1_000_000.0
"""A file of 25 MB lets empty ones that come after it pass for 25 s at most."""


@dataclass(frozen=True, slots=True)
class PassLimits:
    """How much is examined in one pass.

    Attributes:
        files: that share a pass; windows of all of them share the network's batches.
        size_bytes: of a pass together; a larger file has a pass of its own.
    """

    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that waits.

    Attributes:
        key: of the file.
        since_s: when it came, on the clock of `now_s`.
        alone: a pass ended before it was examined: it shares no further one, so that no file suffers from another.
    """

    key: int
    size_bytes: int
    options: JobOptions
    since_s: float
    alone: bool = False

    def urgency(self, now_s: float) -> float:
        """The smaller, the sooner."""
        return self.size_bytes - BYTES_PER_WAITED_S * (now_s - self.since_s)


def next_pass(waiting: Sequence[Waiting], now_s: float, limits: PassLimits, processes: int) -> list[Waiting]:
    """The files of the next pass, the most urgent first.

    They have the same options, keep within the limits, and leave their share to the other model processes.

    Args:
        waiting: all files that wait.
        now_s: the time.
        limits: of a pass.
        processes: model processes that will take from `waiting`.
    """
    ordered = sorted(waiting, key=lambda each: (each.urgency(now_s), each.key))
    if not ordered:
        return []
    first = ordered[0]
    if first.alone:
        return [first]
    files = min(limits.files, -(-len(ordered) // processes))
    chosen, size_bytes = [first], first.size_bytes
    for each in ordered[1:]:
        if len(chosen) == files:
            break
        if each.alone or each.options != first.options or size_bytes + each.size_bytes > limits.size_bytes:
            continue
        chosen.append(each)
        size_bytes += each.size_bytes
    return chosen
