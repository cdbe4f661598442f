"""The table of all exhibits, from a handful to hundreds: what its rows show, sort and filter by. Pure.

From `INTERACTIVE_FROM` exhibits on, the page's one script makes the table sortable, filterable and searchable; the
page's own policy lets that script run by its hash, and nothing else. Without it the table is whole and in order.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Final

from markupsafe import Markup

from spoofcheck.render import measures
from spoofcheck.render.paths import relative_names
from spoofcheck.render.templating import environment
from spoofcheck.render.text import MISSING, channel_label, format_llr, format_time
from spoofcheck.render.timeline import Level, strip
from spoofcheck.render.tracing import decision_words, follows_channel
from spoofcheck.render.wording import VERDICT_ORDER
from spoofcheck.schema import Finding, ScanDocument, Verdict

INTERACTIVE_FROM: Final = 6
"""So many exhibits make a table worth sorting and filtering; fewer stay a plain one."""
NOT_TRACED: Final = "not traced"

_MINUS = "\N{MINUS SIGN}"
_STRIP_CELLS = 60
"""About as many as the cell has room for: a row of hundreds must stay small."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A part of a small drawing: `x` and `width` in percent of its width, `kind` a level of the timeline."""

    x: str
    width: str
    kind: Level


@dataclass(frozen=True, slots=True)
class Row:
    """One exhibit. Names and labels are outside text: the templates escape them.

    Attributes:
        number: of the exhibit in the report, and of the anchor `#exhibit-N`.
        reference: what the case calls it; its number where the case has no name for it.
        verdict_rank: most conspicuous first, for sorting.
        llr: the pooled LLR; of an uncalibrated model, which gives none, the mean raw score.
        bar: the pooled LLR, drawn from the middle of its cell; None where none is given.
        llr_value: what `llr` is sorted by; None where none is given.
        flagged: stretches flagged together, and the seconds that they cover.
        strip: the timeline in one line.
        source: index into `Overview.sources`.
        channel_failed: whether the similarity is no support, since the channel test failed.
        reasons: how many reasons and remarks the exhibit's section gives.
        in_part: whether a budget left windows out.
    """

    number: int
    reference: str
    name: str
    channel: str
    duration_s: float | None
    duration: str
    verdict: Verdict
    verdict_rank: int
    llr: str
    llr_value: float | None
    bar: Stroke | None
    flagged: int
    flagged_s: float
    flagged_time: str
    strip: tuple[Stroke, ...]
    source: int
    channel_failed: bool
    reasons: int
    in_part: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """The table with what its filters offer; columns that would be empty throughout are left out.

    Attributes:
        verdicts: those that occur, with the number of exhibits.
        sources: the decisions of the tracer that occur, most frequent first, with the number of exhibits.
        threshold_xs: where the bona fide and the spoof threshold lie in the cell of an LLR, in percent; empty without.
        script: the page's script; empty for a plain table.
        script_hash: by which the page's policy lets it run; empty for a plain table.
    """

    rows: tuple[Row, ...]
    interactive: bool
    with_channels: bool
    with_sources: bool
    verdicts: tuple[tuple[Verdict, int], ...]
    sources: tuple[tuple[str, int], ...]
    threshold_xs: tuple[str, ...]
    script: Markup
    script_hash: str


def overview(document: ScanDocument) -> Overview:
    """The overview of a document's examined exhibits, in the order and with the numbers of the report."""
    exhibits = measures.examined(document.findings)
    names = relative_names(finding.path for finding in document.findings)
    decisions = Counter(decision_words(finding) or NOT_TRACED for finding in exhibits)
    # What was not traced is no decision: it comes last, however frequent.
    sources = sorted(decisions.items(), key=lambda item: (item[0] == NOT_TRACED, -item[1], item[0]))
    place = {decision: index for index, (decision, _) in enumerate(sources)}
    reach = max([measures.llr_bound(document) or 1.0, *(abs(finding.spoof_llr or 0.0) for finding in exhibits)])
    rows = tuple(
        _row(number, finding, names[finding.path], place[decision_words(finding) or NOT_TRACED], reach, document)
        for number, finding in enumerate(exhibits, start=1)
    )
    counts = measures.verdict_counts(exhibits)
    interactive = len(rows) >= INTERACTIVE_FROM
    script, script_hash = report_script() if interactive else (Markup(), "")
    return Overview(
        rows=rows,
        interactive=interactive,
        with_channels=any(row.channel for row in rows),
        with_sources=any(finding.trace is not None for finding in exhibits),
        verdicts=tuple((verdict, counts[verdict]) for verdict in VERDICT_ORDER if counts[verdict]),
        sources=tuple(sources),
        threshold_xs=tuple(
            _percent(_at(threshold, reach))
            for threshold in (document.options.bonafide_threshold_llr, document.options.spoof_threshold_llr)
            if threshold is not None
        ),
        script=script,
        script_hash=script_hash,
    )


@cache
def report_script() -> tuple[Markup, str]:
    """The report's script, and its hash as a Content-Security-Policy names it (`sha256-...`)."""
    text = environment().get_template("_script.js.j2").render()
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"sha256-{digest}"


def _row(number: int, finding: Finding, name: str, source: int, reach: float, document: ScanDocument) -> Row:
    flagged_s = measures.spoofed_s(finding)
    score = finding.spoof_llr if measures.is_calibrated(document) else finding.raw_score
    return Row(
        number=number,
        reference=finding.exhibit or str(number),
        name=name,
        channel=_channel(finding),
        duration_s=finding.duration_s,
        duration=format_time(finding.duration_s),
        verdict=finding.verdict,
        verdict_rank=VERDICT_ORDER.index(finding.verdict),
        llr=format_llr(score, measures.llr_bound(document)).replace("-", _MINUS),
        llr_value=score,
        bar=None if finding.spoof_llr is None else _bar(finding.spoof_llr, reach, document),
        flagged=len(finding.spans),
        flagged_s=flagged_s,
        flagged_time=format_time(flagged_s) if finding.spans else MISSING,
        strip=_strip(finding, document),
        source=source,
        channel_failed=follows_channel(finding),
        reasons=len(finding.reasons),
        in_part=measures.windows_over_budget(finding) > 0,
    )


def _channel(finding: Finding) -> str:
    """`2 of 2 (right)`: the column says that it is a channel; empty for mono and for the mix."""
    return channel_label(finding.channel, finding.media.channels if finding.media else None).removeprefix("channel ")


def _bar(llr: float, reach: float, document: ScanDocument) -> Stroke:
    start, end = sorted((_at(0.0, reach), _at(llr, reach)))
    upper, lower = document.options.spoof_threshold_llr, document.options.bonafide_threshold_llr
    if upper is not None and llr >= upper:
        kind = Level.SYNTHETIC
    else:
        kind = Level.HUMAN if lower is not None and llr <= lower else Level.UNDECIDED
    # An LLR right at zero still leaves a mark: it was given.
    return Stroke(_percent(start), _percent(max(0.01, end - start)), kind)


def _strip(finding: Finding, document: ScanDocument) -> tuple[Stroke, ...]:
    """Neighbouring cells of the same level are one stroke."""
    levels = strip(finding, document.options, _STRIP_CELLS)
    strokes, start = [], 0
    for kind, same in groupby(levels):
        cells = len(list(same))
        strokes.append(Stroke(_percent(start / len(levels)), _percent(cells / len(levels)), kind))
        start += cells
    return tuple(strokes)


def _at(llr: float, reach: float) -> float:
    """Where an LLR lies between `-reach` (0) and `+reach` (1)."""
    return (max(-reach, min(reach, llr)) / reach + 1) / 2


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"
