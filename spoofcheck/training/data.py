"""The clips of a recipe: read from their protocols, audited before hours are spent on them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.audit import Problem, SplitReport, check_files, check_splits
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.protocols import read_protocol
from spoofcheck.training.objectives import UNSEEN, class_of, tracer_classes
from spoofcheck.training.recipe import PrototypeTraining, Recipe, SourceRule


@dataclass(frozen=True, slots=True)
class RunData:
    """What a run learns from, chooses by, and is measured on.

    Attributes:
        classes: of a tracer, name to patterns; None for a detector.
        problems: files that are missing or broken; their clips are in no split below.
        overlap: what the splits share.
    """

    train: tuple[Clip, ...]
    dev: tuple[Clip, ...]
    test: tuple[Clip, ...]
    classes: dict[str, tuple[str, ...]] | None
    problems: tuple[Problem, ...]
    overlap: SplitReport


def read_run_data(recipe: Recipe, hash_cache: Path | None = None) -> RunData:
    """Read and audit the clips of a recipe.

    A tracer's training and dev clips are the synthetic ones; those of no class stay in dev and test, as unseen. One of
    prototypes keeps all clips of training and dev: human ones are copied.

    Raises:
        UsageError: a protocol cannot be read, a split is empty, a class has no clip.
    """
    train, dev, test = (_read(rules, Path(recipe.data.root)) for rules in _splits(recipe))
    classes = None
    if isinstance(recipe.training, PrototypeTraining):
        test = [clip for clip in test if clip.is_spoof]
        copies = [Clip(name, Path(name), "spoof", system=f"copy:{name}") for name in recipe.data.copies]
        classes = tracer_classes(recipe, [*train, *dev, *copies])
    elif recipe.task == "tracer":
        train, dev, test = ([clip for clip in clips if clip.is_spoof] for clips in (train, dev, test))
        classes = tracer_classes(recipe, train)
        train = [clip for clip in train if class_of(clip.system, classes) != UNSEEN]
    problems = check_files([*train, *dev, *test])
    broken = {problem.path for problem in problems}
    train, dev, test = ([clip for clip in clips if clip.path not in broken] for clips in (train, dev, test))
    for name, clips in (("train", train), ("dev", dev)):
        if not clips:
            raise UsageError(f"key 'data.{name}': no readable clip")
    parts = {"train": train, "dev": dev} | ({"test": test} if test else {})
    overlap = check_splits(parts, cache=hash_cache)
    return RunData(tuple(train), tuple(dev), tuple(test), classes, tuple(problems), overlap)


def _splits(recipe: Recipe) -> tuple[Sequence[SourceRule], Sequence[SourceRule], Sequence[SourceRule]]:
    return recipe.data.train, recipe.data.dev, recipe.data.test


def _read(rules: Sequence[SourceRule], root: Path) -> list[Clip]:
    return [
        clip
        for rule in rules
        for clip in read_protocol(
            rule.kind, root / rule.path, root=None if rule.root is None else root / rule.root, split=rule.split
        )
        if rule.part[0] <= _place(clip) < rule.part[1]
    ]


def _place(clip: Clip) -> float:
    """A number in 0..1 that depends on the source of a clip alone."""
    return int.from_bytes(hashlib.sha256(clip.source.encode("utf-8", "surrogateescape")).digest()[:6]) / 2**48
