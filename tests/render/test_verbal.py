from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofcheck.render.verbal import SCALE, strength


@pytest.mark.parametrize(
    ("ratio", "phrase"),
    [
        (1.0, "no or negligible support"),
        (1.99, "no or negligible support"),
        (2.01, "weak support"),
        (10, "weak support"),
        (10.1, "moderate support"),
        (100, "moderate support"),
        (101, "moderately strong support"),
        (1_000, "moderately strong support"),
        (1_001, "strong support"),
        (10_000, "strong support"),
        (10_001, "very strong support"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_scale_is_in_likelihood_ratios_and_holds_in_both_directions(ratio: float, phrase: str, sign: int) -> None:
    result = strength(sign * math.log(ratio), bound=20)
    assert result.phrase == phrase
    assert result.ratio == pytest.approx(ratio)
    if ratio > 1:
        assert (result.favours, result.over) == (("H1", "H2") if sign > 0 else ("H2", "H1"))


def test_a_natural_logarithm_is_not_taken_for_a_decimal_one() -> None:
    assert strength(3.0, bound=10).ratio == pytest.approx(20.0855, rel=1e-4)


@settings(deadline=None)
@given(st.floats(-50, 50), st.floats(0.5, 12))
def test_nothing_beyond_the_bound_is_claimed(llr: float, bound: float) -> None:
    result = strength(llr, bound)
    assert result.ratio <= math.exp(bound) * (1 + 1e-9)
    assert SCALE.index(next(s for s in SCALE if s.phrase == result.phrase)) <= SCALE.index(
        next(s for s in SCALE if s.phrase == strength(bound, bound).phrase)
    )
    assert result.at_bound == (abs(llr) >= bound - 1e-6)


def test_the_steps_leave_no_gap() -> None:
    assert SCALE[0].low == 1
    assert all(a.high == b.low for a, b in pairwise(SCALE))
    assert math.isinf(SCALE[-1].high)
    assert SCALE[1].llr_low == pytest.approx(0.6931, abs=1e-4)
    assert SCALE[1].llr_high == pytest.approx(2.3026, abs=1e-4)
