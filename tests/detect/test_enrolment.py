"""What clips say of a source: its prototype, leave-one-out, and what it is confused with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofcheck.detect.enrolment import (
    MIN_D_PRIME,
    confused_with,
    evaluate_gallery,
    groups,
    leave_one_out,
    left_out,
    own_similarities,
    prototype_of,
    separability,
    without,
)
from spoofcheck.detect.gallery import Accepts, Floats, Gallery, Source, unit

SIZE = 16


def around(direction: int, count: int = 8, spread: float = 0.05, seed: int = 0) -> Floats:
    """Unit vectors scattered about an axis."""
    centre = np.eye(SIZE)[direction]
    noise = np.random.default_rng([direction, seed]).normal(size=(count, SIZE))
    return np.stack([unit(centre + spread * row) for row in noise])


def enrolled(name: str, members: Floats) -> Source:
    return Source(name, prototype_of(members), members, "enrolled", len(members))


def shipped(name: str, direction: int) -> Source:
    return Source(name, np.eye(SIZE)[direction], np.empty((0, SIZE)), "shipped", 0)


def above(threshold: float) -> Accepts:
    return lambda similarities: bool(similarities.max() >= threshold)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(7)))
def test_a_prototype_does_not_depend_on_the_order(order: list[int]) -> None:
    members = around(0, 7, 0.5)
    prototype = prototype_of(members)
    assert np.linalg.norm(prototype) == pytest.approx(1)
    assert prototype == pytest.approx(unit(members.mean(axis=0)))
    assert np.array_equal(prototype_of(members[order]), prototype)


def test_a_prototype_needs_members_with_a_common_direction() -> None:
    with pytest.raises(ValueError, match="expected members"):
        prototype_of(np.empty((0, SIZE)))
    with pytest.raises(ValueError, match="without a direction"):
        prototype_of(np.stack([np.eye(SIZE)[0], -np.eye(SIZE)[0]]))
    with pytest.raises(ValueError, match="two members"):
        left_out(around(0, 1))


def test_a_clip_is_never_compared_with_itself() -> None:
    members = np.vstack([around(0, 5, 0.0), np.eye(SIZE)[1][None]])
    assert own_similarities(members)[-1] == pytest.approx(0)
    assert (members[-1] * prototype_of(members)).sum() > 0.1


def test_leave_one_out_counts_what_is_found_again() -> None:
    stray = np.vstack([around(0, 7), np.eye(SIZE)[1][None]])
    others = Gallery([shipped("b", 1), shipped("c", 2)])
    found = leave_one_out(enrolled("a", stray), others, above(0.5))
    assert (found.clips, found.closest, found.accepted, found.unknown) == (8, 7, 7, 0)
    assert [(taken.source, taken.clips) for taken in found.taken] == [("b", 1)]
    assert found.closest_share == found.accepted_share == 7 / 8
    assert found.smallest_similarity == pytest.approx(0, abs=0.1)
    strict = leave_one_out(enrolled("a", stray), others, above(0.9999))
    assert (strict.closest, strict.accepted, strict.unknown) == (7, 0, 7)
    alone = leave_one_out(enrolled("a", stray), Gallery([]), above(0.5))
    assert (alone.closest, alone.accepted, alone.unknown, alone.taken) == (8, 7, 1, ())


def test_a_tie_is_not_counted_as_found() -> None:
    same = np.repeat(np.eye(SIZE)[:1], 5, axis=0)
    found = leave_one_out(enrolled("a", same), Gallery([shipped("twin", 0)]), above(0.5))
    assert found.closest == 0
    assert found.taken[0].clips == 5


def test_sources_far_apart_are_separable() -> None:
    pairs = separability(enrolled("a", around(0)), Gallery([shipped("far", 2), enrolled("b", around(1))]))
    assert {pair.source for pair in pairs} == {"far", "b"}
    assert confused_with(pairs) == ()
    by_name = {pair.source: pair for pair in pairs}
    assert by_name["far"].clips == 8
    assert by_name["b"].clips == 16
    for pair in pairs:
        assert pair.d_prime > MIN_D_PRIME
        assert 0.5 < pair.smallest_gap <= pair.mean_gap < 1.5
        assert pair.closer_to_other == 0
        assert pair.prototype_similarity == pytest.approx(0, abs=0.15)


def test_the_same_source_twice_is_confused() -> None:
    both = Gallery([enrolled("copy", around(0, seed=1)), shipped("far", 3)])
    pairs = separability(enrolled("a", around(0)), both)
    assert confused_with(pairs) == ("copy",)
    assert pairs[0].source == "copy"
    assert pairs[0].d_prime < MIN_D_PRIME


def test_a_gap_is_measured_in_deviations() -> None:
    members = np.stack([unit(row) for row in ([1, 0.1], [1, -0.1], [1, 0.2], [1, -0.2], [1, 0.0])])
    source = Source("a", prototype_of(members), members, "enrolled", 5)
    (pair,) = separability(source, Gallery([Source("b", np.array([0.0, 1.0]), np.empty((0, 2)), "shipped", 0)]))
    own, other = own_similarities(members), members[:, 1]
    pooled = np.sqrt((own.var(ddof=1) + other.var(ddof=1)) / 2)
    assert pair.d_prime == pytest.approx((own.mean() - other.mean()) / pooled)


def test_clips_all_alike_give_a_finite_distance() -> None:
    same = np.repeat(np.eye(SIZE)[:1], 5, axis=0)
    near, far = separability(enrolled("a", same), Gallery([shipped("far", 1), shipped("twin", 0)]))
    assert (near.source, near.d_prime, near.is_confused) == ("twin", 0.0, True)
    assert (far.source, far.d_prime, far.is_confused) == ("far", 100.0, False)


def test_one_stray_clip_of_five_is_confusion() -> None:
    stray = np.vstack([around(0, 4), np.eye(SIZE)[1][None]])
    (pair,) = separability(enrolled("a", stray), Gallery([shipped("b", 1)]))
    assert pair.closer_to_other == 1
    assert pair.is_confused


def test_a_gallery_is_evaluated_in_its_order() -> None:
    gallery = Gallery([
        shipped("s", 3), enrolled("x", around(0)), shipped("t", 4), enrolled("y", around(0, seed=1)),
        enrolled("z", around(5)),
    ])  # fmt: skip
    rows = evaluate_gallery(gallery, above(0.5))
    assert [row.source.name for row in rows] == ["s", "x", "t", "y", "z"]
    assert [row.leave_one_out is None for row in rows] == [True, False, True, False, False]
    assert rows[1].nearest == "y"
    assert rows[1].nearest_similarity == pytest.approx(rows[3].nearest_similarity)
    assert [row.confused_with for row in rows] == [(), ("y",), (), ("x",), ()]
    assert groups(rows) == (("x", "y"),)
    assert without(gallery, "x").names == ("s", "t", "y", "z")


def test_a_group_joins_what_is_linked_through_others_and_shipped_sources() -> None:
    gallery = Gallery([shipped("s", 0), enrolled("x", around(0)), enrolled("y", around(0, seed=1)), shipped("t", 9)])
    rows = evaluate_gallery(gallery, above(0.5))
    assert rows[0].confused_with == ("x", "y")
    assert groups(rows) == (("s", "x", "y"),)
    (only,) = evaluate_gallery(Gallery([shipped("s", 0)]), above(0.5))
    assert (only.nearest, only.nearest_similarity, only.leave_one_out) == (None, None, None)
