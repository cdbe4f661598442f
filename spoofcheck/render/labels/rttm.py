"""RTTM, the form of diarisation and of partial-spoof scoring tools: one SPEAKER line per stretch of scored windows.

The "speaker" is what the windows of the stretch say, by the thresholds of the document: `spoof` at or above the window
threshold, `bonafide` at or below the bona fide threshold, else `inconclusive`. Windows that say the same and touch are
one line. Windows without a score have none; it is no verdict on the exhibit. Where a budget left windows out, a NOSCORE
line says of each stretch of them that nothing is said there.
"""

from __future__ import annotations

from spoofcheck.render.labels.tracks import Label, merged
from spoofcheck.render.timeline import Level, level
from spoofcheck.schema import Finding, ScanDocument
from spoofcheck.types import OVER_BUDGET

_SPEAKERS = {Level.SYNTHETIC: "spoof", Level.HUMAN: "bonafide", Level.UNDECIDED: "inconclusive"}


def render(document: ScanDocument, finding: Finding, name: str) -> str:
    """Lines in order of time; the file's identifier is the label file's own name, which holds no blank."""
    channel = 1 if finding.channel is None else finding.channel + 1
    scored = [
        Label(window.start_s, window.end_s, _SPEAKERS[level(window.spoof_llr, document.options)])
        for window in finding.windows
        if window.spoof_llr is not None
    ]
    left_out = [Label(each.start_s, each.end_s, "") for each in finding.windows if each.not_scored == OVER_BUDGET]

    def place(label: Label) -> str:
        return f"{name} {channel} {label.start_s:.6f} {label.end_s - label.start_s:.6f}"

    lines = [
        *((label.start_s, f"SPEAKER {place(label)} <NA> <NA> {label.text} <NA> <NA>\n") for label in merged(scored)),
        *((label.start_s, f"NOSCORE {place(label)} <NA> <NA> <NA> <NA> <NA>\n") for label in merged(left_out)),
    ]
    return "".join(line for _, line in sorted(lines, key=lambda line: line[0]))
