"""What a report says in words. Every sentence here keeps to what a likelihood ratio can carry.

A verdict is what the decision rule says, never a statement about how a recording came to be; no sentence gives a
probability of a proposition, names a maker, or reads an error rate as that of the case at hand.
"""

from __future__ import annotations

from spoofcheck.render.text import count, format_llr, format_ratio
from spoofcheck.render.verbal import strength
from spoofcheck.schema import Finding, Verdict

VERDICT_WORDS = {
    Verdict.BONAFIDE: "bona fide",
    Verdict.SPOOF: "spoof",
    Verdict.PARTIAL: "partial",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.SKIPPED: "not examined",
}

VERDICT_MEANINGS = {
    Verdict.SPOOF: "The pooled LLR is at or above the spoof threshold: the findings support H1 over H2.",
    Verdict.PARTIAL: "At least one run of windows stands out in the direction of H1 inside speech whose other "
    "windows support H2.",
    Verdict.BONAFIDE: "The pooled LLR is at or below the bona fide threshold: the findings support H2 over H1. "
    "It does not exclude that the recording was edited.",
    Verdict.INCONCLUSIVE: "No conclusion: the pooled LLR lies between the thresholds, there is too little speech, "
    "or the recording lies outside the conditions the model was validated on.",
    Verdict.SKIPPED: "The input could not be examined; nothing is said about it.",
}
"""In the order in which a report explains them."""

NOT_SCORED_WORDS = {"no-speech": "too little speech"}
"""Why a window has no score; a code that is missing here is shown as it is."""


def opinion(finding: Finding, bound: float) -> str:
    """The pooled LLR in words, in the direction it points and capped at the calibration's bound.

    An inconclusive exhibit gets no phrase of the verbal scale: its LLR is a measurement, not an opinion.
    """
    if finding.spoof_llr is None:
        return "No likelihood ratio is given."
    if finding.verdict is Verdict.INCONCLUSIVE:
        return "No conclusion is drawn; the pooled LLR is reported as a measurement only."
    support = strength(finding.spoof_llr, bound)
    pooled = "Pooled over the whole exhibit: " if finding.verdict is Verdict.PARTIAL else ""
    if support.negligible:
        text = f"{support.phrase} for either proposition."
    else:
        about = "at least" if support.at_bound else "about"
        text = (
            f"{support.phrase} for {support.favours} rather than {support.over}: the findings are {about} "
            f"{format_ratio(support.ratio)} times more probable if {support.favours} is true than if "
            f"{support.over} is true."
        )
    return pooled + text if pooled else text[0].upper() + text[1:]


def similar_to(finding: Finding) -> str:
    """What a trace says in words: which enrolled source is closest, and whether that is close enough; else empty.

    Likeness to a source is all that is measured: nothing here says that a source made the exhibit.
    """
    trace = finding.trace
    if trace is None:
        return ""
    closest = finding.sources[0]
    if trace.decision != closest.name:
        return f"unknown: closest enrolled {closest.name}, of {count(trace.enrolled, 'enrolled source')}"
    return f"most similar to {closest.name} of {count(trace.enrolled, 'enrolled source')}"


def both_ratios(llr: float, bound: float) -> tuple[str, str]:
    """The likelihood ratio of H1 over H2 and of H2 over H1, as `("310", "1/310")` or `("1/25", "25")`."""
    support = strength(llr, bound)
    ratio = format_ratio(support.ratio)
    up, down = (f"≥ {ratio}", f"≤ 1/{ratio}") if support.at_bound else (ratio, f"1/{ratio}")
    return (up, down) if support.favours == "H1" else (down, up)


def not_scored_words(code: str) -> str:
    """Why a window has no score."""
    return NOT_SCORED_WORDS.get(code, code.replace("-", " "))


def timeline_description(finding: Finding, bound: float) -> str:
    """What a reader who cannot see the chart needs to know of it."""
    scores = [window.spoof_llr for window in finding.windows if window.spoof_llr is not None]
    if not scores:
        return f"Timeline of {len(finding.windows)} windows, none of which was scored."
    return (
        f"Timeline of {len(finding.windows)} windows, {len(scores)} scored: lowest LLR "
        f"{format_llr(min(scores), bound)}, highest {format_llr(max(scores), bound)}; "
        f"{len(finding.spans)} flagged stretches. The window table below holds every value."
    )
