"""A trace as the report shows it: words, and bars ready to be drawn. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spoofcheck.render import tracing
from spoofcheck.render.similarity import axis, similarity_bars
from spoofcheck.render.text import count, format_llr, format_similarity
from spoofcheck.render.tracing import ChannelLine
from spoofcheck.render.wording import both_ratios
from spoofcheck.schema import EnrolledSourceInfo, Finding, ScanDocument, SourceMatch, UnknownGroup

_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One listed source; `x` and `width` of its bar are in percent of the drawing."""

    name: str
    origin: str
    similarity: str
    description: str
    x: str
    width: str
    accepted: bool
    llr: str
    ratio: str


@dataclass(frozen=True, slots=True)
class TraceView:
    """Everything the page says of one exhibit's trace; texts that do not apply are empty.

    `zero_x` and `threshold_x` are in percent of the drawing; `threshold_x` is None where the rule is on something else
    than the similarity that is drawn.
    """

    headline: str
    decision: str
    similarity: str
    known: bool
    opinion: str
    group_warning: str
    channel_warning: str
    channel_lines: tuple[ChannelLine, ...]
    channel_outcome: str
    unknown_group: str
    softmax: bool
    low: str
    high: str
    zero_x: str
    threshold_x: str | None
    threshold: str
    rows: tuple[SourceRow, ...]
    with_llrs: bool


def trace_view(finding: Finding, document: ScanDocument) -> TraceView | None:
    """The view of a traced finding; None for one that was not traced."""
    trace = finding.trace
    if trace is None:
        return None
    along = axis(trace)
    words = tracing.similar_to(finding)
    return TraceView(
        headline=f"{words[:1].upper()}{words[1:]}.",
        decision=tracing.decision_words(finding),
        similarity=_signed(format_similarity(finding.sources[0].similarity)),
        known=tracing.is_known(finding),
        opinion=tracing.source_opinion(finding, document.tracer),
        group_warning=tracing.group_warning(finding),
        channel_warning=tracing.channel_warning(finding),
        channel_lines=tracing.channel_lines(finding),
        channel_outcome=tracing.channel_outcome(trace) if tracing.is_known(finding) else "",
        unknown_group=_alike(trace.unknown_group, document.unknown_groups),
        softmax=trace.measure == "softmax",
        low=_signed(f"{along.low:g}"),
        high=f"{along.high:g}",
        zero_x=_percent(along.at(0.0)),
        threshold_x=None if along.threshold is None else _percent(along.at(along.threshold)),
        threshold=_signed(f"{trace.threshold:g}"),
        rows=tuple(
            _row(source, bar.start, bar.end, bar.accepted, along.threshold is not None, document)
            for source, bar in zip(finding.sources, similarity_bars(finding, along), strict=True)
        ),
        with_llrs=any(source.llr is not None for source in finding.sources),
    )


def _row(
    source: SourceMatch, start: float, end: float, accepted: bool, drawn: bool, document: ScanDocument
) -> SourceRow:
    similarity = _signed(format_similarity(source.similarity))
    side = f", {'at or above' if accepted else 'below'} the threshold" if drawn else ""
    bound = tracing.source_bound(document.tracer)
    return SourceRow(
        name=source.name,
        origin=_origin(source, document.enrolled.sources if document.enrolled else ()),
        similarity=similarity,
        description=f"Similarity {similarity}{side}",
        x=_percent(start),
        width=_percent(end - start),
        accepted=accepted,
        llr=_signed(format_llr(source.llr, bound)),
        ratio="" if source.llr is None else both_ratios(source.llr, bound)[0],
    )


def _origin(source: SourceMatch, enrolled: Sequence[EnrolledSourceInfo]) -> str:
    if source.origin == "shipped":
        return "shipped with the tracer"
    made = next((one for one in enrolled if one.name == source.name), None)
    return "enrolled" if made is None else f"enrolled from {count(made.clips, 'clip')}, revision {made.revision}"


def _alike(name: str | None, groups: Sequence[UnknownGroup]) -> str:
    if name is None:
        return ""
    group = next((one for one in groups if one.name == name), None)
    if group is None:
        return f"It belongs to {name}: unknown exhibits that are alike."
    earlier = f" and {group.earlier:,} examined earlier in the case" if group.earlier else ""
    here = count(group.exhibits, "exhibit")
    return f"It belongs to {name}: {here} of this report{earlier}, like no known source and alike among themselves."


def _signed(text: str) -> str:
    return text.replace("-", _MINUS)


def _percent(share: float) -> str:
    return f"{100 * share:.5g}%"
