"""Praat's TextGrid, long form, UTF-8: tiers `verdict`, `LLR`, `flagged` and, where it is known, `speech`.

With an uncalibrated model the tier of windows is `raw score`, and there is no `flagged`.

Intervals of a tier follow each other without gaps; empty ones stand between. Windows that overlap others stand on tiers
of their own (`LLR 2`, ...), each as long as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from spoofcheck.render.labels.tracks import (
    Label,
    exhibit_label,
    flagged_labels,
    lanes,
    speech_labels,
    window_labels,
)
from spoofcheck.render.measures import is_calibrated
from spoofcheck.schema import Finding, ScanDocument

_SHORTEST_S = 1e-6


def render(document: ScanDocument, finding: Finding, name: str) -> str:  # noqa: ARG001  as all writers
    """The grid from 0 to the end of the recording, or of its last window."""
    verdict = exhibit_label(document, finding)
    calibrated = is_calibrated(document)
    groups = {"verdict": [verdict], "LLR" if calibrated else "raw score": window_labels(document, finding)}
    if calibrated:
        groups["flagged"] = flagged_labels(document, finding)
    groups["speech"] = speech_labels(finding)
    end_s = max(label.end_s for labels in groups.values() for label in [*labels, verdict])
    end_s = max(end_s, _SHORTEST_S)  # Praat knows no grid without length
    tiers: list[tuple[str, Sequence[Label]]] = []
    for tier, labels in groups.items():
        spread = lanes(labels) or ([] if tier == "speech" and finding.pictures is None else [[]])
        tiers += [(tier if i == 0 else f"{tier} {i + 1}", lane) for i, lane in enumerate(spread)]
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {_seconds(end_s)}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (tier, lane) in enumerate(tiers, start=1):
        lines += _tier(number, tier, _filled(lane, end_s), end_s)
    return "\n".join(lines) + "\n"


def _filled(lane: Sequence[Label], end_s: float) -> list[Label]:
    """Labels of a lane with empty ones between them, from 0 to the end."""
    filled: list[Label] = []
    position = 0.0
    for label in lane:
        if _seconds(label.start_s) != _seconds(position):
            filled.append(Label(position, label.start_s, ""))
        filled.append(label)
        position = label.end_s
    if _seconds(position) != _seconds(end_s):
        filled.append(Label(position, end_s, ""))
    return filled


def _tier(number: int, name: str, labels: Sequence[Label], end_s: float) -> list[str]:
    lines = [
        f"    item [{number}]:",
        '        class = "IntervalTier"',
        f"        name = {_quoted(name)}",
        "        xmin = 0",
        f"        xmax = {_seconds(end_s)}",
        f"        intervals: size = {len(labels)}",
    ]
    for index, label in enumerate(labels, start=1):
        lines += [
            f"        intervals [{index}]:",
            f"            xmin = {_seconds(label.start_s)}",
            f"            xmax = {_seconds(label.end_s)}",
            f"            text = {_quoted(label.text)}",
        ]
    return lines


def _seconds(seconds: float) -> str:
    return f"{seconds:.6f}"


def _quoted(text: str) -> str:
    """Praat's string: quotes inside are doubled."""
    return '"' + text.replace('"', '""') + '"'
