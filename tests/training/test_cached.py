"""Features that are computed once are the features that would be computed every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spoofcheck.training.batches import Batch
from spoofcheck.training.cached import CachedBatches, feature_batches
from spoofcheck.training.datamodule import TrainingData
from spoofcheck.training.initial import initial_network
from spoofcheck.training.module import TrainingModule
from spoofcheck.training.objectives import DetectionObjective, labels_of
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.recipe import GradientTraining, Recipe
from tests.support.recipes import detector_recipe
from tests.support.windows import human, paired, prepared, spoofs

CPU = torch.device("cpu")
TRAIN = paired([*human(6), *spoofs(6)])
DEV = [*human(9), *spoofs(9)]


def recipe(**training: Any) -> Recipe:
    content = detector_recipe(Path("/none"))
    content["model"] = {
        "front_end": {"kind": "spectral-stem", "channels": [4, 8], "fft_samples": 32},
        "back_end": {"kind": "nes2net-la", "channels": 56, "blocks": 7, "scale": 4},
        "window_samples": 1_600,
    }
    content["batch"] |= {"bonafide": 2, "synthetic": 2}
    content["training"] |= {"frozen_epochs": "all", "ema_decay": None} | training
    return Recipe.model_validate(content)


def training_data(content: Recipe, front_end_of: Any) -> TrainingData:
    rule = content.training
    assert isinstance(rule, GradientTraining)
    data = TrainingData(content, rule, prepared(TRAIN, DEV), labels_of(TRAIN, None), front_end_of, 0, NoSteps())
    data.setup("fit")
    return data


def batch(number: int, size: int = 4) -> Batch:
    rng = torch.Generator().manual_seed(number)
    pairs = torch.tensor([-1] * (size - 1) + [0])
    return Batch(torch.randn(size, 1_600, generator=rng), torch.arange(size) % 2, pairs)


def test_features_are_the_front_ends_own() -> None:
    class Noisy(nn.Module):
        def forward(self, waves: torch.Tensor) -> torch.Tensor:
            return nn.functional.dropout(waves[:, None, ::100], 0.5, training=self.training)

    front_end = Noisy().train()
    batches = [batch(number) for number in range(3)]
    cached = feature_batches(front_end, batches, device=CPU, bf16=False)
    assert not front_end.training
    for one, found in zip(batches, cached, strict=True):
        assert found.inputs.dtype == torch.bfloat16
        assert torch.equal(found.inputs, one.inputs[:, None, ::100].bfloat16())
        assert torch.equal(found.labels, one.labels)
        assert torch.equal(found.pairs, one.pairs)


def test_all_cached_batches_come_before_any_comes_again() -> None:
    cached = [replace(batch(number), inputs=torch.full((4, 2, 3), float(number)).bfloat16()) for number in range(5)]
    batches = CachedBatches(cached, seed=1)
    turns = [[float(batches[step].inputs[0, 0, 0]) for step in range(5 * turn, 5 * turn + 5)] for turn in range(4)]
    for turn in turns:
        assert sorted(turn) == [0, 1, 2, 3, 4]
    assert len({tuple(turn) for turn in turns}) > 1
    assert batches[7].inputs.dtype == torch.float32
    assert torch.equal(batches[7].inputs, CachedBatches(cached, seed=1)[7].inputs)


def test_a_run_on_cached_features_sees_what_one_without_would() -> None:
    """The same training batches and dev windows, through the front-end, to the precision they are kept in."""
    plain, cached = recipe(), recipe(cached_batches=20)
    network = initial_network(plain, 0).eval()
    waves, features = training_data(plain, network), training_data(cached, network)
    bfloat16 = 2.0**-8
    with torch.no_grad():
        expected = {
            tuple(one.labels.tolist()) + tuple(f"{x:.6f}" for x in one.inputs[:, 0]): network.front_end(one.inputs)
            for one in waves.train_dataloader()
        }
        assert len(expected) == 20
        found = [one.inputs for one in features.train_dataloader()]
        for one in expected.values():
            assert min(((one - other).abs().max() / one.abs().max()).item() for other in found) < bfloat16

        dev = list(zip(waves.val_dataloader(), features.val_dataloader(), strict=True))
        assert len(dev) == 2
        rule = plain.training
        assert isinstance(rule, GradientTraining)
        on_waves, on_features = (
            TrainingModule(network, DetectionObjective(rule, DEV), rule, 1, 0, on_features=flag).eval()
            for flag in (False, True)
        )
        on_waves._trainer = type("Trainer", (), {"current_epoch": 0})()
        for (inputs, numbers), (kept, same) in dev:
            assert torch.equal(numbers, same)
            exact = network.front_end(inputs)
            assert torch.equal(kept, exact.bfloat16())
            assert torch.equal(on_features(exact), on_waves(inputs))
            assert torch.allclose(on_features(kept.float()), on_waves(inputs), atol=0.02)
