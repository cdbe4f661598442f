"""A run that trains no network: detectors that are there become an ensemble, calibrated on dev and measured on both.

OUT/recipe.yaml     the recipe with every key spelt out
OUT/scores/         what each member said of every exhibit: a run that was stopped goes on from there
OUT/NAME/           an ensemble, one for each model of the recipe; its members are named, not copied
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from spoofcheck.detect.calibration import to_llr
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.detect.toolinfo import git_commit
from spoofcheck.errors import ModelError, UsageError
from spoofcheck.nets.bundle import Bundle, load_bundle, save_bundle, save_ensemble
from spoofcheck.nets.config import (
    CalibrationConfig,
    DecisionConfig,
    EnsembleConfig,
    MemberConfig,
    ModelConfig,
    StatisticsReadoutConfig,
)
from spoofcheck.nets.detector import Detector
from spoofcheck.nets.gate import pool_features
from spoofcheck.nets.index import find_model
from spoofcheck.nets.readout import StatisticsReadout
from spoofcheck.training.cardplots import write_plot
from spoofcheck.training.data import RunData, read_run_data
from spoofcheck.training.datamodule import augmented_batches, plan_of
from spoofcheck.training.ensemblerecipe import EnsembleRecipe, FusedModelRule, MemberRule
from spoofcheck.training.exhibits import (
    Exhibit,
    Recording,
    read_scores,
    recordings_of,
    score_exhibits,
    write_scores,
)
from spoofcheck.training.figures import detector_figures, validation_figures
from spoofcheck.training.finish import card_of, settle
from spoofcheck.training.fusion import Panel, fit_fusion, fuse_exhibits
from spoofcheck.training.objectives import labels_of
from spoofcheck.training.prepare import Prepared, prepare
from spoofcheck.training.progress import Steps
from spoofcheck.training.readout import fit_readout
from spoofcheck.training.recipe import FoldsTraining, Recipe
from spoofcheck.training.record import RECORD_FILE, RunRecord, training_record
from spoofcheck.training.run import DATA, HASHES, RECIPE, RunOptions, audited, data_record, tell

SCORES = "scores"


def run_ensemble(
    recipe: EnsembleRecipe, base: Recipe, out: Path, options: RunOptions, steps: Steps
) -> tuple[Path, ...]:
    """Score dev and test by every member, fuse, calibrate and measure.

    Returns:
        The model directories, in the recipe's order. They load where their members lie beside them or are shipped.

    Raises:
        UsageError: the recipe, its data or `out` is refused.
        ModelError: a member cannot be loaded, members do not fit each other, or no calibration can be fitted.
    """
    commit = git_commit()
    bundles = [load_bundle(find_model(member.model)) for member in recipe.members]
    if len({bundle.config.window_samples for bundle in bundles}) > 1:
        raise ModelError("the members hear windows of different lengths")
    for bundle in bundles:
        least_s = bundle.config.decision.min_window_speech_s
        if least_s != recipe.finish.min_window_speech_s:
            raise UsageError(
                f"key 'finish.min_window_speech_s': {bundle.config.name} hears windows from {least_s:g} s on"
            )
    _check_folder(recipe, out)
    data = audited(read_run_data(base, out / HASHES))
    tell(data, steps)
    panel = [
        _exhibits(rule, bundle, recipe, base, data, out, options, steps)
        for rule, bundle in zip(recipe.members, bundles, strict=True)
    ]
    return tuple(
        _made(name, rule, recipe, base, bundles, panel, data, out, commit) for name, rule in recipe.models.items()
    )


def decision_with(decision: DecisionConfig, calibration: CalibrationConfig, probability: float) -> DecisionConfig:
    """A decision rule whose spoof threshold is that of a mean probability, never below an LLR of 0.

    The probability's logit is a raw score; the calibration of exhibits says what LLR it is.
    """
    raw = math.log(probability) - math.log1p(-probability)
    threshold = max(0.0, to_llr(raw, calibration.exhibit, calibration.llr_bound))
    return decision.model_copy(update={"spoof_threshold_llr": threshold})


def _check_folder(recipe: EnsembleRecipe, out: Path) -> None:
    """Make the folder of a run, or find in it the same run."""
    kept = out / RECIPE
    text = str(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110))
    if kept.is_file():
        if kept.read_text(encoding="utf-8") != text:
            raise UsageError(f"{out}: holds a run of another recipe; choose another --out")
    elif out.exists() and any(place.name != HASHES for place in out.iterdir()):
        raise UsageError(f"{out}: is not empty and holds no run; choose another --out")
    (out / SCORES).mkdir(parents=True, exist_ok=True)
    kept.write_text(text, encoding="utf-8")


def _exhibits(
    rule: MemberRule, bundle: Bundle, recipe: EnsembleRecipe, base: Recipe, data: RunData, out: Path,
    options: RunOptions, steps: Steps,
) -> list[Exhibit]:  # fmt: skip
    """What a member says of dev and test: kept by this run or that of its training, or heard now."""
    kept = out / SCORES / f"{bundle.config.name}.jsonl"
    recordings = [*recordings_of(data.dev, "dev", recipe.finish), *recordings_of(data.test, "test", recipe.finish)]
    if kept.is_file():
        return read_scores(kept, bundle.weights_sha256, recordings)
    if rule.scores is not None:
        exhibits = read_scores(Path(rule.scores), bundle.weights_sha256, recordings)
    else:
        exhibits = _heard_by(rule, bundle, recordings, base, data, out, options, steps)
    beside = kept.with_suffix(".tmp")
    write_scores(beside, bundle.weights_sha256, exhibits)
    beside.replace(kept)
    return exhibits


def _heard_by(
    rule: MemberRule, bundle: Bundle, recordings: Sequence[Recording], base: Recipe, data: RunData, out: Path,
    options: RunOptions, steps: Steps,
) -> list[Exhibit]:  # fmt: skip
    workers = options.workers or 1
    steps.note(f"Listening with {bundle.config.name} {bundle.config.version}")

    def scored(directory: Path, chosen: Sequence[Recording]) -> list[Exhibit]:
        how = ScanOptions(channels="mix", device=options.machine.accelerator, precision="float32", trace=False)
        scanner = Scanner(directory, how)
        return score_exhibits(scanner, chosen, workers, steps)

    if rule.refit_batches is None:
        return scored(bundle.directory, recordings)
    prepared = prepare(base, data.train, data.dev, options.prepared or out / DATA, workers, steps, out / HASHES)
    scratch = out / "stand-in"
    stand_in = Detector(bundle.network.front_end, _refitted(rule, bundle, base, prepared, steps), bundle.network.gate)
    save_bundle(scratch, bundle.config, stand_in, "")
    try:
        dev = [one for one in recordings if one.split == "dev"]
        return [*scored(scratch, dev), *scored(bundle.directory, [one for one in recordings if one.split != "dev"])]
    finally:
        shutil.rmtree(scratch)


def _refitted(rule: MemberRule, bundle: Bundle, base: Recipe, prepared: Prepared, steps: Steps) -> StatisticsReadout:
    """The member's readout as it would be had it never met dev."""
    assert rule.refit_batches is not None
    if not isinstance(bundle.config.back_end, StatisticsReadoutConfig) or not isinstance(base.training, FoldsTraining):
        raise UsageError(f"key 'members': {bundle.config.name} is no statistics-readout of the base recipe's kind")
    labels = labels_of(prepared.train.rows, None)
    plan = plan_of(base, prepared, labels)
    batches = augmented_batches(base, prepared, labels, plan)
    rows, pooled = [], []
    for number in steps.over(range(rule.refit_batches), "Refitting without dev", rule.refit_batches):
        for member in plan.members(number):
            store = prepared.copies if member.copy else prepared.train
            assert store is not None
            rows.append(store.rows[member.row])
        with torch.inference_mode():
            pooled.append(pool_features(bundle.network.front_end(batches[number].inputs)).double().numpy())
    rule_of = base.training
    return fit_readout(np.concatenate(pooled), rows, rule_of.inverse_penalty, rule_of.human_directions)


def _made(
    name: str, rule: FusedModelRule, recipe: EnsembleRecipe, base: Recipe, bundles: Sequence[Bundle], panel: Panel,
    data: RunData, out: Path, commit: str | None,
) -> Path:  # fmt: skip
    fusion = _fusion(rule, recipe, bundles, panel)
    exhibits = fuse_exhibits(panel, fusion)
    settled = settle(exhibits, recipe.finish)
    calibration, decision, figures = settled.calibration, settled.decision, settled.figures
    if calibration is not None and rule.fusion == "weighted-probability":
        decision = decision_with(decision, calibration, recipe.threshold)
        figures = detector_figures(exhibits, calibration, decision, recipe.finish.conditions)
    first = bundles[0].config
    config = ModelConfig(
        name=name,
        version=recipe.version,
        front_end=first.front_end,
        back_end=fusion,
        window_samples=first.window_samples,
        calibration=calibration,
        decision=decision,
        validated=recipe.finish.validated,
        gate=first.gate,
        licence=recipe.licence,
        training_data=recipe.training_data,
        limitations=(*recipe.limitations, *settled.limitations),
        validation=() if calibration is None else validation_figures(figures),
    )
    content = recipe.model_dump(mode="json", exclude={"root": True, "members": {"__all__": {"scores"}}}) | {
        "purpose": rule.purpose,
        "seed": base.seed,
    }
    record = training_record(
        content,
        hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
        commit,
        data=data_record(data, out / HASHES),
        run=RunRecord(
            epochs=None, best_epoch=None, metric=None, value=None, devices=1, precision="32-true",
            parameters=sum(parameter.numel() for one in bundles for parameter in one.network.parameters()),
            nuisance_auc=None,
        ),
        figures=figures,
    )  # fmt: skip
    directory = out / name
    save_ensemble(directory, config, card_of(config, record, record.run.parameters))
    write_plot(directory, figures)
    (directory / RECORD_FILE).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return directory


def _fusion(rule: FusedModelRule, recipe: EnsembleRecipe, bundles: Sequence[Bundle], panel: Panel) -> EnsembleConfig:
    weights, bias = [member.weight for member in recipe.members], 0.0
    if rule.fusion == "logistic":
        fitted, bias = fit_fusion(panel, systems_alike=recipe.finish.trials_per_system is not None)
        weights = [float(weight) for weight in fitted]
    return EnsembleConfig(
        channels=first_channels(bundles[0].config),
        fusion=rule.fusion,
        members=tuple(
            MemberConfig(model=bundle.config.name, weights_sha256=bundle.weights_sha256, weight=weight)
            for bundle, weight in zip(bundles, weights, strict=True)
        ),
        bias=bias,
    )


def first_channels(config: ModelConfig) -> int:
    """Channels of the front-end that an ensemble borrows.

    Raises:
        ModelError: the first member is an ensemble itself.
    """
    if isinstance(config.back_end, EnsembleConfig):
        raise ModelError(f"{config.name}: an ensemble cannot be a member of another")
    return config.back_end.channels
