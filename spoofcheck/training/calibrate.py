"""From scored dev exhibits to likelihood ratios and thresholds: what makes a network a detector one can read."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from spoofcheck.detect.calibration import to_llr
from spoofcheck.errors import ModelError
from spoofcheck.evaluation.calibration import fit_logistic, llr_bound
from spoofcheck.nets.config import CalibrationConfig, DecisionConfig, LogisticMap
from spoofcheck.training.conditions import ORIGINAL
from spoofcheck.training.exhibits import LONG, Exhibit
from spoofcheck.training.recipe import FinishRule

_STRONGER = 0.3
"""A passage's mean LLR exceeds the window threshold by so much: one window in twenty of human speech reaches that."""

Scored = tuple[float, bool, str]
"""Raw score, whether synthetic, system."""


def calibrate(exhibits: Sequence[Exhibit], rule: FinishRule) -> CalibrationConfig:
    """Logistic maps for windows and exhibits from dev under all conditions, and the bound its originals support.

    Raises:
        ModelError: scores that are not finite, or do not point the right way: the network has learnt nothing usable.
    """
    dev = [exhibit for exhibit in exhibits if exhibit.split == "dev" and exhibit.condition != LONG]
    originals = [exhibit for exhibit in dev if exhibit.condition == ORIGINAL]
    human = sum(not exhibit.clip.is_spoof for exhibit in originals)
    try:
        window = _fit(windows_of_exhibits(dev), rule.trials_per_system)
        exhibit = _fit([scored(exhibit) for exhibit in dev], rule.trials_per_system)
        bound = llr_bound(human, len(originals) - human)
    except ValueError as error:
        raise ModelError(f"no calibration can be fitted on the dev scores: {error}; no model was written") from error
    conditions = ", ".join(["recordings as they are", *rule.conditions])
    weights = "" if rule.trials_per_system is None else "; spoofing systems weigh alike"
    return CalibrationConfig(
        window=window,
        exhibit=exhibit,
        llr_bound=bound,
        data=f"dev split: {conditions}{weights}",
        bonafide_trials=human,
        spoof_trials=len(originals) - human,
    )


def thresholds(exhibits: Sequence[Exhibit], calibration: CalibrationConfig, rule: FinishRule) -> DecisionConfig:
    """The decision rule's thresholds, from dev recordings as they are."""
    bound = calibration.llr_bound
    dev = [exhibit for exhibit in exhibits if exhibit.split == "dev" and exhibit.condition == ORIGINAL]
    human = [to_llr(exhibit.raw_score, calibration.exhibit, bound) for exhibit in dev if not exhibit.clip.is_spoof]
    raw, spoof = equalised([scored(exhibit) for exhibit in dev], rule.trials_per_system)
    spoofs = [to_llr(float(score), calibration.exhibit, bound) for score in raw[spoof]]
    windows = [
        to_llr(score, calibration.window, bound) for score, is_spoof, _ in windows_of_exhibits(dev) if not is_spoof
    ]
    # Where dev separates without error its quantiles cross 0: nothing that supports human speech may be flagged for it.
    spoof_threshold = max(0.0, round_up(float(np.quantile(human, 1 - rule.false_alarms))))
    window_threshold = max(0.0, round_up(float(np.quantile(windows, 0.95))))
    bonafide_threshold = math.floor(float(np.quantile(spoofs, rule.misses)) * 20 + 1e-9) / 20
    return DecisionConfig(
        spoof_threshold_llr=spoof_threshold,
        bonafide_threshold_llr=min(bonafide_threshold, 0.0),
        window_threshold_llr=window_threshold,
        partial_min_windows=2,
        partial_threshold_llr=round_up(min(window_threshold + _STRONGER, bound)),
        min_window_speech_s=rule.min_window_speech_s,
        min_exhibit_speech_s=rule.min_exhibit_speech_s,
    )


def scored(exhibit: Exhibit) -> Scored:
    """What a calibration needs of an exhibit."""
    return exhibit.raw_score, exhibit.clip.is_spoof, exhibit.clip.system


def windows_of_exhibits(exhibits: Iterable[Exhibit]) -> list[Scored]:
    """The same of every window."""
    return [(raw, exhibit.clip.is_spoof, exhibit.clip.system) for exhibit in exhibits for _, _, raw in exhibit.windows]


def equalised(trials: Iterable[Scored], trials_per_system: int | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Raw scores and labels in which every spoofing system has the same number of trials (quantiles of its scores).

    Without it one system with many clips would set the calibration.
    """
    systems: dict[str, list[float]] = defaultdict(list)
    human = []
    for raw, is_spoof, system in trials:
        if is_spoof:
            systems[system].append(raw)
        else:
            human.append(raw)
    if trials_per_system is None:
        spoofs = np.array([raw for _, members in sorted(systems.items()) for raw in members])
    else:
        places = (np.arange(trials_per_system) + 0.5) / trials_per_system
        drawn = [np.quantile(scores, places) for _, scores in sorted(systems.items())]
        spoofs = np.concatenate(drawn) if drawn else np.zeros(0)
    return np.concatenate([human, spoofs]), np.repeat([False, True], [len(human), len(spoofs)])


def round_up(value: float) -> float:
    """To the next multiple of 0.05, so that a threshold reads as what it is: a choice."""
    return math.ceil(value * 20 - 1e-9) / 20


def _fit(trials: Sequence[Scored], trials_per_system: int | None) -> LogisticMap:
    slope, intercept = fit_logistic(*equalised(trials, trials_per_system))
    return LogisticMap(slope=slope, intercept=intercept)
