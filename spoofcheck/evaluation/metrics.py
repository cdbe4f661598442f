"""Error figures of a detector, by the ASVspoof 5 evaluation plan (track 1) unless a name says otherwise.

Scores go the field's way: HIGHER MEANS BONA FIDE. Inside the program `spoof_llr` has the other sign, so
callers negate once. Labels are booleans, true for bona fide. "Miss" is a bona fide trial rejected, "false
accept" a spoof accepted; a trial is accepted when its score is at or above the threshold. Numpy only, nothing
is printed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.isotonic import IsotonicRegression

P_SPOOF = 0.05
COST_MISS = 1.0
COST_FALSE_ACCEPT = 10.0

BAYES_THRESHOLD = -float(np.log(COST_MISS * (1 - P_SPOOF) / (COST_FALSE_ACCEPT * P_SPOOF)))
"""Where a calibrated natural-log LLR should be cut under these costs: -ln(1.9) = -0.6419."""

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Statistic = Callable[[Floats, Booleans], float]


@dataclass(frozen=True, slots=True)
class DetCurve:
    """Error rates at every threshold that can matter, in rising order of threshold.

    Attributes:
        thresholds: `[K]`; the distinct scores, then +inf. The first accepts every trial, the last none.
        miss: `[K]`, share of bona fide trials below the threshold.
        false_accept: `[K]`, share of spoof trials at or above it.
    """

    thresholds: Floats
    miss: Floats
    false_accept: Floats


def det_curve(scores: ArrayLike, bonafide: ArrayLike) -> DetCurve:
    """The detection error trade-off over distinct scores, so that tied trials move together.

    Args:
        scores: `[N]`, higher means bona fide.
        bonafide: `[N]`, true for bona fide trials.

    Raises:
        ValueError: a score is NaN or infinite (its index is named), a class has no trial, or the lengths
        differ.
    """
    values, labels = _check(scores, bonafide)
    thresholds, missed, accepted = _count_errors(values, labels)
    return DetCurve(thresholds, missed / labels.sum(), accepted / (~labels).sum())


def eer(scores: ArrayLike, bonafide: ArrayLike) -> float:
    """Equal error rate, 0..1: mean of both error rates at the threshold where they differ least.

    Where they differ equally little at two thresholds, the lower one counts. Constant scores give 0.5.
    Arguments and errors as for `det_curve`.
    """
    rate, _ = eer_and_threshold(scores, bonafide)
    return rate


def eer_and_threshold(scores: ArrayLike, bonafide: ArrayLike) -> tuple[float, float]:
    """The equal error rate and the score at which it is reached (`inf` if that is beyond every score)."""
    values, labels = _check(scores, bonafide)
    thresholds, missed, accepted = _count_errors(values, labels)
    genuine, spoof = int(labels.sum()), int((~labels).sum())
    # Compared as whole numbers: rounding must not choose between thresholds that differ equally little.
    at = int(np.argmin(np.abs(missed * spoof - accepted * genuine)))
    return float(missed[at] / genuine + accepted[at] / spoof) / 2, float(thresholds[at])


def min_dcf(scores: ArrayLike, bonafide: ArrayLike) -> float:
    """Smallest normalised detection cost over all thresholds; a detector that ignores its input costs 1."""
    curve = det_curve(scores, bonafide)
    return float(_normalised_cost(curve.miss, curve.false_accept).min())


def act_dcf(llrs: ArrayLike, bonafide: ArrayLike) -> float:
    """Normalised detection cost at the Bayes threshold; meaningful for calibrated natural-log LLRs only."""
    miss, false_accept = error_rates(llrs, bonafide, BAYES_THRESHOLD)
    return float(_normalised_cost(np.asarray(miss), np.asarray(false_accept)))


def error_rates(scores: ArrayLike, bonafide: ArrayLike, threshold: float) -> tuple[float, float]:
    """Miss and false-accept rate at a threshold that was fixed elsewhere (on the dev set)."""
    values, labels = _check(scores, bonafide)
    return float(np.mean(values[labels] < threshold)), float(np.mean(values[~labels] >= threshold))


def half_total_error_rate(scores: ArrayLike, bonafide: ArrayLike, threshold: float) -> float:
    """HTER: mean of both error rates at a threshold that was fixed elsewhere."""
    return sum(error_rates(scores, bonafide, threshold)) / 2


def cllr(llrs: ArrayLike, bonafide: ArrayLike) -> float:
    """Log-likelihood-ratio cost in bits; 0 is perfect, 1 is what LLRs that say nothing (all 0) cost."""
    values, labels = _check(llrs, bonafide)
    return _cllr(values[labels], values[~labels])


def cllr_min(scores: ArrayLike, bonafide: ArrayLike) -> float:
    """Cllr after the best monotone calibration of these very trials (pool adjacent violators).

    What remains is the detector's failure to separate; `cllr - cllr_min` is the loss to calibration.
    """
    values, labels = _check(scores, bonafide)
    genuine, spoof = int(labels.sum()), int((~labels).sum())
    isotonic = IsotonicRegression(y_min=0.0, y_max=1.0)
    posterior = isotonic.fit_transform(values, labels.astype(np.float64))
    with np.errstate(divide="ignore"):
        llrs = np.log(posterior) - np.log1p(-posterior) - np.log(genuine / spoof)
    return _cllr(llrs[labels], llrs[~labels])


def min_dcf_multiapi(scores: ArrayLike, bonafide: ArrayLike) -> float:
    """The smallest cost as the MultiAPI paper's code counts it; never beside ASVspoof 5 figures.

    Not normalised, and over the observed scores only: rejecting every trial is not a candidate.
    """
    curve = det_curve(scores, bonafide)
    return float(_cost(curve.miss[:-1], curve.false_accept[:-1]).min())


def act_dcf_multiapi(scores: ArrayLike, bonafide: ArrayLike) -> float:
    """The MultiAPI paper's "actDCF": the cost, not normalised, at this very set's EER threshold."""
    _, threshold = eer_and_threshold(scores, bonafide)
    miss, false_accept = error_rates(scores, bonafide, threshold)
    return float(_cost(np.asarray(miss), np.asarray(false_accept)))


def bootstrap_interval(
    scores: ArrayLike,
    bonafide: ArrayLike,
    groups: ArrayLike,
    statistic: Statistic = eer,
    *,
    draws: int = 1_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a statistic when whole groups (speakers, sources) are drawn with replacement.

    Trials of one speaker or page resemble each other; drawing single trials would make the interval too
    narrow. Groups of bona fide trials, of spoofs, and of both are drawn apart, so that every draw holds both
    classes.

    Args:
        scores: `[N]`, higher means bona fide.
        bonafide: `[N]`, true for bona fide trials.
        groups: `[N]`, anything hashable by numpy (names or numbers).
        statistic: of scores and labels, e.g. `eer`.
        draws: number of resampled sets.
        seed: of the draws.
        confidence: share of draws inside the interval.

    Raises:
        ValueError: as for `det_curve`, or a class lies in one group only, which says nothing of its spread.
    """
    values, labels = _check(scores, bonafide)
    names = np.asarray(groups)
    if names.shape != values.shape:
        raise ValueError(f"{values.size} scores, but groups of shape {names.shape}")
    if draws < 1 or not 0 < confidence < 1:
        raise ValueError(f"draws {draws} and confidence {confidence} make no interval")
    _, numbers = np.unique(names, return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    if min(len(np.unique(numbers[labels])), len(np.unique(numbers[~labels]))) < 2:
        raise ValueError("an interval needs at least two groups of each class")
    strata: dict[tuple[bool, bool], list[NDArray[np.intp]]] = {}
    for group in members:
        strata.setdefault((bool(labels[group].any()), bool(labels[group].all())), []).append(group)
    generator = np.random.default_rng(seed)
    results = []
    for _ in range(draws):
        drawn = [part[i] for part in strata.values() for i in generator.integers(len(part), size=len(part))]
        trials = np.concatenate(drawn)
        results.append(statistic(values[trials], labels[trials]))
    tail = (1 - confidence) / 2
    low, high = np.quantile(results, [tail, 1 - tail])
    return float(low), float(high)


def _check(scores: ArrayLike, bonafide: ArrayLike) -> tuple[Floats, Booleans]:
    values = np.asarray(scores, dtype=np.float64)
    labels = np.asarray(bonafide)
    if labels.dtype != np.bool_:
        raise ValueError(f"labels must be booleans, true for bona fide, not {labels.dtype}")
    if values.ndim != 1 or values.shape != labels.shape:
        raise ValueError(f"scores {values.shape} and labels {labels.shape} must be of one length")
    broken = np.flatnonzero(~np.isfinite(values))
    if broken.size:
        raise ValueError(f"score {int(broken[0])} is {values[broken[0]]}, not a finite number")
    if labels.all() or not labels.any():
        raise ValueError(f"both classes are needed: {int(labels.sum())} bona fide, {int((~labels).sum())} spoof")
    return values, labels


def _count_errors(values: Floats, labels: Booleans) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Thresholds as in `DetCurve`, and the numbers of misses and false accepts at each."""
    thresholds = np.append(np.unique(values), np.inf)
    missed = np.searchsorted(np.sort(values[labels]), thresholds, side="left").astype(np.int64)
    rejected = np.searchsorted(np.sort(values[~labels]), thresholds, side="left").astype(np.int64)
    return thresholds, missed, np.int64((~labels).sum()) - rejected


def _cost(miss: Floats, false_accept: Floats) -> Floats:
    return COST_MISS * (1 - P_SPOOF) * miss + COST_FALSE_ACCEPT * P_SPOOF * false_accept


def _normalised_cost(miss: Floats, false_accept: Floats) -> Floats:
    return _cost(miss, false_accept) / min(COST_MISS * (1 - P_SPOOF), COST_FALSE_ACCEPT * P_SPOOF)


def _cllr(bonafide_llrs: Floats, spoof_llrs: Floats) -> float:
    misled = np.logaddexp(0, -bonafide_llrs).mean() + np.logaddexp(0, spoof_llrs).mean()
    return float(misled / (2 * np.log(2)))
