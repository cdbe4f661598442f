"""Gradient-boosted trees as a back-end: scikit-learn fits them, this module evaluates them from plain tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spoofcheck.nets.config import BoostedTreesConfig


class BoostedTrees(nn.Module):
    """A sum of regression trees over one row of features.

    Shape: `[B, channels, 1]` -> logits `[B, 2]`, in the order (spoof, bonafide): `(raw / 2, -raw / 2)`, where `raw` is
    the log odds of spoof. No parameters; the trees are buffers `[trees, nodes]`, padded with leaves, the root first and
    every child behind its parent. A row goes left where its feature is at most the threshold, or where it is NaN and
    the node says so.

    Args:
        channels: features.
        trees: how many.
        nodes: of the largest tree.
    """

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    is_leaf: Tensor
    missing_goes_left: Tensor
    baseline: Tensor

    def __init__(self, channels: int = 34, *, trees: int, nodes: int) -> None:
        super().__init__()
        self.channels = channels
        shape = (trees, nodes)
        self.register_buffer("feature", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(shape))
        self.register_buffer("left", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("right", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("value", torch.zeros(shape))
        self.register_buffer("is_leaf", torch.ones(shape, dtype=torch.bool))
        self.register_buffer("missing_goes_left", torch.zeros(shape, dtype=torch.bool))
        self.register_buffer("baseline", torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """Shape: `[B, channels, 1]` -> `[B, 2]`. Computed in float32 even under autocast."""
        if features.ndim != 3 or features.shape[1:] != (self.channels, 1):
            raise ValueError(f"expected [B, {self.channels}, 1], got {list(features.shape)}")
        rows = features.squeeze(-1).float()
        trees, nodes = self.feature.shape
        tree = torch.arange(trees, device=rows.device)
        node = torch.zeros((len(rows), trees), dtype=torch.int64, device=rows.device)
        for _ in range(nodes):
            at_leaf = self.is_leaf[tree, node]
            if at_leaf.all():
                break
            value = rows.gather(1, self.feature[tree, node])
            goes_left = torch.where(
                value.isnan(), self.missing_goes_left[tree, node], value <= self.threshold[tree, node]
            )
            child = torch.where(goes_left, self.left[tree, node], self.right[tree, node])
            node = torch.where(at_leaf, node, child)
        half = (self.baseline.float() + self.value[tree, node].float().sum(dim=1)) / 2
        return torch.stack((half, -half), dim=1)

    def check(self) -> None:
        """Make sure that evaluation stays inside the buffers and ends.

        Raises:
            ValueError: a feature that does not exist, or a child that is not behind its parent.
        """
        # A leaf's feature is looked up as well, and then ignored.
        if bool(((self.feature < 0) | (self.feature >= self.channels)).any()):
            raise ValueError(f"a tree asks for a feature beyond the {self.channels}")
        nodes = self.feature.shape[1]
        place = torch.arange(nodes, device=self.feature.device)
        for child in (self.left, self.right):
            if bool((~self.is_leaf & ((child <= place) | (child >= nodes))).any()):
                raise ValueError(f"a tree's node has a child that is not behind it among the {nodes} nodes")


def boosted_trees_state(model: Any, *, spoof_class: object = 1) -> tuple[BoostedTreesConfig, dict[str, Tensor]]:
    """A fitted scikit-learn classifier as configuration and `state_dict` of `BoostedTrees`.

    For float32 features the decisions are the same at every node: a threshold is rounded DOWN to float32, and no
    float32 number lies between the two.

    Args:
        model: a fitted binary `HistGradientBoostingClassifier` on numeric features.
        spoof_class: the label in `model.classes_` that means spoof.

    Raises:
        ValueError: not fitted, not binary, `spoof_class` unknown, or splits on categories.
    """
    classes = list(getattr(model, "classes_", ()))
    if len(classes) != 2 or spoof_class not in classes:
        raise ValueError(f"expected a classifier fitted on two classes, one of them {spoof_class!r}, not {classes}")
    sign = 1.0 if spoof_class == classes[1] else -1.0
    # No public interface gives the trees; the test against `decision_function` tells when a release changes these.
    trees: list[NDArray[np.void]] = [iteration[0].nodes for iteration in model._predictors]
    if any(tree["is_categorical"].any() for tree in trees):
        raise ValueError("splits on categories are not supported")
    config = BoostedTreesConfig(
        channels=int(model.n_features_in_), trees=len(trees), nodes=max(len(tree) for tree in trees)
    )
    network = BoostedTrees(**config.model_dump(exclude={"kind"}))
    for i, tree in enumerate(trees):
        inner = tree["is_leaf"] == 0
        entries: dict[str, NDArray[Any]] = {
            "feature": np.where(inner, tree["feature_idx"], 0),
            "threshold": _float32_at_most(np.where(inner, tree["num_threshold"], 0.0)),
            "left": np.where(inner, tree["left"], 0),
            "right": np.where(inner, tree["right"], 0),
            "value": np.where(inner, 0.0, sign * tree["value"]),
            "is_leaf": ~inner,
            "missing_goes_left": inner & (tree["missing_go_to_left"] != 0),
        }
        for name, values in entries.items():
            getattr(network, name)[i, : len(tree)] = torch.from_numpy(values)
    network.baseline.fill_(sign * float(np.asarray(model._baseline_prediction).item()))
    network.check()
    return config, network.state_dict()


def _float32_at_most(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    limits = np.finfo(np.float32)
    # An infinite threshold sends every number left; weights files hold finite numbers only.
    clipped = np.clip(thresholds, float(limits.min), float(limits.max))
    nearest = clipped.astype(np.float32)
    return np.where(nearest > clipped, np.nextafter(nearest, np.float32(-np.inf)), nearest)
