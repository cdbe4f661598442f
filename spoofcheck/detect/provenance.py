"""What is needed to repeat a scan: program, libraries, model, options, time."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from spoofcheck import __version__
from spoofcheck.detect.scan import Scanner
from spoofcheck.nets.bundle import Bundle
from spoofcheck.resources import checkout_dir
from spoofcheck.schema import (
    CalibrationInfo,
    Finding,
    ModelInfo,
    OptionsInfo,
    RunInfo,
    ScanDocument,
    ToolInfo,
)
from spoofcheck.types import SAMPLE_RATE_HZ

_LIBRARIES = (
    "numpy",
    "safetensors",
    "silero-vad",
    "soundfile",
    "soxr",
    "torch",
    "torchaudio",
    "transformers",
)


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
        tool=_tool_info(command_line),
        run=RunInfo(
            started_at=started_at.astimezone(UTC).isoformat(timespec="seconds"),
            finished_at=finished_at.isoformat(timespec="seconds"),
            elapsed_s=round((finished_at - started_at).total_seconds(), 3),
            host=platform.node(),
            complete=complete,
        ),
        model=model_info(scanner.bundle),
        options=_options_info(scanner),
        findings=tuple(findings),
    )


def model_info(bundle: Bundle) -> ModelInfo:
    """The model's identity and figures as the document states them."""
    config = bundle.config
    calibration = config.calibration
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
    )


def git_commit() -> str | None:
    """Commit of the checkout the program runs from, with `+changes` when it differs; None for an installed wheel."""
    root = checkout_dir()
    if root is None:
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _tool_info(command_line: Sequence[str]) -> ToolInfo:
    return ToolInfo(
        version=__version__,
        git_commit=git_commit(),
        # Arguments may hold bytes that are no text; a document is text.
        command_line=tuple(
            a.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for a in command_line
        ),
        python=sys.version.split()[0],
        platform=platform.platform(),
        libraries={name: version(name) for name in _LIBRARIES},
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
    )
