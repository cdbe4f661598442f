"""Families left out of training, and what rules make of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from spoofcheck.detect.openset import RULES
from spoofcheck.evaluation.openset import (
    SCHEMES,
    Embedded,
    Scheme,
    Trials,
    Windows,
    accepted_unseen,
    balanced_threshold,
    confused_pairs,
    draws_of,
    inseparable,
    pooled_clips,
    rule_figures,
    trials_of,
)

FAMILIES = ["a", "b", "c", "d", "e", "f"]
AMONG = ["d", "e", "f"]


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def windows() -> Windows:
    """Of each family 24 clips of two windows and an augmented one, from four repositories; `f` from one alone."""
    rows = [
        (family, f"{family}{clip}", "r0" if family == "f" else f"r{clip % 4}", f"s{clip % 8}", plain)
        for family in FAMILIES
        for clip in range(24)
        for plain in (True, True, False)
    ]
    families, clips, repos, sources, plain = zip(*rows, strict=True)
    return Windows(np.array(families), np.array(clips), np.array(repos), np.array(sources), np.array(plain))


@pytest.fixture(scope="module")
def embeddings(windows: Windows) -> NDArray[np.float64]:
    noise = 0.1 * np.random.default_rng(0).normal(size=(len(windows.families), len(FAMILIES)))
    return unit(np.eye(len(FAMILIES))[np.searchsorted(FAMILIES, windows.families)] + noise)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_that_is_measured_was_learnt_from(windows: Windows, scheme: Scheme) -> None:
    draws = draws_of(windows, scheme, AMONG, 2, 6, 0.3, 1)
    left = set()
    for draw in draws:
        unseen = set(windows.families[draw.unseen])
        left |= unseen
        assert len(unseen) == 2
        assert unseen <= set(AMONG)
        assert not unseen & set(windows.families[draw.train])
        assert set(windows.families[draw.seen]) <= set(windows.families[draw.train])
        assert draw.seen.any()
        assert windows.plain[draw.seen | draw.unseen].all()
        held = windows.clips if scheme == "clips" else windows.repos
        assert not set(held[draw.seen]) & set(held[draw.train])
    assert left == set(AMONG)


def test_a_family_of_one_repository_is_learnt_but_no_trial_across_repositories(windows: Windows) -> None:
    for draw in draws_of(windows, "repositories", ["d", "e"], 1, 6, 0.3, 1):
        assert "f" in windows.families[draw.train]
        assert "f" not in windows.families[draw.seen]


def test_the_same_seed_draws_the_same(windows: Windows) -> None:
    first, again, other = (draws_of(windows, "clips", AMONG, 1, 3, 0.3, seed) for seed in (4, 4, 5))
    assert all((one.train == two.train).all() for one, two in zip(first, again, strict=True))
    assert any((one.train != two.train).any() for one, two in zip(first, other, strict=True))


def test_trials_are_clips_and_the_fit_sees_training_windows_alone(
    windows: Windows, embeddings: NDArray[np.float64]
) -> None:
    draws = draws_of(windows, "clips", AMONG, 2, 2, 0.25, 0)
    asked: list[NDArray[np.bool_]] = []

    def fit(train: NDArray[np.bool_], classes: Sequence[str]) -> Embedded:
        asked.append(train)
        assert list(classes) == sorted(set(windows.families[train]))
        means = [embeddings[train & (windows.families == name)].mean(axis=0) for name in classes]
        return Embedded(embeddings, unit(np.stack(means)), 16.0)

    trials = trials_of(windows, draws, fit).trials
    assert set(trials) == set(RULES)
    assert [mask.tolist() for mask in asked] == [draw.train.tolist() for draw in draws]
    for rule, found in trials.items():
        assert len(found.confidence) == sum(
            len(set(windows.clips[draw.seen])) + len(set(windows.clips[draw.unseen])) for draw in draws
        )
        assert (found.closest == found.families)[found.is_seen].all()
        threshold, balance = balanced_threshold(found)
        assert balance > 0.95, rule
        figures = rule_figures(found, threshold, rule, 20, 0)
        assert figures["seen"]["f1"] > 0.9
        assert figures["unseen"]["recall"] > 0.9
        low, high = figures["intervals"]["auroc"]
        assert low <= figures["open_set"]["auroc"] <= high


def test_a_clip_is_the_unit_mean_of_its_windows() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    pooled, first = pooled_clips(rows, np.array(["x", "x", "y"]), np.array(["a", "a", "a"]))
    np.testing.assert_allclose(pooled, [[0.5**0.5, 0.5**0.5], [0.0, 1.0]])
    assert first.tolist() == [0, 2]


def trials(confidence: Sequence[float], seen: Sequence[int], right: Sequence[int], families: str) -> Trials:
    closest = [family if is_right else "z" for family, is_right in zip(families, right, strict=True)]
    return Trials(
        np.array(confidence), np.array(list(families)), np.array(closest), np.array(seen, bool),
        np.array([str(number) for number in range(len(families))]),
    )  # fmt: skip


def test_the_threshold_lies_where_both_shares_are_best_on_average() -> None:
    made = trials([0.9, 0.8, 0.3, 0.7, 0.2, 0.1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], "aaabbb")
    threshold, balance = balanced_threshold(made)
    assert threshold == pytest.approx(0.25) or threshold == pytest.approx(0.75)
    assert balance == pytest.approx((1 + 2 / 3) / 2)


def test_families_weigh_alike_in_the_choice_of_a_threshold() -> None:
    """The one clip of family `a` lies low: as many clips of `b` as there are do not outvote it."""
    made = trials([0.2, 0.9, 0.9, 0.9, 0.5, 0.1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0], "abbbcd")
    threshold, balance = balanced_threshold(made)
    assert balance == pytest.approx(0.75)
    assert threshold == pytest.approx(0.15) or threshold == pytest.approx(0.7)


def test_a_seen_trial_of_the_wrong_family_is_no_reason_to_accept() -> None:
    made = trials([0.9, 0.4, 0.5], [1, 1, 0], [1, 0, 0], "aab")
    assert balanced_threshold(made)[0] == pytest.approx(0.7)


def test_ties_are_never_split() -> None:
    made = trials([0.5, 0.5, 0.5], [1, 1, 0], [1, 1, 0], "aab")
    assert balanced_threshold(made) == (0.5, 0.5)


def test_a_threshold_needs_both_kinds_of_trial() -> None:
    with pytest.raises(ValueError, match="one of them is missing"):
        balanced_threshold(trials([0.5], [1], [1], "a"))


def test_what_cannot_be_told_apart_is_named() -> None:
    made = trials([0.9, 0.8, 0.7, 0.6, 0.2], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], "aaabb")
    assert confused_pairs(made, 5) == [{"family": "a", "taken_for": "z", "share": pytest.approx(2 / 3)}]
    assert accepted_unseen(made, 0.5) == [{"family": "b", "trials": 2, "accepted": 0.5, "as": "z"}]


def test_without_any_trial_there_is_nothing_to_say(windows: Windows, embeddings: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="no draw has a trial"):
        trials_of(windows, [], lambda train, classes: Embedded(embeddings, embeddings, 1.0))


def test_families_that_are_taken_for_each_other_make_a_group() -> None:
    found = trials([1.0] * 8, [1] * 8, [1] * 8, "aaaabbcd")
    closest = np.array(["a", "a", "a", "b", "b", "b", "d", "d"])
    mixed = Trials(found.confidence, found.families, closest, found.is_seen, found.groups)

    assert inseparable(mixed, 0.25) == [("a", "b"), ("c", "d")]
    assert inseparable(mixed, 0.3) == [("c", "d")]
    assert inseparable(found, 0.25) == []


def test_clips_are_compared_with_the_sources_of_their_draw_and_unknown_ones_with_each_other(
    windows: Windows, embeddings: NDArray[np.float64]
) -> None:
    draws = draws_of(windows, "clips", AMONG, 2, 3, 0.3, 1)

    def fit(train: NDArray[np.bool_], classes: Sequence[str]) -> Embedded:
        return Embedded(embeddings, np.eye(len(FAMILIES))[np.searchsorted(FAMILIES, classes)], 10.0)

    drawn = trials_of(windows, draws, fit)
    clips = sum(
        len({(windows.families[i], windows.clips[i]) for i in np.flatnonzero(d.seen | d.unseen)}) for d in draws
    )

    assert len(drawn.with_sources.cosines) == clips * 4  # two of six families are left out
    assert drawn.with_sources.is_target.sum() == drawn.trials["energy"].is_seen.sum()
    assert set("".join(drawn.with_each_other.pairs).replace("\t", "")) <= set(AMONG)
