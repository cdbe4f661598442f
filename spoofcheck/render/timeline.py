"""Window scores along a recording: a strip of levels for a line of text, bars and ticks for a chart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from spoofcheck.schema import Finding, OptionsInfo, Span, WindowResult
from spoofcheck.types import OVER_BUDGET

_TICK_STEPS_S = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    14_400,
    21_600,
    43_200,
    86_400,
)


class Level(StrEnum):
    """What one stretch of a timeline says, from least to most conspicuous."""

    NOT_SCORED = "not-scored"
    OVER_BUDGET = "over-budget"
    """It holds speech that nobody looked at."""
    RAW = "raw"
    """Scored by an uncalibrated model: its scores have no side."""
    HUMAN = "human"
    UNDECIDED = "undecided"
    SYNTHETIC = "synthetic"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart: a window's own stretch of time, and the LLR range it stands for.

    Attributes:
        start_s, end_s: halfway to the centres of the windows before and after, and never beyond the windows
            themselves, so that overlapping windows do not hide each other.
        low, high: lowest and highest LLR of the windows inside (equal for one window), raw scores where the model is
            uncalibrated; None when not scored.
        level: see `_group_level`.
    """

    start_s: float
    end_s: float
    low: float | None
    high: float | None
    level: Level


def level(llr: float | None, options: OptionsInfo) -> Level:
    """Which side of the thresholds an LLR lies on."""
    upper, lower = options.window_threshold_llr, options.bonafide_threshold_llr
    if llr is None or upper is None or lower is None:
        return Level.NOT_SCORED
    if llr >= upper:
        return Level.SYNTHETIC
    return Level.HUMAN if llr <= lower else Level.UNDECIDED


def strip(finding: Finding, options: OptionsInfo, cells: int) -> list[Level]:
    """At most `cells` levels in order of time, each for one window or for a group of consecutive windows."""
    return [_group_level(finding, group, options) for group in _groups(len(finding.windows), cells)]


def bars(finding: Finding, options: OptionsInfo, most: int) -> list[Bar]:
    """At most `most` bars in order of time; a group of windows spans from its lowest to its highest LLR.

    Of an uncalibrated model, from its lowest to its highest raw score.
    """
    windows = finding.windows
    scores = _raw_scores if options.window_threshold_llr is None else _llrs
    return [
        Bar(
            start_s=_start(windows, group[0]),
            end_s=_end(windows, group[-1]),
            low=min(scores(windows, group), default=None),
            high=max(scores(windows, group), default=None),
            level=_group_level(finding, group, options),
        )
        for group in _groups(len(windows), most)
    ]


def ticks(duration_s: float, most: int = 8) -> list[float]:
    """Round times for an axis from 0 to `duration_s`, at most `most` of them."""
    coarsest = _TICK_STEPS_S[-1]
    days = int(duration_s / coarsest / (most - 1)) + 1
    step = next((step for step in _TICK_STEPS_S if duration_s / step <= most - 1), days * coarsest)
    return [float(index * step) for index in range(int(duration_s / step) + 1)]


def _groups(windows: int, most: int) -> list[range]:
    """Consecutive indices in at most `most` groups of nearly equal size, none empty."""
    number = min(most, windows)
    edges = [index * windows // number for index in range(number)] if number else []
    return [range(first, last) for first, last in pairwise([*edges, windows])]


def _group_level(finding: Finding, group: range, options: OptionsInfo) -> Level:
    """The level of the group's mean LLR, but synthetic wherever one of its windows made a flagged stretch.

    The highest LLR would not do: among the thirty windows that share a cell in a long recording, chance alone puts
    one above the threshold. Nor would the mean alone: it would hide a short passage the decision did report. Where a
    budget left windows out, the level is that of the windows of the group that were examined.
    """
    for index in group:
        window = finding.windows[index]
        if level(window.spoof_llr, options) is Level.SYNTHETIC and _in_span(window, finding.spans):
            return Level.SYNTHETIC
    llrs = _llrs(finding.windows, group)
    if not llrs and _raw_scores(finding.windows, group):
        return Level.RAW
    if not llrs and any(finding.windows[index].not_scored == OVER_BUDGET for index in group):
        return Level.OVER_BUDGET
    return level(sum(llrs) / len(llrs) if llrs else None, options)


def _in_span(window: WindowResult, spans: Sequence[Span]) -> bool:
    return any(span.start_s <= window.start_s and window.end_s <= span.end_s for span in spans)


def _llrs(windows: Sequence[WindowResult], group: range) -> list[float]:
    return [llr for index in group if (llr := windows[index].spoof_llr) is not None]


def _raw_scores(windows: Sequence[WindowResult], group: range) -> list[float]:
    return [raw for index in group if (raw := windows[index].raw_score) is not None]


def _centre(window: WindowResult) -> float:
    return (window.start_s + window.end_s) / 2


def _start(windows: Sequence[WindowResult], index: int) -> float:
    """Where window `index`'s own stretch begins."""
    if index == 0:
        return windows[0].start_s
    return max(windows[index].start_s, (_centre(windows[index - 1]) + _centre(windows[index])) / 2)


def _end(windows: Sequence[WindowResult], index: int) -> float:
    """Where window `index`'s own stretch ends."""
    if index == len(windows) - 1:
        return windows[index].end_s
    return min(windows[index].end_s, (_centre(windows[index]) + _centre(windows[index + 1])) / 2)
