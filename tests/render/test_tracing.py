"""What is said of a trace: every decision, the channel test in all its outcomes, and the ratio of a source."""

from __future__ import annotations

import math

import pytest

from spoofcheck.render import tracing
from spoofcheck.render.similarity import axis, similarity_bars
from spoofcheck.schema import ChannelTest, Finding, Verdict
from tests.support.documents import finding, of_verdict
from tests.support.traces import channel_test, prototype_tracer, with_trace

EXHIBIT = finding("a.wav", Verdict.SPOOF, 3.0, [3.0, 3.0])


def traced(test: ChannelTest | None = None, group: tuple[str, ...] = (), llr: float | None = 3.5) -> Finding:
    sources = [("kokoro", 0.71, llr), ("kittentts", 0.69, 3.0)]
    return with_trace(EXHIBIT, sources, group=group, test=test)


def unknown(group: str | None = None) -> Finding:
    return with_trace(EXHIBIT, [("kokoro", 0.35, -2.0)], unknown_group=group)


@pytest.mark.parametrize(
    ("example", "brief", "full"),
    [
        (traced(), "most similar to kokoro (0.71)", "most similar to kokoro of 7 known sources"),
        (
            traced(group=("kittentts", "kokoro")),
            "most similar to kokoro or kittentts (0.71, not told apart)",
            "most similar to kokoro or kittentts (not told apart) of 7 known sources",
        ),
        (
            traced(channel_test("kokoro", residue=("kokoro", 0.7))),
            "most similar to kokoro (0.71); follows the channel: no support",
            "most similar to kokoro of 7 known sources; follows the channel: no support",
        ),
        (
            unknown(),
            "unknown; closest known kokoro (0.35)",
            "unknown; closest known source kokoro, of 7 known sources",
        ),
        (
            unknown("Unknown-1"),
            "Unknown-1; closest known kokoro (0.35)",
            "unknown (Unknown-1); closest known source kokoro, of 7 known sources",
        ),
        (of_verdict(Verdict.SPOOF), "", ""),
    ],
)
def test_a_trace_speaks_of_likeness_and_never_of_a_maker(example: Finding, brief: str, full: str) -> None:
    assert tracing.similar_briefly(example) == brief
    assert tracing.similar_to(example) == full


def test_a_trace_by_softmax_is_told_alike() -> None:
    known = finding("a", Verdict.SPOOF, 3.0, [3.0], sources=[("VITS", 0.5), ("XTTS v2", 0.3)])
    assert tracing.similar_to(known) == "most similar to VITS of 4 known sources"
    other = finding("a", Verdict.SPOOF, 3.0, [3.0], sources=[("VITS", 0.49), ("XTTS v2", 0.3)])
    assert tracing.similar_to(other) == "unknown; closest known source VITS, of 4 known sources"


def test_alternatives_are_listed() -> None:
    assert [tracing.either(names) for names in ("a", "ab", "abc")] == ["a", "a or b", "a, b or c"]


@pytest.mark.parametrize(
    ("test", "outcome", "parts"),
    [
        (None, "not tested", []),
        (channel_test("kokoro"), "passed", ["passed", "passed"]),
        (channel_test("kokoro", residue=None), "passed codec", ["not tested", "passed"]),
        (channel_test("kokoro", residue=("kokoro", 0.6)), "failed residue", ["failed", "passed"]),
        (channel_test("kokoro", copy=("unknown", 0.3)), "passed", ["passed", "passed"]),
        (channel_test("kokoro", residue=None, copy=("vits", 0.3)), "failed codec", ["not tested", "failed"]),
        (
            channel_test("kokoro", residue=("kokoro", 0.6), copy=("vits", 0.3)),
            "failed residue, codec",
            ["failed", "failed"],
        ),
    ],
)
def test_every_outcome_of_a_channel_test(test: ChannelTest | None, outcome: str, parts: list[str]) -> None:
    example = traced(test)
    assert example.trace is not None
    assert tracing.channel_outcome(example.trace) == outcome
    assert [line.outcome for line in tracing.channel_lines(example)] == parts
    failed = "failed" in parts
    assert tracing.follows_channel(example) == failed
    assert ("not reported as support" in tracing.channel_warning(example)) == failed
    assert (tracing.source_opinion(example, prototype_tracer()) == "") == failed


def test_a_channel_test_says_what_it_found() -> None:
    residue, codec = tracing.channel_lines(traced(channel_test("kokoro", copy=("vits", 0.3))))
    assert residue.found == (
        "The 6.2 s without speech were traced alone; decision: unknown (similarity to kokoro 0.18)."
    )
    assert codec.found == (
        "A copy of the traced windows went through Opus at 16 kbit/s; decision: vits (similarity to kokoro 0.30)."
    )
    assert tracing.channel_lines(unknown()) == ()
    assert tracing.channel_warning(unknown()) == ""


def test_a_group_is_warned_of() -> None:
    assert "cannot tell kokoro and kittentts apart" in tracing.group_warning(traced(group=("kittentts", "kokoro")))
    assert tracing.group_warning(traced()) == ""
    assert tracing.group_warning(unknown()) == ""


@pytest.mark.parametrize(
    ("llr", "words"),
    [
        (3.5, "about 33 times more probable if a system of this source made the recording than if another did."),
        (9.0, "at least 99 times more probable if a system of this source made the recording than if another did."),
        (
            -3.5,
            "about 33 times more probable if a system of another source made the recording than if one of this "
            "source did.",
        ),
        (0.2, "about as probable if a system of this source made the recording as if another did."),
    ],
)
def test_the_ratio_of_a_source_in_words(llr: float, words: str) -> None:
    opinion = tracing.source_opinion(traced(llr=llr), prototype_tracer())
    assert opinion == f"For kokoro, the similarity is {words}"


def test_without_a_ratio_or_a_bound_nothing_is_made_up() -> None:
    assert tracing.source_opinion(traced(llr=None), prototype_tracer()) == ""
    assert tracing.source_opinion(of_verdict(Verdict.SPOOF), prototype_tracer()) == ""
    assert tracing.source_bound(None) == math.inf
    assert tracing.source_bound(prototype_tracer()) == 4.6


def test_bars_start_at_zero_and_end_at_the_similarity() -> None:
    example = with_trace(EXHIBIT, [("a", 0.6, None), ("b", 0.5, None), ("c", -0.4, None)])
    assert example.trace is not None
    along = axis(example.trace)
    assert (along.low, along.high, along.threshold) == (-1, 1, 0.55)
    bars = similarity_bars(example, along)
    assert [bar.start for bar in bars] == pytest.approx([0.5, 0.5, 0.3])
    assert [bar.end for bar in bars] == pytest.approx([0.8, 0.75, 0.5])
    assert [bar.accepted for bar in bars] == [True, False, False]


def test_a_threshold_on_something_else_is_not_drawn() -> None:
    """A tracer of prototypes may decide by the softmax: its threshold is no cosine."""
    example = traced()
    assert example.trace is not None
    rule = "unknown when the largest similarity (softmax, averaged over the traced windows) is below 0.5"
    along = axis(example.trace.model_copy(update={"rule": rule, "threshold": 0.5}))
    assert along.threshold is None
    assert not any(bar.accepted for bar in similarity_bars(example, along))
    by_softmax = finding("a", Verdict.SPOOF, 3.0, [3.0], sources=[("VITS", 0.5)]).trace
    assert by_softmax is not None
    assert (axis(by_softmax).low, axis(by_softmax).threshold) == (0, 0.5)
