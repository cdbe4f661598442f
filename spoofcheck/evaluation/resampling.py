"""Bootstrap intervals by whole sources, fast enough for every row of a table.

The trials are sorted once; a resampled set is a weight per trial (how often it was drawn), and every figure a sum of
weights. The draws are those of `metrics.bootstrap_interval`, number for number; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoofcheck.evalschema import Interval
from spoofcheck.evaluation.metrics import BAYES_THRESHOLD, COST_FALSE_ACCEPT, COST_MISS, P_SPOOF, Booleans, Floats

LEAST_SOURCES = 5
"""Fewer sources of a class say too little of how figures vary between sources: no interval is given."""

_CONFIDENCE = 0.95

Weights = NDArray[np.int64]
Sources = Sequence[str] | NDArray[np.object_]
Statistic = Callable[["RankedTrials", Weights], float]


def has_enough_sources(sources: Sources, bonafide: Booleans) -> bool:
    """Whether both classes come from enough sources for an interval."""
    names = np.asarray(sources, dtype=object)
    return min(len(set(names[bonafide])), len(set(names[~bonafide]))) >= LEAST_SOURCES


def drawn_weights(sources: Sources, bonafide: Booleans, draws: int, seed: int) -> Iterator[Weights]:
    """How often each trial is drawn, once per resampled set.

    Sources of bona fide trials, of spoofs, and of both are drawn apart and with replacement, so that every set holds
    both classes.

    Yields:
        `[N]`, `draws` times.
    """
    _, numbers = np.unique(np.asarray(sources, dtype=str), return_inverse=True)
    n_sources = int(numbers.max()) + 1
    has_genuine = np.bincount(numbers, weights=bonafide, minlength=n_sources) > 0
    has_spoof = np.bincount(numbers, weights=~bonafide, minlength=n_sources) > 0
    strata: dict[tuple[bool, bool], list[int]] = {}
    for source in range(n_sources):
        strata.setdefault((bool(has_genuine[source]), not has_spoof[source]), []).append(source)
    members = [np.asarray(part) for part in strata.values()]
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        times = np.zeros(n_sources, np.int64)
        for part in members:
            times[part] = np.bincount(generator.integers(len(part), size=len(part)), minlength=len(part))
        yield times[numbers]


@dataclass(frozen=True, slots=True)
class WeightedErrors:
    """Numbers of misses and false accepts at every threshold, `[K]`, and of trials of each class."""

    missed: Weights
    accepted: Weights
    genuine: int
    spoof: int


class RankedTrials:
    """Trials sorted by score, ready for figures of any resampled set of them.

    Args:
        scores: `[N]`, finite, higher means bona fide.
        bonafide: `[N]`, both classes present.
    """

    def __init__(self, scores: Floats, bonafide: Booleans) -> None:
        self._order = np.argsort(scores, kind="stable")
        ranked = scores[self._order]
        self._labels = bonafide[self._order].astype(np.int64)
        self._starts = np.append(np.flatnonzero(np.append(True, np.diff(ranked) > 0)), len(ranked))
        self._thresholds = np.append(ranked[self._starts[:-1]], np.inf)
        self._bayes = int(np.searchsorted(self._thresholds, BAYES_THRESHOLD))
        self._misled_bits = np.logaddexp(0, np.where(self._labels, -ranked, ranked)) / (2 * np.log(2))

    def errors(self, weights: Weights) -> WeightedErrors:
        """Errors at the distinct scores in rising order, then beyond all of them."""
        ranked = weights[self._order]
        genuine = np.append(0, np.cumsum(ranked * self._labels))
        every = np.append(0, np.cumsum(ranked))
        spoof = every - genuine
        return WeightedErrors(
            missed=genuine[self._starts],
            accepted=spoof[-1] - spoof[self._starts],
            genuine=int(genuine[-1]),
            spoof=int(spoof[-1]),
        )

    def errors_at_bayes(self, weights: Weights) -> tuple[float, float]:
        """Miss and false-accept rate at the Bayes threshold of the costs."""
        errors = self.errors(weights)
        return float(errors.missed[self._bayes] / errors.genuine), float(errors.accepted[self._bayes] / errors.spoof)

    def misled_bits(self, weights: Weights) -> float:
        """Cllr of the resampled set."""
        ranked = weights[self._order]
        genuine = ranked * self._labels
        spoof = ranked - genuine
        return float(genuine @ self._misled_bits / genuine.sum() + spoof @ self._misled_bits / spoof.sum())


def eer(trials: RankedTrials, weights: Weights) -> float:
    """`metrics.eer` of a resampled set."""
    errors = trials.errors(weights)
    at = int(np.argmin(np.abs(errors.missed * errors.spoof - errors.accepted * errors.genuine)))
    return float(errors.missed[at] / errors.genuine + errors.accepted[at] / errors.spoof) / 2


def min_dcf(trials: RankedTrials, weights: Weights) -> float:
    """`metrics.min_dcf` of a resampled set."""
    return float(_costs(trials.errors(weights)).min()) / min(COST_MISS * (1 - P_SPOOF), COST_FALSE_ACCEPT * P_SPOOF)


def min_dcf_multiapi(trials: RankedTrials, weights: Weights) -> float:
    """`metrics.min_dcf_multiapi` of a resampled set."""
    return float(_costs(trials.errors(weights))[:-1].min())


def act_dcf(trials: RankedTrials, weights: Weights) -> float:
    """`metrics.act_dcf` of a resampled set."""
    miss, false_accept = trials.errors_at_bayes(weights)
    cost = COST_MISS * (1 - P_SPOOF) * miss + COST_FALSE_ACCEPT * P_SPOOF * false_accept
    return cost / min(COST_MISS * (1 - P_SPOOF), COST_FALSE_ACCEPT * P_SPOOF)


def cllr(trials: RankedTrials, weights: Weights) -> float:
    """`metrics.cllr` of a resampled set."""
    return trials.misled_bits(weights)


def interval_of(values: Sequence[float]) -> Interval:
    """The 95 % percentile interval of a statistic's resampled values."""
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def eer_interval(scores: Floats, bonafide: Booleans, sources: Sources, draws: int, seed: int) -> Interval | None:
    """The interval of the EER; None with too few sources, or no draws."""
    if draws < 1 or not has_enough_sources(sources, bonafide):
        return None
    trials = RankedTrials(scores, bonafide)
    return interval_of([eer(trials, weights) for weights in drawn_weights(sources, bonafide, draws, seed)])


def _costs(errors: WeightedErrors) -> Floats:
    costs: Floats = (
        COST_MISS * (1 - P_SPOOF) * (errors.missed / errors.genuine)
        + COST_FALSE_ACCEPT * P_SPOOF * (errors.accepted / errors.spoof)
    )  # fmt: skip
    return costs
