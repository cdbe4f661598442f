"""From scored trials to a calibration and the thresholds of a decision rule, the same for training and for users."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoofcheck.detect.calibration import to_llr
from spoofcheck.evaluation.calibration import fit_logistic
from spoofcheck.nets.config import CalibrationConfig, DecisionConfig, LogisticMap

FALSE_ALARMS = 0.05
"""Share of human exhibits that the spoof threshold may flag, unless told otherwise."""
MISSES = 0.10
"""Share of spoofs that the bona fide threshold may pass as human, unless told otherwise."""

_WINDOW_FALSE_ALARMS = 0.05
_STRONGER = 0.3
"""A passage's mean LLR exceeds the window threshold by so much: one window in twenty of human speech reaches that."""

Scored = tuple[float, bool, str]
"""Raw score, whether synthetic, system."""


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """What thresholds are chosen for.

    Attributes:
        false_alarms: share of human exhibits the spoof threshold may flag.
        misses: share of spoofs the bona fide threshold may pass as human.
        min_window_speech_s: speech a window needs to be scored.
        min_exhibit_speech_s: speech an exhibit needs for a verdict.
        trials_per_system: see `equalised`.
    """

    false_alarms: float
    misses: float
    min_window_speech_s: float
    min_exhibit_speech_s: float
    trials_per_system: int | None = None


def fitted_map(trials: Sequence[Scored], trials_per_system: int | None) -> LogisticMap:
    """The map of one level. Errors as for `evaluation.calibration.fit_logistic`."""
    slope, intercept = fit_logistic(*equalised(trials, trials_per_system))
    return LogisticMap(slope=slope, intercept=intercept)


def fitted_thresholds(
    exhibits: Sequence[Scored], windows: Iterable[Scored], calibration: CalibrationConfig, rule: ThresholdRule
) -> DecisionConfig:
    """The decision rule's thresholds.

    Args:
        exhibits: of both classes.
        windows: theirs; those of synthetic speech set nothing.
        calibration: of their LLRs.
        rule: what to choose for.
    """
    bound = calibration.llr_bound
    human = [to_llr(score, calibration.exhibit, bound) for score, is_spoof, _ in exhibits if not is_spoof]
    raw, spoof = equalised(exhibits, rule.trials_per_system)
    spoofs = [to_llr(float(score), calibration.exhibit, bound) for score in raw[spoof]]
    human_windows = [to_llr(score, calibration.window, bound) for score, is_spoof, _ in windows if not is_spoof]
    # Where data separate without error their quantiles cross 0: nothing that supports human speech may be flagged.
    spoof_threshold = max(0.0, round_up(float(np.quantile(human, 1 - rule.false_alarms))))
    window_threshold = max(0.0, round_up(float(np.quantile(human_windows, 1 - _WINDOW_FALSE_ALARMS))))
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


def equalised(trials: Iterable[Scored], trials_per_system: int | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Raw scores and labels in which every spoofing system has the same number of trials (quantiles of its scores).

    Without it one system with many clips would set the calibration. None counts trials as they are.
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
