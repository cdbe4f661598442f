"""Audacity's label track: begin, end and text, by tabs, in seconds with six decimals (File > Import > Labels)."""

from __future__ import annotations

from spoofcheck.render.labels.tracks import exhibit_label, flagged_labels, speech_labels, window_labels
from spoofcheck.schema import Finding, ScanDocument


def render(document: ScanDocument, finding: Finding, name: str) -> str:  # noqa: ARG001  as all writers
    """One line for the verdict, one for each flagged stretch, window and stretch of speech."""
    labels = [
        exhibit_label(document, finding),
        *flagged_labels(document, finding),
        *window_labels(document, finding),
        *speech_labels(finding),
    ]
    # `tracks` writes control characters out, so no text holds a tab or a newline.
    return "".join(f"{label.start_s:.6f}\t{label.end_s:.6f}\t{label.text}\n" for label in labels)
