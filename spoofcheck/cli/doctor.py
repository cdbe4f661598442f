"""`spoofcheck doctor`: can this machine do the job?"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass

from spoofcheck import __version__
from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import SpoofcheckError


@dataclass(frozen=True, slots=True)
class Check:
    """One thing a scan needs."""

    name: str
    ok: bool
    detail: str


def doctor() -> int:
    """Check Python, torch, the device, ffmpeg and the shipped models; exits with 2 when a scan could not work."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    checks = [_run(name, check) for name, check in _CHECKS.items()]
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for check in checks:
        mark = Text("ok", style="green") if check.ok else Text("FAILED", style="bold red")
        table.add_row(check.name, mark, Text(check.detail))
    Console().print(table)
    return ExitStatus.CLEAR if all(check.ok for check in checks) else ExitStatus.FAILED


def _run(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, ok=True, detail=check())
    except (SpoofcheckError, ImportError, OSError) as error:
        return Check(name, ok=False, detail=str(error))


def _python() -> str:
    return f"{sys.version.split()[0]} on {platform.platform()}, {os.cpu_count()} cores"


def _torch() -> str:
    import torch
    import torchaudio

    return f"{torch.__version__} with torchaudio {torchaudio.__version__}, {torch.get_num_threads()} threads"


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name()}, bfloat16"
    if torch.backends.mps.is_available():
        return "mps, float32"
    return "cpu, float32 (no CUDA or MPS device)"


def _libsndfile() -> str:
    import soundfile

    return str(soundfile.__libsndfile_version__)


def _ffmpeg() -> str:
    from spoofcheck.audio.ffmpeg import ffmpeg_path

    return str(ffmpeg_path())


def _vad() -> str:
    from importlib.metadata import version

    from silero_vad import load_silero_vad

    load_silero_vad()
    return f"silero-vad {version('silero-vad')}"


def _models() -> str:
    from spoofcheck.errors import ModelError
    from spoofcheck.nets.index import list_models, verify_model

    problems = [f"{name}: {problem}" for name in list_models() for problem in verify_model(name)]
    if problems:
        raise ModelError("; ".join(problems))
    return ", ".join(list_models()) + " intact"


_CHECKS: dict[str, Callable[[], str]] = {
    "spoofcheck": lambda: __version__,
    "Python": _python,
    "torch": _torch,
    "device": _device,
    "libsndfile": _libsndfile,
    "ffmpeg": _ffmpeg,
    "voice activity": _vad,
    "models": _models,
}
