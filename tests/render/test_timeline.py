from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofcheck.render.timeline import Level, bars, level, strip, ticks
from spoofcheck.schema import Finding, Verdict
from tests.support.documents import document, finding, wavering

OPTIONS = document([]).options
LETTERS = {Level.NOT_SCORED: ".", Level.HUMAN: "h", Level.UNDECIDED: "u", Level.SYNTHETIC: "S"}


def _finding(
    llrs: list[float | None], hop_s: float = 4.0, spans: list[tuple[float, float, float]] | None = None
) -> Finding:
    return finding("a", Verdict.PARTIAL, 0.0, llrs, hop_s=hop_s, spans=spans or [])


def _letters(example: Finding, cells: int) -> str:
    return "".join(LETTERS[item] for item in strip(example, OPTIONS, cells))


@pytest.mark.parametrize(
    ("llr", "expected"),
    [
        (None, Level.NOT_SCORED),
        (-1.5, Level.HUMAN),
        (-1.49, Level.UNDECIDED),
        (0.99, Level.UNDECIDED),
        (1.0, Level.SYNTHETIC),
    ],
)
def test_levels_follow_the_thresholds(llr: float | None, expected: Level) -> None:
    assert level(llr, OPTIONS) is expected


def test_a_short_recording_has_one_cell_per_window() -> None:
    assert _letters(_finding([-3.0, None, 0.0, 2.0]), 10) == "h.uS"
    assert _letters(_finding([]), 10) == ""


def test_one_chance_window_does_not_colour_a_long_recording() -> None:
    llrs: list[float | None] = [*wavering(-4, 300, seed=1)]
    llrs[17] = 1.2
    assert _letters(_finding(llrs), 10) == "h" * 10


def test_a_reported_passage_is_never_averaged_away() -> None:
    llrs: list[float | None] = [*wavering(-4, 300, seed=1)]
    llrs[150:152] = [3.0, 3.5]
    assert _letters(_finding(llrs, spans=[(600.0, 608.0, 3.25)]), 10) == "hhhhhShhhh"


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(1, 120))
def test_a_strip_never_exceeds_its_cells(windows: int, cells: int) -> None:
    assert len(strip(_finding([1.0] * windows), OPTIONS, cells)) == min(windows, cells)


@settings(deadline=None)
@given(
    st.integers(1, 200),
    st.sampled_from([0.5, 1.0, 2.0, 4.0]),
    st.integers(1, 60),
)
def test_bars_tile_the_recording_whatever_the_hop(windows: int, hop_s: float, most: int) -> None:
    example = _finding([0.5] * windows, hop_s=hop_s)
    drawn = bars(example, OPTIONS, most)
    assert len(drawn) == min(windows, most)
    assert drawn[0].start_s == 0
    assert drawn[-1].end_s == example.duration_s
    for before, after in pairwise(drawn):
        assert before.end_s == pytest.approx(after.start_s)


def test_a_last_window_aligned_to_the_end_shares_its_overlap() -> None:
    example = finding("a", Verdict.SPOOF, 1.0, [1.0, 2.0], duration_s=6.0)
    assert [(bar.start_s, bar.end_s) for bar in bars(example, OPTIONS, 9)] == [(0.0, 3.0), (3.0, 6.0)]


def test_windows_with_gaps_between_them_leave_the_gaps_empty() -> None:
    example = _finding([1.0, 2.0], hop_s=10.0)
    assert [(bar.start_s, bar.end_s) for bar in bars(example, OPTIONS, 9)] == [(0.0, 4.0), (10.0, 14.0)]


def test_a_group_spans_from_its_lowest_to_its_highest() -> None:
    (bar,) = bars(_finding([-3.0, None, 2.0]), OPTIONS, 1)
    assert (bar.low, bar.high, bar.level) == (-3.0, 2.0, Level.UNDECIDED)
    (bar,) = bars(_finding([None, None]), OPTIONS, 1)
    assert (bar.low, bar.high, bar.level) == (None, None, Level.NOT_SCORED)


@settings(deadline=None)
@given(st.floats(0.01, 2_000_000))
def test_ticks_are_few_round_and_inside(duration_s: float) -> None:
    times = ticks(duration_s)
    assert times[0] == 0
    assert times[-1] <= duration_s
    assert len(times) <= 8
    assert all(time == int(time) for time in times)


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [
        (6.2, [0, 1, 2, 3, 4, 5, 6]),
        (60, [0, 10, 20, 30, 40, 50, 60]),
        (278.3, [0, 60, 120, 180, 240]),
        (36_000, [0, 7_200, 14_400, 21_600, 28_800, 36_000]),
    ],
)
def test_ticks_at_familiar_times(duration_s: float, expected: list[float]) -> None:
    assert ticks(duration_s) == expected
