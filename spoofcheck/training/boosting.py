"""Gradient-boosted trees on fixed features: the simple opponent of every network, in the same model directory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from spoofcheck.errors import UsageError
from spoofcheck.nets.config import BoostedTreesConfig
from spoofcheck.nets.detector import Detector, build_detector
from spoofcheck.nets.frontends import build_front_end
from spoofcheck.nets.trees import boosted_trees_state
from spoofcheck.training.batches import SPOOF, Batch
from spoofcheck.training.initial import load_front_end_weights
from spoofcheck.training.recipe import BoostingTraining, Recipe


def fit_boosting(
    recipe: Recipe, rule: BoostingTraining, batches: Iterable[Batch]
) -> tuple[Detector, BoostedTreesConfig]:
    """A detector of the recipe's front-end and trees fitted on its features of the batches.

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
    rows, labels = [], []
    with torch.inference_mode():
        for batch in batches:
            rows.append(front_end(batch.inputs).squeeze(-1).numpy())
            labels.append(batch.labels.numpy() == SPOOF)
    model = HistGradientBoostingClassifier(
        max_iter=rule.iterations, learning_rate=rule.learning_rate, max_leaf_nodes=rule.leaves,
        l2_regularization=rule.l2, early_stopping=False, random_state=recipe.seed, class_weight="balanced",
    )  # fmt: skip
    model.fit(np.concatenate(rows), np.concatenate(labels))
    config, state = boosted_trees_state(model, spoof_class=True)
    network = build_detector(recipe.model.front_end, config)
    network.front_end.load_state_dict(front_end.state_dict())
    network.back_end.load_state_dict(state, strict=True)
    return network, config
