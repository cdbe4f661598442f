"""From scored dev exhibits to likelihood ratios and thresholds: what makes a network a detector one can read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spoofcheck.errors import ModelError
from spoofcheck.evaluation.calibration import WrongWayError, llr_bound
from spoofcheck.evaluation.fitting import Scored, ThresholdRule, fitted_map, fitted_thresholds
from spoofcheck.nets.config import CalibrationConfig, DecisionConfig
from spoofcheck.training.conditions import ORIGINAL
from spoofcheck.training.exhibits import LONG, Exhibit
from spoofcheck.training.recipe import FinishRule


class WrongWayModelError(ModelError):
    """A network whose higher scores do not mean spoof on dev: it can be written only without a calibration."""


def calibrate(exhibits: Sequence[Exhibit], rule: FinishRule) -> CalibrationConfig:
    """Logistic maps for windows and exhibits from dev under all conditions, and the bound its originals support.

    Raises:
        WrongWayModelError: scores that do not point the right way: the network has learnt nothing usable.
        ModelError: scores that are not finite, or of one class.
    """
    dev = [exhibit for exhibit in exhibits if exhibit.split == "dev" and exhibit.condition != LONG]
    originals = [exhibit for exhibit in dev if exhibit.condition == ORIGINAL]
    human = sum(not exhibit.clip.is_spoof for exhibit in originals)
    try:
        window = fitted_map(windows_of_exhibits(dev), rule.trials_per_system)
        exhibit = fitted_map([scored(exhibit) for exhibit in dev], rule.trials_per_system)
        bound = llr_bound(human, len(originals) - human)
    except ValueError as error:
        refused = WrongWayModelError if isinstance(error, WrongWayError) else ModelError
        raise refused(f"no calibration can be fitted on the dev scores: {error}; no model was written") from error
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
    dev = [exhibit for exhibit in exhibits if exhibit.split == "dev" and exhibit.condition == ORIGINAL]
    wanted = ThresholdRule(
        false_alarms=rule.false_alarms,
        misses=rule.misses,
        min_window_speech_s=rule.min_window_speech_s,
        min_exhibit_speech_s=rule.min_exhibit_speech_s,
        trials_per_system=rule.trials_per_system,
    )
    return fitted_thresholds([scored(exhibit) for exhibit in dev], windows_of_exhibits(dev), calibration, wanted)


def scored(exhibit: Exhibit) -> Scored:
    """What a calibration needs of an exhibit."""
    return exhibit.raw_score, exhibit.clip.is_spoof, exhibit.clip.system


def windows_of_exhibits(exhibits: Iterable[Exhibit]) -> list[Scored]:
    """The same of every window."""
    return [(raw, exhibit.clip.is_spoof, exhibit.clip.system) for exhibit in exhibits for _, _, raw in exhibit.windows]
