"""What a report says of a trace. Likeness to a source is all that is measured: no words here name a maker.

Names of sources come from outside; whoever prints these words escapes them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from spoofcheck.render.text import count, format_similarity
from spoofcheck.render.wording import SOURCE, times_more_probable
from spoofcheck.schema import ChannelTest, ChannelTestPart, Finding, SourceMatch, TraceInfo, TracerInfo

NO_SUPPORT = "follows the channel: no support"
"""What is said wherever a similarity whose channel test failed is named."""

_NOT_TOLD_APART = "not told apart"
_WHY_FAILED: dict[ChannelTestPart, str] = {
    "residue": "the same source is found where nobody speaks",
    "codec": "a copy through a codec is not, or hardly, like it",
}

Outcome = Literal["passed", "failed", "not tested"]


class Traced(Protocol):
    """What has been traced, or might have been: a finding, or a recording that is linked with another."""

    @property
    def trace(self) -> TraceInfo | None:
        """The open-set decision."""

    @property
    def sources(self) -> tuple[SourceMatch, ...]:
        """The most similar known sources, closest first."""


@dataclass(frozen=True, slots=True)
class ChannelLine:
    """One half of the channel test: what was tried, how it went, what was found, and what that means."""

    title: str
    outcome: Outcome
    found: str
    meaning: str


def is_known(finding: Traced) -> bool:
    """Whether the open-set decision on a traced finding is a source."""
    return finding.trace is not None and finding.trace.decision == finding.sources[0].name


def follows_channel(finding: Traced) -> bool:
    """Whether the channel test failed, so that the similarity is no support."""
    return finding.trace is not None and bool(_failed(finding.trace))


def either(names: Sequence[str], word: str = "or") -> str:
    """`a`, `a or b`, `a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last


def decision_words(finding: Traced) -> str:
    """The open-set decision as a name: `kokoro`, `kokoro or kittentts`, `Unknown-1`, `unknown`; empty when untraced."""
    trace = finding.trace
    if trace is None:
        return ""
    return either(_alternatives(trace)) if is_known(finding) else trace.unknown_group or trace.decision


def similar_to(finding: Traced) -> str:
    """A trace in words, of how many known sources, and whether it follows the channel; empty when untraced."""
    trace = finding.trace
    if trace is None:
        return ""
    if is_known(finding):
        apart = f" ({_NOT_TOLD_APART})" if len(_alternatives(trace)) > 1 else ""
        words = f"most similar to {decision_words(finding)}{apart} of {count(trace.enrolled, 'known source')}"
    else:
        group = f" ({trace.unknown_group})" if trace.unknown_group else ""
        known = count(trace.enrolled, "known source")
        words = f"unknown{group}; closest known source {finding.sources[0].name}, of {known}"
    return _with_channel(words, finding)


def similar_briefly(finding: Traced) -> str:
    """The same for a line of a terminal, with the similarity: `most similar to kokoro (0.71)`; empty when untraced."""
    trace = finding.trace
    if trace is None:
        return ""
    similarity = format_similarity(finding.sources[0].similarity)
    if is_known(finding):
        apart = f", {_NOT_TOLD_APART}" if len(_alternatives(trace)) > 1 else ""
        words = f"most similar to {decision_words(finding)} ({similarity}{apart})"
    else:
        words = f"{decision_words(finding)}; closest known {finding.sources[0].name} ({similarity})"
    return _with_channel(words, finding)


def group_warning(finding: Finding) -> str:
    """What it means that the decision is for several sources; empty when it is for one."""
    trace = finding.trace
    if trace is None or not is_known(finding) or len(_alternatives(trace)) == 1:
        return ""
    return (
        f"The tracer cannot tell {either(_alternatives(trace), 'and')} apart. The decision is for these sources "
        "together; which of them is listed first carries no weight."
    )


def channel_warning(finding: Finding) -> str:
    """Why the similarity is no support; empty unless the channel test failed."""
    trace = finding.trace
    if trace is None or not (failed := _failed(trace)):
        return ""
    return (
        f"The channel test failed: {' and '.join(_WHY_FAILED[part] for part in failed)}. The similarity may be that of "
        "the channel and not of the speech. It is not reported as support, and no likelihood ratio is given for it."
    )


def channel_outcome(trace: TraceInfo) -> str:
    """The channel test in a cell: `passed`, `passed codec` if only that could be tried, `failed residue, codec`, ..."""
    test = trace.channel_test
    if test is None:
        return "not tested"
    if test.failed:
        return f"failed {', '.join(test.failed)}"
    return "passed codec" if test.residue_decision is None else "passed"


def channel_lines(finding: Finding) -> tuple[ChannelLine, ...]:
    """The two halves of the channel test, without speech and through a codec; empty when it was not made."""
    trace = finding.trace
    if trace is None or trace.channel_test is None:
        return ()
    return _residue(trace.channel_test, finding), _codec(trace.channel_test, finding)


def source_opinion(finding: Finding, tracer: TracerInfo | None) -> str:
    """The likelihood ratio of the closest source in words, in the direction it points; empty when there is none."""
    if finding.trace is None or finding.sources[0].llr is None:
        return ""
    closest = finding.sources[0]
    words = times_more_probable(finding.sources[0].llr, source_bound(tracer), SOURCE)
    return f"For {closest.name}, {words}."


def source_bound(tracer: TracerInfo | None) -> float:
    """The bound of the LLRs of sources, natural log; infinite when the tracer states none."""
    calibration = tracer.source_calibration if tracer is not None else None
    return calibration.llr_bound if calibration is not None else math.inf


def _failed(trace: TraceInfo) -> tuple[ChannelTestPart, ...]:
    return trace.channel_test.failed if trace.channel_test is not None else ()


def _alternatives(trace: TraceInfo) -> tuple[str, ...]:
    """The decision's source first, then those it cannot be told apart from."""
    return (trace.decision, *(name for name in trace.group if name != trace.decision))


def _with_channel(words: str, finding: Traced) -> str:
    return f"{words}; {NO_SUPPORT}" if follows_channel(finding) else words


def _given_to(decision: str, source: str, similarity: float | None) -> str:
    """What a part of the test was found to be, `unknown (similarity to kokoro 0.21)`."""
    if similarity is None:
        return decision
    value = format_similarity(similarity)
    return f"{decision} (similarity {value})" if decision == source else f"{decision} (similarity to {source} {value})"


def _residue(test: ChannelTest, finding: Finding) -> ChannelLine:
    title, source = "Without speech", finding.sources[0].name
    if test.residue_decision is None:
        return ChannelLine(
            title,
            "not tested",
            f"{test.residue_s:.1f} s without speech: too little to be traced.",
            "Whether the source is also found without speech remains open.",
        )
    given = _given_to(test.residue_decision, source, test.residue_similarity)
    found = f"The {test.residue_s:.1f} s without speech were traced alone; decision: {given}."
    if "residue" in test.failed:
        return ChannelLine(
            title,
            "failed",
            found,
            "The source is found where nobody speaks: the similarity may be that of the channel.",
        )
    return ChannelLine(title, "passed", found, "What is not speech does not lead to this source.")


def _codec(test: ChannelTest, finding: Finding) -> ChannelLine:
    given = _given_to(test.codec_decision, finding.sources[0].name, test.codec_similarity)
    found = f"A copy of the traced windows went through {test.codec}; decision: {given}."
    if "codec" in test.failed:
        return ChannelLine(
            "Through a codec",
            "failed",
            found,
            f"It is closest to {test.codec_closest}, but far less close: the decision rests on what a codec takes away."
            if finding.trace is not None and test.codec_closest in _alternatives(finding.trace)
            else f"It is closest to {test.codec_closest}: the decision rests on what a codec takes away or adds.",
        )
    if test.codec_decision != test.codec_closest:
        meaning = f"It is still closest to {test.codec_closest}, though less close than the rule asks for."
        return ChannelLine("Through a codec", "passed", found, meaning)
    return ChannelLine("Through a codec", "passed", found, "The decision survives a codec.")
