"""A model without calibration: raw scores and reasons, but no likelihood ratio, no verdict, nothing flagged."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoofcheck.detect.controls import Control, judged_control
from spoofcheck.detect.decision import UNCALIBRATED, decide
from spoofcheck.detect.evidence import EvidenceOptions
from spoofcheck.detect.provenance import build_document
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.detect.tracing import windows_to_trace
from spoofcheck.detect.validity import exhibit_llr, window_llr
from spoofcheck.errors import UsageError
from spoofcheck.nets.config import ModelConfig
from spoofcheck.schema import ScanDocument, Verdict
from tests.detect.test_decision import FILE, GATE, RULE, VALIDATED, quality, windows
from tests.support.audio import human_speech, write_wav
from tests.support.documents import document_of, of_verdict, sample_document, uncalibrated
from tests.support.models import tiny_config, tiny_uncalibrated

SCORES = st.lists(st.none() | st.floats(-50, 50), max_size=12)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_uncalibrated(tmp_path_factory.mktemp("models") / "raw")


@given(SCORES, st.booleans())
def test_whatever_the_scores_nothing_is_decided(scores: list[float | None], gated: bool) -> None:
    decision = decide(windows(*scores), FILE, quality(), None, RULE, VALIDATED, GATE if gated else None)
    assert decision.spoof_llr is None
    assert decision.spans == ()
    given_scores = [score for score in scores if score is not None]
    if not given_scores:
        assert (decision.verdict, decision.raw_score) == (Verdict.INCONCLUSIVE, None)
        assert decision.reasons[0].code == "no-speech"
        return
    assert decision.verdict is Verdict.UNCALIBRATED
    assert decision.raw_score == pytest.approx(sum(given_scores) / len(given_scores))
    assert decision.reasons == (UNCALIBRATED,)


def test_conditions_that_would_rule_out_a_verdict_are_named() -> None:
    poor = quality(speech_s=0.5, bandwidth_hz=1_000.0, snr_db=1.0, clipping_share=0.2)
    decision = decide(windows(1.0), FILE, poor, None, RULE, VALIDATED)
    assert decision.verdict is Verdict.UNCALIBRATED
    codes = [reason.code for reason in decision.reasons]
    assert codes == ["uncalibrated", *["outside-validated-conditions"] * 3, "too-little-speech"]
    assert "spoofcheck models calibrate" in decision.reasons[0].message


def test_there_is_no_llr_of_anything() -> None:
    config = ModelConfig.model_validate(tiny_config().model_dump() | {"calibration": None})
    assert window_llr(3.0, None, config) is None
    assert exhibit_llr(3.0, None, config) is None
    assert exhibit_llr(3.0, None, tiny_config()) == 3.0


def test_without_llrs_all_scored_windows_are_traced() -> None:
    calibrated = windows(3.0, None, -2.0)
    without = [replace(window, spoof_llr=None) for window in calibrated]
    assert windows_to_trace(without, 1.0) == {0, 2}
    assert windows_to_trace(calibrated, 1.0) == {0}


@pytest.mark.parametrize("truth", ["bonafide", "spoof"])
def test_a_control_is_neither_right_nor_wrong(truth: str) -> None:
    (finding,) = document_of(Verdict.UNCALIBRATED).findings
    control = Control.model_validate({"file": "a.flac", "truth": truth, "sha256": "0" * 64})
    result = judged_control(control, finding, control.sha256)
    assert (result.as_expected, result.spoof_llr) == (None, None)
    assert result.raw_score == finding.raw_score
    assert "decides nothing" in result.message
    exchanged = judged_control(control, finding, "1" * 64)
    assert exchanged.as_expected is False
    unheard = finding.model_copy(update={"raw_score": None, "verdict": Verdict.INCONCLUSIVE})
    assert judged_control(control, unheard, control.sha256).as_expected is False


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (ScanOptions(threshold_llr=1.0), "--threshold"),
        (ScanOptions(evidence=EvidenceOptions(stability=True)), "--stability"),
    ],
)
def test_options_on_likelihood_ratios_are_refused(model: Path, options: ScanOptions, named: str) -> None:
    with pytest.raises(UsageError, match=f"^{named}: the model raw is not calibrated"):
        Scanner(model, options)


def test_a_scan_gives_raw_scores_and_nothing_else(model: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "speech.wav", human_speech()[:144_000], 16_000)
    evidence = EvidenceOptions(excerpts="all")
    scanner = Scanner(model, ScanOptions(device="cpu", trace=False, hop_s=1.0, evidence=evidence))
    (finding,) = scanner.findings([tmp_path / "speech.wav"])
    assert finding.verdict is Verdict.UNCALIBRATED
    assert finding.raw_score is not None
    assert len(finding.windows) > 3
    assert any(window.raw_score is not None for window in finding.windows)
    assert all(window.spoof_llr is None for window in finding.windows)
    assert finding.excerpts == ()
    document = build_document(
        scanner, [finding], started_at=datetime.now(UTC), complete=True, command_line=("spoofcheck", "scan")
    )
    assert document.model.calibration is None
    assert document.model.licence == "CC BY-NC 4.0"
    assert document.options.spoof_threshold_llr is None
    assert document.options.min_exhibit_speech_s == 2.0


def _with(**changes: object) -> dict[str, object]:
    return uncalibrated(sample_document()).model_dump() | changes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_with(model=sample_document().model.model_dump()), "a threshold of its rule is missing"),
        (_with(options=sample_document().options.model_dump()), "there are thresholds"),
        (_with(findings=[of_verdict(Verdict.SPOOF).model_dump()]), "there is a likelihood ratio for 'spoof.wav'"),
        (
            _with(findings=[document_of(Verdict.UNCALIBRATED).findings[0].model_dump() | {"verdict": "spoof"}]),
            "there is a verdict for 'uncalibrated.wav'",
        ),
        (
            sample_document().model_dump() | {"findings": document_of(Verdict.UNCALIBRATED).findings},
            "a finding's verdict is 'uncalibrated'",
        ),
    ],
)
def test_a_document_cannot_contradict_its_model(content: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScanDocument.model_validate(content)
