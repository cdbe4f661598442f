"""A readout of pooled features: logistic regression that is made blind to where human speech was recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from spoofcheck.nets.readout import StatisticsReadout
from spoofcheck.training.store import StoredWindow

_FEWEST = 8
"""Windows that make the mean of a human source worth knowing."""
_ITERATIONS = 300


def fit_readout(
    pooled: NDArray[np.float64], rows: Sequence[StoredWindow], inverse_penalty: float, human_directions: int
) -> StatisticsReadout:
    """A readout fitted on pooled features, in eval mode.

    Both classes weigh the same; within one, a source (system, or repository of human speech) weighs by the root of
    its windows, so that none dominates. The directions in which the means of human sources differ most say where
    speech was recorded, not whether it is human: they are projected out first (nuisance attribute projection,
    Solomonoff et al. 2005).

    Args:
        pooled: `[N, 2 C]`, as `pool_features` gives them.
        rows: what each is.
        inverse_penalty: of the regression, scikit-learn's `C`.
        human_directions: how many are projected out, at most one less than there are human sources.
    """
    mean, spread = pooled.mean(axis=0), pooled.std(axis=0) + 1e-9
    standard = (pooled - mean) / spread
    is_spoof = np.array([row.is_spoof for row in rows])
    sources = [(row.system, "") if row.is_spoof else ("", row.repo) for row in rows]
    basis = _directions(standard, is_spoof, sources, human_directions)
    model = LogisticRegression(C=inverse_penalty, max_iter=_ITERATIONS)
    model.fit(standard - standard @ basis.T @ basis, is_spoof, sample_weight=_weights(is_spoof, sources))
    weight = model.coef_[0] - model.coef_[0] @ basis.T @ basis
    readout = StatisticsReadout(pooled.shape[1] // 2)
    with torch.no_grad():
        readout.mean.copy_(torch.from_numpy(mean))
        readout.spread.copy_(torch.from_numpy(spread))
        readout.weight.copy_(torch.from_numpy(weight))
        readout.bias.copy_(torch.from_numpy(model.intercept_))
    return readout.eval()


Source = tuple[str, str]


def _directions(
    standard: NDArray[np.float64], is_spoof: NDArray[np.bool_], sources: Sequence[Source], most: int
) -> NDArray[np.float64]:
    """Orthonormal rows `[K, 2 C]` along which the means of human sources lie apart."""
    counts = Counter(source for source, spoof in zip(sources, is_spoof, strict=True) if not spoof)
    known = sorted(source for source, count in counts.items() if count >= _FEWEST)
    if most == 0 or len(known) < 2:
        return np.zeros((0, standard.shape[1]))
    places = {source: number for number, source in enumerate(known)}
    numbers = np.array([places.get(source, -1) for source in sources])
    means = np.stack([standard[numbers == number].mean(axis=0) for number in range(len(known))])
    directions = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)[2]
    found: NDArray[np.float64] = directions[: min(most, len(known) - 1)]
    return found


def _weights(is_spoof: NDArray[np.bool_], sources: Sequence[Source]) -> NDArray[np.float64]:
    counts = Counter(sources)
    weights = np.array([counts[source] ** -0.5 for source in sources])
    for label in (False, True):
        weights[is_spoof == label] *= len(sources) / weights[is_spoof == label].sum() / 2
    return weights
