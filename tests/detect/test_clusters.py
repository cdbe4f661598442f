"""Groups of unknown exhibits: who is alike, what the groups are called, and what the names survive."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofcheck.detect.caseunknowns import CaseExhibit, CaseUnknowns, new_case
from spoofcheck.detect.clusters import LEAST_LLR, alike, group_unknowns
from spoofcheck.detect.hashedfile import kept_embedding
from spoofcheck.detect.sourcestore import StoreTracer
from spoofcheck.nets.config import CosineCalibration
from spoofcheck.schema import Finding, SourceMatch, TraceInfo, Verdict

TRACER = StoreTracer(name="tiny", version="1", weights_sha256="ab" * 32)
HALF = CosineCalibration(
    slope=8.0,
    intercept=LEAST_LLR - 4.0,
    llr_bound=3.0,
    data="none",
    target_trials=40,
    other_trials=400,
    eer=0.2,
    cllr=0.7,
)
"""The least LLR that joins two, at a cosine of 0.5."""
SIZE = 8


def place(source: int, spread: float = 0.0, seed: int = 0) -> list[float]:
    """A vector near the source's axis; sources are at right angles."""
    vector = np.eye(SIZE)[source] + spread * np.random.default_rng(seed).normal(size=SIZE)
    return list(kept_embedding(vector))


def finding(
    name: str,
    embedding: Sequence[float] | None,
    *,
    decision: str = "unknown",
    channel: int | None = None,
    content: str | None = None,
) -> Finding:
    return Finding(
        path=name,
        channel=channel,
        sha256=hashlib.sha256((content or name).encode()).hexdigest(),
        duration_s=4.0,
        speech_s=3.0,
        verdict=Verdict.SPOOF,
        spoof_llr=2.0,
        raw_score=1.0,
        reasons=(),
        sources=(SourceMatch(name="A0", similarity=0.1),),
        trace=TraceInfo(
            decision=decision,
            rule="none",
            measure="cosine",
            threshold=0.3,
            windows=2,
            enrolled=3,
            embedding=None if embedding is None else tuple(embedding),
        ),
    )


def names(findings: Sequence[Finding]) -> dict[str, str | None]:
    return {each.path: each.trace.unknown_group for each in findings if each.trace is not None}


def members(source: int, count: int, prefix: str = "") -> list[Finding]:
    return [finding(f"{prefix}{source}-{i}", place(source, 0.05, 100 * source + i)) for i in range(count)]


def scanned(case: CaseUnknowns | None, findings: Sequence[Finding]) -> tuple[dict[str, str | None], CaseUnknowns]:
    """Names after one more scan of a case, and the case."""
    named, _, after = group_unknowns(findings, HALF, case or new_case(TRACER))
    assert after is not None
    return names(named), after


def test_groups_are_numbered_by_size() -> None:
    findings = [*members(0, 2), *members(1, 3), finding("alone", place(2))]
    named, groups, case = group_unknowns(findings, HALF)
    assert case is None
    assert [each.path for each in named] == [each.path for each in findings]
    assert names(named) == {
        "0-0": "Unknown-2", "0-1": "Unknown-2", "1-0": "Unknown-1", "1-1": "Unknown-1", "1-2": "Unknown-1",
        "alone": None,
    }  # fmt: skip
    assert [(group.name, group.exhibits, group.earlier) for group in groups] == [
        ("Unknown-1", 3, 0),
        ("Unknown-2", 2, 0),
    ]


def test_groups_of_one_size_are_numbered_by_their_smallest_key() -> None:
    findings = [*members(0, 2), *members(1, 2)]
    first = min(findings, key=lambda each: each.sha256 or "").path
    named, _, _ = group_unknowns(findings, HALF)
    assert names(named)[first] == "Unknown-1"


def test_the_cut_is_where_the_calibration_begins_to_say_something() -> None:
    def pair(cosine: float) -> str | None:
        other = [cosine, float(np.sqrt(1 - cosine**2)), *[0.0] * (SIZE - 2)]
        named, _, _ = group_unknowns([finding("a", place(0)), finding("b", other)], HALF)
        return names(named)["a"]

    assert pair(0.501) == "Unknown-1"
    assert pair(0.499) is None


def test_linkage_is_by_the_average() -> None:
    """A chain: single linkage would join all of it, complete linkage would split the pair that average joins."""
    angles = np.deg2rad([0, 40, 72, 100, 145])
    chain = [[float(np.cos(a)), float(np.sin(a)), *[0.0] * (SIZE - 2)] for a in angles]
    exhibits = [
        CaseExhibit(sha256=f"{i:02x}" * 32, channel=None, embedding=kept_embedding(row), group=None)
        for i, row in enumerate(chain)
    ]
    clusters = alike({each.key: each for each in exhibits}, HALF)
    assert sorted([int(key[0][:2], 16) for key in cluster] for cluster in clusters) == [[0, 1], [2, 3], [4]]
    # 0, 1, 2 at 0, 40 and 75 degrees: the mean cosine of 2 to both is above 0.5, that to 0 alone is not.
    three = {each.key: each for each in exhibits[:2]} | {
        exhibits[2].key: exhibits[2].model_copy(
            update={"embedding": kept_embedding([np.cos(np.deg2rad(75)), np.sin(np.deg2rad(75)), *[0.0] * 6])}
        )
    }
    assert [len(cluster) for cluster in alike(three, HALF)] == [3]


POOL = [*members(0, 3), *members(1, 2), *[finding(f"wide-{i}", place(i % 5, 0.35, i)) for i in range(8)]]


@settings(max_examples=25, deadline=None)
@given(st.permutations(POOL))
def test_the_order_of_inputs_changes_nothing(shuffled: list[Finding]) -> None:
    expected, groups, _ = group_unknowns(POOL, HALF)
    named, rows, _ = group_unknowns(shuffled, HALF)
    assert names(named) == names(expected)
    assert rows == groups
    assert scanned(None, shuffled)[1].sha256 == scanned(None, POOL)[1].sha256


@settings(max_examples=10, deadline=None)
@given(st.permutations([finding(str(i), [1.0, 0.0] if i % 2 else [0.0, 1.0]) for i in range(6)]))
def test_ties_are_broken_by_the_keys(shuffled: list[Finding]) -> None:
    """Cosines that are all alike: nothing but the keys can decide."""
    named, _, _ = group_unknowns(shuffled, HALF)
    first = min(named, key=lambda each: each.sha256 or "")
    assert first.trace is not None
    assert first.trace.unknown_group == "Unknown-1"
    assert sorted(name or "" for name in names(named).values()) == ["Unknown-1"] * 3 + ["Unknown-2"] * 3


def test_others_are_left_alone() -> None:
    untouched = [
        finding("known", place(0), decision="A0"),
        finding("no embedding", None),
        finding("untraced", place(0)).model_copy(update={"trace": None, "sources": ()}),
        finding("unread", place(0)).model_copy(update={"sha256": None}),
    ]
    named, groups, case = group_unknowns([*untouched, *members(0, 1)], HALF, new_case(TRACER))
    assert all(after is before for after, before in zip(named, untouched, strict=False))
    assert names(named)["0-0"] is None
    assert groups == ()
    assert case is not None
    assert len(case.exhibits) == 1


def test_nothing_makes_no_groups() -> None:
    assert group_unknowns([], HALF) == ((), (), None)
    assert group_unknowns(members(0, 1), HALF)[1] == ()


def test_the_same_bytes_are_one_exhibit() -> None:
    copies = [finding("a.wav", place(0), content="x"), finding("copy of a.wav", place(0), content="x")]
    assert group_unknowns(copies, HALF)[1] == ()
    other = finding("b.wav", place(0, 0.05))
    named, groups, _ = group_unknowns([*copies, other], HALF)
    assert names(named) == {"a.wav": "Unknown-1", "copy of a.wav": "Unknown-1", "b.wav": "Unknown-1"}
    assert [(group.exhibits, group.earlier) for group in groups] == [(3, 0)]


def test_channels_are_exhibits_of_their_own() -> None:
    sides = [finding("a.wav", place(0), channel=channel, content="x") for channel in (0, 1)]
    named, groups, case = group_unknowns(sides, HALF, new_case(TRACER))
    assert groups[0].exhibits == 2
    assert case is not None
    assert [each.channel for each in case.exhibits] == [0, 1]
    assert {each.trace.unknown_group for each in named if each.trace} == {"Unknown-1"}


def test_names_stay_when_exhibits_are_added() -> None:
    _, case = scanned(None, members(0, 2))
    # The larger group would be first without the case.
    found, case = scanned(case, [*members(1, 4), *members(0, 3)])
    assert {found[f"0-{i}"] for i in range(3)} == {"Unknown-1"}
    assert {found[f"1-{i}"] for i in range(4)} == {"Unknown-2"}
    assert case.next_number == 3


def test_earlier_exhibits_count() -> None:
    _, case = scanned(None, members(0, 2))
    named, groups, after = group_unknowns([finding("new", place(0, 0.05, 7))], HALF, case)
    assert names(named) == {"new": "Unknown-1"}
    assert [(group.exhibits, group.earlier) for group in groups] == [(1, 2)]
    assert after is not None
    assert len(after.exhibits) == 3
    # Again the same: the new scan of an exhibit takes the place of the old.
    _, groups, again = group_unknowns([finding("new", place(0, 0.05, 7))], HALF, after)
    assert [(group.exhibits, group.earlier) for group in groups] == [(1, 2)]
    assert again == after


def test_an_exhibit_that_was_alone_is_remembered() -> None:
    found, case = scanned(None, [finding("first", place(0))])
    assert found == {"first": None}
    found, _ = scanned(case, [finding("second", place(0, 0.05))])
    assert found == {"second": "Unknown-1"}


def test_groups_without_a_finding_are_not_listed() -> None:
    _, case = scanned(None, members(0, 3))
    _, groups, after = group_unknowns(members(1, 2), HALF, case)
    assert [group.name for group in groups] == ["Unknown-2"]
    assert after is not None
    assert {each.group for each in after.exhibits} == {"Unknown-1", "Unknown-2"}


def test_numbers_are_never_given_again() -> None:
    _, case = scanned(None, members(0, 2))
    # Both have got a known source since: the group is gone, its number stays taken.
    _, case = scanned(case, [each.model_copy(update={"trace": _known(each)}) for each in members(0, 2)])
    assert case.exhibits == ()
    found, _ = scanned(case, members(1, 2))
    assert set(found.values()) == {"Unknown-2"}


def _known(each: Finding) -> TraceInfo:
    assert each.trace is not None
    return each.trace.model_copy(update={"decision": "A0"})


def test_a_name_comes_back_with_its_last_exhibit() -> None:
    first, second = members(0, 2)
    _, case = scanned(None, [first, second])
    found, case = scanned(case, [first, second.model_copy(update={"trace": _known(second)})])
    assert found[first.path] is None
    found, _ = scanned(case, [finding("third", place(0, 0.05, 9)), first])
    assert found == {"third": "Unknown-1", first.path: "Unknown-1"}


def _moved(findings: Sequence[Finding], source: int) -> list[Finding]:
    """The same exhibits, as if they had turned out to lie elsewhere."""
    return [
        each.model_copy(update={"trace": each.trace.model_copy(update={"embedding": tuple(place(source, 0.05, i))})})
        for i, each in enumerate(findings)
        if each.trace is not None
    ]


def test_the_larger_part_of_a_group_that_falls_apart_keeps_the_name() -> None:
    _, case = scanned(None, members(0, 5))
    stay, leave = members(0, 5)[:3], members(0, 5)[3:]
    # Many newcomers on the smaller side: it is the old members that count.
    found, case = scanned(case, [*stay, *_moved(leave, 1), *members(1, 9, "new ")])
    assert {found[each.path] for each in stay} == {"Unknown-1"}
    assert {found[each.path] for each in leave} == {found["new 1-0"]} == {"Unknown-2"}
    # Once lost to the others, the name is gone for one that is left alone.
    found, case = scanned(case, [*_moved(stay[:1], 2)])
    assert found == {stay[0].path: None}
    assert next(each.group for each in case.exhibits if each.sha256 == stay[0].sha256) is None


def test_groups_that_become_one_keep_the_name_of_most() -> None:
    _, case = scanned(None, [*members(0, 2), *members(1, 3)])
    case_two = next(each.group for each in case.exhibits if each.sha256 == members(0, 1)[0].sha256)
    assert case_two == "Unknown-2"
    found, after = scanned(case, [*_moved(members(0, 2), 1), *members(1, 3)])
    assert set(found.values()) == {"Unknown-1"}
    assert after.next_number == 3
    # With as many from either, the lowest number.
    _, case = scanned(None, [*members(0, 2), *members(1, 2)])
    found, _ = scanned(case, [*_moved(members(0, 2), 1), *members(1, 2)])
    assert set(found.values()) == {"Unknown-1"}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.sampled_from(POOL), max_size=6, unique_by=lambda each: each.path), max_size=4))
def test_no_history_gives_one_name_to_two_groups(scans: list[list[Finding]]) -> None:
    case = new_case(TRACER)
    given_before = 0
    for findings in scans:
        _, case = scanned(case, findings)
        assert case.next_number > given_before
        given_before = case.next_number - 1
        labels: dict[str, int] = {}
        for i, cluster in enumerate(alike({each.key: each for each in case.exhibits}, HALF)):
            groups = {each.group for each in case.exhibits if each.key in cluster}
            assert len(groups) == 1
            (group,) = groups
            if group is not None:
                assert labels.setdefault(group, i) == i


def test_embeddings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"inhomogeneous|size"):
        group_unknowns([finding("a", [1.0, 0.0]), finding("b", [1.0, 0.0, 0.0])], HALF)
