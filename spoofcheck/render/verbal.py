"""Likelihood ratios in words: the scale that every report prints, applied in both directions.

H1: the speech was produced by a speech synthesis or conversion system. H2: it is live human speech.
The scale is that of the ENFSI guideline for evaluative reporting (2015), its top steps joined into one; a
ratio above the calibration's bound is never claimed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the printed scale: likelihood ratios above `low`, up to and with `high`."""

    low: float
    high: float
    phrase: str

    @property
    def llr_low(self) -> float:
        """`low` as a natural logarithm."""
        return math.log(self.low)

    @property
    def llr_high(self) -> float:
        """`high` as a natural logarithm."""
        return math.log(self.high)


SCALE = (
    Step(1, 2, "no or negligible support"),
    Step(2, 10, "weak support"),
    Step(10, 100, "moderate support"),
    Step(100, 1_000, "moderately strong support"),
    Step(1_000, 10_000, "strong support"),
    Step(10_000, math.inf, "very strong support"),
)
"""For LR below 1 the same steps apply to 1/LR, as support for H2."""


@dataclass(frozen=True, slots=True)
class Strength:
    """What an LLR means in words.

    Attributes:
        phrase: step of the scale, e.g. `"moderate support"`.
        favours: `"H1"` or `"H2"`.
        over: the other proposition.
        ratio: the likelihood ratio of `favours` over `over`, at least 1.
        negligible: the lowest step, for which neither proposition is named.
        at_bound: the ratio is the most the calibration allows to be claimed.
    """

    phrase: str
    favours: str
    over: str
    ratio: float
    negligible: bool
    at_bound: bool


def strength(llr: float, bound: float) -> Strength:
    """Put a natural-log LR into words, capped at the calibration's bound (also natural log)."""
    size = min(abs(llr), bound)
    favours, over = ("H1", "H2") if llr >= 0 else ("H2", "H1")
    # Compared as logarithms with a tolerance: exp(log(1000)) may fall on either side of 1000. A ratio on the
    # border of two steps gets the weaker phrase.
    step = next(step for step in SCALE if size <= math.log(step.high) + 1e-9)
    return Strength(
        phrase=step.phrase,
        favours=favours,
        over=over,
        ratio=math.exp(size),
        negligible=step is SCALE[0],
        at_bound=abs(llr) >= bound - 1e-6,
    )
