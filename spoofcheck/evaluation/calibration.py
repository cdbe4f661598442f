"""Fitting the map from raw scores to likelihood ratios, and the bound that the fitting data support.

Raw scores go the program's way: spoof logit minus bona fide logit, so HIGHER MEANS SPOOF.
`spoofcheck.detect.calibration` applies what is fitted here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression

_PENALTY_INVERSE = 1e6


class WrongWayError(ValueError):
    """Scores that do not point the right way: higher ones do not mean spoof."""


def fit_logistic(raw_scores: ArrayLike, spoof: ArrayLike) -> tuple[float, float]:
    """Slope and intercept of `spoof_llr = slope * raw_score + intercept`, natural log.

    Logistic regression gives posterior log odds; with both classes weighted to the same total (a prior of one
    half) the prior log odds are 0, so that the log odds ARE the log likelihood ratio (Brümmer & du Preez
    2006). The penalty is negligible; it only keeps the slope finite on data that separate completely.

    Args:
        raw_scores: `[N]`, higher means spoof.
        spoof: `[N]`, true for spoof trials.

    Raises:
        WrongWayError: the slope is not positive.
        ValueError: a score is NaN or infinite (its index is named), a class has no trial, the lengths differ, or all
            scores are equal.
    """
    scores = np.asarray(raw_scores, dtype=np.float64)
    labels = np.asarray(spoof)
    if labels.dtype != np.bool_:
        raise ValueError(f"labels must be booleans, true for spoof, not {labels.dtype}")
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must be of one length")
    broken = np.flatnonzero(~np.isfinite(scores))
    if broken.size:
        raise ValueError(f"score {int(broken[0])} is {scores[broken[0]]}, not a finite number")
    if labels.all() or not labels.any():
        raise ValueError("calibration needs trials of both classes")
    # Standardised scores let the solver converge whatever unit the logits have.
    centre, spread = float(scores.mean()), float(scores.std())
    if spread == 0.0:
        raise ValueError("all scores are equal: there is nothing to calibrate")
    model = LogisticRegression(C=_PENALTY_INVERSE, class_weight="balanced", tol=1e-10, max_iter=1_000)
    model.fit(((scores - centre) / spread)[:, None], labels)
    slope = float(model.coef_[0, 0]) / spread
    intercept = float(model.intercept_[0]) - slope * centre
    if not slope > 0:
        raise WrongWayError(f"slope {slope:.3g}: higher scores do not mean spoof on these data")
    return slope, intercept


def llr_bound(bonafide_trials: int, spoof_trials: int) -> float:
    """Largest magnitude of a natural-log LLR that a calibration set of this size supports.

    It is `ln(min(trials) + 1)`, after the idea of ELUB (Vergeer et al. 2016, "when to stop extrapolating?"):
    add one misleading trial to each class and give no LR that this would refute. With N trials that separate
    well, the empirical odds beyond them are then about N + 1 to 1, and a larger LR would rest on the fitted
    curve alone. On overlapping data ELUB proper can be narrower; there the fitted slope keeps LLRs small. The
    smaller class counts, because both directions of support are bounded alike. Trials should be independent:
    where several windows come from one recording, count recordings.

    Raises:
        ValueError: a class without a trial.
    """
    if min(bonafide_trials, spoof_trials) < 1:
        raise ValueError("a bound needs trials of both classes")
    return math.log(min(bonafide_trials, spoof_trials) + 1)
