"""What a report says in words. Every sentence here keeps to what a likelihood ratio can carry.

A verdict is what the decision rule says, never a statement about how a recording came to be; no sentence gives a
probability of a proposition, names a maker, or reads an error rate as that of the case at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from spoofcheck.render import measures
from spoofcheck.render.text import count, format_llr, format_ratio
from spoofcheck.render.verbal import strength
from spoofcheck.schema import Finding, Verdict
from spoofcheck.types import OVER_BUDGET

VERDICT_WORDS = {
    Verdict.BONAFIDE: "bona fide",
    Verdict.SPOOF: "spoof",
    Verdict.PARTIAL: "partial",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.UNCALIBRATED: "uncalibrated",
    Verdict.SKIPPED: "not examined",
}

VERDICT_ORDER = (
    Verdict.SPOOF,
    Verdict.PARTIAL,
    Verdict.INCONCLUSIVE,
    Verdict.UNCALIBRATED,
    Verdict.BONAFIDE,
    Verdict.SKIPPED,
)
"""Of counts and of sorting: what asks for attention first."""

VERDICT_MEANINGS = {
    Verdict.SPOOF: "The pooled LLR is at or above the spoof threshold: the findings support H1 over H2.",
    Verdict.PARTIAL: "At least one run of windows stands out in the direction of H1 inside speech whose other "
    "windows support H2.",
    Verdict.BONAFIDE: "The pooled LLR is at or below the bona fide threshold: the findings support H2 over H1. "
    "It does not exclude that the recording was edited.",
    Verdict.INCONCLUSIVE: "No conclusion: the pooled LLR lies between the thresholds, there is too little speech, "
    "or the recording lies outside the conditions the model was validated on.",
    Verdict.UNCALIBRATED: "The model is not calibrated: its raw scores cannot be turned into LLRs, so that nothing is "
    "decided about the recording.",
    Verdict.SKIPPED: "The input could not be examined; nothing is said about it.",
}
"""In the order in which a report explains them."""

UNCALIBRATED_MEANINGS = {
    Verdict.UNCALIBRATED: VERDICT_MEANINGS[Verdict.UNCALIBRATED],
    Verdict.INCONCLUSIVE: "No conclusion: no window holds enough speech to be scored.",
    Verdict.SKIPPED: VERDICT_MEANINGS[Verdict.SKIPPED],
}
"""Those that there are without a calibration."""


def meanings(*, calibrated: bool) -> dict[Verdict, str]:
    """What every verdict that a report can hold means, in the order in which it is explained."""
    if not calibrated:
        return UNCALIBRATED_MEANINGS
    return {verdict: words for verdict, words in VERDICT_MEANINGS.items() if verdict is not Verdict.UNCALIBRATED}


NOT_SCORED_WORDS = {"no-speech": "too little speech", OVER_BUDGET: "not looked at, over the budget"}
"""Why a window has no score; a code that is missing here is shown as it is."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a likelihood ratio weighs, as parts of "EVIDENCE about 33 times more probable if FIRST than if SECOND".

    Attributes:
        evidence: subject and verb, e.g. `"the similarity is"`.
        first: what a positive LLR supports, as it is said first and as it is said in second place, e.g.
            `("one source made both", "one source did")`.
        second: what a negative LLR supports, e.g. `("two sources made them", "two sources did")`.
    """

    evidence: str
    first: tuple[str, str]
    second: tuple[str, str]


SPEECH = Weighed("the findings are", ("H1 is true", "H1 is true"), ("H2 is true", "H2 is true"))
SOURCE = Weighed(
    "the similarity is",
    ("a system of this source made the recording", "one of this source did"),
    ("a system of another source made the recording", "another did"),
)
ONE_SOURCE = Weighed(
    "the similarity is",
    ("one source made both", "one source did"),
    ("two sources made them", "two sources did"),
)


def times_more_probable(llr: float, bound: float, weighed: Weighed) -> str:
    """What a natural-log LR says, in the direction it points and capped at its calibration's bound; no full stop.

    `"the similarity is about 33 times more probable if one source made both than if two sources did"`; at the bound
    "at least"; on the lowest step of the verbal scale "about as probable if ... as if ...".
    """
    support = strength(llr, bound)
    first, second = weighed.first, weighed.second
    if support.negligible:
        return f"{weighed.evidence} about as probable if {first[0]} as if {second[1]}"
    favoured, other = (first[0], second[1]) if support.favours == "H1" else (second[0], first[1])
    about = "at least" if support.at_bound else "about"
    return f"{weighed.evidence} {about} {format_ratio(support.ratio)} times more probable if {favoured} than if {other}"


def opinion(finding: Finding, bound: float | None) -> str:
    """The pooled LLR in words, in the direction it points and capped at the calibration's bound.

    An inconclusive exhibit gets no phrase of the verbal scale: its LLR is a measurement, not an opinion.

    Args:
        finding: an exhibit's.
        bound: of the LLRs; None for an uncalibrated model, on whose scores no opinion can rest.
    """
    if bound is None:
        return "No likelihood ratio can be given, and no opinion: the model is not calibrated."
    if finding.spoof_llr is None:
        return "No likelihood ratio is given."
    if finding.verdict is Verdict.INCONCLUSIVE:
        return "No conclusion is drawn; the pooled LLR is reported as a measurement only."
    support = strength(finding.spoof_llr, bound)
    whole = "the windows that were examined" if measures.windows_over_budget(finding) else "the whole exhibit"
    pooled = f"Pooled over {whole}: " if finding.verdict is Verdict.PARTIAL else ""
    if support.negligible:
        text = f"{support.phrase} for either proposition."
    else:
        weighed = times_more_probable(finding.spoof_llr, bound, SPEECH)
        text = f"{support.phrase} for {support.favours} rather than {support.over}: {weighed}."
    words = pooled + text if pooled else text[0].upper() + text[1:]
    part = examined_part(finding)
    return f"{words} This rests on {part}; the others were not looked at." if part else words


def both_ratios(llr: float, bound: float) -> tuple[str, str]:
    """The likelihood ratio of H1 over H2 and of H2 over H1, as `("310", "1/310")` or `("1/25", "25")`."""
    support = strength(llr, bound)
    ratio = format_ratio(support.ratio)
    up, down = (f"≥ {ratio}", f"≤ 1/{ratio}") if support.at_bound else (ratio, f"1/{ratio}")
    return (up, down) if support.favours == "H1" else (down, up)


def score_position(human: tuple[str, float], synthetic: tuple[str, float]) -> str:
    """Where a pooled LLR lies among the calibration recordings.

    Args:
        human: how many of 100 human recordings lie below: `("about", 97.2)`, `("less than", 1)`, `("none", 0)`.
        synthetic: the same of synthetic ones.
    """
    return (
        f"Of the human recordings that the model was calibrated on, {_of_a_hundred(human)} a lower LLR; of the "
        f"synthetic ones, {_of_a_hundred(synthetic)}."
    )


def _of_a_hundred(share: tuple[str, float]) -> str:
    about, percent = share
    if about in ("none", "all"):
        return f"{about} {'has' if about == 'none' else 'have'}"
    digits = 1 if (percent < 10 or percent > 90) and not float(percent).is_integer() else 0
    return f"{about} {percent:.{digits}f} in 100 have"


def excerpt_titles(llr: float) -> tuple[str, str]:
    """What windows to listen to stand for: those for the direction of the pooled LLR, and those against it."""
    towards = ("H1 (synthetic)", "H2 (human)")
    first, second = towards if llr >= 0 else towards[::-1]
    return f"Strongest for the pooled direction, {first}", f"Strongest against it, for {second}"


def stability(runs: int, flips: int) -> str:
    """What the stability card says."""
    changes = f"{runs} changes that should not matter"
    if flips == 0:
        return f"None of {changes} turns the verdict over. Other changes were not tried."
    turn = "turns" if flips == 1 else "turn"
    return f"{flips} of {changes} {turn} the verdict over: the exhibit is inconclusive, whatever its LLR."


OBSERVATIONS_EXPLAIN = (
    "They explain and do not decide: no verdict and no LLR rests on them. Healthy voices, illness, emotion, language, "
    "microphones and codecs move them as much as synthesis does."
)
"""Beside acoustic observations, always."""


def control_truth(truth: str) -> str:
    """What a control is."""
    return {"bonafide": "human speech", "spoof": "synthetic speech"}[truth]


def not_scored_words(code: str) -> str:
    """Why a window has no score."""
    return NOT_SCORED_WORDS.get(code, code.replace("-", " "))


def examined_part(finding: Finding) -> str:
    """`60.0 s in 15 of 900 windows with speech` where a budget left windows out; empty where it did not."""
    left_out = measures.windows_over_budget(finding)
    if not left_out:
        return ""
    scored = len(finding.windows) - measures.windows_not_scored(finding)
    speech = " with speech" if all(window.speech_s is not None for window in finding.windows) else ""
    return f"{measures.examined_s(finding):.1f} s in {scored:,} of {count(scored + left_out, 'window')}{speech}"


def timeline_description(finding: Finding, bound: float | None) -> str:
    """What a reader who cannot see the chart needs to know of it; `bound` is None for an uncalibrated model."""
    chosen = (window.raw_score if bound is None else window.spoof_llr for window in finding.windows)
    scores = [score for score in chosen if score is not None]
    if not scores:
        return f"Timeline of {len(finding.windows)} windows, none of which was scored."
    left_out = measures.windows_over_budget(finding)
    not_looked_at = f" ({left_out} not looked at, over the budget)" if left_out else ""
    if bound is None:
        return (
            f"Timeline of {len(finding.windows)} windows, {len(scores)} scored{not_looked_at}: lowest raw score "
            f"{format_llr(min(scores))}, highest {format_llr(max(scores))}; they are no likelihood ratios. "
            "Appendix A holds every value."
        )
    return (
        f"Timeline of {len(finding.windows)} windows, {len(scores)} scored{not_looked_at}: lowest LLR "
        f"{format_llr(min(scores), bound)}, highest {format_llr(max(scores), bound)}; "
        f"{len(finding.spans)} flagged stretches. Appendix A holds every value."
    )
