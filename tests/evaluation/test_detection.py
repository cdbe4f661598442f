"""Figures of a detector from its trials: the challenge's own values, the parts, the fixed threshold, the caveats."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spoofcheck.errors import UsageError
from spoofcheck.evalschema import Detection
from spoofcheck.evaluation import metrics
from spoofcheck.evaluation.curves import MOST_POINTS, detection_plots
from spoofcheck.evaluation.detection import DetectionOptions, FixedThreshold, fixed_threshold, measure_detection
from spoofcheck.evaluation.scorefiles import ScoredTrial, read_scores
from tests.support.trials import make_trials

SHARED = Path("/work/shared/corpus")
TRIALS = make_trials()
FEW = DetectionOptions(draws=20)


def arrays(trials: list[ScoredTrial]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([t.score for t in trials]), np.array([t.bonafide for t in trials])


def codes(trials: list[ScoredTrial], options: DetectionOptions) -> set[str]:
    return {caveat.code for caveat in measure_detection(trials, options)[1]}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the challenge's scores are not on this machine")
def test_the_challenge_package_agrees() -> None:
    expected = json.loads((SHARED / "asvspoof5-expected.json").read_bytes())
    detection, _ = measure_detection(read_scores(SHARED / "asvspoof5-scores.tsv"), DetectionOptions(draws=0))
    overall = detection.overall
    assert (overall.bonafide_trials, overall.spoof_trials) == (expected["bonafide"], expected["spoof"])
    for figure in ("eer", "min_dcf", "act_dcf", "cllr"):
        assert getattr(overall, figure) == pytest.approx(expected[figure], abs=1e-9), figure


def test_a_system_stands_against_all_human_trials() -> None:
    detection, _ = measure_detection(TRIALS, FEW)
    by_name = {group.name: group.rates for group in detection.by_system}
    assert list(by_name) == ["A", "B"]
    part = [t for t in TRIALS if t.bonafide or t.system == "A"]
    assert by_name["A"].eer == metrics.eer(*arrays(part))
    assert (by_name["A"].bonafide_trials, by_name["A"].spoof_trials) == (100, 50)
    assert {g.name: g.rates.eer for g in detection.without_system}["B"] == by_name["A"].eer
    assert detection.overall.eer_interval is not None
    assert detection.overall.eer_interval.low <= detection.overall.eer <= detection.overall.eer_interval.high


def test_parts_by_training_and_language() -> None:
    detection, _ = measure_detection(TRIALS, replace(FEW, seen_systems=frozenset({"B", "other"})))
    seen, unseen = detection.by_seen
    assert (seen.name, unseen.name) == ("seen", "unseen")
    assert seen.rates.eer == metrics.eer(*arrays([t for t in TRIALS if t.bonafide or t.system == "B"]))
    assert unseen.rates.spoof_trials == 50
    assert [group.name for group in detection.by_language] == ["de", "en"]
    assert detection.by_language[0].rates.bonafide_trials == 50
    assert detection.by_codec == ()


def test_the_threshold_is_fixed_on_other_data() -> None:
    dev = make_trials(seed=1)
    threshold = fixed_threshold(dev, "dev")
    miss, false_accept = metrics.error_rates(*arrays(dev), threshold.score)
    assert (miss + false_accept) / 2 == pytest.approx(metrics.eer(*arrays(dev)))
    detection, caveats = measure_detection(TRIALS, replace(FEW, threshold=threshold))
    transfer = detection.transfer
    assert transfer is not None
    assert (transfer.fpr, transfer.fnr) == metrics.error_rates(*arrays(TRIALS), threshold.score)
    assert transfer.hter == (transfer.fpr + transfer.fnr) / 2
    assert transfer.fixed_on == "dev"
    assert all(group.transfer is not None for group in detection.by_system)
    assert "no-fixed-threshold" not in {caveat.code for caveat in caveats}


@pytest.mark.parametrize("scores", [(0.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 1.0)], ids=["constant", "upside down"])
def test_the_worst_dev_scores_still_fix_a_number(scores: tuple[float, ...]) -> None:
    dev = [ScoredTrial(f"{i}", i % 2 == 0, score) for i, score in enumerate(scores)]
    assert fixed_threshold(dev, "dev").score in scores


def test_scores_that_are_no_llrs_have_no_actual_cost() -> None:
    detection, _ = measure_detection(TRIALS, replace(FEW, scores_are_llrs=False))
    overall = detection.overall
    assert (overall.act_dcf, overall.cllr) == (None, None)
    assert overall.cllr_min is not None
    assert (detection.plots.tippett_bonafide, detection.plots.reliability) == (None, None)
    assert "scores-are-no-llrs" in codes(TRIALS, replace(FEW, scores_are_llrs=False))


def test_multiapi_costs_are_the_papers() -> None:
    detection, _ = measure_detection(TRIALS, replace(FEW, metrics="multiapi"))
    assert detection.metrics == "multiapi"
    assert detection.overall.min_dcf == metrics.min_dcf_multiapi(*arrays(TRIALS))
    assert detection.overall.act_dcf == metrics.act_dcf_multiapi(*arrays(TRIALS))
    assert "multiapi-metrics" in codes(TRIALS, replace(FEW, metrics="multiapi"))


def test_constant_scores_are_a_coin() -> None:
    constant = [replace(t, score=1.25) for t in TRIALS]
    detection, _ = measure_detection(constant, FEW)
    assert detection.overall.eer == 0.5
    assert detection.overall.min_dcf == 1.0
    assert Detection.model_validate_json(detection.model_dump_json()) == detection


def test_one_class_is_refused() -> None:
    with pytest.raises(UsageError, match="both classes"):
        measure_detection([t for t in TRIALS if t.bonafide], FEW)


def test_what_a_reader_must_know() -> None:
    assert codes(TRIALS, FEW) == {"no-fixed-threshold"}
    anonymous = [replace(t, source=t.name) for t in TRIALS]
    assert codes(anonymous, replace(FEW, threshold=FixedThreshold(0.0, "x"))) == {"sources-unknown"}
    assert "too-few-sources" in codes(make_trials(sources=3), FEW)
    one_sided = [replace(t, language="fr") if i == 0 else t for i, t in enumerate(TRIALS)]
    assert "one-class-parts" in codes(one_sided, FEW)


def test_curves_are_short_and_whole() -> None:
    rng = np.random.default_rng(0)
    bonafide = np.arange(5_000) % 2 == 0
    scores = rng.normal(size=5_000) + bonafide * 2.0
    plots = detection_plots(scores, bonafide, scores_are_llrs=True)
    assert len(plots.det.x) == len(plots.det.y) <= MOST_POINTS
    assert (plots.det.x[0], plots.det.y[0], plots.det.x[-1], plots.det.y[-1]) == (1.0, 0.0, 0.0, 1.0)
    curve = metrics.det_curve(scores, bonafide)
    assert set(zip(plots.det.x, plots.det.y, strict=True)) <= set(zip(curve.false_accept, curve.miss, strict=True))
    eer = metrics.eer(scores, bonafide)
    thinned = min(max(x, y) for x, y in zip(plots.det.x, plots.det.y, strict=True))
    assert thinned == pytest.approx(eer, abs=0.01), "the curve is dense where it matters"
    assert sum(plots.histogram_bonafide) == sum(plots.histogram_spoof) == 2_500
    assert len(plots.histogram_edges) == len(plots.histogram_spoof) + 1


def test_tippett_starts_at_all_and_falls() -> None:
    plots = measure_detection(TRIALS, FEW)[0].plots
    for curve in (plots.tippett_bonafide, plots.tippett_spoof):
        assert curve is not None
        assert curve.y[0] == 1.0
        assert all(a >= b for a, b in zip(curve.y, curve.y[1:], strict=False))


def test_calibrated_scores_lie_on_the_diagonal() -> None:
    """Scores that ARE the LLRs of two Gaussians, with classes of very different size."""
    trials = [t for i, t in enumerate(make_trials(40_000)) if t.bonafide or i % 10 == 1]
    reliability = measure_detection(trials, DetectionOptions(draws=0))[0].plots.reliability
    assert reliability is not None
    assert len(reliability.x) > 10
    assert reliability.y == pytest.approx(reliability.x, abs=0.05)
    overconfident = [replace(t, score=5 * t.score) for t in trials]
    bent = measure_detection(overconfident, DetectionOptions(draws=0))[0].plots.reliability
    assert bent is not None
    assert max(abs(x - y) for x, y in zip(bent.x, bent.y, strict=True)) > 0.15
