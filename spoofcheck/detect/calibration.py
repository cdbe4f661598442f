"""From a raw score to a bounded likelihood ratio; `spoofcheck.evaluation.calibration` fits the map."""

from __future__ import annotations

from spoofcheck.nets.config import LogisticMap


def to_llr(raw_score: float, logistic: LogisticMap, llr_bound: float) -> float:
    """Natural-log likelihood ratio of a raw score; positive supports synthetic.

    Args:
        raw_score: spoof logit minus bona fide logit of a window, or the mean over an exhibit's windows.
        logistic: the map of that level.
        llr_bound: largest magnitude the calibration data support.

    Raises:
        ValueError: the score is NaN, which no bound can tame.
    """
    if raw_score != raw_score:
        raise ValueError("a raw score is NaN")
    llr = logistic.slope * raw_score + logistic.intercept
    return min(max(llr, -llr_bound), llr_bound)
