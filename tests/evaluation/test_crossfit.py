"""Calibrations by folds on scores whose right answer is known, against computations of the test's own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from spoofcheck.evaluation import metrics
from spoofcheck.evaluation.crossfit import FOLDS, Recording, cross_fit, fit, folds_of, trials_per_system
from spoofcheck.evaluation.fitting import ThresholdRule
from spoofcheck.schema import ValidityLimits
from tests.detect.test_decision import GATE
from tests.support.exhibits import normal

RULE = ThresholdRule(0.05, 0.10, 0.5, 2.0)
COUNT = 200


def recording(raw: float, system: str, source: str, distance: float | None = None) -> Recording:
    """Two windows, one half a unit above the mean and one below."""
    return Recording(system != "-", system, source, raw, distance, ((raw + 0.5, distance), (raw - 0.5, distance)))


def gaussian(count: int = COUNT, systems: Sequence[str] = ("tts:a", "tts:b"), speakers: int = 20) -> list[Recording]:
    """Human scores around -1, synthetic ones around +1, both of variance 1: the true LLR is twice the score."""
    human = [recording(raw, "-", f"h{i % speakers}") for i, raw in enumerate(normal(count, -1.0))]
    spoof = [recording(raw, systems[i % len(systems)], f"s{i % speakers}") for i, raw in enumerate(normal(count, 1.0))]
    return [*human, *spoof]


def by_newton(scores: Sequence[float], spoof: Sequence[bool]) -> tuple[float, float]:
    """Logistic regression with both classes of one weight, minimised by a general optimiser."""
    x, y = np.asarray(scores), np.asarray(spoof)
    weight = np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum())

    def loss(parameters: np.ndarray) -> float:
        logit = parameters[0] * x + parameters[1]
        return float((weight * np.logaddexp(0, np.where(y, -logit, logit))).sum())

    found = minimize(loss, np.array([1.0, 0.0]), method="BFGS", tol=1e-12)
    return float(found.x[0]), float(found.x[1])


def test_the_maps_are_those_of_a_logistic_regression() -> None:
    recordings = gaussian(systems=("tts:only",))
    calibration = fit(recordings, "mine", RULE).calibration
    labels = [each.is_spoof for each in recordings]
    slope, intercept = by_newton([each.raw_score for each in recordings], labels)
    assert calibration.exhibit.slope == pytest.approx(slope, rel=1e-3)
    assert calibration.exhibit.intercept == pytest.approx(intercept, abs=1e-3)
    assert slope == pytest.approx(2.0, abs=0.1)
    windows = [(raw, each.is_spoof) for each in recordings for raw, _ in each.windows]
    slope, intercept = by_newton([raw for raw, _ in windows], [label for _, label in windows])
    assert calibration.window.slope == pytest.approx(slope, rel=1e-3)
    assert calibration.llr_bound == pytest.approx(math.log(COUNT + 1))
    assert (calibration.bonafide_trials, calibration.spoof_trials) == (COUNT, COUNT)
    assert calibration.data == "mine"


def test_thresholds_let_pass_what_they_are_chosen_for() -> None:
    recordings = gaussian()
    fitted = fit(recordings, "mine", RULE)
    llrs = np.array([fitted.calibration.exhibit.slope * each.raw_score + fitted.calibration.exhibit.intercept
                     for each in recordings])  # fmt: skip
    spoof = np.array([each.is_spoof for each in recordings])
    decision = fitted.decision
    assert np.mean(llrs[~spoof] >= decision.spoof_threshold_llr) <= 0.05
    assert np.mean(llrs[spoof] <= decision.bonafide_threshold_llr) == pytest.approx(
        0.10, abs=0.01
    )  # quantiles of two systems
    assert decision.bonafide_threshold_llr <= 0 <= decision.spoof_threshold_llr
    assert (decision.min_window_speech_s, decision.min_exhibit_speech_s) == (0.5, 2.0)


def test_systems_weigh_alike() -> None:
    """A thousand clips of an easy system do not drown twenty of a hard one."""
    human = [recording(raw, "-", f"h{i}") for i, raw in enumerate(normal(200, -1.0))]
    easy = [recording(raw, "easy", f"e{i}") for i, raw in enumerate(normal(1_000, 6.0))]
    hard = [recording(raw, "hard", f"x{i}") for i, raw in enumerate(normal(20, 0.0))]
    together = fit([*human, *easy, *hard], "mine", RULE)
    alone = fit([*human, *easy], "mine", RULE)
    assert together.calibration.exhibit.slope < alone.calibration.exhibit.slope / 2
    assert "spoofing systems weigh alike" in together.calibration.data
    assert trials_per_system([(0.0, True, "a"), (0.0, True, "a"), (0.0, True, "b"), (0.0, False, "-")]) == 2
    assert trials_per_system([(0.0, True, "a"), (0.0, False, "-")]) is None


def test_figures_are_those_of_llrs_from_the_other_folds() -> None:
    recordings = gaussian(60)
    crossed = cross_fit(recordings, "mine", RULE)
    numbers, by_source = folds_of([each.source for each in recordings], [each.is_spoof for each in recordings])
    llrs, verdicts = [], []
    for index, each in enumerate(recordings):
        rest = fit([other for other, n in zip(recordings, numbers, strict=True) if n != numbers[index]], "", RULE)
        calibration = rest.calibration
        llr = calibration.exhibit.slope * each.raw_score + calibration.exhibit.intercept
        llrs.append(max(-calibration.llr_bound, min(calibration.llr_bound, llr)))
        assert abs(llrs[-1]) <= math.log(len(recordings) / 2 + 1)
        verdicts.append((each.is_spoof, llrs[-1] >= rest.decision.spoof_threshold_llr))
    bonafide = np.array([not each.is_spoof for each in recordings])
    scores, given_llrs = -np.array([each.raw_score for each in recordings]), -np.array(llrs)
    figure = next(each for each in crossed.figures if each.level == "exhibit")
    assert by_source
    assert crossed.by_source
    assert crossed.folds == FOLDS
    assert figure.dataset == "mine"
    assert figure.eer == pytest.approx(metrics.eer(scores, bonafide))
    assert figure.min_dcf == pytest.approx(metrics.min_dcf(scores, bonafide))
    assert figure.act_dcf == pytest.approx(metrics.act_dcf(given_llrs, bonafide))
    assert figure.cllr == pytest.approx(metrics.cllr(given_llrs, bonafide))
    assert figure.eer_low <= figure.eer <= figure.eer_high
    assert crossed.human.spoof == pytest.approx(np.mean([flagged for spoof, flagged in verdicts if not spoof]))
    assert crossed.synthetic.spoof == pytest.approx(np.mean([flagged for spoof, flagged in verdicts if spoof]))
    assert sum((crossed.human.spoof, crossed.human.inconclusive, crossed.human.bonafide)) == pytest.approx(1.0)
    windows = next(each for each in crossed.figures if each.level == "window")
    assert (windows.bonafide_trials, windows.spoof_trials) == (120, 120)


def test_what_was_not_met_is_calibrated_worse_than_what_was() -> None:
    """With 20 recordings a class and a speaker's own offset, folds by speaker cost more than figures on the fit."""
    recordings = [
        recording(raw + 2.0 * math.sin(i % 4), "-" if k == 0 else "tts:a", f"speaker{i % 4}")
        for k, mean in enumerate((-1.0, 1.0))
        for i, raw in enumerate(normal(20, mean))
    ]
    calibration = fit(recordings, "mine", RULE).calibration
    own = -np.array([calibration.exhibit.slope * each.raw_score + calibration.exhibit.intercept for each in recordings])
    bonafide = np.array([not each.is_spoof for each in recordings])
    crossed = cross_fit(recordings, "mine", RULE).figures[0]
    assert crossed.cllr > metrics.cllr(own, bonafide)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=12, max_size=80), st.randoms())
def test_folds_keep_sources_together_and_both_classes_outside(pairs: list[tuple[int, bool]], random) -> None:
    sources, spoof = [f"s{number}" for number, _ in pairs], [label for _, label in pairs]
    if min(Counter(spoof).values()) < 2 or len(set(spoof)) < 2:
        return
    numbers, by_source = folds_of(sources, spoof)
    for fold in set(numbers):
        assert len({label for number, label in zip(numbers, spoof, strict=True) if number != fold}) == 2
    if by_source:
        assert all(len({n for n, s in zip(numbers, sources, strict=True) if s == source}) == 1 for source in sources)
        order = random.sample(range(len(pairs)), len(pairs))
        shuffled, _ = folds_of([sources[i] for i in order], [spoof[i] for i in order])
        assert shuffled == [numbers[i] for i in order]


def test_folds_of_single_recordings_are_even() -> None:
    numbers, by_source = folds_of([f"r{i}" for i in range(60)], [i % 2 == 0 for i in range(60)])
    assert not by_source
    assert max(Counter(numbers).values()) - min(Counter(numbers).values()) <= 2
    # One speaker only: nothing could be left out, so recordings are dealt out singly.
    numbers, by_source = folds_of(["one"] * 60, [i % 2 == 0 for i in range(60)])
    assert not by_source
    assert set(numbers) == set(range(FOLDS))


def test_a_gate_shrinks_what_lies_far_out() -> None:
    near = gaussian(40)
    far = [recording(each.raw_score, each.system, each.source, distance=9.0) for each in near]
    crossed = cross_fit(far, "mine", RULE, GATE)
    assert crossed.figures[0].cllr == pytest.approx(1.0)
    assert crossed.human.bonafide + crossed.human.spoof + crossed.human.inconclusive == pytest.approx(1.0)
    assert crossed.figures[0].eer == cross_fit(near, "mine", RULE).figures[0].eer
    assert isinstance(GATE.exhibit, ValidityLimits)


def test_separable_data_have_finite_bounded_llrs() -> None:
    recordings = [recording(sign * (5 + i / 40), system, f"{system}{i}") for sign, system in ((-1, "-"), (1, "tts:a"))
                  for i in range(40)]  # fmt: skip
    fitted = fit(recordings, "mine", RULE)
    assert 0 < fitted.calibration.exhibit.slope < 1_000
    crossed = cross_fit(recordings, "mine", RULE)
    assert crossed.figures[0].eer == 0.0
    assert 0 < crossed.figures[0].cllr < 0.1
    assert (crossed.human.bonafide, crossed.synthetic.spoof) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ([recording(-r.raw_score, r.system, r.source) for r in gaussian(40)], "windows: slope -"),
        ([recording(1.0, r.system, r.source) for r in gaussian(40) if not r.is_spoof], "windows: calibration needs"),
    ],
)
def test_scores_without_a_calibration_are_refused(recordings: list[Recording], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(recordings, "mine", RULE)
