"""Whether LLRs mean what they say, as tables from which a plot can be drawn at any time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spoofcheck.detect.calibration import to_llr
from spoofcheck.nets.config import CalibrationConfig
from spoofcheck.training.calibrate import scored, windows_of_exhibits
from spoofcheck.training.exhibits import Exhibit
from spoofcheck.training.rates import Figures

_EDGES = (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
_PERCENTILES = (0, 1, *range(5, 100, 5), 99, 100)


def calibration_plot(exhibits: Sequence[Exhibit], calibration: CalibrationConfig) -> Figures:
    """Reliability and percentiles of bounded LLRs, of windows and of whole recordings; both classes are needed."""
    bound = calibration.llr_bound
    levels = (
        ("window", windows_of_exhibits(exhibits), calibration.window),
        ("exhibit", [scored(exhibit) for exhibit in exhibits], calibration.exhibit),
    )
    result: Figures = {}
    for level, trials, logistic in levels:
        llrs = np.array([to_llr(raw, logistic, bound) for raw, _, _ in trials])
        spoof = np.array([is_spoof for _, is_spoof, _ in trials])
        result[level] = {"reliability": reliability(llrs, spoof), "percentiles": percentiles(llrs, spoof)}
    return result


def reliability(llrs: NDArray[np.float64], spoof: NDArray[np.bool_]) -> list[Figures]:
    """The share of synthetic speech that LLRs in each bin promise, and the share that is there.

    Both at even prior odds: the classes weigh alike, however many trials of each there are.

    Args:
        llrs: `[N]`, natural logs, positive supports synthetic.
        spoof: `[N]`, true for synthetic speech; both classes are needed.

    Returns:
        A row for each bin that holds a trial: its limits (None where it is open), counts, and shares 0..1.
    """
    weights = np.where(spoof, 0.5 / spoof.sum(), 0.5 / (~spoof).sum())
    promised = 1 / (1 + np.exp(-llrs))
    bins = np.searchsorted(_EDGES, llrs, side="right")
    table = []
    for number, (low, high) in enumerate(zip((None, *_EDGES), (*_EDGES, None), strict=True)):
        here = bins == number
        if here.any():
            table.append(
                {
                    "low": low,
                    "high": high,
                    "bonafide_trials": int((here & ~spoof).sum()),
                    "spoof_trials": int((here & spoof).sum()),
                    "predicted": float(np.average(promised[here], weights=weights[here])),
                    "observed": float(np.average(spoof[here], weights=weights[here])),
                }
            )
    return table


def percentiles(llrs: NDArray[np.float64], spoof: NDArray[np.bool_]) -> list[Figures]:
    """LLRs below which so many percent of the trials of each class lie; a Tippett plot shows them."""
    return [
        {
            "percent": percent,
            "bonafide": float(np.percentile(llrs[~spoof], percent)),
            "spoof": float(np.percentile(llrs[spoof], percent)),
        }
        for percent in _PERCENTILES
    ]
