"""What every renderer derives from a finding in the same way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from spoofcheck.schema import Finding, OptionsInfo, ScanDocument, Verdict, WindowResult
from spoofcheck.types import OVER_BUDGET, covered_s

# Codes that only repeat what the verdict, the LLR and the spans already say.
_TOLD_ELSEWHERE = frozenset({"above-spoof-threshold", "below-bonafide-threshold", "spoofed-passage", "uncalibrated"})


def is_calibrated(document: ScanDocument) -> bool:
    """Whether the model gives likelihood ratios; one that does not gives raw scores, and decides nothing."""
    return document.model.calibration is not None


def llr_bound(document: ScanDocument) -> float | None:
    """Largest magnitude of the document's LLRs; None for an uncalibrated model, which gives none."""
    return document.model.calibration.llr_bound if document.model.calibration is not None else None


def examined(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that are exhibits, in order."""
    return [finding for finding in findings if finding.verdict is not Verdict.SKIPPED]


def skipped(findings: Iterable[Finding]) -> list[Finding]:
    """The inputs that were not examined, in order."""
    return [finding for finding in findings if finding.verdict is Verdict.SKIPPED]


def verdict_counts(findings: Iterable[Finding]) -> dict[Verdict, int]:
    """How many findings have each verdict; every verdict is a key."""
    counts = Counter(finding.verdict for finding in findings)
    return {verdict: counts[verdict] for verdict in Verdict}


def spoofed_s(finding: Finding) -> float:
    """Seconds covered by the flagged spans; where spans overlap, the time counts once."""
    return covered_s((span.start_s, span.end_s) for span in finding.spans)


def flags(finding: Finding) -> list[str]:
    """Codes of the reasons that ask for attention, each once."""
    codes = dict.fromkeys(reason.code for reason in finding.reasons)
    return [code for code in codes if code not in _TOLD_ELSEWHERE]


def is_flagged(window: WindowResult, options: OptionsInfo) -> bool:
    """Whether the window is at or above the window threshold."""
    llr, threshold = window.spoof_llr, options.window_threshold_llr
    return llr is not None and threshold is not None and llr >= threshold


def windows_not_scored(finding: Finding) -> int:
    """How many windows the model gave no score to."""
    return sum(window.raw_score is None for window in finding.windows)


def examined_s(finding: Finding) -> float:
    """Seconds of the recording that lie in a scored window; where windows overlap, the time counts once."""
    return covered_s((each.start_s, each.end_s) for each in finding.windows if each.raw_score is not None)


def windows_over_budget(finding: Finding) -> int:
    """How many windows with speech were left out because only so much of the exhibit was to be examined."""
    return sum(window.not_scored == OVER_BUDGET for window in finding.windows)


def unknown_group(finding: Finding) -> str | None:
    """The group of unknown exhibits that the finding belongs to."""
    return finding.trace.unknown_group if finding.trace is not None else None


def duration_s(findings: Iterable[Finding]) -> float:
    """Seconds of all recordings; one with several examined channels counts once."""
    lengths = {finding.path: finding.duration_s or 0.0 for finding in findings}
    return sum(lengths.values())
