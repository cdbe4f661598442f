"""What is needed to repeat a scan: program, libraries, model, options, time."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime

from spoofcheck.detect.scan import Scanner
from spoofcheck.detect.toolinfo import tool_info
from spoofcheck.nets.bundle import Bundle, TracerBundle
from spoofcheck.schema import (
    CalibrationInfo,
    Finding,
    ModelInfo,
    OptionsInfo,
    RunInfo,
    ScanDocument,
    TracerInfo,
    ValidityInfo,
)
from spoofcheck.types import SAMPLE_RATE_HZ


def build_document(
    scanner: Scanner,
    findings: Sequence[Finding],
    *,
    started_at: datetime,
    complete: bool,
    command_line: Sequence[str],
) -> ScanDocument:
    """The document of one scan.

    Args:
        started_at: when the scan began, with time zone.
        complete: False when the scan was interrupted.
        command_line: as typed, or empty when called from Python.
    """
    finished_at = datetime.now(UTC)
    return ScanDocument(
        tool=tool_info(command_line),
        run=RunInfo(
            started_at=started_at.astimezone(UTC).isoformat(timespec="seconds"),
            finished_at=finished_at.isoformat(timespec="seconds"),
            elapsed_s=round((finished_at - started_at).total_seconds(), 3),
            host=platform.node(),
            complete=complete,
        ),
        model=model_info(scanner.bundle),
        tracer=None if scanner.tracer is None else tracer_info(scanner.tracer.bundle),
        options=_options_info(scanner),
        findings=tuple(findings),
    )


def model_info(bundle: Bundle) -> ModelInfo:
    """The model's identity and figures as the document states them."""
    config = bundle.config
    calibration, gate = config.calibration, config.gate
    return ModelInfo(
        name=config.name,
        version=config.version,
        architecture=f"{config.front_end.kind} + {config.back_end.kind}",
        weights_sha256=bundle.weights_sha256,
        config_sha256=bundle.config_sha256,
        licence=config.licence,
        training_data=config.training_data,
        calibration=CalibrationInfo(
            method=calibration.method,
            data=calibration.data,
            bonafide_trials=calibration.bonafide_trials,
            spoof_trials=calibration.spoof_trials,
            llr_bound=calibration.llr_bound,
        ),
        limitations=config.limitations,
        validation=config.validation,
        validity=None if gate is None else ValidityInfo(data=gate.data, window=gate.window, exhibit=gate.exhibit),
    )


def tracer_info(bundle: TracerBundle) -> TracerInfo:
    """The tracer's identity, sources and figures as the document states them."""
    config = bundle.config
    return TracerInfo(
        name=config.name,
        version=config.version,
        architecture=config.architecture,
        weights_sha256=bundle.weights_sha256,
        config_sha256=bundle.config_sha256,
        licence=config.licence,
        training_data=config.training_data,
        classes=config.classes,
        rule=config.open_set.words,
        threshold=config.open_set.threshold,
        threshold_data=config.open_set.data,
        limitations=config.limitations,
        validation=config.validation,
    )


def _options_info(scanner: Scanner) -> OptionsInfo:
    options, rule = scanner.options, scanner.rule
    return OptionsInfo(
        window_s=scanner.bundle.config.window_samples / SAMPLE_RATE_HZ,
        hop_s=scanner.hop_samples / SAMPLE_RATE_HZ,
        channels=options.channels,
        vad=options.vad,
        min_window_speech_s=rule.min_window_speech_s,
        min_exhibit_speech_s=rule.min_exhibit_speech_s,
        spoof_threshold_llr=rule.spoof_threshold_llr,
        bonafide_threshold_llr=rule.bonafide_threshold_llr,
        window_threshold_llr=rule.window_threshold_llr,
        partial_min_windows=rule.partial_min_windows,
        partial_threshold_llr=rule.partial_threshold_llr,
        device=str(scanner.scorer.device),
        dtype=str(scanner.scorer.dtype).removeprefix("torch."),
        trace_all=options.trace_all,
    )
