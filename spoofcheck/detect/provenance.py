"""What is needed to repeat a scan: program, libraries, model, options, time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from spoofcheck.audio.inputs import display_path
from spoofcheck.detect.exhibittracer import EnrolledSources
from spoofcheck.detect.modelfigures import recorded_figures
from spoofcheck.detect.scan import Scanner
from spoofcheck.detect.toolinfo import run_info, tool_info
from spoofcheck.detect.tracing import rule_words
from spoofcheck.nets.bundle import Bundle, TracerBundle
from spoofcheck.nets.config import CalibrationConfig, CosineCalibration, EnsembleConfig, ModelConfig
from spoofcheck.schema import (
    CalibrationInfo,
    CaseInfo,
    ControlResult,
    CosineCalibrationInfo,
    EnrolledSourceInfo,
    Finding,
    ModelInfo,
    OptionsInfo,
    ScanDocument,
    ShardInfo,
    SourceStoreInfo,
    TracerInfo,
    UnknownGroup,
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
    unknown_groups: Sequence[UnknownGroup] = (),
    model: ModelInfo | None = None,
    case: CaseInfo | None = None,
    note: str | None = None,
    controls: Sequence[ControlResult] = (),
    shard: ShardInfo | None = None,
    from_store: int = 0,
) -> ScanDocument:
    """The document of one scan.

    Args:
        scanner: that scanned.
        findings: in the order of the inputs.
        started_at: when the scan began, with time zone.
        complete: False when the scan was interrupted.
        command_line: as typed, or empty when called from Python.
        unknown_groups: that the findings name.
        model: `model_info` of the scanner's model, where it was made before; it reads a file.
        case: of the case file.
        note: the examiner's free text.
        controls: scored in the same run.
        shard: which part of the inputs was scanned; None for all of them.
        from_store: inputs whose findings were kept from earlier scans.

    Raises:
        ModelError: see `model_info`.
    """
    tracer = scanner.tracer
    return ScanDocument(
        tool=tool_info(command_line, runtime_libraries(scanner)),
        run=run_info(started_at, complete=complete, from_store=from_store),
        model=model or model_info(scanner.bundle),
        tracer=None if tracer is None else tracer_info(tracer.bundle),
        enrolled=None if tracer is None or tracer.enrolled is None else enrolled_info(tracer.enrolled),
        unknown_groups=tuple(unknown_groups),
        options=options_info(scanner),
        case=case,
        note=note,
        controls=tuple(controls),
        shard=shard,
        findings=tuple(findings),
    )


def model_info(bundle: Bundle) -> ModelInfo:
    """The model's identity and figures as the document states them.

    Raises:
        ModelError: the training record of a shipped model was changed (`modelfigures`).
    """
    config = bundle.config
    conditions, percentiles = recorded_figures(bundle)
    calibration, gate = config.calibration, config.gate
    return ModelInfo(
        name=config.name,
        version=config.version,
        architecture=_architecture(config),
        weights_sha256=bundle.weights_sha256,
        config_sha256=bundle.config_sha256,
        licence=config.licence,
        training_data=config.training_data,
        calibration=None if calibration is None else _calibration_info(calibration),
        limitations=config.limitations,
        validation=config.validation,
        validity=None if gate is None else ValidityInfo(data=gate.data, window=gate.window, exhibit=gate.exhibit),
        conditions=conditions,
        percentiles=percentiles,
    )


def _calibration_info(calibration: CalibrationConfig) -> CalibrationInfo:
    return CalibrationInfo(
        method=calibration.method,
        data=calibration.data,
        bonafide_trials=calibration.bonafide_trials,
        spoof_trials=calibration.spoof_trials,
        llr_bound=calibration.llr_bound,
    )


def _architecture(config: ModelConfig) -> str:
    if isinstance(config.back_end, EnsembleConfig):
        return config.back_end.words
    return f"{config.front_end.kind} + {config.back_end.kind}"


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
        rule=rule_words(bundle),
        threshold=config.open_set.threshold,
        threshold_data=config.open_set.data,
        groups=config.groups,
        source_calibration=_cosine_info(config.source_calibration),
        link_calibration=_cosine_info(config.link_calibration),
        limitations=config.limitations,
        validation=config.validation,
    )


def enrolled_info(enrolled: EnrolledSources) -> SourceStoreInfo:
    """The user's own sources as the document states them."""
    return SourceStoreInfo(
        path=display_path(enrolled.path),
        sha256=enrolled.store.sha256,
        sources=tuple(
            EnrolledSourceInfo(
                name=source.name,
                note=source.note,
                created_at=source.created_at.astimezone(UTC).isoformat(timespec="seconds"),
                revision=source.revision,
                clips=len(source.clips),
                content_sha256=source.content_sha256,
                closest=source.leave_one_out.closest,
                confused_with=source.confused_with,
            )
            for source in enrolled.store.sources
        ),
    )


def _cosine_info(calibration: CosineCalibration | None) -> CosineCalibrationInfo | None:
    if calibration is None:
        return None
    return CosineCalibrationInfo(
        data=calibration.data,
        target_trials=calibration.target_trials,
        other_trials=calibration.other_trials,
        llr_bound=calibration.llr_bound,
        eer=calibration.eer,
        cllr=calibration.cllr,
    )


def runtime_libraries(scanner: Scanner) -> tuple[str, ...]:
    """The libraries of an extra that a scan's network runs in."""
    return ("onnxruntime",) if scanner.scorer.runtime == "onnx" else ()


def options_info(scanner: Scanner) -> OptionsInfo:
    """The options that shaped a scan's numbers, and the decision rule in force; uncalibrated, it has no thresholds."""
    options, rule = scanner.options, scanner.rule
    is_calibrated = scanner.bundle.config.calibration is not None
    return OptionsInfo(
        window_s=scanner.bundle.config.window_samples / SAMPLE_RATE_HZ,
        hop_s=scanner.hop_samples / SAMPLE_RATE_HZ,
        channels=options.channels,
        vad=options.vad,
        min_window_speech_s=rule.min_window_speech_s,
        min_exhibit_speech_s=rule.min_exhibit_speech_s,
        spoof_threshold_llr=rule.spoof_threshold_llr if is_calibrated else None,
        bonafide_threshold_llr=rule.bonafide_threshold_llr if is_calibrated else None,
        window_threshold_llr=rule.window_threshold_llr if is_calibrated else None,
        partial_min_windows=rule.partial_min_windows,
        partial_threshold_llr=rule.partial_threshold_llr if is_calibrated else None,
        device=str(scanner.scorer.device),
        dtype=str(scanner.scorer.dtype).removeprefix("torch."),
        runtime=scanner.scorer.runtime,
        trace_all=options.trace_all,
        budget_s=options.budget_s,
    )
