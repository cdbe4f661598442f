"""What cosines between clips and sources are worth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spoofcheck.evaluation.cosines import (
    PLACES,
    Comparisons,
    cosine_calibration,
    evened,
    joined,
    with_each_other,
    with_sources,
)

CORNERS = np.eye(3)


def comparisons(seed: int, gap: float = 1.0) -> Comparisons:
    """Of five families: normal cosines, those of a family with itself larger by the gap, in deviations."""
    rng = np.random.default_rng(seed)
    parts = []
    for first in "abcde":
        for second in "abcde":
            count = 200 if first == "a" else 20
            cosines = 0.1 * rng.normal(size=count) + 0.1 * gap * (first == second)
            parts.append(Comparisons(cosines, np.full(count, first == second), np.full(count, f"{first}\t{second}")))
    return joined(parts)


def test_every_clip_is_compared_with_every_source() -> None:
    found = with_sources(CORNERS, np.array(["a", "b", "x"]), CORNERS[:2], np.array(["a", "b"]))

    assert found.cosines.tolist() == [1, 0, 0, 1, 0, 0]
    assert found.is_target.tolist() == [True, False, False, True, False, False]
    assert found.pairs.tolist() == ["a\ta", "a\tb", "b\ta", "b\tb", "x\ta", "x\tb"]


def test_clips_of_one_family_and_speaker_are_not_compared_but_copies_of_one_voice_are() -> None:
    found = with_each_other(CORNERS[[0, 0, 1, 0]], np.array(["b", "b", "a", "b"]), np.array(["s", "s", "s", "t"]))

    assert sorted(zip(found.pairs.tolist(), found.is_target.tolist(), found.cosines.tolist(), strict=True)) == [
        ("a\tb", False, 0.0), ("a\tb", False, 0.0), ("a\tb", False, 0.0), ("b\tb", True, 1.0), ("b\tb", True, 1.0),
    ]  # fmt: skip


def test_a_large_family_weighs_as_much_as_a_small_one() -> None:
    cosines, is_target = evened(comparisons(0))

    assert len(cosines) == 25 * PLACES
    assert is_target.sum() == 5 * PLACES


def test_the_llr_of_normal_cosines_is_the_one_that_theory_gives() -> None:
    """Two normal distributions one deviation apart: the LLR is (x - 1/2), an equal error rate of Phi(-1/2) = 30.9 %."""
    found = cosine_calibration(comparisons(1), comparisons(2), "normal")

    assert 0.1 * found.slope == pytest.approx(1.0, abs=0.35)
    assert -found.intercept / found.slope == pytest.approx(0.05, abs=0.02)
    assert found.eer == pytest.approx(0.309, abs=0.06)
    assert 0.6 < found.cllr < 0.95
    assert found.llr_bound == pytest.approx(math.log(6))  # five families
    assert (found.target_trials, found.other_trials) == (200 + 4 * 20, 4 * 200 + 16 * 20)


def test_figures_are_those_of_what_was_not_fitted_on() -> None:
    lucky, plain = comparisons(1, gap=6.0), comparisons(2, gap=0.5)

    assert cosine_calibration(lucky, plain, "").eer > 0.3
    assert cosine_calibration(lucky, plain, "").cllr > cosine_calibration(plain, plain, "").cllr


def test_cosines_that_point_the_wrong_way_give_no_calibration() -> None:
    with pytest.raises(ValueError, match="slope"):
        cosine_calibration(comparisons(1, gap=-2.0), comparisons(2), "")
    with pytest.raises(ValueError, match="nothing was compared"):
        cosine_calibration(with_each_other(CORNERS[:0], np.array([], str), np.array([], str)), comparisons(1), "")
