"""What a network is trained for: the loss, and the dev figures, of a detector and of a tracer."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Protocol

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from torch import Tensor

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.metrics import cllr_min, eer
from spoofcheck.nets.config import UNKNOWN_SOURCE
from spoofcheck.nets.config import UNSEEN as UNSEEN_NAME
from spoofcheck.training.batches import BONAFIDE, SPOOF, Batch
from spoofcheck.training.recipe import GradientTraining, Recipe
from spoofcheck.training.store import StoredWindow

UNSEEN = -1


class Objective(Protocol):
    """A loss to learn by, and figures to choose by."""

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Scalar, float32, of logits `[B, K]`."""

    def figures(self, logits: NDArray[np.float64]) -> dict[str, float]:
        """Dev metrics by name, of the logits `[n, K]` of all dev windows in their order."""


class DetectionObjective:
    """Cross-entropy with both classes weighing the same, plus a ranking loss between a copy and its source."""

    def __init__(self, rule: GradientTraining, dev: Sequence[StoredWindow]) -> None:
        self.rule = rule
        self.systems = np.array([row.system for row in dev])
        self.spoof = np.array([row.is_spoof for row in dev])
        if self.spoof.all() or not self.spoof.any():
            raise UsageError("the dev data hold one class only; EERs need both")

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Scalar, of logits `[B, 2]`."""
        return detection_loss(logits, batch, self.rule.label_smoothing, self.rule.pair_weight)

    def figures(self, logits: NDArray[np.float64]) -> dict[str, float]:
        """Pooled EER, its mean over systems, the mean of both, and Cllr after ideal calibration."""
        scores, human = logits[:, BONAFIDE] - logits[:, SPOOF], ~self.spoof
        pooled = eer(scores, human)
        each = []
        for system in sorted(set(self.systems[self.spoof])):
            chosen = human | (self.spoof & (self.systems == system))
            each.append(eer(scores[chosen], human[chosen]))
        macro = float(np.mean(each))
        return {
            "eer": pooled,
            "macro_eer": macro,
            "mean_eer": (pooled + macro) / 2,
            "cllr_min": cllr_min(scores, human),
        }


def detection_loss(logits: Tensor, batch: Batch, label_smoothing: float, pair_weight: float) -> Tensor:
    """Cross-entropy with both classes weighing the same, plus how far copies fail to score above their sources.

    Args:
        logits: float32 `[B, 2]`.
    """
    each = F.cross_entropy(logits, batch.labels, label_smoothing=label_smoothing, reduction="none")
    spoof = batch.labels == SPOOF
    classes = [each[chosen].mean() for chosen in (spoof, ~spoof) if bool(chosen.any())]
    loss = sum(classes[1:], classes[0]) / len(classes)
    copies = batch.pairs >= 0
    if pair_weight > 0 and bool(copies.any()):
        scores = logits[:, SPOOF] - logits[:, BONAFIDE]
        loss = loss + pair_weight * F.softplus(scores[batch.pairs[copies]] - scores[copies]).mean()
    return loss


class TracingObjective:
    """Cross-entropy over the classes; dev windows of unseen systems are left out of the figures."""

    def __init__(self, rule: GradientTraining, dev_labels: Sequence[int]) -> None:
        self.rule = rule
        self.labels = np.array(dev_labels)
        if not (self.labels >= 0).any():
            raise UsageError("the dev data hold no window of any of the classes")

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Scalar, of logits `[B, classes]`."""
        return F.cross_entropy(logits, batch.labels, label_smoothing=self.rule.label_smoothing)

    def figures(self, logits: NDArray[np.float64]) -> dict[str, float]:
        """Macro F1, accuracy and cross-entropy over the seen classes."""
        seen = self.labels >= 0
        given, truth = logits[seen], self.labels[seen]
        decided = given.argmax(axis=1)
        shifted = given - given.max(axis=1, keepdims=True)
        log_softmax = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        present = sorted(set(truth.tolist()))
        return {
            "macro_f1": float(f1_score(truth, decided, labels=present, average="macro", zero_division=0)),
            "accuracy": float(np.mean(decided == truth)),
            "cross_entropy": float(-log_softmax[np.arange(len(truth)), truth].mean()),
        }


def tracer_classes(recipe: Recipe, train: Sequence[Clip]) -> dict[str, tuple[str, ...]]:
    """Class names and the patterns of the systems they hold; every spoofing system of its own without a rule.

    Raises:
        UsageError: fewer than two classes, a class without a clip, or a name no class may have (named).
    """
    systems = sorted({clip.system for clip in train if clip.is_spoof})
    classes = dict(recipe.classes) or {system: (system,) for system in systems}
    taken = [name for name in classes if name in (UNSEEN_NAME, UNKNOWN_SOURCE)]
    if taken:
        raise UsageError(f"key 'classes': {taken[0]!r} is what the open-set rule answers; a class needs another name")
    filled = {class_of(system, classes) for system in systems}
    empty = [name for number, name in enumerate(classes) if number not in filled]
    if empty:
        raise UsageError(f"key 'classes': no training clip is of {', '.join(empty)}")
    if len(classes) < 2:
        raise UsageError("a tracer needs at least two classes among the training clips")
    return classes


def class_of(system: str, classes: dict[str, tuple[str, ...]]) -> int:
    """Number of the class that stands for a system, as `TracerConfig.class_of` has it, or `UNSEEN`."""
    if system in classes:
        return list(classes).index(system)
    for number, patterns in enumerate(classes.values()):
        if _matches(system, patterns):
            return number
    return UNSEEN


def labels_of(rows: Sequence[StoredWindow], classes: dict[str, tuple[str, ...]] | None) -> list[int]:
    """Labels of windows: of a detector without classes, else the class of each or `UNSEEN`."""
    if classes is None:
        return [SPOOF if row.is_spoof else BONAFIDE for row in rows]
    return [class_of(row.system, classes) if row.is_spoof else UNSEEN for row in rows]


def _matches(system: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(system, pattern) for pattern in patterns)
