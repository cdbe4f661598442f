"""The figures against the published evaluation package's, and against brute force from the definitions."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spoofcheck.evaluation import metrics

SHARED = Path(__file__).resolve().parents[3] / "shared" / "corpus"

SCORES = [2.5, 0.5, 1.5, -0.5, 0.5, -1.0, 3.0, -3.0, -2.0, -0.5, 1.5, -4.0, -2.0, -1.0, -0.7, 0.5]
LABELS = [True] * 7 + [False] * 9


def brute_points(scores: list[float], labels: list[bool]) -> list[tuple[float, Fraction, Fraction]]:
    """(threshold, miss, false accept) at every threshold between and beyond the distinct scores."""
    bonafide = [s for s, label in zip(scores, labels, strict=True) if label]
    spoof = [s for s, label in zip(scores, labels, strict=True) if not label]
    return [
        (
            t,
            Fraction(sum(s < t for s in bonafide), len(bonafide)),
            Fraction(sum(s >= t for s in spoof), len(spoof)),
        )
        for t in [*sorted(set(scores)), math.inf]
    ]


def brute_eer(scores: list[float], labels: list[bool]) -> float:
    _, miss, accept = min(brute_points(scores, labels), key=lambda point: abs(point[1] - point[2]))
    return float(miss + accept) / 2


def brute_min_dcf(scores: list[float], labels: list[bool]) -> float:
    return min(float(0.95 * miss + 0.5 * accept) / 0.5 for _, miss, accept in brute_points(scores, labels))


def brute_act_dcf(scores: list[float], labels: list[bool]) -> float:
    threshold = -math.log(1.9)
    bonafide = [s for s, label in zip(scores, labels, strict=True) if label]
    spoof = [s for s, label in zip(scores, labels, strict=True) if not label]
    miss = sum(s < threshold for s in bonafide) / len(bonafide)
    accept = sum(s >= threshold for s in spoof) / len(spoof)
    return (0.95 * miss + 0.5 * accept) / 0.5


def brute_cllr(scores: list[float], labels: list[bool]) -> float:
    def mean_bits(terms: list[float]) -> float:
        return sum(math.log2(1 + math.exp(t)) for t in terms) / len(terms)

    return (
        mean_bits([-s for s, label in zip(scores, labels, strict=True) if label])
        + mean_bits([s for s, label in zip(scores, labels, strict=True) if not label])
    ) / 2


def brute_cllr_min(scores: list[float], labels: list[bool]) -> float:
    """Pool adjacent violators by hand: blocks of (bona fide, spoof) counts over distinct scores."""
    blocks: list[list[int]] = []
    for score in sorted(set(scores)):
        here = [label for s, label in zip(scores, labels, strict=True) if s == score]
        blocks.append([sum(here), len(here) - sum(here)])
        while len(blocks) > 1 and blocks[-2][0] * sum(blocks[-1]) >= blocks[-1][0] * sum(blocks[-2]):
            bonafide, spoof = blocks.pop()
            blocks[-1][0] += bonafide
            blocks[-1][1] += spoof
    n_bonafide, n_spoof = sum(labels), len(labels) - sum(labels)
    bits = 0.0
    for bonafide, spoof in blocks:
        if bonafide and spoof:
            ratio = (bonafide / n_bonafide) / (spoof / n_spoof)
            bits += bonafide / n_bonafide * math.log2(1 + 1 / ratio) + spoof / n_spoof * math.log2(1 + ratio)
    return bits / 2


BRUTE: list[tuple[Callable[..., float], Callable[..., float]]] = [
    (metrics.eer, brute_eer),
    (metrics.min_dcf, brute_min_dcf),
    (metrics.act_dcf, brute_act_dcf),
    (metrics.cllr, brute_cllr),
    (metrics.cllr_min, brute_cllr_min),
]

trials = st.lists(st.tuples(st.integers(-12, 12).map(lambda i: i / 4), st.booleans()), min_size=2, max_size=40).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)


@pytest.mark.parametrize(("fast", "brute"), BRUTE)
def test_small_table(fast: Callable[..., float], brute: Callable[..., float]) -> None:
    assert fast(SCORES, LABELS) == pytest.approx(brute(SCORES, LABELS), abs=1e-12)


@pytest.mark.parametrize(("fast", "brute"), BRUTE)
@settings(max_examples=60, deadline=None)
@given(pairs=trials)
def test_any_table_with_ties(
    fast: Callable[..., float], brute: Callable[..., float], pairs: list[tuple[float, bool]]
) -> None:
    scores, labels = [s for s, _ in pairs], [label for _, label in pairs]
    assert fast(scores, labels) == pytest.approx(brute(scores, labels), abs=1e-9)


def test_values_worked_out_by_hand() -> None:
    # Bona fide 1, 3, 4; spoof 0, 2. At threshold 2 one of three is missed, one of two accepted.
    scores, labels = [1.0, 3.0, 4.0, 0.0, 2.0], [True, True, True, False, False]
    assert metrics.eer(scores, labels) == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert metrics.eer_and_threshold(scores, labels)[1] == 2.0
    # At threshold 3: miss 1/3, no false accept: 0.95 / 3 / 0.5. At 1: no miss, half accepted: 0.5.
    assert metrics.min_dcf(scores, labels) == pytest.approx(0.5)
    assert metrics.cllr([0.0, 0.0], [True, False]) == pytest.approx(1.0)
    assert metrics.cllr([math.log(3), -math.log(3)], [True, False]) == pytest.approx(math.log2(4 / 3))
    assert metrics.half_total_error_rate(scores, labels, 2.5) == pytest.approx(1 / 6)
    assert metrics.error_rates(scores, labels, 2.0) == pytest.approx((1 / 3, 1 / 2))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared score table is not beside this checkout")
def test_equals_the_asvspoof5_evaluation_package() -> None:
    expected = json.loads((SHARED / "asvspoof5-expected.json").read_text())
    with (SHARED / "asvspoof5-scores.tsv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    scores = [float(row["cm-score"]) for row in rows]
    labels = [row["cm-label"] == "bonafide" for row in rows]
    assert (sum(labels), len(labels) - sum(labels)) == (expected["bonafide"], expected["spoof"])
    for name in ("eer", "min_dcf", "act_dcf", "cllr"):
        assert getattr(metrics, name)(scores, labels) == pytest.approx(expected[name], abs=1e-9), name
    assert 0 < metrics.cllr_min(scores, labels) < metrics.cllr(scores, labels)


@pytest.mark.parametrize("constant", [0.0, 7.0, -7.0])
def test_constant_scores_say_nothing(constant: float) -> None:
    scores, labels = [constant] * 5, [True, True, True, False, False]
    assert metrics.eer(scores, labels) == 0.5
    assert metrics.min_dcf(scores, labels) == 1.0
    assert metrics.cllr_min(scores, labels) == pytest.approx(1.0)


def test_perfect_and_inverted_scores() -> None:
    labels = [True, True, False, False]
    assert metrics.eer([2.0, 1.0, -1.0, -2.0], labels) == 0.0
    assert metrics.min_dcf([2.0, 1.0, -1.0, -2.0], labels) == 0.0
    assert metrics.cllr_min([2.0, 1.0, -1.0, -2.0], labels) == 0.0
    assert metrics.eer([-2.0, -1.0, 1.0, 2.0], labels) == 1.0
    assert metrics.min_dcf([-2.0, -1.0, 1.0, 2.0], labels) == 1.0


def test_huge_llrs_do_not_overflow() -> None:
    assert metrics.cllr([1e6, -1e6], [True, False]) == 0.0
    assert metrics.cllr([-1e6, 1e6], [True, False]) == pytest.approx(1e6 / math.log(2))


@settings(max_examples=60, deadline=None)
@given(pairs=trials)
def test_order_and_monotone_maps_change_nothing(pairs: list[tuple[float, bool]]) -> None:
    scores, labels = np.array([s for s, _ in pairs]), np.array([label for _, label in pairs])
    for figure in (metrics.eer, metrics.min_dcf, metrics.cllr_min):
        value = figure(scores, labels)
        assert figure(scores[::-1], labels[::-1]) == pytest.approx(value, abs=1e-12)
        assert figure(np.exp(scores) + 3, labels) == pytest.approx(value, abs=1e-12)
    assert metrics.min_dcf(scores, labels) <= metrics.act_dcf(scores, labels) + 1e-12
    assert metrics.cllr_min(scores, labels) <= metrics.cllr(scores, labels) + 1e-12


def test_det_curve_runs_from_accepting_all_to_rejecting_all() -> None:
    curve = metrics.det_curve(SCORES, LABELS)
    assert (curve.miss[0], curve.false_accept[0]) == (0.0, 1.0)
    assert (curve.miss[-1], curve.false_accept[-1]) == (1.0, 0.0)
    assert curve.thresholds.tolist() == [*sorted(set(SCORES)), math.inf]
    points = brute_points(SCORES, LABELS)
    assert curve.miss.tolist() == pytest.approx([float(miss) for _, miss, _ in points])
    assert curve.false_accept.tolist() == pytest.approx([float(accept) for _, _, accept in points])


def test_multiapi_figures_are_not_normalised_and_never_reject_all() -> None:
    points = brute_points(SCORES, LABELS)[:-1]
    assert metrics.min_dcf_multiapi(SCORES, LABELS) == pytest.approx(
        min(float(0.95 * miss + 0.5 * accept) for _, miss, accept in points)
    )
    _, miss, accept = min(brute_points(SCORES, LABELS), key=lambda point: abs(point[1] - point[2]))
    assert metrics.act_dcf_multiapi(SCORES, LABELS) == pytest.approx(float(0.95 * miss + 0.5 * accept))
    # Worse than chance: rejecting everything would cost 0.95, accepting everything costs 0.5.
    inverted = [-2.0, -1.0, 1.0, 2.0]
    assert metrics.min_dcf_multiapi(inverted, [True, True, False, False]) == 0.5


FIGURES: list[Callable[..., object]] = [
    metrics.det_curve,
    metrics.eer,
    metrics.min_dcf,
    metrics.act_dcf,
    metrics.cllr,
    metrics.cllr_min,
    metrics.min_dcf_multiapi,
    metrics.act_dcf_multiapi,
]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.0, math.nan, 1.0], [True, False, True], "score 1 is nan"),
        ([0.0, 1.0, -math.inf], [True, False, True], "score 2 is -inf"),
        ([0.0, 1.0], [True, True], "2 bona fide, 0 spoof"),
        ([0.0, 1.0], [False, False], "0 bona fide, 2 spoof"),
        ([0.0, 1.0], [True], "one length"),
        ([[0.0, 1.0]], [[True, False]], "one length"),
        ([], [], "booleans|both classes"),
        ([0.0, 1.0], [1, 0], "booleans"),
        ([0.0, 1.0], ["bonafide", "spoof"], "booleans"),
    ],
)
def test_refuses_what_has_no_figure(
    figure: Callable[..., object], scores: list[float], labels: list[bool], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        figure(scores, labels)


def grouped(seed: int, speakers: int = 30) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.str_]]:
    """Trials of speakers who each have their own offset, so that trials of a speaker resemble each other."""
    rng = np.random.default_rng(seed)
    scores, labels, names = [], [], []
    for speaker in range(speakers):
        bonafide = speaker % 2 == 0
        centre = (1.0 if bonafide else -1.0) + rng.normal()
        for _ in range(10):
            scores.append(centre + 0.1 * rng.normal())
            labels.append(bonafide)
            names.append(f"speaker {speaker}")
    return np.array(scores), np.array(labels), np.array(names)


def test_interval_holds_the_figure_and_repeats() -> None:
    scores, labels, names = grouped(0)
    low, high = metrics.bootstrap_interval(scores, labels, names, draws=200, seed=1)
    assert 0 <= low < metrics.eer(scores, labels) < high <= 1
    assert metrics.bootstrap_interval(scores, labels, names, draws=200, seed=1) == (low, high)
    assert metrics.bootstrap_interval(scores, labels, names, draws=200, seed=2) != (low, high)


def test_drawing_speakers_gives_a_wider_interval_than_drawing_trials() -> None:
    scores, labels, names = grouped(0)
    by_speaker = metrics.bootstrap_interval(scores, labels, names, draws=200)
    by_trial = metrics.bootstrap_interval(scores, labels, np.arange(len(scores)), draws=200)
    assert by_speaker[1] - by_speaker[0] > 1.5 * (by_trial[1] - by_trial[0])


def test_interval_covers_the_true_rate_about_as_often_as_it_says() -> None:
    truth = metrics.eer(*grouped(10_000, speakers=2_000)[:2])
    intervals = [metrics.bootstrap_interval(*grouped(seed), draws=100, confidence=0.8) for seed in range(40)]
    covered = sum(low <= truth <= high for low, high in intervals)
    # Binomial(40, 0.8) lies within 25..38 but for 2 in 1,000 cases; percentile intervals are a little narrow.
    assert 25 <= covered <= 38


def test_groups_of_both_classes_stay_whole() -> None:
    seen: list[tuple[int, int]] = []

    def count(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
        seen.append((int(labels.sum()), int((~labels).sum())))
        return 0.0

    scores = np.arange(12.0)
    labels = np.array([True, False] * 4 + [True, True, False, False])
    names = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "f", "g", "h"]
    metrics.bootstrap_interval(scores, labels, names, count, draws=20)
    assert set(seen) == {(6, 6)}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b", "c"], "groups of shape"),
        (["a", "a", "b", "c"], "at least two groups of each class"),
    ],
)
def test_refuses_groups_that_give_no_interval(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap_interval([1.0, 2.0, 3.0, 4.0], [True, True, False, False], names)


@pytest.mark.parametrize("arguments", [{"draws": 0}, {"confidence": 1.0}])
def test_refuses_no_draws(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="make no interval"):
        metrics.bootstrap_interval(SCORES, LABELS, range(len(SCORES)), **arguments)  # type: ignore[arg-type]
