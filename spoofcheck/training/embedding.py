"""An embedding of pooled features in which recordings of one family of generators lie close together.

It begins as linear discriminant analysis with a shrunk covariance, and learns on from there: cross-entropy over scaled
cosines to learnt prototypes, and a supervised contrastive loss (Khosla et al. 2020) among the windows of a batch.
Batches hold the families evenly, and within a family its sources (system, repository and speaker) by the root of their
size. What the projection learns is held back towards where it began, because there are hardly more windows than
features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch.nn import functional as F

from spoofcheck.nets.embedding import StatisticsEmbedding
from spoofcheck.training.recipe import PrototypeTraining

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_LEAST_SPREAD = 1e-6
_FURTHEST = 5.0
"""Standardised features beyond it are cut for the fit: some channels have very long tails."""
_PROTOTYPE_RATE = 3.0


def fit_embedding(
    pooled: Floats,
    labels: Integers,
    sources: Sequence[str],
    rule: PrototypeTraining,
    size: int,
    scale: float,
    seed: int,
) -> StatisticsEmbedding:
    """A head fitted on pooled features, in eval mode; the same arguments give the same head.

    Args:
        pooled: `[N, 2 C]`, as `pool_features` gives them.
        labels: class of each, 0 to K - 1, each with two windows at least.
        sources: of each, weighed evenly within a class but for the root of their size.
        rule: how it is fitted.
        size: of the embedding; beyond K - 1 its directions begin at random.
        scale: what a cosine is multiplied by to become a logit.
        seed: of beginning, batches and dropout.
    """
    classes = int(labels.max()) + 1
    mean, spread = pooled.mean(axis=0), pooled.std(axis=0) + _LEAST_SPREAD
    rows = _standard(pooled, mean, spread)
    generator = torch.Generator().manual_seed(seed)
    weight, bias = _discriminant(rows, labels, rule.shrinkage, size, generator)
    inputs, targets = torch.from_numpy(rows).float(), torch.from_numpy(labels)
    begun = F.normalize(inputs @ weight.T + bias, dim=1)
    prototypes = F.normalize(torch.stack([begun[targets == k].mean(dim=0) for k in range(classes)]), dim=1)
    if rule.steps:
        begin = (weight, bias, prototypes)
        weight, bias, prototypes = _learnt(inputs, targets, _chances(labels, sources), begin, rule, scale, generator)
    head = StatisticsEmbedding(pooled.shape[1] // 2, size, scale, classes=classes)
    with torch.no_grad():
        head.mean.copy_(torch.from_numpy(mean))
        head.spread.copy_(torch.from_numpy(spread))
        head.projection.weight.copy_(weight)
        head.projection.bias.copy_(bias)
        head.prototypes.copy_(F.normalize(prototypes, dim=1))
    return head.eval()


def embedded(head: StatisticsEmbedding, pooled: Floats) -> Floats:
    """Unit rows `[N, D]` of pooled features `[N, 2 C]`."""
    with torch.inference_mode():
        rows = head.embed_pooled(torch.from_numpy(pooled)).double()
    return np.asarray((rows / rows.norm(dim=1, keepdim=True)).numpy())


def _standard(pooled: Floats, mean: Floats, spread: Floats) -> Floats:
    return np.clip((pooled - mean) / spread, -_FURTHEST, _FURTHEST)


def _discriminant(
    rows: Floats, labels: Integers, shrinkage: float, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Projection `[D, F]` and bias `[D]`, scaled so that a projected value is 1 on average over rows and directions."""
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage).fit(rows, labels)
    found = torch.from_numpy(model.scalings_[:, : min(size, int(labels.max()))].T.copy())
    centre = torch.from_numpy(rows.mean(axis=0))
    found = found / ((torch.from_numpy(rows) - centre) @ found.T).square().mean().sqrt()
    more = torch.randn(size - len(found), rows.shape[1], generator=generator, dtype=torch.float64)
    more *= 0.1 / rows.shape[1] ** 0.5
    weight = torch.cat([found, more])
    return weight.float(), -(weight @ centre).float()


def _chances(labels: Integers, sources: Sequence[str]) -> Tensor:
    """How often a window is drawn: classes evenly, sources within one by the root of their size."""
    keys = [f"{label}\0{source}" for label, source in zip(labels.tolist(), sources, strict=True)]
    _, numbers, counts = np.unique(keys, return_inverse=True, return_counts=True)
    chances = counts[numbers] ** -0.5
    totals = np.bincount(labels, weights=chances)
    return torch.from_numpy(chances / totals[labels])


def _learnt(
    inputs: Tensor, targets: Tensor, chances: Tensor, begin: tuple[Tensor, Tensor, Tensor],
    rule: PrototypeTraining, scale: float, generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    start = begin[0].clone()
    weight, bias, prototypes = (part.clone().requires_grad_() for part in begin)
    slow: dict[str, Any] = {"params": [weight, bias]}
    fast: dict[str, Any] = {"params": [prototypes], "lr": _PROTOTYPE_RATE * rule.rate}
    optimiser = torch.optim.Adam([slow, fast], lr=rule.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, rule.steps)
    for _ in range(rule.steps):
        drawn = torch.multinomial(chances, rule.batch, replacement=True, generator=generator)
        rows = F.normalize(_dropped(inputs[drawn], rule, generator) @ weight.T + bias, dim=1)
        centres = F.normalize(prototypes, dim=1)
        loss = F.cross_entropy(scale * rows @ centres.T, targets[drawn])
        loss = loss + rule.contrastive * contrastive_loss(rows, targets[drawn], rule.temperature)
        loss = loss + rule.anchor * (weight - start).square().sum() / start.square().sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return weight.detach(), bias.detach(), prototypes.detach()


def _dropped(rows: Tensor, rule: PrototypeTraining, generator: torch.Generator) -> Tensor:
    """Features left out at random, the others scaled up: none of them may carry a family alone."""
    if not rule.feature_dropout:
        return rows
    kept = torch.rand(rows.shape, generator=generator) >= rule.feature_dropout
    return rows * kept / (1 - rule.feature_dropout)


def contrastive_loss(rows: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss of unit rows `[B, D]`: windows of a class against all others. A scalar.

    A row that is the only one of its class takes no part.
    """
    alone = torch.eye(len(rows), dtype=torch.bool)
    likeness = (rows @ rows.T / temperature).masked_fill(alone, -1e9)
    shares = likeness - likeness.logsumexp(dim=1, keepdim=True)
    same = (targets[:, None] == targets[None]) & ~alone
    counts = same.sum(dim=1)
    means = -(shares * same).sum(dim=1) / counts.clamp(min=1)
    chosen = counts > 0
    return (means * chosen).sum() / chosen.sum().clamp(min=1)
