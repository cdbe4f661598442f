"""A tracer's figures against scikit-learn, against figures worked out by hand, and at their edges."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.tracing import (
    MAX_MAP_POINTS,
    draw_evenly,
    embedding_map,
    open_set_figures,
    tracing_figures,
)
from spoofcheck.nets.config import UNSEEN

CLASSES = ("vits", "tacotron", "bark")
NAMES = (*CLASSES, UNSEEN)


def random_trials(seed: int, trials: int = 200, ties: bool = False) -> tuple[list[str], np.ndarray]:
    """Truths and probabilities that lean towards the truth; coarse ones tie often."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(len(NAMES), size=trials)
    logits = generator.normal(size=(trials, len(CLASSES)))
    seen = truth < len(CLASSES)
    logits[np.flatnonzero(seen), truth[seen]] += 1.5
    if ties:
        logits = np.round(logits)
    values = np.exp(logits)
    return [NAMES[i] for i in truth], values / values.sum(axis=1, keepdims=True)


def decided(probabilities: np.ndarray, threshold: float) -> list[str]:
    """The published rule, written once more."""
    return [UNSEEN if max(row) < threshold else CLASSES[list(row).index(max(row))] for row in probabilities]


@pytest.mark.parametrize("seed", range(4))
def test_precision_recall_and_f1_are_those_of_scikit_learn(seed: int) -> None:
    truths, probabilities = random_trials(seed)
    figures = tracing_figures(truths, probabilities, CLASSES, 0.5)
    decisions = decided(probabilities, 0.5)
    assert UNSEEN in decisions

    def oracle(truths: list[str], decisions: list[str], **options: object) -> list[object]:
        return sk.precision_recall_fscore_support(truths, decisions, zero_division=0, **options)

    each = np.array(oracle(truths, decisions, labels=list(NAMES))).T
    for row, (precision, recall, f1, trials) in zip(figures.classes, each, strict=True):
        assert (row.precision, row.recall, row.f1, row.trials) == pytest.approx((precision, recall, f1, trials))
    assert figures.classes[-1] == figures.unseen

    overall = oracle(truths, decisions, average="macro")[:3]
    assert [figures.overall.precision, figures.overall.recall, figures.overall.f1] == pytest.approx(overall)
    seen = [(truth, decision) for truth, decision in zip(truths, decisions, strict=True) if truth != UNSEEN]
    of_seen = oracle(*map(list, zip(*seen, strict=True)), labels=list(CLASSES), average="macro")[:3]
    assert [figures.seen.precision, figures.seen.recall, figures.seen.f1] == pytest.approx(of_seen)
    assert figures.accuracy == pytest.approx(sk.accuracy_score(truths, decisions))
    assert np.array_equal(figures.confusion, sk.confusion_matrix(truths, decisions, labels=list(NAMES)))
    assert figures.seen.trials + figures.unseen.trials == figures.overall.trials == len(truths)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_auroc_is_that_of_scikit_learn(seed: int, ties: bool) -> None:
    truths, probabilities = random_trials(seed, ties=ties)
    figures = tracing_figures(truths, probabilities, CLASSES, 0.5)
    assert figures.open_set is not None
    is_seen = [truth != UNSEEN for truth in truths]
    assert figures.open_set.auroc == pytest.approx(sk.roc_auc_score(is_seen, probabilities.max(axis=1)))


def oscr_by_drawing(confidence: list[float], is_seen: list[bool], is_right: list[bool]) -> float:
    """The area under the drawn curve: one point per distinct threshold, straight lines in between."""
    seen, unseen = sum(is_seen), len(is_seen) - sum(is_seen)
    trials = list(zip(confidence, is_seen, is_right, strict=True))
    points = [(0.0, 0.0)]
    for threshold in sorted(set(confidence), reverse=True):
        accepted = [(s, r) for c, s, r in trials if c >= threshold]
        points.append((sum(not s for s, _ in accepted) / unseen, sum(s and r for s, r in accepted) / seen))
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in itertools.pairwise(points))


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.booleans()), min_size=2, max_size=40).filter(
        lambda trials: len({seen for _, seen, _ in trials}) == 2
    )
)
@settings(deadline=None, max_examples=100, derandomize=True)
def test_oscr_is_the_area_under_the_drawn_curve_and_never_above_auroc(trials: list[tuple[int, bool, bool]]) -> None:
    confidence, is_seen, is_right = (list(column) for column in zip(*trials, strict=True))
    figures = open_set_figures(confidence, is_seen, is_right)
    assert figures is not None
    assert figures.oscr == pytest.approx(oscr_by_drawing(confidence, is_seen, is_right))
    assert figures.oscr <= figures.auroc + 1e-12


def test_the_open_set_figures_worked_out_by_hand() -> None:
    # Seen, falling: 0.9 right, 0.8 wrong, 0.6 right, 0.4 right; unseen 0.7, 0.4.
    confidence, is_seen = [0.9, 0.8, 0.6, 0.4, 0.7, 0.4], [True] * 4 + [False] * 2
    figures = open_set_figures(confidence, is_seen, [True, False, True, True, False, False])
    assert figures is not None
    # Pairs won: 2 + 2 + 1 + half of one, of 8.
    assert figures.auroc == pytest.approx(5.5 / 8)
    # CCR over FPR: (0, 1/4) to 0.7, (1/2, 1/4), then 0.6: (1/2, 2/4), then 0.4, tied: (1, 3/4).
    assert figures.oscr == pytest.approx(0.5 * 0.25 + 0.5 * (0.5 + 0.75) / 2)
    # 95 % of four is all four: the threshold is 0.4, which both unseen trials reach.
    assert figures.fpr95 == 1.0


def test_fpr95_takes_a_threshold_that_exists_and_keeps_ties_together() -> None:
    seen = np.linspace(0.5, 0.98, 20)  # 19 of 20 are 95 %: the second lowest is the threshold
    unseen = np.array([seen[1] - 1e-9, seen[1], 0.9, 0.1])
    is_seen = np.arange(24) < 20
    figures = open_set_figures(np.concatenate([seen, unseen]), is_seen, is_seen)
    assert figures is not None
    assert figures.fpr95 == 0.5
    # One more seen trial and 95 % are 19.95: all but one are still enough, 20 of 21.
    more = open_set_figures(np.concatenate([[0.2], seen, unseen]), np.arange(25) < 21, np.arange(25) < 21)
    assert more is not None
    assert more.fpr95 == 0.75, "the threshold is now the lowest of the twenty"


def test_the_published_rule_worked_out_on_an_example() -> None:
    probabilities = [
        [0.70, 0.20, 0.10],  # vits, rightly
        [0.50, 0.30, 0.20],  # vits: 0.5 is not below 0.5
        [0.49, 0.31, 0.20],  # rejected, though vits
        [0.10, 0.80, 0.10],  # tacotron, but unseen in truth
        [0.40, 0.30, 0.30],  # unseen, rightly
    ]
    figures = tracing_figures(["vits", "vits", "vits", "some-new-tts", UNSEEN], probabilities, CLASSES, 0.5)
    assert figures.rule == "unseen when the largest softmax probability is below 0.5"
    assert figures.confusion == ((2, 0, 0, 1), (0, 0, 0, 0), (0, 0, 0, 0), (0, 1, 0, 1))
    vits, tacotron, bark, unseen = figures.classes
    assert (vits.precision, vits.recall, vits.f1) == pytest.approx((1, 2 / 3, 0.8))
    assert (tacotron.trials, tacotron.precision, tacotron.recall, tacotron.f1) == (0, 0, 0, 0)
    assert (bark.trials, bark.f1) == (0, 0)
    assert (unseen.precision, unseen.recall, unseen.f1) == (0.5, 0.5, 0.5)
    # Among seen trials only vits occurs; overall vits, tacotron (decided once) and unseen do.
    assert (figures.seen.precision, figures.seen.recall, figures.seen.trials) == pytest.approx((1, 2 / 3, 3))
    assert figures.overall.f1 == pytest.approx((0.8 + 0 + 0.5) / 3)
    assert figures.accuracy == 3 / 5


def test_without_unseen_or_without_seen_trials_there_is_no_open_set_figure() -> None:
    probabilities = [[0.8, 0.1, 0.1], [0.2, 0.4, 0.4]]
    seen_only = tracing_figures(["vits", "bark"], probabilities, CLASSES, 0.5)
    assert seen_only.open_set is None
    assert (seen_only.unseen.trials, seen_only.unseen.precision, seen_only.unseen.recall) == (0, 0, 0)
    unseen_only = tracing_figures([UNSEEN, "x"], probabilities, CLASSES, 0.5)
    assert unseen_only.open_set is None
    assert (unseen_only.seen.trials, unseen_only.seen.f1) == (0, 0)
    assert unseen_only.accuracy == 0.5


def test_one_class_is_never_unsure_and_constant_confidence_is_chance() -> None:
    figures = tracing_figures(["a", "a", "b", "c"], np.ones((4, 1)), ("a",), 0.5)
    assert figures.open_set is not None
    assert figures.open_set.auroc == 0.5
    assert figures.open_set.fpr95 == 1.0
    assert figures.open_set.oscr == 0.5, "all seen trials are rightly classified: as AUROC"
    assert figures.accuracy == 0.5
    assert figures.unseen.recall == 0


def test_tied_classes_go_to_the_first_enrolled() -> None:
    figures = tracing_figures(["bark"], [[0.2, 0.4, 0.4]], CLASSES, 0.4)
    assert figures.confusion[2] == (0, 1, 0, 0)


def test_the_accuracy_has_an_interval_over_sources() -> None:
    truths, probabilities = random_trials(5)
    few = tracing_figures(truths, probabilities, CLASSES, 0.5, [str(i // 50) for i in range(200)], draws=300)
    many = tracing_figures(truths, probabilities, CLASSES, 0.5, [str(i) for i in range(200)], draws=300)
    again = tracing_figures(truths, probabilities, CLASSES, 0.5, [str(i) for i in range(200)], draws=300)
    assert few.accuracy_interval is not None
    assert many.accuracy_interval is not None
    assert many.accuracy_interval == again.accuracy_interval
    assert many.accuracy_interval.low < many.accuracy < many.accuracy_interval.high
    half = (many.accuracy * (1 - many.accuracy) / 200) ** 0.5 * 1.96
    assert many.accuracy_interval.high - many.accuracy == pytest.approx(half, rel=0.3)
    one = tracing_figures(truths, probabilities, CLASSES, 0.5, ["same"] * 200)
    assert one.accuracy_interval is None
    assert tracing_figures(truths, probabilities, CLASSES, 0.5).accuracy_interval is None


@pytest.mark.parametrize(
    ("truths", "probabilities", "classes", "message"),
    [
        ([], np.zeros((0, 2)), ("a", "b"), "N above 0"),
        (["a"], [[0.5, 0.5]], ("a", "a"), "must be there, differ"),
        (["a"], [[0.5, 0.5]], ("a", "unseen"), "not be called 'unseen'"),
        (["a"], [[1.0]], (), "must be there"),
        (["a", "b"], [[0.5, 0.5]], ("a", "b"), "2 truths, but probabilities of 1"),
        (["a"], [[0.5, 0.4, 0.1]], ("a", "b"), "expected [N, 2]"),
        (["a", "b"], [[0.5, 0.5], [np.nan, 1.0]], ("a", "b"), "trial 1: "),
        (["a", "b"], [[0.5, 0.6], [0.5, 0.5]], ("a", "b"), "trial 0: "),
        (["a"], [[1.5, -0.5]], ("a", "b"), "trial 0: "),
        (["a"], [[np.inf, -np.inf]], ("a", "b"), "trial 0: "),
    ],
)
def test_what_is_no_probability_is_refused(
    truths: list[str], probabilities: object, classes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        tracing_figures(truths, probabilities, classes, 0.5)


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 groups, but 2 trials"):
        tracing_figures(["a", "b"], [[0.5, 0.5], [0.5, 0.5]], ("a", "b"), 0.5, ["x"])


def clusters(trials: int) -> tuple[np.ndarray, list[str]]:
    generator = np.random.default_rng(0)
    classes = [CLASSES[i % 3] for i in range(trials)]
    centres = {name: generator.normal(size=8) * 20 for name in CLASSES}
    return np.stack([centres[name] for name in classes]) + generator.normal(size=(trials, 8)), classes


def test_the_map_is_the_same_every_time_and_keeps_clusters_together() -> None:
    embeddings, classes = clusters(90)
    first, again = embedding_map(embeddings, classes), embedding_map(embeddings, classes)
    assert first == again
    assert first.method == "t-sne"
    assert list(first.classes) == classes
    points = np.stack([first.x, first.y], axis=1)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert [classes[i] for i in distances.argmin(axis=1)] == classes


def test_small_and_constant_maps_stay_finite() -> None:
    embeddings, classes = clusters(5)
    assert np.isfinite(embedding_map(embeddings, classes).x).all()
    flat = embedding_map(np.ones((6, 3)), ["a"] * 6)
    assert (flat.x, flat.y) == ((0.0,) * 6, (0.0,) * 6)


@pytest.mark.parametrize(
    ("embeddings", "classes"),
    [
        (np.ones((4, 3)), ["a"] * 4),
        (np.ones((6, 1)), ["a"] * 6),
        (np.ones((6, 3)), ["a"] * 5),
        (np.full((6, 3), np.nan), ["a"] * 6),
    ],
)
def test_what_makes_no_map_is_refused(embeddings: np.ndarray, classes: list[str]) -> None:
    with pytest.raises(ValueError, match=r"map|finite"):
        embedding_map(embeddings, classes)


def test_umap_without_its_package_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UsageError, match="umap-learn"):
        embedding_map(*clusters(20), method="umap")


def test_umap_when_it_is_installed_is_the_same_every_time() -> None:
    pytest.importorskip("umap", reason="umap-learn is an option")
    embeddings, classes = clusters(30)
    first = embedding_map(embeddings, classes, method="umap")
    assert first.method == "umap"
    assert first == embedding_map(embeddings, classes, method="umap")


def test_points_are_drawn_evenly_from_classes() -> None:
    classes = ["rare"] * 10 + ["common"] * 3_000 + ["middle"] * 900
    drawn = draw_evenly(classes, MAX_MAP_POINTS, seed=0)
    assert drawn == sorted(set(drawn))
    counts = {name: sum(classes[i] == name for i in drawn) for name in set(classes)}
    assert counts == {"rare": 10, "middle": 900, "common": 1_090}
    assert drawn == draw_evenly(classes, MAX_MAP_POINTS, seed=0)
    assert drawn != draw_evenly(classes, MAX_MAP_POINTS, seed=1)
    assert draw_evenly(["a", "b"], 2, seed=0) == [0, 1]
