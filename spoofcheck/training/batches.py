"""What is in the batch of a step, and the augmented waveforms of it.

A plan decides by the tables, the rule, the seed and the step alone, so that a resumed run goes on where it stopped and
every process of a run knows the whole batch of a step and takes its own part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from spoofcheck.errors import UsageError
from spoofcheck.training.augment import AugmentRule, augment, crop_or_repeat
from spoofcheck.training.recipe import BalancedBatches, ClassBatches, Recipe, ShuffledBatches
from spoofcheck.training.store import StoredWindow, Wave, WaveSource

SPOOF, BONAFIDE = 0, 1
"""Positions of a detector's logits."""


@dataclass(frozen=True, slots=True)
class Member:
    """One place in a batch.

    Attributes:
        copy: whether `row` counts in the store of copies.
        seed: of crop and augmentation; a copy has its source's.
        pair: position in the batch of the human window it is a copy of, or -1.
    """

    copy: bool
    row: int
    seed: int
    pair: int = -1


class BatchPlan(Protocol):
    """Decides what is in the batch of a step."""

    steps_per_epoch: int

    def members(self, step: int) -> list[Member]:
        """The batch of a step, counted from the start of the run."""


def make_plan(
    rule: BalancedBatches | ShuffledBatches | ClassBatches,
    train: Sequence[StoredWindow],
    copies: Sequence[StoredWindow],
    labels: Sequence[int],
    seed: int,
) -> BatchPlan:
    """The plan of a recipe's batch rule.

    Raises:
        UsageError: the rule asks for windows there are none of.
    """
    if isinstance(rule, BalancedBatches):
        return BalancedPlan(train, copies, rule, seed)
    if isinstance(rule, ShuffledBatches):
        return ShuffledPlan(len(train), rule, seed)
    return ClassPlan(labels, rule, seed)


class BalancedPlan:
    """Human windows, then copies of the first of them, then other spoofs."""

    def __init__(
        self, train: Sequence[StoredWindow], copies: Sequence[StoredWindow], rule: BalancedBatches, seed: int
    ) -> None:
        self.rule = rule
        self.seed = seed
        self.steps_per_epoch = rule.steps_per_epoch
        self._copies: dict[int, list[int]] = defaultdict(list)
        for index, row in enumerate(copies):
            self._copies[row.pair].append(index)
        human = [index for index, row in enumerate(train) if not row.is_spoof]
        self._paired = _Strata(
            [(train[index].repo, index) for index in human if train[index].pair in self._copies], rule.repo_weights
        )
        self._human = _Strata([(train[index].repo, index) for index in human], rule.repo_weights)
        # Engines count alike per system, but one that speaks every language counts for more than one with one voice.
        self._synthetic = _Strata(
            [(row.system, index) for index, row in enumerate(train) if row.is_spoof], {}, size_power=0.5
        )
        self._pairs = [row.pair for row in train]
        for wanted, strata, what in (
            (rule.bonafide, self._human, "bonafide"),
            (rule.copies, self._paired, "copies"),
            (rule.synthetic, self._synthetic, "synthetic"),
        ):
            if wanted and not strata:
                raise UsageError(f"key 'batch.{what}': {wanted}, but the training data hold none")

    def members(self, step: int) -> list[Member]:
        """The batch of a step: human windows, copies, other spoofs."""
        rng = np.random.default_rng([self.seed, step])
        batch: list[Member] = []
        for place in range(self.rule.bonafide):
            strata = self._paired if place < self.rule.copies else self._human
            batch.append(Member(False, strata.draw(rng), _draw_seed(rng)))
        for place in range(self.rule.copies):
            source = batch[place]
            choices = self._copies[self._pairs[source.row]]
            batch.append(Member(True, choices[int(rng.integers(len(choices)))], source.seed, place))
        for _ in range(self.rule.synthetic):
            batch.append(Member(False, self._synthetic.draw(rng), _draw_seed(rng)))
        return batch


class ShuffledPlan:
    """Every window once an epoch."""

    def __init__(self, windows: int, rule: ShuffledBatches, seed: int) -> None:
        self.size = rule.size
        self.seed = seed
        self.windows = windows
        self.steps_per_epoch = windows // rule.size
        if self.steps_per_epoch == 0:
            raise UsageError(f"key 'batch.size': {rule.size}, but there are {windows} training windows")

    def members(self, step: int) -> list[Member]:
        """The batch of a step, by the order of its epoch."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(self.windows)
        chosen = order[place * self.size : (place + 1) * self.size]
        rng = np.random.default_rng([self.seed, epoch, step])
        return [Member(False, int(row), _draw_seed(rng)) for row in chosen]


class ClassPlan:
    """Classes drawn evenly."""

    def __init__(self, labels: Sequence[int], rule: ClassBatches, seed: int) -> None:
        self.size = rule.size
        self.seed = seed
        self.steps_per_epoch = rule.steps_per_epoch
        self._classes = _Strata([(f"{label:06d}", index) for index, label in enumerate(labels) if label >= 0], {})

    def members(self, step: int) -> list[Member]:
        """The batch of a step."""
        rng = np.random.default_rng([self.seed, step])
        return [Member(False, self._classes.draw(rng), _draw_seed(rng)) for _ in range(self.size)]


def part_of(members: Sequence[Member], rank: int, world: int) -> list[Member]:
    """What one of `world` processes takes of a batch: every `world`-th, pairs staying together.

    Pairs stay together because `check_world` asks that every kind of window divides evenly.
    """
    return [
        Member(member.copy, member.row, member.seed, member.pair // world if member.pair >= 0 else -1)
        for position, member in enumerate(members)
        if position % world == rank
    ]


def check_world(rule: BalancedBatches | ShuffledBatches | ClassBatches, world: int) -> None:
    """Refuse batches that would not divide evenly, or gradients would depend on the number of devices.

    Raises:
        UsageError: names the key and the number.
    """
    counts = (
        {"bonafide": rule.bonafide, "copies": rule.copies, "synthetic": rule.synthetic}
        if isinstance(rule, BalancedBatches)
        else {"size": rule.size}
    )
    for key, count in counts.items():
        if count % world:
            raise UsageError(f"key 'batch.{key}': {count} windows do not divide evenly over {world} devices")


@dataclass(frozen=True, slots=True)
class Batch:
    """What a training step sees.

    Attributes:
        inputs: waveforms float32 `[B, N]`, or cached features `[B, C, T]`.
        labels: int64 `[B]`: 0 spoof, 1 bona fide for a detector, else the class.
        pairs: for each window the position of the human window it is a copy of, or -1, int64 `[B]`.
    """

    inputs: Tensor
    labels: Tensor
    pairs: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(self.inputs.to(device), self.labels.to(device), self.pairs.to(device))


class AugmentedBatches(Dataset[Batch]):
    """Map-style: item `step` is this process's part of the batch of that step."""

    def __init__(
        self,
        train: WaveSource,
        copies: WaveSource | None,
        noises: NDArray[np.float32],
        plan: BatchPlan,
        labels: Sequence[int],
        recipe: Recipe,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.train = train
        self.copies = copies
        self.noises = noises
        self.plan = plan
        self.labels = labels
        self.rule: AugmentRule = recipe.augment
        self.window_samples = recipe.model.window_samples
        self.rank = rank
        self.world = world

    def __getitem__(self, step: int) -> Batch:
        members = part_of(self.plan.members(step), self.rank, self.world)
        waves = np.stack([self._wave(member) for member in members])
        return Batch(
            torch.from_numpy(waves),
            torch.tensor([SPOOF if member.copy else self.labels[member.row] for member in members]),
            torch.tensor([member.pair for member in members]),
        )

    def _wave(self, member: Member) -> Wave:
        source = self.copies if member.copy and self.copies is not None else self.train
        crop = crop_or_repeat(source.wave(member.row), self.window_samples, np.random.default_rng([member.seed, 1]))
        return augment(crop, bool(source.rows[member.row].lossy), self.rule, self.noises, member.seed)


class _Strata:
    """Draws a stratum by weight, then a member evenly; false when there is none."""

    def __init__(self, items: Sequence[tuple[str, int]], weights: dict[str, float], size_power: float = 0.0) -> None:
        groups: dict[str, list[int]] = defaultdict(list)
        for key, index in items:
            groups[key].append(index)
        self._members = [members for _, members in sorted(groups.items())]
        raw = np.array([weights.get(key, 1.0) * len(members) ** size_power for key, members in sorted(groups.items())])
        self._shares = raw / raw.sum() if len(raw) else raw

    def __bool__(self) -> bool:
        return bool(self._members)

    def draw(self, rng: np.random.Generator) -> int:
        members = self._members[int(rng.choice(len(self._members), p=self._shares))]
        return members[int(rng.integers(len(members)))]


def _draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(0, 2**62))
