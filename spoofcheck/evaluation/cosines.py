"""Cosines of clips to sources, and of clips to each other: what was compared, and the calibration that it supports.

A clip is compared with every source known in its draw ("did a system of this source make it, or another one?"), and
with the other clips of generators that were not known ("did systems of one source make both?"). Families weigh alike:
of each pair of families a fixed number of quantiles stands for its comparisons. Two clips of one family must be of
different speakers; those of two families may be copies of one recording by two vocoders. So a voice counts against the
link, never for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoofcheck.evaluation.calibration import fit_logistic, llr_bound
from spoofcheck.evaluation.metrics import cllr, eer
from spoofcheck.nets.config import CosineCalibration

Floats = NDArray[np.float64]
Names = NDArray[np.str_]
Booleans = NDArray[np.bool_]

PLACES = 10
"""Quantiles that stand for all comparisons of a pair of families."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """What was compared, each array `[M]`.

    Attributes:
        cosines: of the two.
        is_target: whether they are of one family.
        pairs: the two families, as one name.
    """

    cosines: Floats
    is_target: Booleans
    pairs: Names


def with_sources(embeddings: Floats, families: Names, prototypes: Floats, classes: Names) -> Comparisons:
    """Clips, unit rows `[N, D]`, with the prototypes `[K, D]` of known families."""
    return Comparisons(
        (embeddings @ prototypes.T).ravel(),
        (families[:, None] == classes[None]).ravel(),
        np.char.add(np.char.add(families, "\t")[:, None], classes[None]).ravel(),
    )


def with_each_other(embeddings: Floats, families: Names, speakers: Names) -> Comparisons:
    """Clips, unit rows `[N, D]`, with each other; each pair once."""
    first, second = np.triu_indices(len(embeddings), 1)
    same = families[first] == families[second]
    chosen = ~same | (speakers[first] != speakers[second])
    first, second, same = first[chosen], second[chosen], same[chosen]
    is_ordered = families[first] <= families[second]
    low = np.where(is_ordered, families[first], families[second])
    high = np.where(is_ordered, families[second], families[first])
    cosines = (embeddings[first] * embeddings[second]).sum(axis=1)
    return Comparisons(cosines, same, np.char.add(np.char.add(low, "\t"), high))


def joined(parts: Sequence[Comparisons]) -> Comparisons:
    """All comparisons of several draws."""
    return Comparisons(
        np.concatenate([part.cosines for part in parts]),
        np.concatenate([part.is_target for part in parts]),
        np.concatenate([part.pairs for part in parts]),
    )


def cosine_calibration(chosen: Comparisons, measured: Comparisons, data: str) -> CosineCalibration:
    """The map from cosine to LLR, fitted on some families; its figures are those of others.

    The bound is that of the number of families, not of clips: those of one family are no independent trials.

    Raises:
        ValueError: one side is empty, or larger cosines do not mean one family.
    """
    cosines, is_target = evened(chosen)
    slope, intercept = fit_logistic(cosines, is_target)
    bound = llr_bound(*(len(np.unique(chosen.pairs[chosen.is_target == target])) for target in (False, True)))
    cosines, is_target = evened(measured)
    llrs = np.clip(slope * cosines + intercept, -bound, bound)
    return CosineCalibration(
        slope=slope,
        intercept=intercept,
        llr_bound=bound,
        data=data,
        target_trials=int(measured.is_target.sum()),
        other_trials=int((~measured.is_target).sum()),
        eer=round(eer(cosines, is_target), 4),
        cllr=round(cllr(llrs, is_target), 4),
    )


def evened(comparisons: Comparisons) -> tuple[Floats, Booleans]:
    """Cosines and whether they are targets, with as many of every pair of families.

    Raises:
        ValueError: nothing was compared.
    """
    if not len(comparisons.pairs):
        raise ValueError("nothing was compared")
    places = (np.arange(PLACES) + 0.5) / PLACES
    order = np.argsort(comparisons.pairs, kind="stable")
    _, starts = np.unique(comparisons.pairs[order], return_index=True)
    parts = np.split(order, starts[1:])
    cosines = np.concatenate([np.quantile(comparisons.cosines[part], places) for part in parts])
    return cosines, np.repeat([bool(comparisons.is_target[part[0]]) for part in parts], PLACES)
