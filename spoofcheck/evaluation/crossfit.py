"""Fitting a calibration on scored recordings, and measuring it on recordings that it was not fitted on.

All recordings of a speaker (or other source) fall into the same fold, where sources are known: a calibration that has
met the speaker would look better than it is.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spoofcheck.detect.calibration import to_llr
from spoofcheck.detect.validity import shrunk_llr
from spoofcheck.evaluation import metrics
from spoofcheck.evaluation.calibration import llr_bound
from spoofcheck.evaluation.fitting import Scored, ThresholdRule, fitted_map, fitted_thresholds
from spoofcheck.evaluation.resampling import eer_interval
from spoofcheck.nets.config import CalibrationConfig, DecisionConfig, GateConfig, LogisticMap
from spoofcheck.schema import ValidationFigure, ValidityLimits

FOLDS = 5
_DRAWS = 500
_SEED = 0

Level = Literal["window", "exhibit"]


@dataclass(frozen=True, slots=True)
class Recording:
    """A scored recording of known origin.

    Attributes:
        is_spoof: whether it holds synthetic speech.
        system: what made it; `"-"` when that is not known, and of human speech.
        source: who speaks, or another unit of which several recordings come; its own name when that is not known.
        raw_score: mean over its scored windows, spoof logit minus bona fide logit.
        distance: to the data of the model's validity gate; None without a gate.
        windows: raw score and distance of each scored window; at least one.
    """

    is_spoof: bool
    system: str
    source: str
    raw_score: float
    distance: float | None
    windows: tuple[tuple[float, float | None], ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """A calibration with the thresholds that belong to it."""

    calibration: CalibrationConfig
    decision: DecisionConfig


@dataclass(frozen=True, slots=True)
class _Trial:
    """A recording, or one of its windows, with the LLR of a fit that had not met it."""

    recording: Recording
    raw_score: float
    llr: float


@dataclass(frozen=True, slots=True)
class Shares:
    """What share of the recordings of one class gets which verdict, by its LLR alone."""

    spoof: float
    inconclusive: float
    bonafide: float


@dataclass(frozen=True, slots=True)
class CrossFit:
    """What folds that a fit was made without say of it.

    Attributes:
        folds: how many there were.
        by_source: whether sources were kept together; else single recordings were drawn.
        figures: of exhibits and of windows.
        human: verdicts on human recordings.
        synthetic: verdicts on synthetic ones.
    """

    folds: int
    by_source: bool
    figures: tuple[ValidationFigure, ...]
    human: Shares
    synthetic: Shares


def fit(recordings: Sequence[Recording], data: str, rule: ThresholdRule) -> Fit:
    """A calibration and its thresholds; spoofing systems weigh alike where there are several.

    Args:
        recordings: of both classes.
        data: what they are, in words.
        rule: what thresholds are chosen for; its `trials_per_system` is left aside.

    Raises:
        ValueError: see `evaluation.calibration.fit_logistic`; the message begins with the level.
    """
    exhibits = [(each.raw_score, each.is_spoof, each.system) for each in recordings]
    windows = [(raw, each.is_spoof, each.system) for each in recordings for raw, _ in each.windows]
    human = sum(not each.is_spoof for each in recordings)
    per_system = trials_per_system(exhibits)
    calibration = CalibrationConfig(
        window=_fitted(windows, "windows"),
        exhibit=_fitted(exhibits, "recordings"),
        llr_bound=llr_bound(human, len(recordings) - human),
        data=data + ("" if per_system is None else "; spoofing systems weigh alike"),
        bonafide_trials=human,
        spoof_trials=len(recordings) - human,
    )
    chosen = ThresholdRule(
        false_alarms=rule.false_alarms,
        misses=rule.misses,
        min_window_speech_s=rule.min_window_speech_s,
        min_exhibit_speech_s=rule.min_exhibit_speech_s,
        trials_per_system=per_system,
    )
    return Fit(calibration, fitted_thresholds(exhibits, windows, calibration, chosen))


def trials_per_system(trials: Sequence[Scored]) -> int | None:
    """The mean number of trials of a spoofing system, as which each is to count; None with fewer than two systems."""
    systems = [system for _, is_spoof, system in trials if is_spoof]
    different = len(set(systems))
    return max(1, round(len(systems) / different)) if different > 1 else None


def cross_fit(
    recordings: Sequence[Recording], dataset: str, rule: ThresholdRule, gate: GateConfig | None = None
) -> CrossFit:
    """Fit on all folds but one, measure on that one, and put the LLRs of all folds together.

    EER, minDCF and Cllr_min are of raw scores, which need no fit; actDCF, Cllr and the verdicts are of LLRs that a
    fit gave to recordings it had not met.

    Args:
        recordings: at least two of each class.
        dataset: what the figures are called after.
        rule: as for `fit`.
        gate: the model's, which shrinks LLRs.

    Raises:
        ValueError: the scores of the rest of a fold cannot be calibrated.
    """
    numbers, by_source = folds_of([each.source for each in recordings], [each.is_spoof for each in recordings])
    parts: dict[int, list[Recording]] = defaultdict(list)
    for recording, number in zip(recordings, numbers, strict=True):
        parts[number].append(recording)
    exhibits: list[_Trial] = []
    windows: list[_Trial] = []
    verdicts: dict[bool, list[str]] = {False: [], True: []}
    for fold, left_out in sorted(parts.items()):
        fitted = fit([each for number, part in sorted(parts.items()) if number != fold for each in part], "", rule)
        for each in left_out:
            llr = _llr(each.raw_score, each.distance, fitted.calibration, "exhibit", gate)
            exhibits.append(_Trial(each, each.raw_score, llr))
            verdicts[each.is_spoof].append(_verdict(llr, fitted.decision))
            for raw, distance in each.windows:
                windows.append(_Trial(each, raw, _llr(raw, distance, fitted.calibration, "window", gate)))
    return CrossFit(
        folds=len(parts),
        by_source=by_source,
        figures=(_figure(exhibits, "exhibit", dataset), _figure(windows, "window", dataset)),
        human=_shares(verdicts[False]),
        synthetic=_shares(verdicts[True]),
    )


def folds_of(sources: Sequence[str], spoof: Sequence[bool], folds: int = FOLDS) -> tuple[list[int], bool]:
    """The fold of every recording, and whether sources were kept together.

    Sources are dealt out in the order of their hashes, each to the fold that has least of its classes; the order of
    the recordings changes nothing. Where a class would be missing from what a fold is measured by, because too few
    sources hold it, single recordings are dealt out instead.
    """
    by_source = _dealt(sources, spoof, folds)
    if _is_usable(by_source, spoof):
        return by_source, len(set(sources)) < len(sources)
    ranks = sorted(range(len(sources)), key=lambda i: (spoof[i], _hash(f"{i}")))
    numbers = [0] * len(sources)
    for place, index in enumerate(ranks):
        numbers[index] = place % folds
    return numbers, False


def _dealt(sources: Sequence[str], spoof: Sequence[bool], folds: int) -> list[int]:
    members: dict[str, list[int]] = defaultdict(list)
    for index, source in enumerate(sources):
        members[source].append(index)
    totals = max(1, sum(not each for each in spoof)), max(1, sum(spoof))
    loads = np.zeros((folds, 2))
    numbers = [0] * len(sources)
    for source in sorted(members, key=lambda each: (-len(members[each]), _hash(each))):
        share = np.zeros(2)
        for index in members[source]:
            share[int(spoof[index])] += 1 / totals[int(spoof[index])]
        fold = int(np.argmin((loads * (share > 0)).sum(axis=1)))
        loads[fold] += share
        for index in members[source]:
            numbers[index] = fold
    return numbers


def _is_usable(numbers: Sequence[int], spoof: Sequence[bool]) -> bool:
    """Whether without any one fold both classes are there."""
    pairs = list(zip(numbers, spoof, strict=True))
    return all(len({kind for number, kind in pairs if number != fold}) == 2 for fold in set(numbers))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _fitted(trials: Sequence[Scored], what: str) -> LogisticMap:
    try:
        return fitted_map(trials, trials_per_system(trials))
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def _llr(
    raw: float, distance: float | None, calibration: CalibrationConfig, level: Level, gate: GateConfig | None
) -> float:
    logistic = calibration.exhibit if level == "exhibit" else calibration.window
    limits: ValidityLimits | None = None if gate is None else (gate.exhibit if level == "exhibit" else gate.window)
    return shrunk_llr(to_llr(raw, logistic, calibration.llr_bound), distance, limits)


def _verdict(llr: float, decision: DecisionConfig) -> str:
    if llr >= decision.spoof_threshold_llr:
        return "spoof"
    return "bonafide" if llr <= decision.bonafide_threshold_llr else "inconclusive"


def _shares(verdicts: Sequence[str]) -> Shares:
    return Shares(*(verdicts.count(name) / max(1, len(verdicts)) for name in ("spoof", "inconclusive", "bonafide")))


def _figure(trials: Sequence[_Trial], level: Level, dataset: str) -> ValidationFigure:
    # The field's direction: higher means bona fide.
    scores = -np.array([trial.raw_score for trial in trials])
    llrs = -np.array([trial.llr for trial in trials])
    bonafide = np.array([not trial.recording.is_spoof for trial in trials])
    sources = np.array([trial.recording.source for trial in trials], dtype=object)
    interval = eer_interval(scores, bonafide, sources, _DRAWS, _SEED)
    return ValidationFigure(
        dataset=dataset,
        level=level,
        bonafide_trials=int(bonafide.sum()),
        spoof_trials=int((~bonafide).sum()),
        eer=metrics.eer(scores, bonafide),
        # Too few sources say nothing of how figures vary between them.
        eer_low=0.0 if interval is None else interval.low,
        eer_high=1.0 if interval is None else interval.high,
        min_dcf=metrics.min_dcf(scores, bonafide),
        act_dcf=metrics.act_dcf(llrs, bonafide),
        cllr=metrics.cllr(llrs, bonafide),
        cllr_min=metrics.cllr_min(scores, bonafide),
    )
