"""The fast bootstrap against the plain one, draw for draw, and its figures against the metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofcheck.evaluation import metrics, resampling
from spoofcheck.evaluation.resampling import RankedTrials, drawn_weights, eer_interval

PAIRS = [
    (resampling.eer, metrics.eer),
    (resampling.min_dcf, metrics.min_dcf),
    (resampling.min_dcf_multiapi, metrics.min_dcf_multiapi),
    (resampling.act_dcf, metrics.act_dcf),
    (resampling.cllr, metrics.cllr),
]


@pytest.mark.parametrize(("fast", "plain"), PAIRS, ids=lambda f: f.__name__)
@settings(max_examples=60, deadline=None)
@given(
    trials=st.lists(st.tuples(st.integers(-4, 4), st.booleans(), st.integers(1, 3)), min_size=2, max_size=25).filter(
        lambda trials: len({bonafide for _, bonafide, _ in trials}) == 2
    )
)
def test_weights_mean_how_often_a_trial_is_there(fast, plain, trials) -> None:
    scores = np.array([score / 3 for score, _, _ in trials])
    bonafide = np.array([label for _, label, _ in trials])
    weights = np.array([times for _, _, times in trials])
    expected = plain(np.repeat(scores, weights), np.repeat(bonafide, weights))
    assert fast(RankedTrials(scores, bonafide), weights) == pytest.approx(expected, abs=1e-12)


def test_a_trial_that_was_not_drawn_counts_for_nothing() -> None:
    scores, bonafide = np.array([0.0, 1.0, 2.0, 9.0]), np.array([False, True, False, False])
    ranked = RankedTrials(scores, bonafide)
    weights = np.array([1, 1, 1, 0])
    for fast, plain in PAIRS:
        assert fast(ranked, weights) == pytest.approx(plain(scores[:3], bonafide[:3]))


@pytest.mark.parametrize("kind", ["apart", "mixed", "single"])
def test_the_interval_is_that_of_the_plain_bootstrap(kind: str) -> None:
    rng = np.random.default_rng(3)
    scores, bonafide = rng.normal(size=120), np.arange(120) % 3 == 0
    scores[bonafide] += 1
    groups = {"apart": np.arange(120) % 30, "mixed": np.arange(120) // 10, "single": np.arange(120)}[kind]
    names = [f"s{group}" for group in groups]
    interval = eer_interval(scores, bonafide, names, draws=50, seed=7)
    assert interval is not None
    expected = metrics.bootstrap_interval(scores, bonafide, names, draws=50, seed=7)
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)


def test_whole_sources_are_drawn_and_both_classes_are_there() -> None:
    bonafide = np.array([True, True, False, False, True, False])
    sources = ["a", "a", "b", "b", "c", "d"]
    for weights in drawn_weights(sources, bonafide, draws=30, seed=0):
        assert weights[0] == weights[1]
        assert weights[2] == weights[3]
        assert weights[0] + weights[4] == 2, "two human sources are drawn"
        assert weights[2] + weights[5] == 2


def test_too_few_sources_give_no_interval() -> None:
    bonafide = np.arange(40) % 2 == 0
    scores = np.arange(40.0)
    assert eer_interval(scores, bonafide, [f"s{i % 8}" for i in range(40)], draws=10, seed=0) is None
    assert eer_interval(scores, bonafide, [f"s{i % 10}" for i in range(40)], draws=10, seed=0) is not None
    assert eer_interval(scores, bonafide, [f"s{i % 10}" for i in range(40)], draws=0, seed=0) is None
