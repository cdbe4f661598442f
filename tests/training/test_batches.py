"""What is in a batch, and how the processes of a run share it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spoofcheck.errors import UsageError
from spoofcheck.training.batches import (
    BONAFIDE,
    SPOOF,
    AugmentedBatches,
    BalancedPlan,
    BatchPlan,
    ClassPlan,
    Member,
    ShuffledPlan,
    check_world,
    make_plan,
    part_of,
)
from spoofcheck.training.objectives import labels_of
from spoofcheck.training.prepare import copy_row
from spoofcheck.training.recipe import BalancedBatches, ClassBatches, Recipe, ShuffledBatches
from tests.support.recipes import detector_recipe
from tests.support.windows import Windows, human, paired, spoofs

BALANCED = BalancedBatches(bonafide=6, copies=6, synthetic=6, steps_per_epoch=5)
SHUFFLED = ShuffledBatches(size=6)
CLASSES = ClassBatches(size=6, steps_per_epoch=5)

TRAIN = paired([*human(9), *human(4, "b/b", 500), *spoofs(8, "tts:x"), *spoofs(2, "tts:y")])
COPIES = [copy_row(TRAIN[number], vocoder) for number in (1, 3, 10) for vocoder in ("world", "griffin-lim")]
LABELS = labels_of(TRAIN, None)
CLASS_LABELS = labels_of(TRAIN, {"x": ("tts:x",), "y": ("tts:y",)})


def plans(seed: int = 3) -> dict[str, BatchPlan]:
    return {
        "balanced": make_plan(BALANCED, TRAIN, COPIES, LABELS, seed),
        "shuffled": make_plan(SHUFFLED, TRAIN, COPIES, LABELS, seed),
        "classes": make_plan(CLASSES, TRAIN, COPIES, CLASS_LABELS, seed),
    }


@pytest.mark.parametrize("kind", plans())
def test_a_plan_depends_on_seed_and_step_alone(kind: str) -> None:
    plan, again, other = plans()[kind], plans()[kind], plans(seed=4)[kind]
    steps = range(3 * plan.steps_per_epoch)
    batches = [plan.members(step) for step in steps]
    assert [again.members(step) for step in reversed(steps)] == batches[::-1]
    assert len({tuple(batch) for batch in batches}) == len(batches)
    assert [other.members(step) for step in steps] != batches
    seeds = Counter(member.seed for batch in batches for member in batch if not member.copy)
    assert max(seeds.values()) == 1  # a window that comes again is cropped and augmented anew


def test_balanced_batches_hold_pairs_and_both_classes() -> None:
    plan = make_plan(BALANCED, TRAIN, COPIES, LABELS, seed=3)
    for step in range(20):
        members = plan.members(step)
        sources, copies, others = members[:6], members[6:12], members[12:]
        assert not any(TRAIN[member.row].is_spoof or member.copy for member in sources)
        assert [member.pair for member in copies] == list(range(6))
        for copy, source in zip(copies, sources, strict=True):
            assert copy.copy
            assert COPIES[copy.row].pair == TRAIN[source.row].pair == source.row
            assert copy.seed == source.seed
        assert all(TRAIN[member.row].is_spoof and not member.copy for member in others)
        assert {member.pair for member in (*sources, *others)} == {-1}


def test_repositories_and_systems_are_drawn_by_their_weights() -> None:
    rule = BalancedBatches(bonafide=100, synthetic=100, steps_per_epoch=1, repo_weights={"a/a": 3.0})
    members = [member for step in range(20) for member in BalancedPlan(TRAIN, [], rule, 0).members(step)]
    drawn = Counter(TRAIN[member.row].repo for member in members if not TRAIN[member.row].is_spoof)
    assert drawn["a/a"] / drawn["b/b"] == pytest.approx(3.0, rel=0.15)  # whatever their sizes
    systems = Counter(TRAIN[member.row].system for member in members if TRAIN[member.row].is_spoof)
    assert systems["tts:x"] / systems["tts:y"] == pytest.approx(2.0, rel=0.15)  # the root of four times the windows


@pytest.mark.parametrize(
    ("train", "copies", "key"),
    [
        (spoofs(3), [], "batch.bonafide': 6"),
        (paired(human(3)), COPIES[:1], "batch.synthetic': 6"),
        (paired([*human(1), *spoofs(3)]), COPIES, "batch.copies': 6"),  # copies of windows that are not there
    ],
)
def test_a_balanced_plan_says_what_there_is_none_of(train: list[Any], copies: list[Any], key: str) -> None:
    with pytest.raises(UsageError, match=f"key '{key}, but the training data hold none"):
        make_plan(BALANCED, train, copies, labels_of(train, None), seed=0)


def test_a_shuffled_epoch_holds_every_window_once() -> None:
    plan = ShuffledPlan(24, SHUFFLED, seed=0)
    assert plan.steps_per_epoch == 4
    epochs = [[m.row for step in range(4 * e, 4 * e + 4) for m in plan.members(step)] for e in range(3)]
    for rows in epochs:
        assert sorted(rows) == list(range(24))
    assert epochs[0] != epochs[1]

    uneven = ShuffledPlan(23, SHUFFLED, seed=0)
    rows = [member.row for step in range(uneven.steps_per_epoch) for member in uneven.members(step)]
    assert len(rows) == len(set(rows)) == 18
    left_out = [set(range(23)) - {m.row for s in range(3 * e, 3 * e + 3) for m in uneven.members(s)} for e in range(4)]
    assert len(set(map(frozenset, left_out))) > 1  # not the same five for ever
    with pytest.raises(UsageError, match=r"batch\.size': 6, but there are 5"):
        ShuffledPlan(5, SHUFFLED, seed=0)


def test_classes_are_drawn_evenly_and_what_is_of_no_class_never() -> None:
    plan = ClassPlan([0] * 90 + [1] * 10 + [-1] * 50, ClassBatches(size=50, steps_per_epoch=4), seed=0)
    rows = [member.row for step in range(20) for member in plan.members(step)]
    assert max(rows) < 100
    assert np.mean([row >= 90 for row in rows]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("kind", plans())
def test_the_parts_of_all_processes_are_the_batch(kind: str, world: int) -> None:
    members = plans()[kind].members(7)
    parts = [part_of(members, rank, world) for rank in range(world)]
    assert {len(part) for part in parts} == {len(members) // world}

    def unpaired(all_members: list[Member]) -> Counter[Member]:
        return Counter(replace(member, pair=-1) for member in all_members)

    assert sum((unpaired(part) for part in parts), Counter()) == unpaired(members)
    for part in parts:
        assert part_of(part, 0, 1) == part
        for member in part:
            if member.copy:  # its source is in the same part
                source = part[member.pair]
                assert source.seed == member.seed
                assert TRAIN[source.row].pair == COPIES[member.row].pair
        assert sum(member.copy for member in part) == sum(member.copy for member in members) // world


@pytest.mark.parametrize(
    ("rule", "world", "key"),
    [
        (BalancedBatches(bonafide=4, copies=3, synthetic=2, steps_per_epoch=1), 2, "batch.copies': 3"),
        (BalancedBatches(bonafide=5, copies=2, synthetic=2, steps_per_epoch=1), 2, "batch.bonafide': 5"),
        (BalancedBatches(bonafide=4, copies=0, synthetic=6, steps_per_epoch=1), 4, "batch.synthetic': 6"),
        (SHUFFLED, 4, "batch.size': 6"),
        (CLASSES, 5, "batch.size': 6"),
    ],
)
def test_batches_that_do_not_divide_are_refused(rule: BalancedBatches, world: int, key: str) -> None:
    with pytest.raises(UsageError, match=f"key '{key} windows do not divide evenly over {world} devices"):
        check_world(rule, world)
    check_world(rule, 1)


def test_waveforms_are_those_of_the_plan_in_every_process(tmp_path: Path) -> None:
    content = detector_recipe(tmp_path)
    content["model"]["window_samples"] = 800
    content["augment"] = {"noise": 1.0, "gain_db": [-20.0, -1.0]}
    recipe = Recipe.model_validate(content)
    noises = np.ones((1, 257), np.float32)
    plan = make_plan(BALANCED, TRAIN, COPIES, LABELS, seed=3)

    def batches(rank: int, world: int) -> AugmentedBatches:
        return AugmentedBatches(Windows(TRAIN), Windows(COPIES), noises, plan, LABELS, recipe, rank, world)

    whole = batches(0, 1)[5]
    assert whole.inputs.shape == (18, 800)
    assert whole.inputs.dtype == torch.float32
    assert whole.labels.tolist() == [BONAFIDE] * 6 + [SPOOF] * 12
    assert whole.pairs.tolist() == [-1] * 6 + list(range(6)) + [-1] * 6
    assert torch.equal(batches(0, 1)[5].inputs, whole.inputs)
    for world in (2, 3):
        for rank in range(world):
            part = batches(rank, world)[5]
            assert torch.equal(part.inputs, whole.inputs[rank::world])
            assert torch.equal(part.labels, whole.labels[rank::world])
            assert part.pairs.tolist() == [-1] * (6 // world) + list(range(6 // world)) + [-1] * (6 // world)


def test_a_copy_is_cropped_where_its_source_is(tmp_path: Path) -> None:
    class Ramp(Windows):
        def wave(self, index: int) -> np.ndarray:
            return np.arange(self.rows[index].samples, dtype=np.float32) / 1000

    content = detector_recipe(tmp_path)
    content["model"]["window_samples"] = 100
    plan = make_plan(BALANCED, TRAIN, COPIES, LABELS, seed=3)
    none = np.zeros((0, 257), np.float32)
    batches = AugmentedBatches(Ramp(TRAIN), Ramp(COPIES), none, plan, LABELS, Recipe.model_validate(content))
    starts = torch.stack([batches[step].inputs[:12, 0] for step in range(4)])
    for batch in starts:
        assert torch.equal(batch[:6], batch[6:])
    assert len(set(starts.flatten().tolist())) > 10
