"""What reading one recording may take. Plain numbers and one rule, free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spoofcheck.errors import InputError
from spoofcheck.types import AudioFile

Isolation = Literal["auto", "threads", "processes"]
"""Where recordings are read: in this process, or in worker processes that may be killed. Findings are the same."""

MANY_INPUTS = 20
"""From here on, starting processes costs little beside reading (a second and a half of CPU for each)."""

MAX_CLAIMED_S = 48 * 3_600.0
"""A header's word on its duration counts up to here."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Limits on one recording that is read in a process of its own.

    Attributes:
        stall_s: longest time by the clock without a sign of life, which a reader gives at every block of samples.
        base_s: time that every recording has, of the CPU as well as by the clock; only waiting for the reader counts,
            not what the network takes meanwhile.
        per_audio_s: what a second of every channel adds to it.
        memory_bytes: address space beyond what the reader has before its first recording. Only where the platform can
            limit it (POSIX); a decoder program that the reader starts has the same limit by itself.
        audio_s: longest recording; None for no limit.
    """

    stall_s: float = 60.0
    base_s: float = 120.0
    per_audio_s: float = 0.5
    memory_bytes: int = 2 << 30
    audio_s: float | None = None

    def check_length(self, length_s: float | None) -> None:
        """Refuse a recording that is longer than it may be.

        Args:
            length_s: as its header claims, or as far as it was read.

        Raises:
            InputError: `too-long`.
        """
        if self.audio_s is not None and length_s is not None and length_s > self.audio_s:
            raise InputError("too-long", f"It is longer than the {self.audio_s / 60:g} minutes that are allowed here.")

    def allowed_s(self, file: AudioFile | None, position_s: float) -> float:
        """Seconds that a recording may have taken by now.

        Args:
            file: what its header says; None before that is known.
            position_s: how far its windows came.
        """
        if file is None:
            return self.base_s
        claimed_s = min(file.header_duration_s or 0.0, MAX_CLAIMED_S)
        return self.base_s + self.per_audio_s * file.channels * max(claimed_s, position_s)
