"""The end of a run: a network becomes a model directory with calibration, thresholds, figures, record and card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2
import numpy as np

from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.detect.scorer import DeviceName
from spoofcheck.errors import ModelError
from spoofcheck.evalschema import Tracing
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.cliptracing import ClipTracer, TracedClip, clip_figures
from spoofcheck.nets.bundle import load_tracer, save_bundle
from spoofcheck.nets.config import (
    UNCALIBRATED_DECISION,
    AnyModelConfig,
    BackEndConfig,
    CalibrationConfig,
    DecisionConfig,
    HeadConfig,
    LogisticMap,
    ModelConfig,
    OpenSetConfig,
    TracerConfig,
)
from spoofcheck.nets.detector import Detector
from spoofcheck.nets.tracer import Tracer
from spoofcheck.resources import templates_dir
from spoofcheck.schema import TracingFigure
from spoofcheck.training.calibrate import WrongWayModelError, calibrate, thresholds
from spoofcheck.training.cardplots import write_plot
from spoofcheck.training.comparison import comparison_table
from spoofcheck.training.data import RunData
from spoofcheck.training.exhibits import Exhibit, Recording, capped, score_exhibits
from spoofcheck.training.figures import (
    detector_figures,
    raw_figures,
    rounded,
    uncalibrated_limitation,
    validation_figures,
)
from spoofcheck.training.gate import fit_gates, gate_config, gate_figures, open_gate
from spoofcheck.training.progress import Steps
from spoofcheck.training.prototypes import FittedTracer
from spoofcheck.training.rates import Figures
from spoofcheck.training.recipe import FinishRule, Recipe
from spoofcheck.training.record import RECORD_FILE, TrainingRecord

CARD_TEMPLATE = "model-card.md.j2"


@dataclass(frozen=True, slots=True)
class Finished:
    """A model that is ready to be written: its config, the figures that were measured, and (of a detector) on what."""

    config: AnyModelConfig
    figures: Figures
    exhibits: tuple[Exhibit, ...] = ()


@dataclass(frozen=True, slots=True)
class Hearing:
    """Recordings and the network that is to score them; `fold` names what that network did without."""

    network: Detector
    recordings: tuple[Recording, ...]
    fold: str | None


def finish_detector(
    recipe: Recipe, hearings: Sequence[Hearing], folds: Sequence[Mapping[str, object]], back_end: BackEndConfig,
    scratch: Path, device: DeviceName, workers: int, steps: Steps,
) -> Finished:  # fmt: skip
    """Score dev and test as a scan does; calibrate and set thresholds on dev; measure both.

    Args:
        hearings: who scores what; all networks share one front-end, the last is the model. Where the recipe asks for a
            validity gate, each is given one: the last network keeps that of all dev recordings.
        folds: what the networks of folds did without, for the card.

    Raises:
        ModelError: dev scores that no calibration can be fitted on, unless the recipe allows a model without.
    """
    rule = recipe.finish
    uncalibrated = _detector_config(
        recipe,
        back_end,
        CalibrationConfig(
            window=LogisticMap(slope=1, intercept=0), exhibit=LogisticMap(slope=1, intercept=0), llr_bound=1e6,
            data="none yet", bonafide_trials=1, spoof_trials=1,
        ),
        DecisionConfig(
            spoof_threshold_llr=0, bonafide_threshold_llr=0, window_threshold_llr=0, partial_min_windows=2,
            partial_threshold_llr=0, min_window_speech_s=rule.min_window_speech_s,
            min_exhibit_speech_s=rule.min_exhibit_speech_s,
        ),
        {},
    )  # fmt: skip
    gates = None
    if rule.gate_components is not None:
        parts = [hearing.recordings for hearing in hearings]
        gates = fit_gates(hearings[-1].network.front_end, parts, rule, recipe.model.window_samples, workers, steps)
        uncalibrated = uncalibrated.model_copy(update={"gate": open_gate(gates.final)})
    exhibits = []
    for number, hearing in enumerate(hearings):
        hearing.network.gate = None if gates is None else gates.by_part[number]
        save_bundle(scratch, uncalibrated, hearing.network, "")
        try:
            scanner = Scanner(scratch, ScanOptions(channels="mix", device=device, precision="float32", trace=False))
            scored = score_exhibits(scanner, hearing.recordings, workers, steps)
        finally:
            shutil.rmtree(scratch)
        exhibits += [replace(exhibit, fold=hearing.fold) for exhibit in scored]
    settled = settle(exhibits, rule, folds)
    calibration, decision, figures = settled.calibration, settled.decision, settled.figures
    config = _detector_config(recipe, back_end, calibration, decision, figures)
    if calibration is None:
        hearings[-1].network.gate = None
        limitations = (*config.limitations, *settled.limitations)
        return Finished(config.model_copy(update={"limitations": limitations}), figures, tuple(exhibits))
    if gates is None:
        return Finished(config, figures, tuple(exhibits))
    hearings[-1].network.gate = gates.final
    gate = gate_config(gates.final, exhibits, rule)
    figures["gate"] = rounded(gate_figures(exhibits, gate, calibration, decision))
    return Finished(config.model_copy(update={"gate": gate}), figures, tuple(exhibits))


@dataclass(frozen=True, slots=True)
class Settled:
    """What dev made of raw scores; without `calibration` the decision rule is `UNCALIBRATED_DECISION`'s.

    Attributes:
        figures: of dev and test.
        limitations: what reports must say beside the recipe's own.
    """

    calibration: CalibrationConfig | None
    decision: DecisionConfig
    figures: Figures
    limitations: tuple[str, ...] = ()


def settle(exhibits: Sequence[Exhibit], rule: FinishRule, folds: Sequence[Mapping[str, object]] = ()) -> Settled:
    """Calibrate and set thresholds on dev, and measure both splits; `folds` as for `detector_figures`.

    Raises:
        ModelError: no calibration can be fitted. Scores that merely point the wrong way are no error where the rule
            allows a detector without calibration.
    """
    try:
        calibration = calibrate(exhibits, rule)
    except WrongWayModelError:
        if rule.uncalibrated == "refused":
            raise
        figures = raw_figures(exhibits)
        decision = UNCALIBRATED_DECISION.model_copy(
            update={
                "min_window_speech_s": rule.min_window_speech_s,
                "min_exhibit_speech_s": rule.min_exhibit_speech_s,
            }
        )
        return Settled(None, decision, figures, (uncalibrated_limitation(figures),))
    decision = thresholds(exhibits, calibration, rule)
    return Settled(calibration, decision, detector_figures(exhibits, calibration, decision, rule.conditions, folds))


def finish_tracer(
    recipe: Recipe,
    data: RunData,
    network: Tracer,
    head: HeadConfig,
    scratch: Path,
    device: DeviceName,
    workers: int,
    steps: Steps,
    fitted: FittedTracer | None = None,
) -> Finished:
    """Trace dev and test clips; fix the open-set threshold on dev; measure both.

    Args:
        fitted: of a tracer of prototypes: its rule is kept, and it has learnt from dev, so that test alone is measured.

    Raises:
        ModelError: no dev clip of a seen class could be traced.
    """
    assert data.classes is not None
    published = OpenSetConfig(threshold=recipe.finish.open_set_threshold, data="as published")
    open_set = published if fitted is None else fitted.open_set
    config = _tracer_config(recipe, data.classes, head, open_set, {}, fitted)
    test = capped(data.test, recipe.finish.most_per_system.get("test"))
    save_bundle(scratch, config, network, "")
    try:
        bundle = load_tracer(scratch)
        tracer = ClipTracer(
            bundle, "all", device, workers=workers, min_window_speech_s=recipe.finish.min_window_speech_s
        )
        traced = {}
        for split, clips in (("dev", data.dev if fitted is None else ()), ("test", test)):
            if not clips:
                continue
            rows = steps.over(tracer.trace([clip.name for clip in clips], clips), f"Tracing {split}", len(clips))
            traced[split] = [
                (clip, row) for clip, row in zip(clips, rows, strict=True) if row.probabilities is not None
            ]
    finally:
        shutil.rmtree(scratch)
    if fitted is None:
        open_set = _open_set(recipe, config, traced["dev"])
        bundle = replace(bundle, config=config.model_copy(update={"open_set": open_set}))
    measured = {split: clip_figures(bundle, rows, "all") for split, rows in traced.items() if rows}
    figures = {split: rounded(tracing.model_dump(mode="json")) for split, tracing in measured.items()}
    if fitted is not None:
        figures["open_set"] = rounded(fitted.figures)
    return Finished(_tracer_config(recipe, data.classes, head, open_set, measured, fitted), figures)


def write_model(directory: Path, finished: Finished, network: Detector | Tracer, record: TrainingRecord) -> None:
    """Write the model directory: weights, config, card and record."""
    card = card_of(finished.config, record, sum(p.numel() for p in network.parameters()))
    save_bundle(directory, finished.config, network, card)
    write_plot(directory, record.figures)
    beside = directory / (RECORD_FILE + ".tmp")
    beside.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    beside.replace(directory / RECORD_FILE)


def card_of(config: AnyModelConfig, record: TrainingRecord, parameters: int) -> str:
    """The model card: every figure in it comes from the record of the run."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        autoescape=False,  # Markdown; names are the recipe's and the corpus owner's own
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["pct"] = lambda share: "-" if share is None else f"{100 * share:.1f}"
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    environment.filters["comparison_table"] = comparison_table
    template = environment.get_template(CARD_TEMPLATE)
    return template.render(config=config, record=record, figures=record.figures, parameters=parameters)


def _detector_config(
    recipe: Recipe, back_end: BackEndConfig, calibration: CalibrationConfig | None, decision: DecisionConfig,
    figures: Figures,
) -> ModelConfig:  # fmt: skip
    return ModelConfig(
        name=recipe.name,
        version=recipe.version,
        front_end=recipe.model.front_end,
        back_end=back_end,
        window_samples=recipe.model.window_samples,
        calibration=calibration,
        decision=decision,
        validated=recipe.finish.validated,
        licence=recipe.licence,
        training_data=recipe.training_data,
        limitations=recipe.limitations,
        validation=() if calibration is None else validation_figures(figures),
    )


def _tracer_config(
    recipe: Recipe, classes: dict[str, tuple[str, ...]], head: HeadConfig, open_set: OpenSetConfig,
    measured: dict[str, Tracing], fitted: FittedTracer | None,
) -> TracerConfig:  # fmt: skip
    return TracerConfig(
        name=recipe.name,
        version=recipe.version,
        front_end=recipe.model.front_end,
        head=head,
        window_samples=recipe.model.window_samples,
        classes=tuple(classes),
        systems={name: patterns for name, patterns in classes.items() if patterns != (name,)},
        open_set=open_set,
        groups=() if fitted is None else fitted.groups,
        source_calibration=None if fitted is None else fitted.source_calibration,
        link_calibration=None if fitted is None else fitted.link_calibration,
        licence=recipe.licence,
        training_data=recipe.training_data,
        limitations=recipe.limitations,
        validation=tuple(_figure(split, tracing) for split, tracing in measured.items()),
    )


def _figure(split: str, tracing: Tracing) -> TracingFigure:
    seen, unseen, open_set = tracing.seen, tracing.unseen, tracing.open_set
    return TracingFigure(
        dataset=split,
        seen_trials=seen.trials,
        unseen_trials=unseen.trials,
        accuracy=round(tracing.accuracy, 4),
        macro_f1_seen=round(seen.f1, 4) if seen.trials else None,
        unseen_precision=round(unseen.precision, 4) if unseen.trials else None,
        unseen_recall=round(unseen.recall, 4) if unseen.trials else None,
        auroc=None if open_set is None else round(open_set.auroc, 4),
        fpr95=None if open_set is None else round(open_set.fpr95, 4),
        oscr=None if open_set is None else round(open_set.oscr, 4),
    )


Traced = Sequence[tuple[Clip, TracedClip]]


def _open_set(recipe: Recipe, config: TracerConfig, dev: Traced) -> OpenSetConfig:
    """The published 0.5, or the largest that accepts the wanted share of seen dev clips, rounded down to 0.01."""
    wanted = recipe.finish.seen_acceptance
    if wanted is None:
        return config.open_set
    seen = [row for clip, row in dev if config.class_of(clip.system) is not None]
    confidence = [max(row.probabilities) for row in seen if row.probabilities is not None]
    if not confidence:
        raise ModelError("no dev clip of a seen class could be traced, so that no threshold can be fixed")
    return OpenSetConfig(
        threshold=float(np.floor(100 * np.quantile(confidence, 1 - wanted)) / 100),
        data=f"dev split: {wanted:.0%} of the seen clips are accepted",
    )
