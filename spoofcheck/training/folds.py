"""Leave-one-repository-and-family-out: networks that never met what they are measured on.

A fold leaves out whole repositories, with their human speech, and every system elsewhere (copies too) of a family that
one of their systems belongs to.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.utils.data import DataLoader

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.training.batches import Batch, BatchPlan, Member
from spoofcheck.training.cached import feature_batches
from spoofcheck.training.datamodule import augmented_batches, plan_of
from spoofcheck.training.heads import fit_head
from spoofcheck.training.prepare import Prepared
from spoofcheck.training.progress import Steps
from spoofcheck.training.recipe import FoldsTraining, Recipe
from spoofcheck.training.store import StoredWindow


@dataclass(frozen=True, slots=True)
class Fold:
    """What a network does without.

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
        """Whether a training window is one the fold's network must not meet."""
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
class FoldNetworks:
    """What came out.

    Attributes:
        final: the back-end that learnt from everything.
        by_fold: the back-end of each fold.
    """

    final: nn.Module
    by_fold: dict[str, nn.Module]


def fit_folds(
    recipe: Recipe,
    rule: FoldsTraining,
    prepared: Prepared,
    labels: Sequence[int],
    folds: Sequence[Fold],
    front_end: nn.Module,
    back_end: nn.Module,
    workers: int,
    steps: Steps,
) -> FoldNetworks:
    """Compute the features of all batches once, then train a back-end without each fold and one on everything.

    Args:
        back_end: fresh; every network begins with its weights.
        workers: processes that draw and augment windows; they never change the result.

    Raises:
        UsageError: a fold leaves no spoof or no human window.
    """
    plan = plan_of(recipe, prepared, labels)
    batches = augmented_batches(recipe, prepared, labels, plan)
    drawn = DataLoader(batches, batch_size=None, sampler=range(rule.batches), num_workers=workers)
    watched = steps.over(drawn, "Computing features", rule.batches)
    bf16 = rule.precision == "bf16-mixed"
    cached = feature_batches(front_end, watched, device=torch.device("cpu"), bf16=bf16)
    made = {}
    for fold in folds:
        kept = batches_without(cached, plan, prepared, fold)
        made[fold.name] = fit_head(
            copy.deepcopy(back_end), kept, rule, recipe.seed, steps, f"Training without {fold.name}"
        )
    final = fit_head(copy.deepcopy(back_end), cached, rule, recipe.seed, steps, "Training on everything")
    return FoldNetworks(final, made)


def batches_without(cached: Sequence[Batch], plan: BatchPlan, prepared: Prepared, fold: Fold) -> list[Batch]:
    """The batches with what the fold leaves out taken away; one that keeps a single class is dropped.

    Raises:
        UsageError: nothing is left.
    """
    kept = []
    for step, batch in enumerate(cached):
        members = plan.members(step)
        stays = [not fold.leaves_out(_row(prepared, member)) for member in members]
        smaller = part_of_batch(batch, stays)
        if len(set(smaller.labels.tolist())) == 2:
            kept.append(smaller)
    if not kept:
        raise UsageError(f"key 'training.folds': {fold.name} leaves no batch with both classes")
    return kept


def part_of_batch(batch: Batch, stays: Sequence[bool]) -> Batch:
    """A batch with some of its windows; a copy whose source went is a spoof like any other."""
    chosen = torch.nonzero(torch.tensor(stays))[:, 0]
    moved = torch.full((len(stays) + 1,), -1)
    moved[chosen] = torch.arange(len(chosen))
    return Batch(batch.inputs[chosen], batch.labels[chosen], moved[batch.pairs[chosen]])  # pair -1 is the last, -1


def _row(prepared: Prepared, member: Member) -> StoredWindow:
    if member.copy:
        assert prepared.copies is not None
        return prepared.copies.rows[member.row]
    return prepared.train.rows[member.row]


def _matches(system: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(system, pattern) for pattern in patterns)
