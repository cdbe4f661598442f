"""What the pictures of an evaluation are drawn from: few hundred points, finite numbers only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoofcheck.evalschema import Curve, DetectionPlots
from spoofcheck.evaluation.metrics import Booleans, Floats, det_curve

MOST_POINTS = 400
_HISTOGRAM_BINS = 60
_TIPPETT_POINTS = 200
_RELIABILITY_BINS = 15


def detection_plots(scores: Floats, bonafide: Booleans, scores_are_llrs: bool) -> DetectionPlots:
    """Curves and histograms of trials: `scores` `[N]` finite, higher means bona fide; both classes in `bonafide`."""
    edges = np.histogram_bin_edges(scores, _HISTOGRAM_BINS)
    return DetectionPlots(
        det=_det(scores, bonafide),
        histogram_edges=_floats(edges),
        histogram_bonafide=_counts(scores[bonafide], edges),
        histogram_spoof=_counts(scores[~bonafide], edges),
        tippett_bonafide=_share_above(scores[bonafide], scores) if scores_are_llrs else None,
        tippett_spoof=_share_above(scores[~bonafide], scores) if scores_are_llrs else None,
        reliability=_reliability(scores, bonafide) if scores_are_llrs else None,
    )


def _det(scores: Floats, bonafide: Booleans) -> Curve:
    """At most `MOST_POINTS` of the curve, evenly spaced along it on log-odds axes, close to how a DET plot is drawn."""
    curve = det_curve(scores, bonafide)
    if len(curve.miss) <= MOST_POINTS:
        return Curve(x=_floats(curve.false_accept), y=_floats(curve.miss))
    genuine, spoof = int(bonafide.sum()), int((~bonafide).sum())
    steps = np.abs(np.diff(_log_odds(curve.miss, genuine))) + np.abs(np.diff(_log_odds(curve.false_accept, spoof)))
    travelled = np.append(0.0, np.cumsum(steps))
    wanted = np.linspace(0.0, travelled[-1], MOST_POINTS)
    kept = np.unique(np.searchsorted(travelled, wanted).clip(max=len(travelled) - 1))
    return Curve(x=_floats(curve.false_accept[kept]), y=_floats(curve.miss[kept]))


def _log_odds(rates: Floats, trials: int) -> Floats:
    """Log odds of rates, 0 and 1 moved in by half a trial."""
    inside = rates.clip(0.5 / trials, 1 - 0.5 / trials)
    odds: Floats = np.log(inside / (1 - inside))
    return odds


def _share_above(values: Floats, all_scores: Floats) -> Curve:
    """Share of `values` at or above each of evenly spaced LLRs that span every score."""
    at = np.linspace(all_scores.min(), all_scores.max(), _TIPPETT_POINTS)
    below = np.searchsorted(np.sort(values), at, side="left")
    return Curve(x=_floats(at), y=_floats(1 - below / len(values)))


def _reliability(llrs: Floats, bonafide: Booleans) -> Curve:
    """Mean predicted probability of human speech against its observed share, at a prior of one half.

    Classes weigh alike in total, which is what the prior says; bins hold equal weight, tied scores stay together.
    """
    order = np.argsort(llrs, kind="stable")
    ranked, labels = llrs[order], bonafide[order]
    weights = np.where(labels, 0.5 / labels.sum(), 0.5 / (~labels).sum())
    # A trial's bin is where the middle of its tie lies on the way from no weight to all of it.
    ends = np.append(np.flatnonzero(np.diff(ranked) > 0), len(ranked) - 1)
    tie_of = np.searchsorted(ends, np.arange(len(ranked)))
    reached = np.cumsum(weights)[ends]
    middle = (np.append(0.0, reached[:-1]) + reached) / 2
    bins = np.minimum((middle * _RELIABILITY_BINS).astype(int), _RELIABILITY_BINS - 1)[tie_of]
    probability = 0.5 * (1 + np.tanh(ranked / 2))
    weight = np.bincount(bins, weights, _RELIABILITY_BINS)
    used = weight > 0
    predicted = np.bincount(bins, weights * probability, _RELIABILITY_BINS)[used] / weight[used]
    observed = np.bincount(bins, weights * labels, _RELIABILITY_BINS)[used] / weight[used]
    return Curve(x=_floats(predicted), y=_floats(observed))


def _counts(values: Floats, edges: Floats) -> tuple[int, ...]:
    return tuple(int(number) for number in np.histogram(values, edges)[0])


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
