"""One finding as the older contracts tell it: a word, a number, and sentences that say what both rest on.

The word and the number are what those contracts ask for; the sentences keep to what findings can carry
(`render.guard`). Pure functions of a finding of the result document.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from spoofcheck.render.acousticview import three_digits
from spoofcheck.render.text import MISSING, count, format_llr, format_ratio, format_span
from spoofcheck.render.verbal import strength
from spoofcheck.schema import FLAGGED, AcousticMeasure, Finding, Span, Verdict, WindowResult

Classification = Literal["AI_GENERATED", "HUMAN"]

NAMED_MEASURES: Final = {
    "jitter": "jitter",
    "shimmer": "shimmer",
    "hnr": "harmonics-to-noise ratio (HNR)",
    "phase-coherence": "phase coherence",
    "spectral-flatness": "spectral flatness",
    "rms-variance": "RMS variance",
}
"""What an explanation names, in its order, and in its words; `docs/acoustics.md` says how each is measured."""

SCORE_DECIMALS: Final = 4
_LEAST_SCORE: Final = 10.0**-SCORE_DECIMALS
_MINUS: Final = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the older contracts call a classification.

    Attributes:
        classification: by the verdict; of an inconclusive one by the sign of `llr`, where 0 counts as HUMAN.
        score: posterior of the named classification at the stated prior, in (0, 1), four decimals.
        llr: what both rest on, natural log: the exhibit's pooled LLR; for a verdict of `partial` that of the strongest
            stretch, since the pooled one averages over human speech.
    """

    classification: Classification
    score: float
    llr: float


def opinion(finding: Finding, prior: float) -> Opinion | None:
    """The classification of a finding; None where it has no LLR: a word without findings would be made up.

    Args:
        finding: of one exhibit.
        prior: of H1 ("produced by a speech synthesis or conversion system"), in (0, 1).
    """
    llr = finding.spoof_llr
    if finding.verdict is Verdict.PARTIAL and finding.spans:
        llr = max(span.spoof_llr for span in finding.spans)
    if llr is None:
        return None
    is_synthetic = finding.verdict in FLAGGED or (finding.verdict is not Verdict.BONAFIDE and llr > 0)
    log_odds = llr + math.log(prior / (1 - prior))
    return Opinion("AI_GENERATED" if is_synthetic else "HUMAN", _score(log_odds if is_synthetic else -log_odds), llr)


def _score(log_odds: float) -> float:
    """Never 0 or 1, also after rounding."""
    posterior = 1 / (1 + math.exp(-max(-50.0, min(50.0, log_odds))))
    return min(max(round(posterior, SCORE_DECIMALS), _LEAST_SCORE), 1 - _LEAST_SCORE)


def explain(finding: Finding, told: Opinion, llr_bound: float) -> str:
    """What the network found and what was measured, in plain sentences.

    Args:
        finding: of one exhibit.
        told: its classification.
        llr_bound: of the calibration; nothing beyond it is claimed.
    """
    return " ".join(_sentences(finding, told, llr_bound))


def caution(finding: Finding) -> str:
    """What to beware of, one sentence or more; never empty."""
    notes = [reason.message for reason in finding.reasons] if finding.verdict is Verdict.INCONCLUSIVE else []
    return " ".join([*notes, "The score weighs two propositions by the signal alone; it is no statement of origin."])


def strongest_stretch(finding: Finding) -> tuple[float, float, float] | None:
    """`(start_s, end_s, llr)` of what speaks most for the direction of the finding; None without scored windows.

    For a flagged exhibit with stretches it is the strongest of these, else the strongest window.
    """
    spans: list[Span | WindowResult] = list(finding.spans)
    spans = spans or [window for window in finding.windows if window.spoof_llr is not None]
    sign = -1 if finding.spoof_llr is not None and finding.spoof_llr <= 0 and not finding.spans else 1
    scored = [(span.start_s, span.end_s, span.spoof_llr) for span in spans if span.spoof_llr is not None]
    return max(scored, key=lambda stretch: sign * stretch[2], default=None)


def _sentences(finding: Finding, told: Opinion, llr_bound: float) -> Iterator[str]:
    if finding.verdict is Verdict.INCONCLUSIVE:
        yield "Inconclusive: the verdict rule draws no conclusion from these findings."
    elif finding.verdict is Verdict.PARTIAL:
        yield (
            f"{count(len(finding.spans), 'stretch', 'stretches')} of the speech stand"
            f"{'s' if len(finding.spans) == 1 else ''} out; the LLR is that of the strongest."
        )
    weight = strength(told.llr, llr_bound)
    proposition = "synthetic speech (H1)" if weight.favours == "H1" else "live human speech (H2)"
    other = "live human speech (H2)" if weight.favours == "H1" else "synthetic speech (H1)"
    if weight.negligible:
        support = "which supports neither synthetic speech (H1) nor live human speech (H2)"
    else:
        at_least = "at least " if weight.at_bound else "about "
        support = (
            f"{weight.phrase} for {proposition} rather than {other}: the findings are {at_least}"
            f"{format_ratio(weight.ratio)} times more probable under the first"
        )
    yield f"The network's log-likelihood ratio is {format_llr(told.llr, llr_bound)}, {support}."
    stretch = strongest_stretch(finding)
    if stretch is not None:
        start_s, end_s, llr = stretch
        scored = sum(window.spoof_llr is not None for window in finding.windows)
        yield (
            f"Of {count(scored, 'scored window')}, the strongest stretch is {format_span(start_s, end_s)} "
            f"(LLR {format_llr(llr, llr_bound)}; positions are no finer than the window)."
        )
    measured = [_measured(measure) for measure in named_measures(finding)]
    if measured:
        yield (
            "Measured beside it, without weight in the score (percentiles among human | synthetic reference "
            f"recordings): {', '.join(measured)}."
        )
    else:
        yield "No acoustic measures: too little speech to measure."


def named_measures(finding: Finding) -> list[AcousticMeasure]:
    """What an explanation names, as far as it could be measured."""
    if finding.acoustics is None:
        return []
    by_name = {measure.name: measure for measure in finding.acoustics.measures}
    return [by_name[name] for name in NAMED_MEASURES if name in by_name and by_name[name].value is not None]


def _measured(measure: AcousticMeasure) -> str:
    value = "" if measure.value is None else three_digits(measure.value).replace(_MINUS, "-")
    unit = f" {measure.unit}" if measure.unit else ""
    return f"{NAMED_MEASURES[measure.name]} {value}{unit}{_percentiles(measure)}"


def _percentiles(measure: AcousticMeasure) -> str:
    shares = [measure.human_percentile, measure.synthetic_percentile]
    if shares == [None, None]:
        return ""
    return f" ({' | '.join(MISSING if share is None else f'{share:.0f}' for share in shares)})"
