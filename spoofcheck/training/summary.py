"""What a corpus holds: clips, hours, speakers and systems by split and label, and by whatever else a row says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.training.facts import band_of


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts over some clips.

    Attributes:
        hours: of the clips whose duration is known.
        unmeasured: clips without a duration.
        speakers: known ones, each counted once a repository.
        nameless: clips whose speaker is not known.
        systems: that are known.
    """

    clips: int
    hours: float
    unmeasured: int
    speakers: int
    nameless: int
    systems: int


@dataclass(frozen=True, slots=True)
class Row:
    """A tally of the clips of one split and label (and, in a dimension, of one value)."""

    split: str
    label: str
    value: str
    tally: Tally


# An empty value says that the dimension is none of the clip's.
DIMENSIONS: Mapping[str, Callable[[Clip], str]] = {
    "system": lambda clip: clip.system if clip.is_spoof else "",
    "language": lambda clip: clip.language,
    "codec": lambda clip: clip.codec,
    "sample rate": lambda clip: UNKNOWN if clip.sample_rate_hz is None else f"{clip.sample_rate_hz} Hz",
    "bandwidth": lambda clip: band_of(clip.bandwidth_hz),
    "repository": lambda clip: clip.repo,
    "licence": lambda clip: clip.licence,
}


def tally(clips: Sequence[Clip]) -> Tally:
    """Count clips."""
    named = [clip for clip in clips if clip.speaker != UNKNOWN]
    return Tally(
        clips=len(clips),
        hours=sum(clip.duration_s or 0.0 for clip in clips) / 3600,
        unmeasured=sum(clip.duration_s is None for clip in clips),
        speakers=len({(clip.repo, clip.speaker) for clip in named}),
        nameless=len(clips) - len(named),
        systems=len({clip.system for clip in clips if clip.is_spoof and clip.system != UNKNOWN}),
    )


def totals(clips: Sequence[Clip]) -> list[Row]:
    """One row a split and label, splits in the order train, dev, eval, others."""
    return _rows(clips, lambda _: "")


def by_dimension(clips: Sequence[Clip], dimension: str) -> list[Row]:
    """One row a split, label and value of one of `DIMENSIONS`; the largest values first."""
    return [row for row in _rows(clips, DIMENSIONS[dimension]) if row.value]


def _rows(clips: Sequence[Clip], value_of: Callable[[Clip], str]) -> list[Row]:
    groups: dict[tuple[str, str, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.split, clip.label, value_of(clip)].append(clip)
    rows = [Row(*key, tally(members)) for key, members in groups.items()]
    return sorted(rows, key=lambda row: (_split_order(row.split), row.label, -row.tally.clips, row.value))


def _split_order(split: str) -> tuple[int, str]:
    order = ("train", "dev", "eval")
    return (order.index(split) if split in order else len(order), split)
