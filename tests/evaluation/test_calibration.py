"""Fitting and applying the calibration, from raw scores to bounded LLRs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from spoofcheck.detect.calibration import to_llr
from spoofcheck.evaluation.calibration import fit_logistic, llr_bound
from spoofcheck.evaluation.metrics import cllr
from spoofcheck.nets.config import LogisticMap


def gaussian(bonafide: int, spoof: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores of equal deviation 2 and means -1 and 3, whose true LLR is a line: slope 1, zero at 1."""
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(-1, 2, bonafide), rng.normal(3, 2, spoof)])
    return scores, np.arange(bonafide + spoof) >= bonafide


@pytest.mark.parametrize(("bonafide", "spoof"), [(20_000, 20_000), (20_000, 2_000), (2_000, 20_000)])
def test_finds_the_true_llr_whatever_the_class_sizes(bonafide: int, spoof: int) -> None:
    slope, intercept = fit_logistic(*gaussian(bonafide, spoof))
    assert slope == pytest.approx(1.0, abs=0.06)
    assert intercept == pytest.approx(-1.0, abs=0.12)


def test_minimises_cllr() -> None:
    scores, spoof = gaussian(300, 100)

    def cost(line: np.ndarray) -> float:
        return cllr(-(line[0] * scores + line[1]), ~spoof)

    best = minimize(cost, x0=np.array([0.5, 0.0]), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
    assert fit_logistic(scores, spoof) == pytest.approx(tuple(best.x), abs=1e-3)


def test_unit_of_the_scores_does_not_matter() -> None:
    scores, spoof = gaussian(200, 200)
    slope, intercept = fit_logistic(scores, spoof)
    scaled = fit_logistic(1_000 * scores + 5_000, spoof)
    assert scaled[0] * 1_000 == pytest.approx(slope, rel=1e-4)
    assert scaled[1] + scaled[0] * 5_000 == pytest.approx(intercept, rel=1e-4)


def test_scores_that_separate_completely_keep_a_finite_slope() -> None:
    slope, intercept = fit_logistic([-2.0, -1.0, 1.0, 2.0], np.array([False, False, True, True]))
    assert 0 < slope < 100
    assert intercept == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("scores", "spoof", "message"),
    [
        ([1.0, 2.0, -1.0, -2.0], [False, False, True, True], "higher scores do not mean spoof"),
        ([1.0, 1.0], [True, False], "all scores are equal"),
        ([1.0, 2.0], [True, True], "both classes"),
        ([1.0, math.nan], [True, False], "score 1 is nan"),
        ([1.0, math.inf], [True, False], "score 1 is inf"),
        ([1.0], [True, False], "one length"),
        ([1.0, 2.0], [1, 0], "booleans"),
    ],
)
def test_refuses_data_that_give_no_map(scores: list[float], spoof: list[bool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_logistic(scores, np.array(spoof))


def test_bound_grows_with_the_smaller_class() -> None:
    assert llr_bound(1, 1) == pytest.approx(math.log(2))
    assert llr_bound(999, 50_000) == llr_bound(50_000, 999) == pytest.approx(math.log(1_000))
    with pytest.raises(ValueError, match="both classes"):
        llr_bound(0, 10)


@pytest.mark.parametrize(
    ("raw_score", "llr"),
    [
        (0.0, -1.0),
        (1.0, 1.0),
        (3.0, 5.0),
        (3.001, 5.0),
        (1e300, 5.0),
        (math.inf, 5.0),
        (-2.0, -5.0),
        (-9.0, -5.0),
    ],
)
def test_llr_is_a_line_within_the_bound(raw_score: float, llr: float) -> None:
    assert to_llr(raw_score, LogisticMap(slope=2.0, intercept=-1.0), 5.0) == pytest.approx(llr)


def test_nan_never_becomes_an_llr() -> None:
    with pytest.raises(ValueError, match="NaN"):
        to_llr(math.nan, LogisticMap(slope=2.0, intercept=-1.0), 5.0)
