"""Leave-one-repository-and-family-out: readouts that never met what they are measured on.

A fold leaves out whole repositories, with their human speech, and every system elsewhere (copies too) of a family that
one of their systems belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.nets.gate import pool_features
from spoofcheck.nets.readout import StatisticsReadout
from spoofcheck.training.batches import Member
from spoofcheck.training.datamodule import augmented_batches, plan_of
from spoofcheck.training.prepare import Prepared
from spoofcheck.training.progress import Steps
from spoofcheck.training.readout import fit_readout
from spoofcheck.training.recipe import FoldsTraining, Recipe
from spoofcheck.training.store import StoredWindow


@dataclass(frozen=True, slots=True)
class Fold:
    """What a readout does without.

    Attributes:
        repos: left out whole.
        families: of their systems.
        without: systems of other repositories, and copies, that go with the families.
    """

    name: str
    repos: frozenset[str]
    families: tuple[str, ...]
    without: frozenset[str]

    def leaves_out(self, row: StoredWindow) -> bool:
        """Whether a training window is one the fold's readout must not meet."""
        return row.repo in self.repos or row.system in self.without

    def described(self) -> dict[str, object]:
        """As figures and records show it."""
        return {
            "name": self.name,
            "repos": sorted(self.repos),
            "families": list(self.families),
            "also_without": sorted(self.without),
        }


def folds_of(rule: FoldsTraining, clips: Sequence[Clip], copies: Sequence[str]) -> list[Fold]:
    """The folds of a recipe over the clips it learns from.

    Args:
        copies: names of the vocoders that copies are made with.

    Raises:
        UsageError: a fold names a repository that is not there, or a family that is no system's.
    """
    systems: dict[str, set[str]] = {}
    for clip in clips:
        systems.setdefault(clip.repo, set()).update([clip.system] if clip.is_spoof else [])
    every = set().union(*systems.values()) | {f"copy:{name}" for name in copies}
    for family, patterns in rule.families.items():
        if not any(_matches(system, patterns) for system in every):
            raise UsageError(f"key 'training.families.{family}': no system of the data is one of {', '.join(patterns)}")
    folds = []
    for fold in rule.folds:
        missing = [repo for repo in fold.repos if repo not in systems]
        if missing:
            raise UsageError(f"key 'training.folds': {fold.name} leaves out {missing[0]!r}, which no clip is from")
        inside = set().union(*(systems[repo] for repo in fold.repos))
        families = [
            family for family, patterns in rule.families.items() if any(_matches(system, patterns) for system in inside)
        ]
        without = {system for system in every if any(_matches(system, rule.families[family]) for family in families)}
        folds.append(Fold(fold.name, frozenset(fold.repos), tuple(families), frozenset(without)))
    return folds


@dataclass(frozen=True, slots=True)
class FoldReadouts:
    """What came out.

    Attributes:
        final: learnt from everything.
        by_fold: learnt without each fold.
    """

    final: StatisticsReadout
    by_fold: dict[str, StatisticsReadout]


def fit_folds(
    recipe: Recipe,
    rule: FoldsTraining,
    prepared: Prepared,
    labels: Sequence[int],
    folds: Sequence[Fold],
    front_end: nn.Module,
    workers: int,
    steps: Steps,
) -> FoldReadouts:
    """Compute the features of all batches once, then fit a readout without each fold and one on everything.

    Args:
        workers: processes that draw and augment windows; they never change the result.

    Raises:
        UsageError: a fold leaves no spoof or no human window.
    """
    plan = plan_of(recipe, prepared, labels)
    batches = augmented_batches(recipe, prepared, labels, plan)
    drawn = DataLoader(batches, batch_size=None, sampler=range(rule.batches), num_workers=workers)
    rows = [_row(prepared, member) for step in range(rule.batches) for member in plan.members(step)]
    found = []
    front_end.eval()
    with torch.inference_mode():
        for batch in steps.over(drawn, "Computing features", rule.batches):
            found.append(pool_features(front_end(batch.inputs)).double().numpy())
    pooled = np.concatenate(found)

    def fitted(stays: Sequence[bool]) -> StatisticsReadout:
        kept = [row for row, stay in zip(rows, stays, strict=True) if stay]
        return fit_readout(pooled[np.array(stays)], kept, rule.inverse_penalty, rule.human_directions)

    made = {}
    for fold in steps.over(folds, "Fitting readouts", len(folds)):
        stays = [not fold.leaves_out(row) for row in rows]
        if len({row.is_spoof for row, stay in zip(rows, stays, strict=True) if stay}) < 2:
            raise UsageError(f"key 'training.folds': {fold.name} leaves no window of both classes")
        made[fold.name] = fitted(stays)
    return FoldReadouts(fitted([True] * len(rows)), made)


def _row(prepared: Prepared, member: Member) -> StoredWindow:
    if member.copy:
        assert prepared.copies is not None
        return prepared.copies.rows[member.row]
    return prepared.train.rows[member.row]


def _matches(system: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(system, pattern) for pattern in patterns)
