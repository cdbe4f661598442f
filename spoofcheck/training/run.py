"""A training run from recipe to model directory. The folder of a run:

OUT/recipe.yaml     the recipe with every key spelt out; a run goes on only with the same
OUT/data/           windows, copies, backgrounds (`prepare`)
OUT/checkpoints/    where a killed run goes on, and the best epoch
OUT/logs/part-N/    metrics.csv and TensorBoard events of each part of a run that was stopped
OUT/model/          the result
OUT/scores.jsonl    what a detector said of every dev and test recording, for an ensemble that it joins
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from spoofcheck.audio.inputs import display_path
from spoofcheck.detect.scorer import DeviceName
from spoofcheck.detect.toolinfo import git_commit
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.audit import manifest_sha256, seen_systems
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.nets.config import BackEndConfig
from spoofcheck.nets.detector import Detector
from spoofcheck.nets.index import WEIGHTS_FILE, file_sha256
from spoofcheck.nets.tracer import Tracer
from spoofcheck.training.augment import check_rule
from spoofcheck.training.boosting import fit_boosting
from spoofcheck.training.data import RunData, read_run_data
from spoofcheck.training.datamodule import TrainingData, augmented_batches, plan_of
from spoofcheck.training.exhibits import recordings_of, write_scores
from spoofcheck.training.finish import Hearing, finish_detector, finish_tracer, write_model
from spoofcheck.training.folds import Fold, FoldReadouts, fit_folds, folds_of
from spoofcheck.training.initial import initial_network, needs_download
from spoofcheck.training.nuisance import nuisance_auc, nuisance_features
from spoofcheck.training.objectives import DetectionObjective, Objective, TracingObjective, labels_of
from spoofcheck.training.prepare import Prepared, prepare, wait_until_prepared
from spoofcheck.training.progress import Steps
from spoofcheck.training.prototypes import FittedTracer, fit_prototypes
from spoofcheck.training.recipe import (
    BoostingTraining,
    FoldsTraining,
    GradientTraining,
    PrototypeTraining,
    Recipe,
    read_recipe,
    recipe_yaml,
)
from spoofcheck.training.record import DataRecord, RunRecord, training_record
from spoofcheck.training.trainer import CHECKPOINTS, LAST, Machine, Trained, check_machine, fit, is_main_process

RECIPE = "recipe.yaml"
DATA = "data"
MODEL = "model"
SCORES = "scores.jsonl"
HASHES = "hashes.json"

_NUISANCE_BATCHES = 20
_FAR = 10**6
"""Batches the nuisance check draws are none that training has met."""
_TOLD = 20


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is not in the recipe: where a run takes place and what it says meanwhile.

    Attributes:
        resume: go on with the run in the folder.
        workers: processes that prepare data; one per core by default.
        prepared: folder of prepared windows, which runs of one data section may share; by default below the run's own.
        bar: draw lightning's progress bar while it trains.
    """

    machine: Machine = field(default_factory=Machine)
    resume: bool = False
    workers: int | None = None
    prepared: Path | None = None
    bar: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do."""

    data: RunData
    parameters: int
    trained_parameters: int


def plan(recipe: Recipe) -> Plan:
    """Read and audit the data and build the network, without training.

    Raises:
        UsageError: the recipe, its data, or what they share is refused.
    """
    check_rule(recipe.augment)
    data = audited(read_run_data(recipe))
    if isinstance(recipe.training, BoostingTraining):
        return Plan(data, 0, 0)
    network = initial_network(recipe, len(data.classes or ()), with_weights=not needs_download(recipe))
    every = sum(p.numel() for p in network.parameters())
    frozen = isinstance(recipe.training, FoldsTraining | PrototypeTraining) or recipe.training.frozen_epochs == "all"
    return Plan(data, every, every - frozen * sum(p.numel() for p in network.front_end.parameters()))


def run(recipe: Recipe, out: Path, options: RunOptions, steps: Steps) -> Path | None:
    """Train, choose, calibrate, measure, write.

    Returns:
        The model directory, or None in the processes of a run that leave this to the first.

    Raises:
        UsageError: the recipe, its data, or `out` is refused.
        ModelError: weights to begin with cannot be had, or nothing usable was learnt.
    """
    commit = git_commit()  # of the code that is loaded; the checkout may move on while this runs
    is_main = is_main_process()
    check_machine(recipe, options.machine)
    check_rule(recipe.augment)
    if is_main:
        _check_folder(recipe, out, options.resume)
    data = audited(read_run_data(recipe, out / HASHES if is_main else None))
    if is_main:
        tell(data, steps)
    workers = options.workers or max(1, os.cpu_count() or 1)
    drawers = workers if workers > 1 else 0
    boosted = isinstance(recipe.training, BoostingTraining)
    # What cannot be built fails here. A run that goes on gets all weights from its checkpoint: nothing to download.
    restored = options.resume and _restores_all(recipe, out)
    first = None if boosted else initial_network(recipe, len(data.classes or ()), with_weights=not restored)
    if is_main:
        # Only now: a run that was refused leaves its folder free for the next try.
        (out / RECIPE).write_text(recipe_yaml(recipe), encoding="utf-8")
    prepared = _prepared(recipe, data, options.prepared or out / DATA, out / HASHES, workers, steps)
    labels = labels_of(prepared.train.rows, data.classes)
    network: Detector | Tracer
    back_end: BackEndConfig | None = recipe.model.back_end
    trained: Trained | None = None
    folds: list[Fold] = []
    readouts: FoldReadouts | None = None
    fitted: FittedTracer | None = None
    if isinstance(recipe.training, BoostingTraining):
        batches = augmented_batches(recipe, prepared, labels, plan_of(recipe, prepared, labels))
        drawn = DataLoader(batches, batch_size=None, sampler=range(recipe.training.batches), num_workers=drawers)
        watched = steps.over(drawn, "Measuring features", recipe.training.batches)
        network, back_end = fit_boosting(recipe, recipe.training, watched, options.prepared or out / DATA)
    elif isinstance(recipe.training, FoldsTraining):
        assert isinstance(first, Detector)
        network = first
        folds = folds_of(recipe.training, [*data.train, *data.dev], tuple(recipe.data.copies))
        readouts = fit_folds(recipe, recipe.training, prepared, labels, folds, first.front_end, drawers, steps)
        network.back_end = readouts.final
    elif isinstance(recipe.training, PrototypeTraining):
        assert isinstance(first, Tracer)
        assert data.classes is not None
        network = first
        kept = out / DATA
        fitted = fit_prototypes(
            recipe, recipe.training, prepared, data.classes, network.front_end, kept, drawers, steps
        )
        network.head = fitted.head
    else:
        assert first is not None
        network = first
        trained = _fit(recipe, recipe.training, data, prepared, labels, network, out, options, drawers, steps)
        if not trained.is_main:
            return None
        network.load_state_dict(trained.weights, strict=True)
    network.cpu().eval()
    device: DeviceName = options.machine.accelerator
    scratch = out / (MODEL + ".uncalibrated")
    if isinstance(network, Detector):
        assert back_end is not None
        hearings = _hearings(recipe, data, network, folds, readouts)
        described = [fold.described() for fold in folds]
        finished = finish_detector(recipe, hearings, described, back_end, scratch, device, workers, steps)
        nuisance = _nuisance(recipe, prepared, labels, steps)
    else:
        assert recipe.model.head is not None
        finished = finish_tracer(recipe, data, network, recipe.model.head, scratch, device, workers, steps, fitted)
        nuisance = None
    record = training_record(
        recipe.model_dump(mode="json", exclude={"data": {"root"}}),
        recipe.digest(),
        commit,
        data=data_record(data, out / HASHES),
        run=RunRecord(
            epochs=None if trained is None else trained.epochs,
            best_epoch=None if trained is None else trained.best_epoch,
            metric=None if trained is None else trained.metric,
            value=None if trained is None else round(trained.best, 4),
            devices=options.machine.world,
            precision=recipe.training.precision if isinstance(recipe.training, GradientTraining) else "32-true",
            parameters=sum(p.numel() for p in network.parameters()),
            nuisance_auc=nuisance,
        ),
        figures=finished.figures,
    )
    write_model(out / MODEL, finished, network, record)
    if finished.exhibits:
        write_scores(out / SCORES, file_sha256(out / MODEL / WEIGHTS_FILE), finished.exhibits)
    return out / MODEL


def _restores_all(recipe: Recipe, out: Path) -> bool:
    """Whether a run that goes on needs no weights to begin with; features that it keeps are those of the first ones."""
    rule = recipe.training
    return isinstance(rule, GradientTraining) and rule.cached_batches is None and (out / CHECKPOINTS / LAST).is_file()


def _prepared(recipe: Recipe, data: RunData, folder: Path, hashes: Path, workers: int, steps: Steps) -> Prepared:
    """The windows of a run; with folds or prototypes it learns from dev as well."""
    from_all = isinstance(recipe.training, FoldsTraining | PrototypeTraining)
    train = [*data.train, *data.dev] if from_all else data.train
    if is_main_process():
        return prepare(recipe, train, data.dev, folder, workers, steps, hashes)
    return wait_until_prepared(recipe, train, data.dev, folder, hashes)


def _fit(
    recipe: Recipe, rule: GradientTraining, data: RunData, prepared: Prepared, labels: Sequence[int],
    network: Detector | Tracer, out: Path, options: RunOptions, drawers: int, steps: Steps,
) -> Trained:  # fmt: skip
    objective: Objective = (
        DetectionObjective(rule, prepared.dev.rows)
        if data.classes is None
        else TracingObjective(rule, labels_of(prepared.dev.rows, data.classes))
    )
    batches = TrainingData(recipe, rule, prepared, labels, network, drawers, steps)
    return fit(
        recipe, rule, network, objective, batches, out, options.machine, steps, resume=options.resume, bar=options.bar
    )


def _hearings(
    recipe: Recipe, data: RunData, network: Detector, folds: Sequence[Fold], readouts: FoldReadouts | None
) -> list[Hearing]:
    """Which network scores which recordings: dev by those that did without them, where there are folds."""
    rule = recipe.finish
    test = recordings_of(data.test, "test", rule)
    if readouts is None:
        return [Hearing(network, (*recordings_of(data.dev, "dev", rule), *test), None)]
    hearings = []
    for fold in folds:
        seen, chosen = ([c for c in clips if c.repo in fold.repos] for clips in (data.train, data.dev))
        left_out = recordings_of(seen, "dev", rule, "train") + recordings_of(chosen, "dev", rule, "dev")
        hearings.append(Hearing(Detector(network.front_end, readouts.by_fold[fold.name]), tuple(left_out), fold.name))
    return [*hearings, Hearing(network, tuple(test), None)]


def _check_folder(recipe: Recipe, out: Path, resume: bool) -> None:
    """Make the folder of a run, or find in it the run that is to go on."""
    kept = out / RECIPE
    if kept.is_file():
        earlier = read_recipe(kept)
        if not resume:
            raise UsageError(f"{out}: holds a run already; go on with --resume or choose another --out")
        if earlier.digest() != recipe.digest():
            raise UsageError(
                f"{out}: holds a run of another recipe (differs in {', '.join(_differences(earlier, recipe))})"
            )
    elif out.exists() and any(place.name != HASHES for place in out.iterdir()):
        raise UsageError(f"{out}: is not empty and holds no run; choose another --out")
    out.mkdir(parents=True, exist_ok=True)


def tell(data: RunData, steps: Steps) -> None:
    """Say what is wrong with the data before hours are spent on the rest of them."""
    for problem in data.problems[:_TOLD]:
        steps.note(f"left out: {display_path(problem.path)}: {problem.message}")
    if len(data.problems) > _TOLD:
        steps.note(f"left out: {len(data.problems) - _TOLD} more files that are missing or broken")
    for warning in data.overlap.warnings:
        steps.note(f"warning: {warning}")


def _differences(earlier: Recipe, recipe: Recipe) -> list[str]:
    return [
        name for name in Recipe.model_fields if name != "data" and getattr(earlier, name) != getattr(recipe, name)
    ] or ["data"]


def audited(data: RunData) -> RunData:
    """The clips of a run whose splits may stand beside each other.

    Raises:
        UsageError: they share recordings.
    """
    if data.overlap.refused:
        raise UsageError("; ".join(data.overlap.refused))
    return data


def _nuisance(recipe: Recipe, prepared: Prepared, labels: Sequence[int], steps: Steps) -> float | None:
    """AUC of a classifier that sees only what is not speech, on windows as trained; None where a class is too small."""
    batches = augmented_batches(recipe, prepared, labels, plan_of(recipe, prepared, labels))
    drawn = [
        batches[_FAR + step]
        for step in steps.over(range(_NUISANCE_BATCHES), "Looking for shortcuts", _NUISANCE_BATCHES)
    ]
    waves = np.concatenate([batch.inputs.numpy() for batch in drawn])
    truth = np.concatenate([batch.labels.numpy() for batch in drawn])
    if np.bincount(truth, minlength=2).min() < 10:
        return None
    return round(nuisance_auc(np.stack([nuisance_features(wave) for wave in waves]), truth, recipe.seed), 4)


def data_record(data: RunData, hashes: Path) -> DataRecord:
    """What a record says of the clips of a run; `hashes` is where their hashes are kept."""
    splits: Mapping[str, Sequence[Clip]] = {"train": data.train, "dev": data.dev, "test": data.test}
    splits = {name: clips for name, clips in splits.items() if clips}
    return DataRecord(
        sha256={name: manifest_sha256(clips, hashes) for name, clips in splits.items()},
        clips={name: dict(Counter(clip.label for clip in clips)) for name, clips in splits.items()},
        seen_systems=tuple(sorted(seen_systems(data.train))),
        seen_speakers=len({(clip.repo, clip.speaker) for clip in data.train if clip.speaker != UNKNOWN}),
        problems=tuple(f"{problem.path.name}: {problem.message}" for problem in data.problems),
        warnings=data.overlap.warnings,
    )
