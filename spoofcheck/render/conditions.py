"""Which of the conditions that a model was measured under an exhibit comes closest to. Pure.

A figure under a condition is an average over a data set; that it is listed first for an exhibit says that its file
resembles that data more than the other data, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spoofcheck.schema import ConditionFigure, Finding

ORIGINAL = "original"

_NARROW_HZ = 8_000
_NARROW_BAND_HZ = 4_000.0
_NOISY_BELOW_DB = 20.0
_PREFERRED = {
    "mp3": ("mp3", "aac", "opus"),
    "mpeg": ("mp3", "aac", "opus"),
    "aac": ("aac", "mp3", "opus"),
    "opus": ("opus", "mp3"),
    "vorbis": ("vorbis", "opus", "mp3"),
}
"""Name of a codec -> beginnings of the conditions that stand for it, best first; other lossy codecs: as Opus."""


@dataclass(frozen=True, slots=True)
class ConditionRow:
    """One figure, and the exhibits whose files come closest to its condition."""

    figure: ConditionFigure
    words: str
    exhibits: str


_WORDS = {
    ORIGINAL: "recordings as they are",
    "8khz": "brought to 8 kHz and back",
    "noise-15db": "with white noise at 15 dB signal to noise",
}


def condition_words(condition: str) -> str:
    """What was done to the recordings, for readers: `"mp3-64k"` is "through MP3 at 64 kbit/s"."""
    if condition in _WORDS:
        return _WORDS[condition]
    name, dash, rate = condition.partition("-")
    if dash and rate.endswith("k") and rate[:-1].isdigit():
        return f"through {name.upper() if name in ('mp3', 'aac') else name.capitalize()} at {rate[:-1]} kbit/s"
    return condition


def closest_conditions(finding: Finding, known: Sequence[str]) -> tuple[str, ...]:
    """The conditions among `known` that an exhibit's file comes closest to; `original` where no change is seen.

    A rate or bandwidth of telephone speech, a lossy codec and a low signal-to-noise ratio each ask for one.
    """
    wanted: list[str] = []
    media, quality = finding.media, finding.quality
    narrow = media is not None and media.sample_rate_hz <= _NARROW_HZ
    narrow = narrow or (quality is not None and 0 < quality.bandwidth_hz <= _NARROW_BAND_HZ)
    if narrow:
        wanted += _first(known, ("8khz",))
    if media is not None and media.bit_depth is None:
        codec = media.codec.casefold()
        beginnings = next((names for key, names in _PREFERRED.items() if key in codec), ("opus", "mp3", "aac"))
        wanted += _first(known, beginnings)
    if quality is not None and quality.snr_db is not None and quality.snr_db < _NOISY_BELOW_DB:
        wanted += _first(known, ("noise",))
    return tuple(wanted or _first(known, (ORIGINAL,)))


def _first(known: Sequence[str], beginnings: Iterable[str]) -> list[str]:
    for beginning in beginnings:
        found = [name for name in known if name.startswith(beginning)]
        if found:
            return found
    return []


def condition_rows(figures: Sequence[ConditionFigure], exhibits: Mapping[int, Finding]) -> tuple[ConditionRow, ...]:
    """The figures, those first that exhibits come closest to.

    Args:
        figures: of the model, in its own order.
        exhibits: by their number in the report.
    """
    known = list(dict.fromkeys(figure.condition for figure in figures))
    close: dict[str, list[int]] = {name: [] for name in known}
    for number, finding in exhibits.items():
        for name in closest_conditions(finding, known):
            close[name].append(number)
    ordered = sorted(figures, key=lambda figure: not close[figure.condition])
    return tuple(
        ConditionRow(figure, condition_words(figure.condition), number_ranges(close[figure.condition]))
        for figure in ordered
    )


def number_ranges(numbers: Iterable[int]) -> str:
    """`1, 3 to 7`; empty for none."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(
        str(first) if first == last else f"{first}, {last}" if last == first + 1 else f"{first} to {last}"
        for first, last in runs
    )
