"""Rules that say whether a source is a known one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import weibull_min

from spoofcheck.detect.openset import RULES, Known, OpenSetRule, _weibull, confidences, known_of

Floats = NDArray[np.float64]


def unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def around(centre: Floats, count: int, seed: int, spread: float = 0.15) -> Floats:
    return unit(centre + spread * np.random.default_rng(seed).normal(size=(count, centre.size)))


PROTOTYPES = np.eye(6)[:3]


@pytest.fixture(scope="module")
def known() -> Known:
    members = np.concatenate([around(PROTOTYPES[k], 40, k) for k in range(3)])
    return known_of(members, np.repeat(np.arange(3), 40), PROTOTYPES, 16.0)


@pytest.mark.parametrize("rule", RULES)
def test_known_sources_are_trusted_more_than_unknown_ones(rule: OpenSetRule, known: Known) -> None:
    seen = np.concatenate([around(PROTOTYPES[k], 30, 10 + k) for k in range(3)])
    unseen = np.concatenate([around(np.eye(6)[k], 30, 20 + k) for k in (3, 4, 5)])
    inside, outside = confidences(rule, seen, known), confidences(rule, unseen, known)
    assert inside.shape == (90,)
    assert np.mean(inside[:, None] > outside[None]) > 0.95


@pytest.mark.parametrize("rule", RULES)
def test_a_confidence_depends_on_its_own_embedding_alone(rule: OpenSetRule, known: Known) -> None:
    rows = around(np.ones(6), 9, 3, 1.0)
    together = confidences(rule, rows, known)
    np.testing.assert_allclose([confidences(rule, row[None], known)[0] for row in rows], together, rtol=1e-9)


def test_the_rules_of_prototypes_worked_out_by_hand(known: Known) -> None:
    row = np.array([[0.6, 0.8, 0, 0, 0, 0]])
    logits = np.array([9.6, 12.8, 0.0])
    assert confidences("prototype-cosine", row, known)[0] == pytest.approx(0.8)
    assert confidences("max-softmax", row, known)[0] == pytest.approx(np.exp(12.8) / np.exp(logits).sum())
    assert confidences("energy", row, known)[0] == pytest.approx(np.log(np.exp(logits).sum()))


def test_the_softmax_of_an_embedding_that_is_like_nothing_is_even(known: Known) -> None:
    row = np.eye(6)[5:]
    assert confidences("max-softmax", row, known)[0] == pytest.approx(1 / 3)
    assert confidences("prototype-cosine", row, known)[0] == 0


def test_the_mahalanobis_distance_is_that_of_the_shared_covariance(known: Known) -> None:
    rows = around(PROTOTYPES[1], 4, 7)
    expected = [-min((row - mean) @ known.precision @ (row - mean) for mean in known.means) for row in rows]
    np.testing.assert_allclose(confidences("mahalanobis", rows, known), expected)


def test_a_member_is_its_own_nearest_neighbour(known: Known) -> None:
    row = known.members[:1]
    assert confidences("nsd", row, known)[0] == pytest.approx(confidences("energy", row, known)[0])
    nearest = np.sort(known.members @ row[0])[-5:]
    assert confidences("knn", row, known)[0] == pytest.approx(nearest.mean())


def test_openmax_takes_from_a_class_whose_mean_lies_far(known: Known) -> None:
    near, off, elsewhere = unit(np.stack([known.means[0], known.means[0] + np.eye(6)[4], np.eye(6)[4]]))
    values = confidences("openmax", np.stack([near, off, elsewhere]), known)
    assert values[0] > 0.99
    assert values[1] < 0.01, "its softmax is near 1, but no member of the class lies so far from its mean"
    assert confidences("max-softmax", off[None], known)[0] > 0.99
    assert values[2] < 0.5


@pytest.mark.parametrize(("shape", "scale"), [(0.8, 0.3), (2.0, 1.0), (7.0, 0.1)])
def test_the_weibull_fit_is_the_most_likely_one(shape: float, scale: float) -> None:
    values = weibull_min.rvs(shape, scale=scale, size=200, random_state=3)
    fitted = weibull_min.fit(values, floc=0)
    np.testing.assert_allclose(_weibull(values), [fitted[0], fitted[2]], rtol=1e-3)


def test_members_that_are_all_alike_are_no_trouble() -> None:
    members = np.repeat(PROTOTYPES, 4, axis=0)
    known = known_of(members, np.repeat(np.arange(3), 4), PROTOTYPES, 16.0)
    for rule in RULES:
        values = confidences(rule, np.concatenate([PROTOTYPES, np.eye(6)[3:]]), known)
        assert np.isfinite(values).all(), rule
        assert values[:3].min() > values[3:].max(), rule


def test_a_class_without_members_is_refused() -> None:
    with pytest.raises(ValueError, match="class 2 has 0 members"):
        known_of(PROTOTYPES[[0, 0, 1, 1]], np.array([0, 0, 1, 1]), PROTOTYPES, 16.0)
