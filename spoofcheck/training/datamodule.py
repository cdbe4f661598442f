"""Batches and dev windows as lightning asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader, Dataset

from spoofcheck.nets.detector import Detector
from spoofcheck.nets.tracer import Tracer
from spoofcheck.training.augment import crop_or_repeat
from spoofcheck.training.batches import AugmentedBatches, Batch, BatchPlan, check_world, make_plan
from spoofcheck.training.cached import CachedBatches, feature_batches
from spoofcheck.training.module import DevBatch
from spoofcheck.training.prepare import Prepared
from spoofcheck.training.progress import Steps
from spoofcheck.training.recipe import GradientTraining, Recipe
from spoofcheck.training.store import WaveSource

_DEV_BATCH = 16


class TrainingData(LightningDataModule):
    """The batches of an epoch, by number, and the dev windows; each process takes its own part.

    Args:
        labels: of the training windows.
        network: whose front-end computes cached features, where the recipe caches them.
        workers: processes that draw the batches to be cached.
        steps: told how far the caching is.
    """

    def __init__(
        self, recipe: Recipe, rule: GradientTraining, prepared: Prepared, labels: Sequence[int],
        network: Detector | Tracer, workers: int, steps: Steps,
    ) -> None:  # fmt: skip
        super().__init__()
        self.recipe = recipe
        self.rule = rule
        self.prepared = prepared
        self.labels = labels
        self.workers = workers
        self.steps = steps
        self.plan: BatchPlan = plan_of(recipe, prepared, labels)
        self._front_end: nn.Module = network.front_end
        self._train: Dataset[Batch] | None = None
        self._dev: Dataset[DevBatch] | None = None

    def setup(self, stage: str) -> None:
        """Make this process's part."""
        rank, world = self._place()
        check_world(self.recipe.batch, world)
        batches = augmented_batches(self.recipe, self.prepared, self.labels, self.plan, rank, world)
        dev = DevWindows(self.prepared.dev, self.recipe.model.window_samples, rank, world)
        if self.rule.cached_batches is None:
            self._train, self._dev = batches, dev
            return
        drawn = self._loader(batches, range(self.rule.cached_batches), self.workers)
        cached = self._features(drawn, "Caching training features", self.rule.cached_batches)
        self._train = CachedBatches(cached, self.recipe.seed)
        held = [Batch(inputs, numbers, numbers) for inputs, numbers in dev]
        features = self._features(held, "Caching dev features", len(held))
        self._dev = _Listed([(batch.inputs, batch.labels) for batch in features])

    def _features(self, batches: Iterable[Batch], description: str, total: int) -> list[Batch]:
        device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
        watched = self.steps.over(batches, description, total)
        return feature_batches(self._front_end, watched, device=device, bf16="bf16" in self.rule.precision)

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches of the current epoch."""
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        steps = range(epoch * self.plan.steps_per_epoch, (epoch + 1) * self.plan.steps_per_epoch)
        return self._loader(self._train, steps, 0 if self.rule.cached_batches else self.rule.workers)

    def val_dataloader(self) -> DataLoader[DevBatch]:
        """All dev windows of this process, in batches."""
        assert isinstance(self._dev, DevWindows | _Listed)
        return self._loader(self._dev, range(len(self._dev)), 0)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch; lightning itself cannot move frozen dataclasses."""
        if isinstance(batch, Batch):
            return batch.to(device)
        return tuple(part.to(device) for part in batch)

    def _loader(self, dataset: Dataset[Any] | None, steps: range, workers: int) -> DataLoader[Any]:
        assert dataset is not None, "setup comes first"
        return DataLoader(dataset, batch_size=None, sampler=steps, num_workers=workers)

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)


def plan_of(recipe: Recipe, prepared: Prepared, labels: Sequence[int]) -> BatchPlan:
    """The batch plan of a recipe over prepared windows."""
    copies = prepared.copies.rows if prepared.copies is not None else ()
    return make_plan(recipe.batch, prepared.train.rows, copies, labels, recipe.seed)


def augmented_batches(
    recipe: Recipe, prepared: Prepared, labels: Sequence[int], plan: BatchPlan, rank: int = 0, world: int = 1
) -> AugmentedBatches:
    """The batches of a plan over prepared windows."""
    return AugmentedBatches(
        prepared.train, prepared.copies, prepared.noises, plan, labels, recipe, rank=rank, world=world
    )


class DevWindows(Dataset[DevBatch]):
    """Every `world`-th dev window, filled as a scan fills them; never augmented, never cropped at random."""

    def __init__(self, source: WaveSource, window_samples: int, rank: int = 0, world: int = 1) -> None:
        self.source = source
        self.window_samples = window_samples
        self._mine = list(range(len(source.rows)))[rank::world]

    def __len__(self) -> int:
        return -(-len(self._mine) // _DEV_BATCH)

    def __iter__(self) -> Iterator[DevBatch]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> DevBatch:
        chosen = self._mine[number * _DEV_BATCH : (number + 1) * _DEV_BATCH]
        fixed = np.random.default_rng(0)  # never drawn from: stored windows are no longer than a window
        waves = [crop_or_repeat(self.source.wave(index), self.window_samples, fixed) for index in chosen]
        return torch.from_numpy(np.stack(waves)), torch.tensor(chosen)


class _Listed(Dataset[DevBatch]):
    """Dev batches that are already there."""

    def __init__(self, batches: Sequence[DevBatch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> DevBatch:
        return self.batches[number]
