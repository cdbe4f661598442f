"""One row per label, for spreadsheets and scripts; text is quoted and cannot be taken for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from spoofcheck.render.csv import outside
from spoofcheck.schema import Finding, ScanDocument

COLUMNS = ("path", "channel", "kind", "start_s", "end_s", "spoof_llr", "raw_score", "speech_s", "text")
Row = tuple[str, int | None, str, float, float, float | None, float | None, float | None, str]


def render(document: ScanDocument, finding: Finding, name: str) -> str:  # noqa: ARG001  as all writers
    """A header and rows of four kinds: `exhibit`, `flagged`, `window`, `speech`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    writer.writerows(_rows(finding))
    return buffer.getvalue()


def _rows(finding: Finding) -> Iterator[Row]:
    path, channel = outside(finding.path), finding.channel

    def row(
        kind: str,
        start_s: float,
        end_s: float,
        llr: float | None = None,
        raw: float | None = None,
        speech_s: float | None = None,
        text: str = "",
    ) -> Row:
        return (path, channel, kind, round(start_s, 6), round(end_s, 6), llr, raw, speech_s, outside(text))

    yield row(
        "exhibit",
        0.0,
        finding.duration_s or 0.0,
        finding.spoof_llr,
        finding.raw_score,
        finding.speech_s,
        finding.verdict.value,
    )
    for span in finding.spans:
        yield row("flagged", span.start_s, span.end_s, span.spoof_llr, text=f"{span.windows} windows")
    for window in finding.windows:
        yield row(
            "window",
            window.start_s,
            window.end_s,
            window.spoof_llr,
            window.raw_score,
            window.speech_s,
            window.not_scored or "",
        )
    for stretch in () if finding.pictures is None else finding.pictures.speech:
        yield row("speech", stretch.start_s, stretch.end_s)
