"""One row per finding, for spreadsheets: numbers stay numbers, outside text can neither run nor break a row.

Channels are 0-based, as in the JSON. File names with control characters are shown escaped; only the JSON
forms keep them as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from spoofcheck.render.measures import examined_s, is_calibrated, spoofed_s, windows_not_scored, windows_over_budget
from spoofcheck.render.text import format_span, printable
from spoofcheck.render.tracing import channel_outcome, similar_to
from spoofcheck.schema import Finding, ScanDocument

Cell = str | int | float | None

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(document: ScanDocument) -> str:
    """A header and one row per finding; all but numbers in quotes, lines ended by a newline."""
    buffer = io.StringIO()
    # Quoted even where no comma asks for it: a spreadsheet that splits at semicolons must not cut a name
    # in two and take its second half for a formula.
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    for finding in document.findings:
        writer.writerow(column(document, finding) for column in COLUMNS.values())
    return buffer.getvalue()


def outside(text: str) -> str:
    """Text from outside as a cell: visible, on one line, and never taken for a formula."""
    guarded = "'" + text if text.startswith(_FORMULA) else text
    return printable(guarded)


COLUMNS: dict[str, Callable[[ScanDocument, Finding], Cell]] = {
    "path": lambda _, f: outside(f.path),
    "channel": lambda _, f: f.channel,
    "verdict": lambda _, f: f.verdict.value,
    "spoof_llr": lambda _, f: f.spoof_llr,
    "raw_score": lambda _, f: f.raw_score,
    "duration_s": lambda _, f: f.duration_s,
    "speech_s": lambda _, f: f.speech_s,
    "spoofed_s": lambda d, f: spoofed_s(f) if f.duration_s is not None and is_calibrated(d) else None,
    "spans": lambda _, f: "; ".join(format_span(span.start_s, span.end_s) for span in f.spans),
    "windows": lambda _, f: len(f.windows),
    "windows_scored": lambda _, f: len(f.windows) - windows_not_scored(f),
    "reason": lambda _, f: outside(f.reasons[0].message) if f.reasons else "",
    "reason_codes": lambda _, f: outside("; ".join(reason.code for reason in f.reasons)),
    "sha256": lambda _, f: outside(f.sha256 or ""),
    "pcm_sha256": lambda _, f: outside(f.media.pcm_sha256) if f.media else "",
    "container": lambda _, f: outside(f.media.container) if f.media else "",
    "codec": lambda _, f: outside(f.media.codec) if f.media else "",
    "sample_rate_hz": lambda _, f: f.media.sample_rate_hz if f.media else None,
    "channels": lambda _, f: f.media.channels if f.media else None,
    "bit_depth": lambda _, f: f.media.bit_depth if f.media else None,
    "snr_db": lambda _, f: f.quality.snr_db if f.quality else None,
    "clipping_share": lambda _, f: f.quality.clipping_share if f.quality else None,
    "silence_share": lambda _, f: f.quality.silence_share if f.quality else None,
    "bandwidth_hz": lambda _, f: f.quality.bandwidth_hz if f.quality else None,
    "validity_distance": lambda _, f: f.validity_distance,
    "trace": lambda _, f: outside(similar_to(f)),
    "trace_decision": lambda _, f: outside(f.trace.decision) if f.trace else "",
    "trace_windows": lambda _, f: f.trace.windows if f.trace else None,
    "closest_source": lambda _, f: outside(f.sources[0].name) if f.sources else "",
    "closest_similarity": lambda _, f: f.sources[0].similarity if f.sources else None,
    "model": lambda d, _: outside(d.model.name),
    "model_version": lambda d, _: outside(d.model.version),
    "weights_sha256": lambda d, _: outside(d.model.weights_sha256),
    "tracer": lambda d, _: outside(d.tracer.name) if d.tracer else "",
    "tracer_version": lambda d, _: outside(d.tracer.version) if d.tracer else "",
    "tracer_weights_sha256": lambda d, _: outside(d.tracer.weights_sha256) if d.tracer else "",
    "tool_version": lambda d, _: outside(d.tool.version),
    "trace_group": lambda _, f: outside("; ".join(f.trace.group)) if f.trace else "",
    "unknown_group": lambda _, f: outside(f.trace.unknown_group or "") if f.trace else "",
    "closest_origin": lambda _, f: f.sources[0].origin if f.sources else "",
    "closest_llr": lambda _, f: f.sources[0].llr if f.sources else None,
    "trace_measure": lambda _, f: f.trace.measure if f.trace else "",
    "trace_threshold": lambda _, f: f.trace.threshold if f.trace else None,
    "channel_test": lambda _, f: channel_outcome(f.trace) if f.trace else "",
    "sources_sha256": lambda d, _: outside(d.enrolled.sha256) if d.enrolled else "",
    "examined_s": lambda _, f: examined_s(f) if f.duration_s is not None else None,
    "windows_over_budget": lambda _, f: windows_over_budget(f),
}
"""Every column and where its cell comes from, in the order in which they are written."""
