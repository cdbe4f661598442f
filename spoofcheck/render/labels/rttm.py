"""RTTM, the form of diarisation and of partial-spoof scoring tools: one SPEAKER line per stretch of scored windows.

The "speaker" is what the windows of the stretch say, by the thresholds of the document: `spoof` at or above the window
threshold, `bonafide` at or below the bona fide threshold, else `inconclusive`. Windows that say the same and touch are
one line. Windows without a score have none; it is no verdict on the exhibit.
"""

from __future__ import annotations

from spoofcheck.render.labels.tracks import Label, merged
from spoofcheck.render.timeline import Level, level
from spoofcheck.schema import Finding, ScanDocument

_SPEAKERS = {Level.SYNTHETIC: "spoof", Level.HUMAN: "bonafide", Level.UNDECIDED: "inconclusive"}


def render(document: ScanDocument, finding: Finding, name: str) -> str:
    """Lines in order of time; the file's identifier is the label file's own name, which holds no blank."""
    labels = [
        Label(window.start_s, window.end_s, _SPEAKERS[level(window.spoof_llr, document.options)])
        for window in finding.windows
        if window.spoof_llr is not None
    ]
    channel = 1 if finding.channel is None else finding.channel + 1
    return "".join(
        f"SPEAKER {name} {channel} {label.start_s:.6f} {label.end_s - label.start_s:.6f} <NA> <NA> {label.text} "
        "<NA> <NA>\n"
        for label in merged(labels)
    )
