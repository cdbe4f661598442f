"""A tracer of prototypes: features of every window once, draws that choose its open-set rule, and the head itself."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, Dataset

from spoofcheck.detect.openset import APPLIED_RULE, RULES, OpenSetRule
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.cosines import Comparisons, cosine_calibration
from spoofcheck.evaluation.openset import (
    FEWEST_WINDOWS,
    SCHEMES,
    Drawn,
    Embedded,
    Fit,
    Scheme,
    Windows,
    accepted_unseen,
    balanced_threshold,
    confused_pairs,
    draws_of,
    inseparable,
    joined_trials,
    rule_figures,
    trials_of,
)
from spoofcheck.nets.config import CosineCalibration, OpenSetConfig, StatisticsEmbeddingConfig
from spoofcheck.nets.embedding import StatisticsEmbedding
from spoofcheck.nets.gate import pool_features
from spoofcheck.training.augment import augment, crop_or_repeat
from spoofcheck.training.embedding import embedded, fit_embedding
from spoofcheck.training.objectives import UNSEEN, class_of
from spoofcheck.training.prepare import Prepared
from spoofcheck.training.progress import Steps
from spoofcheck.training.recipe import PrototypeTraining, Recipe
from spoofcheck.training.store import StoredWindow, Wave, WaveSource

POOLED = "pooled.npz"
_CONFUSED = 12

INSEPARABLE_SHARE = 0.25
"""Families of which one is taken for the other so often make a group."""


@dataclass(frozen=True, slots=True)
class FittedTracer:
    """What came out.

    Attributes:
        head: learnt from all windows.
        open_set: rule and threshold, chosen on families that were left out.
        groups: of families that it could not tell apart.
        source_calibration: of the cosine to a source; None when there was too little to fit it on.
        link_calibration: of the cosine of two clips; None likewise.
        figures: of all rules on other families that were left out, for the card.
    """

    head: StatisticsEmbedding
    open_set: OpenSetConfig
    groups: tuple[tuple[str, ...], ...]
    source_calibration: CosineCalibration | None
    link_calibration: CosineCalibration | None
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Taken:
    """A window that is learnt from: where it lies, what it is, its class."""

    copy: bool
    row: int
    window: StoredWindow
    label: int


def fit_prototypes(
    recipe: Recipe, rule: PrototypeTraining, prepared: Prepared, classes: dict[str, tuple[str, ...]],
    front_end: nn.Module, kept: Path, workers: int, steps: Steps,
) -> FittedTracer:  # fmt: skip
    """Compute features, choose the open-set rule on left-out families, fit the head on everything.

    Args:
        kept: folder in which the features stay, for a run that goes on.
        workers: processes that draw and augment windows; they never change the result.

    Raises:
        UsageError: a class has too few windows, or there are too few classes to leave out.
    """
    head = recipe.model.head
    assert isinstance(head, StatisticsEmbeddingConfig)
    names = list(classes)
    taken = taken_windows(prepared, classes, rule.most_per_system)
    counts = np.bincount([one.label for one in taken], minlength=len(names))
    if counts.min() < FEWEST_WINDOWS:
        scarce = names[int(counts.argmin())]
        raise UsageError(f"key 'classes.{scarce}': {counts.min()} windows, at least {FEWEST_WINDOWS} are needed")
    if len(names) < 2 * rule.left_out:
        raise UsageError(
            f"key 'training.left_out': {rule.left_out} of {len(names)} classes leave no halves to choose on"
        )
    pooled = _pooled(recipe, rule, prepared, taken, front_end, kept, workers, steps)
    versions = 1 + rule.augmented
    labels = np.repeat([one.label for one in taken], versions)
    origins = [f"{one.window.repo}/{one.window.speaker}/{one.window.system}" for one in taken for _ in range(versions)]
    windows = Windows(
        np.array(names)[labels],
        np.repeat([f"{one.window.repo}/{one.window.clip}" for one in taken], versions),
        np.repeat([one.window.repo for one in taken], versions),
        np.repeat([f"{one.window.repo}/{one.window.speaker}" for one in taken], versions),
        np.tile(np.arange(versions) == 0, len(taken)),
    )

    def fitted(train: NDArray[np.bool_], numbers: NDArray[np.int64]) -> StatisticsEmbedding:
        chosen = [origin for origin, is_chosen in zip(origins, train, strict=True) if is_chosen]
        return fit_embedding(pooled[train], numbers, chosen, rule, head.embedding, head.scale, recipe.seed)

    def fit(train: NDArray[np.bool_], families: Sequence[str]) -> Embedded:
        made = fitted(train, np.searchsorted(np.array(families), windows.families[train]).astype(np.int64))
        return Embedded(embedded(made, pooled), made.prototypes.double().numpy(), head.scale)

    chosen = _chosen(windows, rule, recipe.seed, fit, steps)
    figures = chosen.figures
    figures["support"] = [
        {
            "name": name,
            "windows": int(counts[number]),
            "clips": len(set(windows.clips[labels == number])),
            "repos": len(set(windows.repos[labels == number])),
        }
        for number, name in enumerate(names)
    ]
    return FittedTracer(
        fitted(np.ones(len(labels), bool), labels), chosen.open_set, chosen.groups, chosen.source_calibration,
        chosen.link_calibration, figures,
    )  # fmt: skip


def taken_windows(prepared: Prepared, classes: dict[str, tuple[str, ...]], most: int) -> list[Taken]:
    """Windows and copies of a class; evenly spaced where a repository has more of a system."""
    stores: list[tuple[bool, WaveSource]] = [(False, prepared.train)]
    stores += [] if prepared.copies is None else [(True, prepared.copies)]
    groups: dict[tuple[str, str], list[Taken]] = defaultdict(list)
    for copy, store in stores:
        for number, window in enumerate(store.rows):
            label = class_of(window.system, classes) if window.is_spoof else UNSEEN
            if label != UNSEEN:
                groups[window.repo, window.system].append(Taken(copy, number, window, label))
    chosen = []
    for members in groups.values():
        places = np.unique(np.linspace(0, len(members) - 1, min(most, len(members))).round().astype(int))
        chosen += [members[place] for place in places]
    return chosen


class _Versions(Dataset[torch.Tensor]):
    """Batches of waveforms: each window as it is, then its augmented versions."""

    def __init__(self, recipe: Recipe, rule: PrototypeTraining, prepared: Prepared, taken: Sequence[Taken]) -> None:
        self._items = [(one, version) for one in taken for version in range(1 + rule.augmented)]
        self._size = recipe.batch.size
        self._recipe = recipe
        self._prepared = prepared

    def __len__(self) -> int:
        return -(-len(self._items) // self._size)

    def __getitem__(self, number: int) -> torch.Tensor:
        items = self._items[number * self._size : (number + 1) * self._size]
        return torch.from_numpy(np.stack([self._wave(one, version) for one, version in items]))

    def _wave(self, one: Taken, version: int) -> Wave:
        store = self._prepared.copies if one.copy else self._prepared.train
        assert store is not None
        place = [self._recipe.seed, one.copy, one.row, version]
        start = np.random.default_rng([*place, 1])
        crop = crop_or_repeat(store.wave(one.row), self._recipe.model.window_samples, start)
        if version == 0:
            return crop
        seed = int(np.random.default_rng(place).integers(0, 2**62))
        return augment(crop, bool(one.window.lossy), self._recipe.augment, self._prepared.noises, seed)


def _pooled(
    recipe: Recipe, rule: PrototypeTraining, prepared: Prepared, taken: Sequence[Taken], front_end: nn.Module,
    kept: Path, workers: int, steps: Steps,
) -> NDArray[np.float64]:  # fmt: skip
    """Pooled features `[windows x versions, 2 C]`, from the folder where they were computed before."""
    parts = [recipe.augment.model_dump_json(), recipe.model.model_dump_json(include={"front_end", "front_end_weights"})]
    parts += [str(recipe.seed), str(rule.augmented), *(f"{one.copy}{one.row}{one.window}" for one in taken)]
    identity = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    file = kept / POOLED
    if file.is_file():
        with np.load(file) as found:
            if str(found["identity"]) == identity:
                return np.asarray(found["pooled"], np.float64)
    batches = _Versions(recipe, rule, prepared, taken)
    drawn = DataLoader(batches, batch_size=None, sampler=range(len(batches)), num_workers=workers)
    parts_found = []
    front_end.eval()
    with torch.inference_mode():
        for waves in steps.over(drawn, "Computing features", len(batches)):
            parts_found.append(pool_features(front_end(waves)).numpy())
    pooled = np.concatenate(parts_found)
    kept.mkdir(parents=True, exist_ok=True)
    beside = kept / f"tmp-{POOLED}"
    np.savez(beside, identity=identity, pooled=pooled)
    beside.replace(file)
    return pooled.astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What draws decide: all of `FittedTracer` but the head."""

    open_set: OpenSetConfig
    groups: tuple[tuple[str, ...], ...]
    source_calibration: CosineCalibration | None
    link_calibration: CosineCalibration | None
    figures: dict[str, Any]


def _chosen(windows: Windows, rule: PrototypeTraining, seed: int, fit: Fit, steps: Steps) -> _Chosen:
    """Threshold and calibrations from draws of one half of the families; all rules' figures on the other.

    Groups are of both halves: what is taken for another one is known in its draw.
    """
    order = np.random.default_rng(seed).permutation(np.unique(windows.families))
    halves = {"chosen on": sorted(order[::2].tolist()), "measured on": sorted(order[1::2].tolist())}
    drawn: dict[tuple[str, Scheme], Drawn] = {}
    jobs = [(half, scheme) for half in halves for scheme in SCHEMES]
    for half, scheme in steps.over(jobs, "Leaving families out", len(jobs)):
        draws = draws_of(windows, scheme, halves[half], rule.left_out, rule.draws, rule.held_share, seed)
        try:
            drawn[half, scheme] = trials_of(windows, draws, fit)
        except ValueError as error:
            raise UsageError(f"key 'training.draws': {error}") from error
    chosen, measured = drawn["chosen on", SCHEMES[0]], drawn["measured on", SCHEMES[0]]
    thresholds: dict[OpenSetRule, float] = {}
    balances: dict[OpenSetRule, float] = {}
    for name in RULES:
        try:
            thresholds[name], balances[name] = balanced_threshold(chosen.trials[name])
        except ValueError as error:
            raise UsageError(f"key 'training.draws': {error}") from error
    thresholds[APPLIED_RULE] = round(thresholds[APPLIED_RULE], 3)
    schemes = []
    for scheme in SCHEMES:
        trials = drawn["measured on", scheme].trials
        rows = [
            {"rule": name, **rule_figures(trials[name], thresholds[name], name, rule.resampled, seed)}
            for name in steps.over(RULES, f"Measuring rules ({scheme})", len(RULES))
        ]
        schemes.append({"scheme": scheme, "rules": rows})
    groups = inseparable(joined_trials([part.trials[APPLIED_RULE] for part in (chosen, measured)]), INSEPARABLE_SHARE)
    # A case's recordings come from elsewhere: a cosine between clips of one repository would promise too much.
    elsewhere = "clips of repositories that were not learnt from, and of families left out"
    chosen_there, measured_there = (drawn[half, SCHEMES[1]].with_sources for half in halves)
    sources = _calibration(chosen_there, measured_there, elsewhere)
    links = _calibration(chosen.with_each_other, measured.with_each_other, "clips of families left out of training")
    open_set = OpenSetConfig(
        method="prototype-cosine",
        threshold=thresholds[APPLIED_RULE],
        data=f"{rule.draws} draws that leave {rule.left_out} of {len(halves['chosen on'])} families out of training",
    )
    figures = {
        "method": APPLIED_RULE,
        "families": halves,
        "chosen": {name: round(balances[name], 4) for name in RULES},
        "schemes": schemes,
        "confused": confused_pairs(measured.trials[APPLIED_RULE], _CONFUSED),
        "accepted": accepted_unseen(measured.trials[APPLIED_RULE], thresholds[APPLIED_RULE]),
        "groups": [list(group) for group in groups],
        "calibrations": {
            name: None if found is None else found.model_dump(mode="json")
            for name, found in (("source", sources), ("link", links))
        },
    }
    return _Chosen(open_set, tuple(groups), sources, links, figures)


def _calibration(chosen: Comparisons, measured: Comparisons, data: str) -> CosineCalibration | None:
    try:
        return cosine_calibration(
            chosen, measured, f"{data}; fitted on one half of the families, measured on the other"
        )
    except ValueError:  # too few families, speakers or clips to compare
        return None
