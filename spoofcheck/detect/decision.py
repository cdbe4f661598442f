"""From window scores to a verdict: pure functions, no audio, no network.

The rule, in the order in which it is applied:

1. No window with enough speech: `inconclusive` (`no-speech`).
2. The model is not calibrated: `uncalibrated`; there is no LLR that the later steps could compare.
3. Recording conditions outside those the model was validated on: `inconclusive` (`outside-validated-conditions`).
4. Less speech than the model needs, in the windows that were examined: `inconclusive` (`too-little-speech`).
5. A run of flagged windows, long and strong enough, in speech whose other windows support human: `partial`.
6. Pooled LLR at or above the spoof threshold: `spoof`; at or below the bona fide threshold: `bonafide`.
7. In between: `inconclusive` (`undecided`).

Scores and LLRs are kept whatever the verdict, so that a reader can see what the rule overrode; an uncalibrated exhibit
keeps the reasons of steps 3 and 4. With a validity gate the distance to the calibration data is one of the conditions
of step 3; short of its limit, it shrinks the LLRs that the later steps compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from spoofcheck.detect.budget import covers_all, examined_speech_s
from spoofcheck.detect.calibration import to_llr
from spoofcheck.detect.validity import exhibit_distance, shrunk_llr, validity_weight
from spoofcheck.nets.config import CalibrationConfig, DecisionConfig, GateConfig, ValidatedConfig
from spoofcheck.schema import Reason, Span, ValidityLimits, Verdict
from spoofcheck.types import OVER_BUDGET, AudioFile, Quality, WindowScore, samples_to_seconds

UNCALIBRATED = Reason(
    code="uncalibrated",
    message="The model is not calibrated: its raw score is no likelihood ratio, and nothing is decided. Calibrate it "
    "on recordings of known origin with 'spoofcheck models calibrate'.",
)


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with everything it rests on; `reasons[0]` is what decided."""

    verdict: Verdict
    raw_score: float | None
    spoof_llr: float | None
    reasons: tuple[Reason, ...]
    spans: tuple[Span, ...]
    validity_distance: float | None = None


def with_threshold(rule: DecisionConfig, spoof_threshold_llr: float | None) -> DecisionConfig:
    """The rule with the analyst's own spoof threshold; the bona fide threshold never exceeds it."""
    if spoof_threshold_llr is None:
        return rule
    return rule.model_copy(
        update={
            "spoof_threshold_llr": spoof_threshold_llr,
            "bonafide_threshold_llr": min(rule.bonafide_threshold_llr, spoof_threshold_llr),
        }
    )


def decide(
    windows: Sequence[WindowScore],
    file: AudioFile,
    quality: Quality,
    calibration: CalibrationConfig | None,
    rule: DecisionConfig,
    validated: ValidatedConfig,
    gate: GateConfig | None = None,
) -> Decision:
    """Judge one channel of one recording by the rule at the top of this module."""
    scores = [w.raw_score for w in windows if w.raw_score is not None]
    if not scores:
        reason = Reason(code="no-speech", message="No window holds enough speech to be scored.")
        return Decision(Verdict.INCONCLUSIVE, None, None, (reason,), ())

    raw_score = sum(scores) / len(scores)
    limits = None if gate is None else gate.exhibit
    distance = exhibit_distance(w.validity_distance for w in windows)
    overruling = [
        *_outside_validated(file, quality, validated),
        *_too_far(distance, limits),
        *_too_little_speech(windows, quality, rule),
    ]
    if calibration is None:
        return Decision(Verdict.UNCALIBRATED, raw_score, None, (UNCALIBRATED, *overruling), (), distance)

    spoof_llr = shrunk_llr(to_llr(raw_score, calibration.exhibit, calibration.llr_bound), distance, limits)
    runs = list(flagged_runs(windows, rule))
    spans = tuple(_span(run) for run in runs)
    verdict, why = _verdict(windows, runs, spoof_llr, calibration, rule, limits)
    # An LLR without weight is 0 whatever was measured: comparing it with the thresholds explains nothing.
    own = () if validity_weight(distance, limits) == 0 else (why, *_shrunk(distance, limits))
    decision = Decision(verdict, raw_score, spoof_llr, own, spans, distance)
    if overruling:
        return replace(decision, verdict=Verdict.INCONCLUSIVE, reasons=(*overruling, *own))
    return decision


def flagged_runs(windows: Sequence[WindowScore], rule: DecisionConfig) -> Iterator[list[WindowScore]]:
    """Runs of windows at or above the window threshold that are long and strong enough to be reported.

    A window without a score (a pause) neither ends nor lengthens a run: it is silent about what is synthetic. One that
    holds speech and was left out for a budget ends it: nobody looked at what would be said to be flagged.
    """
    run: list[WindowScore] = []
    for window in [*windows, None]:
        if window is not None and window.spoof_llr is None and window.not_scored != OVER_BUDGET:
            continue
        if window is not None and window.spoof_llr is not None and window.spoof_llr >= rule.window_threshold_llr:
            run.append(window)
            continue
        if len(run) >= rule.partial_min_windows and _mean_llr(run) >= rule.partial_threshold_llr:
            yield run
        run = []


def _verdict(
    windows: Sequence[WindowScore],
    runs: Sequence[Sequence[WindowScore]],
    spoof_llr: float,
    calibration: CalibrationConfig,
    rule: DecisionConfig,
    limits: ValidityLimits | None,
) -> tuple[Verdict, Reason]:
    flagged = {id(w) for run in runs for w in run}
    rest = [w for w in windows if w.raw_score is not None and id(w) not in flagged]
    if runs and rest:
        rest_raw = sum(w.raw_score for w in rest if w.raw_score is not None) / len(rest)
        rest_llr = shrunk_llr(
            to_llr(rest_raw, calibration.exhibit, calibration.llr_bound),
            exhibit_distance(w.validity_distance for w in rest),
            limits,
        )
        if rest_llr <= rule.bonafide_threshold_llr:
            other = "other speech" if covers_all(windows) else "other speech that was examined"
            return Verdict.PARTIAL, Reason(
                code="spoofed-passage",
                message=f"{_times(runs)} stand{'s' if len(runs) == 1 else ''} out as synthetic; the {other} "
                f"has LLR {rest_llr:+.2f} (positions are no finer than the window).",
            )
    if spoof_llr >= rule.spoof_threshold_llr:
        return Verdict.SPOOF, Reason(
            code="above-spoof-threshold",
            message=f"Pooled LLR {spoof_llr:+.2f} is at or above the spoof threshold {rule.spoof_threshold_llr:+.2f}.",
        )
    if spoof_llr <= rule.bonafide_threshold_llr:
        return Verdict.BONAFIDE, Reason(
            code="below-bonafide-threshold",
            message=f"Pooled LLR {spoof_llr:+.2f} is at or below the bona fide threshold "
            f"{rule.bonafide_threshold_llr:+.2f}.",
        )
    return Verdict.INCONCLUSIVE, Reason(
        code="undecided",
        message=f"Pooled LLR {spoof_llr:+.2f} lies between the thresholds {rule.bonafide_threshold_llr:+.2f} and "
        f"{rule.spoof_threshold_llr:+.2f}.",
    )


def _outside_validated(file: AudioFile, quality: Quality, validated: ValidatedConfig) -> Iterator[Reason]:
    def outside(message: str) -> Reason:
        return Reason(code="outside-validated-conditions", message=message)

    if file.sample_rate_hz < validated.min_sample_rate_hz:
        yield outside(
            f"Sample rate {file.sample_rate_hz} Hz is below the {validated.min_sample_rate_hz} Hz the model was "
            "validated on."
        )
    if quality.bandwidth_hz < validated.min_bandwidth_hz:
        yield outside(
            f"Effective bandwidth {quality.bandwidth_hz:.0f} Hz is below the {validated.min_bandwidth_hz:.0f} Hz the "
            "model was validated on."
        )
    if quality.snr_db is not None and quality.snr_db < validated.min_snr_db:
        yield outside(
            f"Estimated SNR {quality.snr_db:.0f} dB is below the {validated.min_snr_db:.0f} dB the model was "
            "validated on."
        )
    if quality.clipping_share > validated.max_clipping_share:
        yield outside(
            f"{quality.clipping_share:.1%} of the samples are clipped; the model was validated up to "
            f"{validated.max_clipping_share:.1%}."
        )


def _too_far(distance: float | None, limits: ValidityLimits | None) -> Iterator[Reason]:
    if distance is not None and limits is not None and validity_weight(distance, limits) == 0:
        yield Reason(
            code="outside-validated-conditions",
            message=f"Its features lie {distance:.2f} from the calibration data (1 is usual there); from "
            f"{limits.refuse_from:.2f} on the model supports no conclusion.",
        )


def _shrunk(distance: float | None, limits: ValidityLimits | None) -> Iterator[Reason]:
    weight = validity_weight(distance, limits)
    if distance is not None and limits is not None and weight < 1:
        yield Reason(
            code="llr-shrunk",
            message=f"The pooled LLR is shrunk to {weight:.0%} of its size: the exhibit's features lie {distance:.2f} "
            f"from the calibration data (full weight up to {limits.shrink_from:.2f}, none from "
            f"{limits.refuse_from:.2f} on).",
        )


def _too_little_speech(windows: Sequence[WindowScore], quality: Quality, rule: DecisionConfig) -> Iterator[Reason]:
    is_whole = covers_all(windows)
    speech_s = quality.speech_s if is_whole else examined_speech_s(windows)
    if speech_s is not None and speech_s < rule.min_exhibit_speech_s:
        where = "" if is_whole else " in the windows that were examined"
        yield Reason(
            code="too-little-speech",
            message=f"{speech_s:.1f} s of speech{where}; at least {rule.min_exhibit_speech_s:.1f} s are needed.",
        )


def _span(run: Sequence[WindowScore]) -> Span:
    return Span(
        start_s=samples_to_seconds(run[0].start_sample),
        end_s=samples_to_seconds(run[-1].end_sample),
        spoof_llr=_mean_llr(run),
        windows=len(run),
    )


def _mean_llr(run: Sequence[WindowScore]) -> float:
    return sum(w.spoof_llr for w in run if w.spoof_llr is not None) / len(run)


def _times(runs: Sequence[Sequence[WindowScore]]) -> str:
    spans = [_span(run) for run in runs]
    listed = ", ".join(f"{s.start_s:.1f}-{s.end_s:.1f} s" for s in spans[:5])
    return listed + (f" and {len(spans) - 5} more passages" if len(spans) > 5 else "")
