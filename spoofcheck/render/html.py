"""The evidence report: one self-contained HTML page, from the templates in `reports/templates/`.

This module works out what the page shows; how it looks and what it says around the figures is in the templates.
"""

from __future__ import annotations

import hashlib
import math
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment
from markupsafe import Markup

from spoofcheck.render import canonical, custody, measures, wording
from spoofcheck.render.acousticview import AcousticView, acoustic_view
from spoofcheck.render.conditions import condition_rows
from spoofcheck.render.division import division
from spoofcheck.render.drawing import Rect, Tick, percent, time_ticks
from spoofcheck.render.overview import overview
from spoofcheck.render.paths import common_folder, relative_names
from spoofcheck.render.pictureview import PicturesView, pictures_view
from spoofcheck.render.scoreview import ScorePosition, StabilityView, score_position, stability_view
from spoofcheck.render.sections import sections
from spoofcheck.render.templating import environment, policy_hash
from spoofcheck.render.text import (
    MISSING,
    channel_label,
    format_bytes,
    format_llr,
    format_span,
    format_time,
)
from spoofcheck.render.timeline import Bar, bars
from spoofcheck.render.traceview import TraceView, trace_view
from spoofcheck.render.verbal import SCALE
from spoofcheck.schema import Excerpt, Finding, ScanDocument, Span, Verdict, WindowResult

SHEET_TITLE = "Examination of recordings for synthetic speech"
SHEET_NOTE = "Relates only to the items examined"
"""At the head and the foot of every printed sheet."""

_MINUS = "\N{MINUS SIGN}"
_EN_DASH = "\N{EN DASH}"
_CHART_HEIGHT = 140.0
_HEADROOM = 1.14
_SEPARATE_BARS = 120
_CHART_BARS = 600
_STRONGEST = 3


@dataclass(frozen=True, slots=True)
class Chart:
    """A timeline, ready to be drawn."""

    height: float
    zero_y: str
    threshold_y: str | None
    limits: tuple[tuple[str, str], ...]
    separate: bool
    bars: tuple[Rect, ...]
    spans: tuple[Rect, ...]
    ticks: tuple[Tick, ...]
    windows_per_bar: int
    description: str


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One line of a window table."""

    number: int
    span: str
    speech: str
    raw_score: str
    llr: str
    note: str
    flagged: bool


@dataclass(frozen=True, slots=True)
class ExcerptGroup:
    """Windows to listen to that speak in one direction."""

    title: str
    excerpts: tuple[Playable, ...]


@dataclass(frozen=True, slots=True)
class Playable:
    """One window to listen to; `source` is a `data:` URI."""

    span: str
    llr: str
    source: str


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One examined channel, with everything the page derives from its finding."""

    number: int
    finding: Finding
    name: str
    channel: str
    llr: str
    ratios: tuple[str, str] | None
    opinion: str
    spoofed: str
    chart: Chart
    rows: tuple[WindowRow, ...]
    supporting: tuple[WindowRow, ...]
    contrary: tuple[WindowRow, ...]
    not_scored: tuple[tuple[str, int], ...]
    examined: str
    examined_s: float
    trace: TraceView | None
    pictures: PicturesView | None
    position: ScorePosition | None
    stability: StabilityView | None
    excerpts: tuple[ExcerptGroup, ...]
    acoustics: AcousticView | None

    @property
    def reference(self) -> str:
        """What the report calls it: its reference in the case, or its number."""
        return self.finding.exhibit or str(self.number)


def render(document: ScanDocument) -> str:
    """The whole report as one HTML page that loads nothing, and runs nothing but the script of its overview."""
    # The document is spelled once: its hash, the report's number and the copy in the page are all of this text.
    spelled = canonical.embedded(document)
    digest = hashlib.sha256(spelled.encode("ascii")).hexdigest()
    exhibits = measures.examined(document.findings)
    numbered = dict(enumerate(exhibits, start=1))
    names = relative_names(finding.path for finding in document.findings)
    counts = measures.verdict_counts(document.findings)
    meanings = wording.meanings(calibrated=measures.is_calibrated(document))
    shown = shown_exhibits(document)
    files = custody.recordings(numbered, names, document)
    report_id = canonical.report_id_of(digest)
    titles = {"sheet_title": SHEET_TITLE, "sheet_note": SHEET_NOTE, "report_id": report_id}
    style = _environment().get_template("_report_style.css.j2").render(titles)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            titles,
            document=document,
            bound=measures.llr_bound(document),
            document_sha256=digest,
            element=Markup(canonical.script_element_of(spelled)),  # canonical JSON holds no markup
            element_id=canonical.ELEMENT_ID,
            style=Markup(style),  # our own template
            style_hash=policy_hash(style),
            sections=sections(document),
            alarms=custody.alarms(files, document),
            exhibits=shown,
            in_part=[item for item in shown if item.examined],
            overview=overview(document),
            unknown_groups=[
                (group, [item for item in shown if measures.unknown_group(item.finding) == group.name])
                for group in document.unknown_groups
            ],
            measure=next((finding.trace.measure for finding in exhibits if finding.trace is not None), None),
            skipped=[(names[finding.path], finding) for finding in measures.skipped(document.findings)],
            folder=common_folder(names),
            files=files,
            missing=custody.missing_exhibits(numbered, document),
            manifest=custody.manifest(files, document),
            conditions=condition_rows(document.model.conditions, numbered),
            audio_s=measures.duration_s(exhibits),
            counts=[(verdict, counts[verdict]) for verdict in meanings if counts[verdict]],
            meanings=list(meanings.items()),
            scale=SCALE,
            division=division(document),
            command_line=shlex.join(document.tool.command_line),
            note=(document.note or "").splitlines(),
            observations_explain=wording.OBSERVATIONS_EXPLAIN,
        )
    )
    return page + "\n"


def shown_exhibits(document: ScanDocument) -> list[Exhibit]:
    """The examined exhibits in order, each with the words and drawings that are shown of it."""
    names = relative_names(finding.path for finding in document.findings)
    return [
        _exhibit(number, finding, names[finding.path], document)
        for number, finding in enumerate(measures.examined(document.findings), start=1)
    ]


@cache
def _environment() -> Environment:
    made = environment()
    made.filters |= {
        "control_truth": wording.control_truth,
        "level": lambda dbfs: f"{dbfs:.1f}".replace("-", _MINUS),
        "llr": _llr,
        "shell": shlex.join,
        "size": format_bytes,
        "span": _range,
        "time": format_time,
        "verdict": lambda verdict: wording.VERDICT_WORDS[verdict],
    }
    made.globals["inf"] = math.inf
    return made


def _llr(llr: float | None, bound: float | None = None) -> str:
    return format_llr(llr, bound).replace("-", _MINUS)


def _range(stretch: Span | WindowResult) -> str:
    return format_span(stretch.start_s, stretch.end_s).replace("-", _EN_DASH)


def _exhibit(number: int, finding: Finding, name: str, document: ScanDocument) -> Exhibit:
    bound = measures.llr_bound(document)
    rows = tuple(_rows(finding, document))
    llrs = [window.spoof_llr for window in finding.windows]
    scored = sorted((i for i, llr in enumerate(llrs) if llr is not None), key=lambda i: llrs[i] or 0.0)
    return Exhibit(
        number=number,
        finding=finding,
        name=name,
        channel=channel_label(finding.channel, finding.media.channels if finding.media else None),
        llr=_llr(finding.spoof_llr, bound),
        ratios=_ratios(finding, bound),
        opinion=wording.opinion(finding, bound),
        spoofed=format_time(measures.spoofed_s(finding) if finding.spans else None),
        chart=_chart(finding, document),
        rows=rows,
        supporting=tuple(rows[i] for i in reversed(scored[-_STRONGEST:]) if (llrs[i] or 0.0) > 0),
        contrary=tuple(rows[i] for i in scored[:_STRONGEST] if (llrs[i] or 0.0) < 0),
        not_scored=tuple(
            Counter(
                wording.not_scored_words(window.not_scored or "no reason recorded")
                for window in finding.windows
                if window.raw_score is None
            ).items()
        ),
        examined=wording.examined_part(finding),
        examined_s=measures.examined_s(finding),
        trace=trace_view(finding, document),
        pictures=pictures_view(finding.pictures, _length_s(finding), vad=document.options.vad),
        position=score_position(finding, document.model.percentiles, bound),
        stability=stability_view(finding, document),
        excerpts=tuple(_excerpts(finding, bound)),
        acoustics=acoustic_view(finding.acoustics),
    )


def _length_s(finding: Finding) -> float:
    """Seconds along which an exhibit is drawn."""
    return finding.duration_s or max((window.end_s for window in finding.windows), default=0.0) or 1.0


def _excerpts(finding: Finding, bound: float | None) -> Iterator[ExcerptGroup]:
    """The excerpts for the pooled direction, then those against it; nothing without any."""
    if not finding.excerpts:
        return
    for direction, title in zip(("for", "against"), wording.excerpt_titles(finding.spoof_llr or 0.0), strict=True):
        chosen = [excerpt for excerpt in finding.excerpts if excerpt.direction == direction]
        yield ExcerptGroup(title, tuple(_playable(excerpt, bound) for excerpt in chosen))


def _playable(excerpt: Excerpt, bound: float | None) -> Playable:
    return Playable(
        span=format_span(excerpt.start_s, excerpt.end_s).replace("-", _EN_DASH),
        llr=_llr(excerpt.spoof_llr, bound),
        source=f"data:{excerpt.media_type};base64,{excerpt.data_base64}",
    )


def _ratios(finding: Finding, bound: float | None) -> tuple[str, str] | None:
    """Both likelihood ratios, where an opinion rests on them."""
    if finding.spoof_llr is None or bound is None or finding.verdict is Verdict.INCONCLUSIVE:
        return None
    return wording.both_ratios(finding.spoof_llr, bound)


def _rows(finding: Finding, document: ScanDocument) -> list[WindowRow]:
    bound = measures.llr_bound(document)
    return [
        WindowRow(
            number=number,
            span=_range(window),
            speech=MISSING if window.speech_s is None else f"{window.speech_s:.1f}",
            raw_score=_llr(window.raw_score),
            llr=_llr(window.spoof_llr, bound),
            note=_note(window, document),
            flagged=measures.is_flagged(window, document.options),
        )
        for number, window in enumerate(finding.windows, start=1)
    ]


def _note(window: WindowResult, document: ScanDocument) -> str:
    if window.not_scored is not None:
        return f"not scored: {wording.not_scored_words(window.not_scored)}"
    notes = ["at or above threshold"] if measures.is_flagged(window, document.options) else []
    validity, distance = document.model.validity, window.validity_distance
    if validity is not None and distance is not None and distance > validity.window.shrink_from:
        notes.append(f"LLR shrunk: distance {distance:.2f}")
    return "; ".join(notes)


def _chart(finding: Finding, document: ScanDocument) -> Chart:
    bound, threshold = measures.llr_bound(document), document.options.window_threshold_llr
    length_s = _length_s(finding)
    drawn = bars(finding, document.options, _CHART_BARS)
    scores = [abs(score) for item in drawn for score in (item.low, item.high) if score is not None]
    reach = max([0.0 if bound is None else bound, *scores]) or 1.0

    def y(llr: float) -> float:
        return _CHART_HEIGHT / 2 * (1 - llr / (reach * _HEADROOM))

    def bar(item: Bar) -> Rect:
        x, width = percent(item.start_s, length_s), percent(item.end_s - item.start_s, length_s)
        if item.low is None or item.high is None:
            return Rect(x, width, "0", "100%", item.level)
        top, bottom = y(max(0.0, item.high)), y(min(0.0, item.low))
        # A window right at zero still leaves a mark: it was scored.
        return Rect(x, width, f"{top:.4g}", f"{max(1.5, bottom - top):.4g}", item.level)

    return Chart(
        height=_CHART_HEIGHT,
        zero_y=f"{y(0.0):g}",
        threshold_y=None if threshold is None else f"{y(max(-reach, min(reach, threshold))):.4g}",
        limits=tuple((f"{y(llr):.4g}", _llr(llr, bound if reach == bound else None)) for llr in (reach, -reach)),
        separate=len(drawn) <= _SEPARATE_BARS,
        bars=tuple(bar(item) for item in drawn),
        spans=tuple(
            Rect(
                percent(span.start_s, length_s),
                percent(span.end_s - span.start_s, length_s),
                "0",
                "100%",
                "span",
            )
            for span in finding.spans
        ),
        ticks=tuple(time_ticks(length_s)),
        windows_per_bar=-(-len(finding.windows) // _CHART_BARS),
        description=wording.timeline_description(finding, bound),
    )
