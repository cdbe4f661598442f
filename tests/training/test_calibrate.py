"""Calibration and thresholds on scores whose right answer is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from spoofcheck.detect.calibration import to_llr
from spoofcheck.errors import ModelError
from spoofcheck.evaluation.fitting import equalised, round_up
from spoofcheck.training.calibrate import (
    WrongWayModelError,
    calibrate,
    scored,
    thresholds,
    windows_of_exhibits,
)
from spoofcheck.training.exhibits import LONG, Exhibit
from spoofcheck.training.finish import settle
from spoofcheck.training.recipe import FinishRule
from tests.support.exhibits import exhibit, normal

RULE = FinishRule()
COUNT = 400


def gaussian(shift: float = 0.0, scale: float = 1.0) -> list[Exhibit]:
    """Human scores around -1, synthetic ones around +1: the true LLR is twice the score. Windows score three times."""
    return [
        exhibit(scale * score + shift, system, windows=[3 * (scale * score + shift)] * 2)
        for system, mean in (("-", -1.0), ("tts:x", 1.0))
        for score in normal(COUNT, mean)
    ]


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (7.0, 1.0), (-3.0, 40.0), (0.5, 1e-3)])
def test_the_map_to_llrs_is_found_again(shift: float, scale: float) -> None:
    found = calibrate(gaussian(shift, scale), RULE)
    assert found.exhibit.slope * scale == pytest.approx(2.0, rel=0.02)
    assert found.exhibit.intercept == pytest.approx(-2.0 * shift / scale, rel=0.02, abs=0.02)
    assert found.window.slope * 3 * scale == pytest.approx(2.0, rel=0.02)
    assert found.window.intercept == pytest.approx(found.exhibit.intercept, rel=0.02, abs=0.02)
    assert found.llr_bound == pytest.approx(math.log(COUNT + 1))
    assert (found.bonafide_trials, found.spoof_trials) == (COUNT, COUNT)


def test_only_dev_counts_and_degraded_recordings_count_as_trials_but_not_for_the_bound() -> None:
    plain = gaussian()
    calibrated = calibrate(plain, RULE)
    beside = [replace(one, split="test", raw_score=-one.raw_score) for one in plain]
    beside += [replace(one, condition=LONG, raw_score=9.0) for one in plain]
    assert calibrate([*plain, *beside], RULE) == calibrated
    assert thresholds([*plain, *beside], calibrated, RULE) == thresholds(plain, calibrated, RULE)

    worse = [replace(one, condition="8khz", raw_score=one.raw_score - 1.5 * one.clip.is_spoof) for one in plain]
    rule = FinishRule(conditions=("8khz",), trials_per_system=50)
    degraded = calibrate([*plain, *worse], rule)
    assert degraded.exhibit.slope < calibrated.exhibit.slope
    assert degraded.llr_bound == calibrated.llr_bound
    assert degraded.spoof_trials == COUNT
    assert calibrated.data == "dev split: recordings as they are"
    assert degraded.data == "dev split: recordings as they are, 8khz; spoofing systems weigh alike"
    assert thresholds([*plain, *worse], calibrated, RULE) == thresholds(plain, calibrated, RULE)


@pytest.mark.parametrize(("false_alarms", "misses"), [(0.05, 0.10), (0.01, 0.02), (0.2, 0.2)])
def test_thresholds_hit_the_wanted_shares(false_alarms: float, misses: float) -> None:
    rule = FinishRule(false_alarms=false_alarms, misses=misses)
    exhibits = gaussian()
    calibration = calibrate(exhibits, rule)
    chosen = thresholds(exhibits, calibration, rule)
    llr = {
        spoof: np.array(
            [
                to_llr(e.raw_score, calibration.exhibit, calibration.llr_bound)
                for e in exhibits
                if e.clip.is_spoof == spoof
            ]
        )
        for spoof in (False, True)
    }
    flagged = np.mean(llr[False] >= chosen.spoof_threshold_llr)
    passed = np.mean(llr[True] <= chosen.bonafide_threshold_llr)
    assert flagged <= false_alarms
    assert passed <= misses
    # No 0.05 closer, the step thresholds are rounded to.
    assert np.mean(llr[False] >= chosen.spoof_threshold_llr - 0.051) > false_alarms or chosen.spoof_threshold_llr == 0
    assert np.mean(llr[True] <= chosen.bonafide_threshold_llr + 0.051) > misses or chosen.bonafide_threshold_llr == 0
    assert chosen.bonafide_threshold_llr <= 0 <= chosen.spoof_threshold_llr
    windows = np.array(
        [
            to_llr(raw, calibration.window, calibration.llr_bound)
            for raw, spoof, _ in windows_of_exhibits(exhibits)
            if not spoof
        ]
    )
    assert 0.03 < np.mean(windows >= chosen.window_threshold_llr) <= 0.05
    assert chosen.partial_threshold_llr == pytest.approx(chosen.window_threshold_llr + 0.3)
    for threshold in (chosen.spoof_threshold_llr, chosen.bonafide_threshold_llr, chosen.window_threshold_llr):
        assert threshold * 20 == pytest.approx(round(threshold * 20), abs=1e-6)


def test_what_supports_human_speech_is_never_flagged_however_well_dev_separates() -> None:
    apart = [
        exhibit(score, system) for system, mean in (("-", -9.0), ("tts:x", 9.0)) for score in normal(30, mean, 0.1)
    ]
    calibration = calibrate(apart, RULE)
    chosen = thresholds(apart, calibration, RULE)
    assert chosen.bonafide_threshold_llr == chosen.spoof_threshold_llr == chosen.window_threshold_llr == 0
    rule = FinishRule(min_window_speech_s=0.7, min_exhibit_speech_s=3.0)
    assert (thresholds(apart, calibration, rule).min_window_speech_s, rule.min_exhibit_speech_s) == (0.7, 3.0)
    assert chosen.partial_threshold_llr <= round_up(calibration.llr_bound)


@pytest.mark.parametrize(
    ("exhibits", "said"),
    [
        ([exhibit(float(n), "tts:x") for n in range(9)], "both classes"),
        ([exhibit(float(n)) for n in range(9)], "both classes"),
        ([], "both classes"),
        ([*gaussian(), exhibit(math.nan, "tts:x")], "not a finite number"),
        ([*gaussian(), exhibit(math.inf)], "not a finite number"),
        ([*gaussian(), exhibit(0.0, windows=[0.0, math.nan])], "not a finite number"),
        ([exhibit(1.0, system) for system in ("-", "tts:x") for _ in range(9)], "all scores are equal"),
        ([replace(one, raw_score=-one.raw_score) for one in gaussian()], "higher scores do not mean spoof"),
        # both classes, but one of them only under a condition
        ([replace(one, condition="8khz") if one.clip.is_spoof else one for one in gaussian()], "both classes"),
    ],
)
@pytest.mark.parametrize("trials_per_system", [None, 20])
def test_scores_that_say_nothing_make_no_model(
    exhibits: list[Exhibit], said: str, trials_per_system: int | None
) -> None:
    with pytest.raises(ModelError, match=f"no calibration can be fitted on the dev scores: .*{said}.*; no model was"):
        calibrate(exhibits, FinishRule(trials_per_system=trials_per_system))


def test_equalised_trials_are_quantiles_of_each_system() -> None:
    trials = [(float(n), True, "many") for n in range(101)] + [
        (-5.0, True, "one"),
        (2.0, False, "-"),
        (1.0, False, "-"),
    ]
    raw, spoof = equalised(trials, 5)
    assert raw.tolist() == pytest.approx([2, 1, 10, 30, 50, 70, 90, -5, -5, -5, -5, -5])
    assert spoof.tolist() == [False] * 2 + [True] * 10
    every, labels = equalised(trials, None)
    assert sorted(every) == sorted(raw for raw, _, _ in trials)
    assert labels.sum() == 102
    shuffled = [trials[at] for at in np.random.default_rng(0).permutation(len(trials))]
    assert sorted(equalised(shuffled, 5)[0]) == sorted(raw)
    assert equalised([], 5)[0].size == 0


def test_a_system_with_many_clips_does_not_set_the_calibration_alone() -> None:
    human = [exhibit(score) for score in normal(200, -1)]
    easy = [exhibit(score, "tts:easy") for score in normal(1_000, 4)]
    hard = [exhibit(score, "tts:hard") for score in normal(50, 0)]
    slopes = [
        calibrate([*human, *easy, *hard], FinishRule(trials_per_system=per_system)).exhibit.slope
        for per_system in (None, 100)
    ]
    assert slopes[1] < 0.8 * slopes[0]


@pytest.mark.parametrize(("value", "up"), [(1.0, 1.0), (1.01, 1.05), (-1.01, -1.0), (0.3, 0.3), (0.15000001, 0.2)])
def test_thresholds_are_rounded_up(value: float, up: float) -> None:
    assert round_up(value) == pytest.approx(up)


def test_what_is_calibrated_on() -> None:
    one = exhibit(1.5, "tts:x", windows=[1.0, 2.0])
    assert scored(one) == (1.5, True, "tts:x")
    assert windows_of_exhibits([one, exhibit(0.0)]) == [(1.0, True, "tts:x"), (2.0, True, "tts:x"), (0.0, False, "-")]


def test_scores_that_point_the_wrong_way_end_the_run_unless_that_is_allowed() -> None:
    backwards = gaussian(scale=-1.0)
    with pytest.raises(WrongWayModelError, match="higher scores do not mean spoof"):
        settle(backwards, RULE)
    settled = settle(backwards, FinishRule(uncalibrated="allowed", min_exhibit_speech_s=1.5))
    assert settled.calibration is None
    assert settled.decision.min_exhibit_speech_s == 1.5
    measured = settled.figures["dev"]["exhibit"]
    assert measured["eer"] == pytest.approx(0.84, abs=0.03)
    assert not {"act_dcf", "cllr"} & measured.keys()
    assert f"{100 * measured['eer']:.1f} % of {COUNT} human and {COUNT} synthetic recordings" in settled.limitations[0]


def test_what_is_allowed_calibrates_what_can_be_calibrated() -> None:
    settled = settle(gaussian(), FinishRule(uncalibrated="allowed"))
    assert settled.calibration == calibrate(gaussian(), RULE)
    assert settled.limitations == ()


def test_one_class_is_refused_whatever_is_allowed() -> None:
    with pytest.raises(ModelError, match="both classes"):
        settle(gaussian()[:COUNT], FinishRule(uncalibrated="allowed"))
