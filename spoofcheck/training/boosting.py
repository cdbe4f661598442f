"""Gradient-boosted trees on fixed features: the simple opponent of every network, in the same model directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import nn

import spoofcheck
from spoofcheck.errors import UsageError
from spoofcheck.nets.config import BoostedTreesConfig
from spoofcheck.nets.detector import Detector, build_detector
from spoofcheck.nets.frontends import build_front_end
from spoofcheck.nets.trees import boosted_trees_state
from spoofcheck.training.batches import SPOOF, Batch
from spoofcheck.training.initial import load_front_end_weights
from spoofcheck.training.recipe import BoostingTraining, Recipe


def fit_boosting(
    recipe: Recipe, rule: BoostingTraining, batches: Iterable[Batch], prepared: Path
) -> tuple[Detector, BoostedTreesConfig]:
    """A detector of the recipe's front-end and trees fitted on its features of the batches.

    Args:
        batches: drawn only where their features are not known yet.
        prepared: folder of the prepared windows; features are kept there for recipes that differ in their trees alone.

    Raises:
        UsageError: a front-end that gives more than one frame.
    """
    front_end = build_front_end(recipe.model.front_end)
    smallest = BoostedTreesConfig(channels=cast(int, front_end.out_channels), trees=1, nodes=1)
    try:
        build_detector(recipe.model.front_end, smallest)
    except ValueError as error:
        raise UsageError(f"key 'model.front_end': {error}") from error
    load_front_end_weights(recipe, front_end)
    rows, labels = _kept(prepared / f"features-{_identity(recipe, rule)}.npz", front_end, batches)
    model = HistGradientBoostingClassifier(
        max_iter=rule.iterations, learning_rate=rule.learning_rate, max_leaf_nodes=rule.leaves,
        l2_regularization=rule.l2, early_stopping=False, random_state=recipe.seed, class_weight="balanced",
    )  # fmt: skip
    model.fit(rows, labels)
    config, state = boosted_trees_state(model, spoof_class=True)
    network = build_detector(recipe.model.front_end, config)
    network.front_end.load_state_dict(front_end.state_dict())
    network.back_end.load_state_dict(state, strict=True)
    return network, config


def _kept(path: Path, front_end: nn.Module, batches: Iterable[Batch]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Features and labels of the batches, from the file or measured and kept there."""
    if path.is_file():
        with np.load(path, allow_pickle=False) as held:
            return held["rows"], held["labels"]
    rows, labels = [], []
    with torch.inference_mode():
        for batch in batches:
            rows.append(front_end(batch.inputs).squeeze(-1).numpy())
            labels.append(batch.labels.numpy() == SPOOF)
    every, truth = np.concatenate(rows), np.concatenate(labels)
    beside = path.with_suffix(".tmp.npz")
    np.savez(beside, rows=every, labels=truth)
    beside.replace(path)
    return every, truth


def _identity(recipe: Recipe, rule: BoostingTraining) -> str:
    """What features depend on beside the windows, whose folder is made from one set of clips."""
    content = recipe.model_dump(mode="json", include={"seed", "model", "batch", "augment", "data"})
    content["data"].pop("root")
    text = json.dumps([content, rule.batches, spoofcheck.__version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
