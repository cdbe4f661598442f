"""Balanced batches with pairs: human windows, copies of the same windows, and windows of speech engines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from spoofcheck.training.augment import AugmentRule, augment, crop_or_repeat
from spoofcheck.training.recipe import BatchRule
from spoofcheck.training.store import StoredWindow, Wave, WindowStore

SPOOF, BONAFIDE = 0, 1
"""Positions of the logits."""


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
    label: int
    seed: int
    pair: int


class BatchPlan:
    """Decides what is in the batch of a step; depends on the tables, the rule, the seed and the step alone."""

    def __init__(
        self, natural: Sequence[StoredWindow], copies: Sequence[StoredWindow], rule: BatchRule, seed: int
    ) -> None:
        self.rule = rule
        self.seed = seed
        self._copies: dict[int, list[int]] = defaultdict(list)
        for index, row in enumerate(copies):
            self._copies[row.pair].append(index)
        human = [index for index, row in enumerate(natural) if not row.is_spoof]
        self._paired = _Strata(
            [(natural[index].repo, index) for index in human if natural[index].pair in self._copies], rule.repo_weights
        )
        self._human = _Strata([(natural[index].repo, index) for index in human], rule.repo_weights)
        # Engines count alike per system, but one that speaks every language counts for more than one with one voice.
        self._synthetic = _Strata(
            [(row.system, index) for index, row in enumerate(natural) if row.is_spoof], {}, size_power=0.5
        )
        self._pairs = [row.pair for row in natural]

    def members(self, step: int) -> list[Member]:
        """The batch of a step: first the human windows, then copies, then engines."""
        rng = np.random.default_rng([self.seed, step])
        batch: list[Member] = []
        for place in range(self.rule.bonafide):
            strata = self._paired if place < self.rule.copies else self._human
            batch.append(Member(False, strata.draw(rng), BONAFIDE, _draw_seed(rng), -1))
        for place in range(self.rule.copies):
            source = batch[place]
            choices = self._copies[self._pairs[source.row]]
            batch.append(Member(True, choices[int(rng.integers(len(choices)))], SPOOF, source.seed, place))
        for _ in range(self.rule.synthetic):
            batch.append(Member(False, self._synthetic.draw(rng), SPOOF, _draw_seed(rng), -1))
        return batch


@dataclass(frozen=True, slots=True)
class Batch:
    """Waveforms float32 `[B, N]`, labels int64 `[B]`, and for each window its human source's position or -1 `[B]`."""

    waves: Tensor
    labels: Tensor
    pairs: Tensor


class AugmentedBatches(Dataset[Batch]):
    """Map-style: item `step` is the whole batch of that step, so a resumed run continues where it stopped."""

    def __init__(
        self,
        natural: WindowStore,
        copies: WindowStore,
        noises: NDArray[np.float32],
        plan: BatchPlan,
        rule: AugmentRule,
    ) -> None:
        self.natural = natural
        self.copies = copies
        self.noises = noises
        self.plan = plan
        self.rule = rule

    def __getitem__(self, step: int) -> Batch:
        members = self.plan.members(step)
        waves = np.stack([self._wave(member) for member in members])
        return Batch(
            torch.from_numpy(waves),
            torch.tensor([member.label for member in members]),
            torch.tensor([member.pair for member in members]),
        )

    def _wave(self, member: Member) -> Wave:
        store = self.copies if member.copy else self.natural
        row = store.rows[member.row]
        crop = crop_or_repeat(
            store.wave(member.row), self.plan.rule.crop_samples, np.random.default_rng([member.seed, 1])
        )
        return augment(crop, bool(row.lossy), self.rule, self.noises, member.seed)


class _Strata:
    """Draws a stratum by weight, then a member evenly."""

    def __init__(self, items: Sequence[tuple[str, int]], weights: dict[str, float], size_power: float = 0.0) -> None:
        groups: dict[str, list[int]] = defaultdict(list)
        for key, index in items:
            groups[key].append(index)
        self._members = [members for _, members in sorted(groups.items())]
        raw = np.array([weights.get(key, 1.0) * len(members) ** size_power for key, members in sorted(groups.items())])
        self._shares = raw / raw.sum()

    def draw(self, rng: np.random.Generator) -> int:
        members = self._members[int(rng.choice(len(self._members), p=self._shares))]
        return members[int(rng.integers(len(members)))]


def _draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(0, 2**62))
