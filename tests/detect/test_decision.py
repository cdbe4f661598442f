from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoofcheck.detect.decision import Decision, decide, flagged_runs, with_threshold
from spoofcheck.detect.validity import validity_weight
from spoofcheck.nets.config import CalibrationConfig, DecisionConfig, GateConfig, LogisticMap, ValidatedConfig
from spoofcheck.schema import ValidityLimits, Verdict
from spoofcheck.types import AudioFile, Quality, WindowScore

WINDOW = 64_000
CALIBRATION = CalibrationConfig(
    window=LogisticMap(slope=1.0, intercept=0.0),
    exhibit=LogisticMap(slope=1.0, intercept=0.0),
    llr_bound=5.0,
    data="none",
    bonafide_trials=100,
    spoof_trials=100,
)
RULE = DecisionConfig(
    spoof_threshold_llr=1.0,
    bonafide_threshold_llr=-1.0,
    window_threshold_llr=2.0,
    partial_min_windows=2,
    partial_threshold_llr=2.5,
    min_window_speech_s=0.5,
    min_exhibit_speech_s=2.0,
)
VALIDATED = ValidatedConfig(min_sample_rate_hz=8_000, min_bandwidth_hz=3_000.0, min_snr_db=5.0, max_clipping_share=0.01)
LIMITS = ValidityLimits(shrink_from=2.0, refuse_from=4.0, share_shrunk=0.05, share_refused=0.005)
GATE = GateConfig(components=4, features=8, data="none", window=LIMITS, exhibit=LIMITS)
FILE = AudioFile(
    path=Path("a.wav"),
    size_bytes=1,
    modified_at_s=0.0,
    container="WAV",
    codec="PCM_16",
    sample_rate_hz=16_000,
    channels=1,
    bit_depth=16,
    header_duration_s=None,
    decoder="soundfile",
)


def quality(**changes: float | None) -> Quality:
    facts: dict[str, float | None] = {
        "speech_s": 30.0,
        "silence_share": 0.1,
        "snr_db": 30.0,
        "clipping_share": 0.0,
        "bandwidth_hz": 8_000.0,
        "peak_dbfs": -1.0,
        "rms_dbfs": -20.0,
    }
    return Quality(**{**facts, **changes})  # type: ignore[arg-type]


def windows(*scores: float | None) -> list[WindowScore]:
    return [
        WindowScore(
            start_sample=i * WINDOW,
            end_sample=(i + 1) * WINDOW,
            speech_s=3.0 if score is not None else 0.0,
            raw_score=score,
            spoof_llr=None if score is None else max(-5.0, min(5.0, score)),
            not_scored="no-speech" if score is None else None,
        )
        for i, score in enumerate(scores)
    ]


def judge(*scores: float | None, rule: DecisionConfig = RULE, **changes: float | None):
    return decide(windows(*scores), FILE, quality(**changes), CALIBRATION, rule, VALIDATED)


@pytest.mark.parametrize(
    ("scores", "verdict", "code"),
    [
        ((3.0, 4.0), Verdict.SPOOF, "above-spoof-threshold"),
        ((1.0,), Verdict.SPOOF, "above-spoof-threshold"),
        ((-3.0, -4.0), Verdict.BONAFIDE, "below-bonafide-threshold"),
        ((-1.0,), Verdict.BONAFIDE, "below-bonafide-threshold"),
        ((0.5, -0.5), Verdict.INCONCLUSIVE, "undecided"),
        ((0.999,), Verdict.INCONCLUSIVE, "undecided"),
        ((None, None), Verdict.INCONCLUSIVE, "no-speech"),
        ((-3.0, -3.0, 4.0, 4.0, -3.0), Verdict.PARTIAL, "spoofed-passage"),
        ((-3.0, 4.0, None, 4.0, -3.0), Verdict.PARTIAL, "spoofed-passage"),
    ],
)
def test_the_verdict_follows_the_rule(scores: tuple[float | None, ...], verdict: Verdict, code: str) -> None:
    decision = judge(*scores)
    assert decision.verdict is verdict
    assert decision.reasons[0].code == code


def test_a_single_flagged_window_is_no_passage() -> None:
    decision = judge(-3.0, -3.0, 5.0, -3.0, -3.0, -3.0)
    assert decision.verdict is Verdict.BONAFIDE
    assert decision.spans == ()


def test_a_passage_in_undecided_speech_is_not_called_partial() -> None:
    decision = judge(0.0, 0.0, 4.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert [(s.start_s, s.end_s) for s in decision.spans] == [(8.0, 16.0)]


def test_a_passage_has_absolute_times_and_its_own_mean() -> None:
    (span,) = judge(-3.0, 3.0, None, 4.0, -3.0, -3.0).spans
    assert (span.start_s, span.end_s, span.windows) == (4.0, 16.0, 2)
    assert math.isclose(span.spoof_llr, 3.5)


def test_a_wholly_flagged_recording_is_spoof_not_partial() -> None:
    assert judge(4.0, 4.0, 4.0).verdict is Verdict.SPOOF


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"bandwidth_hz": 2_999.0}, "outside-validated-conditions"),
        ({"snr_db": 4.9}, "outside-validated-conditions"),
        ({"clipping_share": 0.02}, "outside-validated-conditions"),
        ({"speech_s": 1.9}, "too-little-speech"),
    ],
)
def test_bad_conditions_overrule_but_keep_the_score_and_its_reason(changes: dict[str, float], code: str) -> None:
    decision = judge(4.0, 4.0, **changes)
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert [reason.code for reason in decision.reasons] == [code, "above-spoof-threshold"]
    assert decision.raw_score == 4.0
    assert decision.spoof_llr == 4.0


def at_distance(distance: float, *scores: float) -> list[WindowScore]:
    return [replace(window, validity_distance=distance) for window in windows(*scores)]


def judge_gated(heard: list[WindowScore], **changes: float | None) -> Decision:
    return decide(heard, FILE, quality(**changes), CALIBRATION, RULE, VALIDATED, GATE)


def test_near_the_calibration_data_the_gate_changes_nothing() -> None:
    heard = at_distance(2.0, 4.0, 4.0)
    decision = judge_gated(heard)
    assert decision.validity_distance == 2.0
    assert decision == replace(judge(4.0, 4.0), validity_distance=2.0)


def test_farther_out_the_llr_shrinks_and_the_report_says_so() -> None:
    decision = judge_gated(at_distance(3.5, 4.0, 4.0))  # a quarter of the weight
    assert (decision.raw_score, decision.spoof_llr) == (4.0, 1.0)
    assert decision.verdict is Verdict.SPOOF
    assert [reason.code for reason in decision.reasons] == ["above-spoof-threshold", "llr-shrunk"]
    assert "25%" in decision.reasons[1].message
    undecided = judge_gated(at_distance(3.6, 4.0, 4.0))
    assert undecided.verdict is Verdict.INCONCLUSIVE
    assert [reason.code for reason in undecided.reasons] == ["undecided", "llr-shrunk"]


@pytest.mark.parametrize("score", [4.0, -4.0, 0.0])
@pytest.mark.parametrize("distance", [4.0, 9.0, 1e9])
def test_beyond_the_limit_there_is_no_verdict_and_no_weight(distance: float, score: float) -> None:
    decision = judge_gated(at_distance(distance, score, score))
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert [reason.code for reason in decision.reasons] == ["outside-validated-conditions"]
    assert decision.raw_score == score
    assert str(decision.spoof_llr) == "0.0"  # not -0.0
    assert f"{distance:.2f}" in decision.reasons[0].message


def test_the_gate_stands_beside_the_other_conditions() -> None:
    decision = judge_gated(at_distance(9.0, 4.0), snr_db=1.0, speech_s=1.0)
    assert [reason.code for reason in decision.reasons] == ["outside-validated-conditions"] * 2 + ["too-little-speech"]


def test_the_distance_of_an_exhibit_is_the_median_of_its_scored_windows() -> None:
    every = [*at_distance(1.0, 4.0, 4.0), *windows(None), *at_distance(99.0, 4.0)]
    assert judge_gated(every).verdict is Verdict.SPOOF
    assert judge_gated([*every, *at_distance(99.0, 4.0, 4.0)]).verdict is Verdict.INCONCLUSIVE
    assert judge_gated(windows(None)).validity_distance is None


def test_a_passage_needs_human_support_of_enough_weight_around_it() -> None:
    passage = at_distance(1.0, 4.0, 4.0)
    assert judge_gated([*at_distance(1.0, -3.0, -3.0), *passage]).verdict is Verdict.PARTIAL
    assert judge_gated([*at_distance(3.8, -3.0, -3.0), *passage]).verdict is not Verdict.PARTIAL


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_weights_fall_with_the_distance(one: float, other: float) -> None:
    near, far = sorted((one, other))
    assert 1.0 >= validity_weight(near, GATE.exhibit) >= validity_weight(far, GATE.exhibit) >= 0.0
    assert (validity_weight(near, GATE.exhibit) == 1.0) == (near <= GATE.exhibit.shrink_from)
    assert (validity_weight(far, GATE.exhibit) == 0.0) == (far >= GATE.exhibit.refuse_from)
    assert validity_weight(None, GATE.exhibit) == validity_weight(far, None) == 1.0


def test_unknown_conditions_do_not_overrule() -> None:
    assert judge(4.0, snr_db=None, speech_s=None).verdict is Verdict.SPOOF


def test_the_pooled_llr_is_bounded_and_the_raw_score_is_not() -> None:
    decision = judge(100.0)
    assert decision.raw_score == 100.0
    assert decision.spoof_llr == 5.0


def test_an_own_threshold_moves_the_band() -> None:
    assert judge(0.5, rule=with_threshold(RULE, 0.5)).verdict is Verdict.SPOOF
    assert judge(0.5, rule=with_threshold(RULE, 0.6)).verdict is Verdict.INCONCLUSIVE
    lowered = with_threshold(RULE, -3.0)
    assert lowered.bonafide_threshold_llr == -3.0
    assert judge(-2.0, rule=lowered).verdict is Verdict.SPOOF
    assert with_threshold(RULE, None) is RULE


@given(st.lists(st.one_of(st.none(), st.floats(-8, 8)), max_size=40))
def test_runs_are_disjoint_ordered_and_strong(scores: list[float | None]) -> None:
    every = windows(*scores)
    runs = list(flagged_runs(every, RULE))
    seen = [w.start_sample for run in runs for w in run]
    assert seen == sorted(set(seen))
    for run in runs:
        llrs = [w.spoof_llr for w in run if w.spoof_llr is not None]
        assert len(llrs) == len(run) >= RULE.partial_min_windows
        assert min(llrs) >= RULE.window_threshold_llr
        assert sum(llrs) / len(llrs) >= RULE.partial_threshold_llr


@given(st.lists(st.one_of(st.none(), st.floats(-8, 8)), max_size=40))
def test_every_score_list_gets_exactly_one_verdict_with_a_reason(scores: list[float | None]) -> None:
    decision = judge(*scores)
    assert decision.reasons
    assert decision.verdict is not Verdict.SKIPPED
    assert (decision.raw_score is None) == all(score is None for score in scores)
