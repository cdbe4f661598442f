"""What all label formats say of an exhibit, in words of their own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from spoofcheck.render.measures import llr_bound
from spoofcheck.render.text import format_llr, printable
from spoofcheck.render.wording import examined_part
from spoofcheck.schema import Finding, ScanDocument, WindowResult


class Stretch(Protocol):
    """Anything with a begin and an end."""

    @property
    def start_s(self) -> float:
        """From the start of the recording."""

    @property
    def end_s(self) -> float:
        """End."""


AnyStretch = TypeVar("AnyStretch", bound=Stretch)


@dataclass(frozen=True, slots=True)
class Label:
    """A stretch of a recording and what is said of it."""

    start_s: float
    end_s: float
    text: str


def exhibit_label(document: ScanDocument, finding: Finding) -> Label:
    """The verdict on the exhibit, its pooled LLR or an uncalibrated model's mean raw score, and what they rest on."""
    score = _score_text(finding, llr_bound(document))
    part = examined_part(finding)
    text = ", ".join(filter(None, (f"verdict {finding.verdict}", score, part and f"examined {part}")))
    return Label(0.0, finding.duration_s or 0.0, text)


def window_labels(document: ScanDocument, finding: Finding) -> list[Label]:
    """Each window with its score, or why it has none, in order of time."""
    bound = llr_bound(document)
    return [Label(window.start_s, window.end_s, window_text(window, bound)) for window in finding.windows]


def window_text(window: WindowResult, bound: float | None) -> str:
    """`LLR +2.31`, `raw score +4.07` of an uncalibrated model, or `not scored: no-speech`."""
    return _score_text(window, bound) or f"not scored: {printable(window.not_scored or 'no reason given')}"


def _score_text(scored: Finding | WindowResult, bound: float | None) -> str:
    """Empty without a score."""
    if scored.spoof_llr is not None:
        return f"LLR {format_llr(scored.spoof_llr, bound)}"
    # A calibrated model's raw score says nothing that its LLR does not.
    return f"raw score {format_llr(scored.raw_score)}" if bound is None and scored.raw_score is not None else ""


def flagged_labels(document: ScanDocument, finding: Finding) -> list[Label]:
    """Stretches of windows that were flagged together."""
    bound = llr_bound(document)
    return [
        Label(span.start_s, span.end_s, f"flagged, mean LLR {format_llr(span.spoof_llr, bound)}")
        for span in finding.spans
    ]


def speech_labels(finding: Finding) -> list[Label]:
    """Where speech is, if the document says so."""
    stretches = () if finding.pictures is None else finding.pictures.speech
    return [Label(stretch.start_s, stretch.end_s, "speech") for stretch in stretches]


def lanes(stretches: Iterable[AnyStretch]) -> list[list[AnyStretch]]:
    """Stretches spread over as few lanes as possible, so that none overlaps another of its lane; empty ones dropped.

    Windows overlap where the hop is shorter than they are, and the last one reaches back from the end. A tier cannot
    hold that, and to cut windows where they overlap would name positions that nobody measured.
    """
    spread: list[list[AnyStretch]] = []
    for stretch in sorted(stretches, key=lambda stretch: (stretch.start_s, stretch.end_s)):
        if stretch.end_s <= stretch.start_s:
            continue
        lane = next((lane for lane in spread if lane[-1].end_s <= stretch.start_s), None)
        if lane is None:
            spread.append([stretch])
        else:
            lane.append(stretch)
    return spread


def merged(labels: Sequence[Label]) -> list[Label]:
    """Labels of one text that touch or overlap as one, in order of their begin."""
    joined: list[Label] = []
    for label in labels:
        if joined and joined[-1].text == label.text and label.start_s <= joined[-1].end_s:
            joined[-1] = Label(joined[-1].start_s, max(joined[-1].end_s, label.end_s), label.text)
        else:
            joined.append(label)
    return joined
