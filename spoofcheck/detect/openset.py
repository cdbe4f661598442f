"""Is a recording's source one of those that are known? The rules that answer it, side by side.

A rule turns unit embeddings into confidences, higher where the source is more surely a known one; a threshold on them
decides. All of them are functions of the embedding and of what was `Known` from seen training embeddings:

* `max-softmax`: the largest softmax of the scaled cosines (Hendrycks & Gimpel 2017; the published tracer's rule).
* `prototype-cosine`: the largest cosine to a prototype. Where logits are scaled cosines, "max-logit" (Vaze et al. 2022)
  is the same times the scale, and orders trials alike; it is no rule of its own here.
* `energy`: the logarithm of the sum of the exponentials of the logits (Liu et al. 2020).
* `mahalanobis`: minus the squared distance to the nearest class mean under one shared covariance, shrunk by Ledoit and
  Wolf's rule (Lee et al. 2018).
* `knn`: the mean cosine to the nearest training embeddings (Sun et al. 2022).
* `nsd`: the cosine to the nearest training embedding times the energy, after "novel similarity detection" (Xie et al.
  2024).
* `openmax`: the largest probability of a known class that OpenMax (Bendale & Boult 2016) leaves: it moves activation to
  the unknown from classes whose mean lies unusually far, by a Weibull distribution of each class's largest distances.

Only the first two need nothing but prototypes, so that sources enrolled from a few clips can be judged by them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

OpenSetRule = Literal["max-softmax", "prototype-cosine", "energy", "mahalanobis", "knn", "nsd", "openmax"]
RULES: tuple[OpenSetRule, ...] = get_args(OpenSetRule)
APPLIED_RULE: OpenSetRule = "prototype-cosine"
"""The rule of tracers with prototypes: of those that need no more of a source, so that one enrolled from a few clips is
judged as the others are, it alone says the same of a source whatever others there are."""

NEIGHBOURS = 5
_LEAST_VARIANCE = 1e-6
_TAIL = 20
_FEWEST_OF_TAIL = 3
_TAIL_SHARE = 0.1
_RANKED = 5
_NEWTON_STEPS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What rules compare an embedding with.

    Attributes:
        prototypes: unit rows `[K, D]`.
        scale: what a cosine is multiplied by to become a logit.
        members: training embeddings, unit rows `[N, D]`.
        means: of the members of each class, `[K, D]`.
        precision: inverse of the members' shared covariance within classes, `[D, D]`.
        tails: shape and scale of each class's Weibull distribution, `[K, 2]`.
    """

    prototypes: Floats
    scale: float
    members: Floats
    means: Floats
    precision: Floats
    tails: Floats


def known_of(members: Floats, labels: Integers, prototypes: Floats, scale: float) -> Known:
    """What the rules need of seen training embeddings.

    Args:
        members: unit rows `[N, D]`.
        labels: class of each, a row of `prototypes`; every class has at least two members.
        prototypes: unit rows `[K, D]`.
        scale: what a cosine is multiplied by to become a logit.

    Raises:
        ValueError: a class of fewer than two members.
    """
    counts = np.bincount(labels, minlength=len(prototypes))
    if counts.min() < 2:
        raise ValueError(f"class {int(counts.argmin())} has {int(counts.min())} members, at least 2 are needed")
    means = np.stack([members[labels == number].mean(axis=0) for number in range(len(prototypes))])
    rests = members - means[labels]
    covariance = LedoitWolf(assume_centered=True).fit(rests).covariance_
    precision = np.linalg.inv(covariance + _LEAST_VARIANCE * np.eye(members.shape[1]))
    distances = np.linalg.norm(rests, axis=1)
    tails = np.stack([_weibull(_tail(distances[labels == number])) for number in range(len(prototypes))])
    return Known(prototypes, scale, members, means, precision, tails)


def confidences(rule: OpenSetRule, embeddings: Floats, known: Known) -> Floats:
    """How surely each embedding is of a known source. Shape: unit rows `[M, D]` -> `[M]`."""
    return _RULES[rule](embeddings, known)


def _max_softmax(embeddings: Floats, known: Known) -> Floats:
    logits = known.scale * embeddings @ known.prototypes.T
    return np.asarray(np.exp(logits.max(axis=1) - _log_sum_exp(logits)), np.float64)


def _prototype_cosine(embeddings: Floats, known: Known) -> Floats:
    return np.asarray((embeddings @ known.prototypes.T).max(axis=1), np.float64)


def _energy(embeddings: Floats, known: Known) -> Floats:
    return _log_sum_exp(known.scale * embeddings @ known.prototypes.T)


def _mahalanobis(embeddings: Floats, known: Known) -> Floats:
    nearest = np.full(len(embeddings), np.inf)
    for mean in known.means:
        rest = embeddings - mean
        nearest = np.minimum(nearest, np.einsum("nd,de,ne->n", rest, known.precision, rest, optimize=True))
    return -nearest


def _knn(embeddings: Floats, known: Known) -> Floats:
    likeness = embeddings @ known.members.T
    many = min(NEIGHBOURS, likeness.shape[1])
    return np.asarray(np.partition(likeness, -many, axis=1)[:, -many:].mean(axis=1), np.float64)


def _nsd(embeddings: Floats, known: Known) -> Floats:
    return np.asarray((embeddings @ known.members.T).max(axis=1) * _energy(embeddings, known), np.float64)


def _openmax(embeddings: Floats, known: Known) -> Floats:
    # Nothing can be taken from a class that an embedding points away from.
    activations = np.maximum(known.scale * embeddings @ known.prototypes.T, 0)
    distances = np.linalg.norm(embeddings[:, None] - known.means[None], axis=2)
    with np.errstate(over="ignore"):  # members that are all alike make a cliff of their distribution
        outside = -np.expm1(-((distances / known.tails[:, 1]) ** known.tails[:, 0]))
    ranks = (-activations).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    weight = np.clip(1 - ranks / min(_RANKED, activations.shape[1]), 0, None)
    kept = activations * (1 - weight * outside)
    logits = np.column_stack([kept, (activations - kept).sum(axis=1)])
    return np.asarray(np.exp(kept.max(axis=1) - _log_sum_exp(logits)), np.float64)


_RULES: dict[OpenSetRule, Callable[[Floats, Known], Floats]] = {
    "max-softmax": _max_softmax,
    "prototype-cosine": _prototype_cosine,
    "energy": _energy,
    "mahalanobis": _mahalanobis,
    "knn": _knn,
    "nsd": _nsd,
    "openmax": _openmax,
}


def _log_sum_exp(logits: Floats) -> Floats:
    top = logits.max(axis=1)
    return np.asarray(top + np.log(np.exp(logits - top[:, None]).sum(axis=1)), np.float64)


def _tail(distances: Floats) -> Floats:
    """The largest distances of a class."""
    many = max(_FEWEST_OF_TAIL, min(_TAIL, int(len(distances) * _TAIL_SHARE)))
    return np.sort(distances)[-many:]


def _weibull(values: Floats) -> Floats:
    """Shape and scale of the two-parameter Weibull distribution that makes positive values most likely, `[2]`."""
    scaled = np.maximum(values, 1e-9) / max(values.max(), 1e-9)
    logs = np.log(scaled)
    shape = 1.0
    for _ in range(_NEWTON_STEPS):
        powers = scaled**shape
        total, first, second = powers.sum(), (powers * logs).sum(), (powers * logs**2).sum()
        miss = first / total - 1 / shape - logs.mean()
        slope = (second * total - first**2) / total**2 + 1 / shape**2
        # Values that are all alike fit ever larger shapes.
        shape = float(np.clip(shape - miss / slope, shape / 2, min(2 * shape, 1e3)))
    return np.array([shape, max(values.max(), 1e-9) * (scaled**shape).mean() ** (1 / shape)])
