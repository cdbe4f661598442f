"""The fingerprint of a run: everything beside the recording that shapes a finding.

It is taken from the loaded scanner, not from what the analyst typed: `--hop 4` and no `--hop` are the same run, two
models of one name are not. An option that nobody thought of here is part of it as it was given, so that it can cost a
second scan and never a wrong finding; `WITHOUT_EFFECT` names those that cannot change one, and why.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import soundfile
import torch

import spoofcheck
from spoofcheck.audio.ffmpeg import ffmpeg_path
from spoofcheck.detect.provenance import options_info
from spoofcheck.detect.scan import Scanner
from spoofcheck.errors import InputError
from spoofcheck.nets.bundle import Bundle
from spoofcheck.nets.config import CONFIG_FILE, EnsembleConfig, read_model_file
from spoofcheck.nets.index import find_beside
from spoofcheck.schema import SCHEMA_VERSION

WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "batch_windows": "a window's score does not hang on its batch",
    "debug": "raises what would otherwise be a skipped input that is not kept",
    "isolation": "recordings are read alike in threads and processes",
    "limits": "what passes a limit is skipped for a reason that is not kept",
    "workers": "findings do not hang on who reads",
}
"""Fields of `ScanOptions` that are no part of the fingerprint, each with the reason."""

STATED_OTHERWISE: Final[Mapping[str, str]] = {
    "budget_s": "options",
    "channels": "options",
    "device": "options, machine",
    "evidence": "evidence",
    "hop_s": "options",
    "runtime": "options",
    "sources": "tracer.enrolled_sha256",
    "threshold_llr": "rule",
    "trace": "tracer",
    "trace_all": "options",
    "tracer": "tracer",
    "use_sources": "tracer.enrolled_sha256",
    "vad": "options",
}
"""Fields of `ScanOptions` that are in the fingerprint as what became of them, and under which key."""

LIBRARIES: Final = (
    "imageio-ffmpeg",
    "numpy",
    "pydub",
    "safetensors",
    "scikit-learn",
    "scipy",
    "silero-vad",
    "soundfile",
    "soxr",
    "torch",
    "torchaudio",
    "transformers",
)
"""What reads, decodes and computes in every scan."""
EVIDENCE_LIBRARIES: Final = ("librosa", "pillow", "praat-parselmouth")
"""What measures and draws besides, where evidence is made."""
LIBRARIES_WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "huggingface-hub": "fetches models, which are known by their hash",
    "pydantic": "carries values, and changes none",
    "watchdog": "tells when files come, and reads none",
    "threadpoolctl": "sets the number of threads, which changes no score",
}
_FFMPEG_S = 30.0
_CPU_FACTS = Path("/proc/cpuinfo")
_CPU_KIND: Final = ("vendor_id", "cpu family", "model", "CPU implementer", "CPU part")
_CPU_ROUNDS: Final = ("amx", "avx", "fma")
"""Beginnings of the flags of instructions that multiply and add."""


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """The fingerprint of a run.

    Attributes:
        sha256: of `facts`, hexadecimal.
        facts: canonical JSON, ASCII: everything beside the recording that shapes a finding, and no path.
    """

    sha256: str
    facts: str


def run_identity(scanner: Scanner) -> RunIdentity:
    """The fingerprint of what a loaded scanner would find.

    Raises:
        ModelError: a member of an ensemble is gone since it was loaded.
    """
    return identity_of(run_facts(scanner))


def identity_of(facts: Mapping[str, Any]) -> RunIdentity:
    """The fingerprint of facts that JSON can carry."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return RunIdentity(hashlib.sha256(text.encode("ascii")).hexdigest(), text)


def run_facts(scanner: Scanner) -> dict[str, Any]:
    """Everything beside the recording that shapes a finding, by part.

    Raises:
        ModelError: see `run_identity`.
    """
    options = scanner.options
    stated = options_info(scanner).model_dump(mode="json")
    # Which of several equal cards computes changes nothing.
    stated["device"] = scanner.scorer.device.type
    return {
        "model": _model_facts(scanner.bundle),
        "tracer": _tracer_facts(scanner),
        "options": stated,
        "rule": scanner.rule.model_dump(mode="json"),
        "more_options": {
            field.name: _plain(getattr(options, field.name))
            for field in fields(options)
            if field.name not in WITHOUT_EFFECT and field.name not in STATED_OTHERWISE
        },
        "evidence": asdict(options.evidence),
        "acoustic_reference_sha256": scanner.acoustic_reference_sha256,
        "program": {"version": spoofcheck.__version__, "source_sha256": source_sha256(), "schema": SCHEMA_VERSION},
        "libraries": _library_facts(scanner),
        "machine": _machine_facts(scanner.scorer.device),
    }


def source_sha256(package: Path | None = None) -> str:
    """SHA-256 over names and bytes of the package's modules: a commit would not tell of changes since.

    Args:
        package: its folder; None is spoofcheck's own.
    """
    root = package or Path(spoofcheck.__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def _model_facts(bundle: Bundle) -> dict[str, Any]:
    config = bundle.config
    members = config.back_end.members if isinstance(config.back_end, EnsembleConfig) else ()
    return {
        "name": config.name,
        "version": config.version,
        "weights_sha256": bundle.weights_sha256,
        "config_sha256": bundle.config_sha256,
        # Their weights are named by the ensemble's, their configurations are not.
        "member_configs_sha256": [
            hashlib.sha256(read_model_file(find_beside(bundle.directory, member.model), CONFIG_FILE)).hexdigest()
            for member in members
        ],
    }


def _tracer_facts(scanner: Scanner) -> dict[str, Any] | None:
    tracer = scanner.tracer
    if tracer is None:
        return None
    config = tracer.bundle.config
    return {
        "name": config.name,
        "version": config.version,
        "weights_sha256": tracer.bundle.weights_sha256,
        "config_sha256": tracer.bundle.config_sha256,
        "enrolled_sha256": None if tracer.enrolled is None else tracer.enrolled.store.sha256,
    }


def _library_facts(scanner: Scanner) -> dict[str, str | None]:
    names = ("onnx", "onnxruntime") if scanner.scorer.runtime == "onnx" else ()
    return {**reading_libraries(scanner.options.evidence.is_any), **{name: _version(name) for name in names}}


def reading_libraries(with_evidence: bool) -> dict[str, str | None]:
    """Versions of what reads, decodes and computes in every scan, and of the program that decodes, by its hash.

    Args:
        with_evidence: and of what measures and draws.
    """
    names = [*LIBRARIES, *(EVIDENCE_LIBRARIES if with_evidence else ())]
    return {
        **{name: _version(name) for name in names},
        "python": platform.python_version(),
        "libsndfile": str(soundfile.__libsndfile_version__),
        "ffmpeg": _ffmpeg_sha256(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _ffmpeg_sha256() -> str | None:
    """SHA-256 of what the ffmpeg that decodes says of itself, its libraries included; None without one."""
    try:
        done = subprocess.run(
            [ffmpeg_path(), "-hide_banner", "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_FFMPEG_S,
            check=True,
        )
    except (InputError, OSError, subprocess.SubprocessError):
        return None
    return hashlib.sha256(done.stdout).hexdigest()


def _machine_facts(device: torch.device) -> dict[str, str]:
    """What rounds: the last digits of a score hang on the kind of processor."""
    on_cuda = device.type == "cuda"
    return {
        "architecture": platform.machine(),
        "system": sys.platform,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        "accelerator": f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}" if on_cuda else "",
    }


def _processor() -> str:
    """The kind of processor and its instructions: libraries choose their kernels by both.

    Empty where the system does not say.
    """
    try:
        first = _CPU_FACTS.read_text(encoding="ascii", errors="replace").strip().partition("\n\n")[0]
    except OSError:
        return ""
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    flags = sorted(flag for flag in facts.get("flags", "").split() if flag.startswith(_CPU_ROUNDS))
    return " ".join([*(facts[name] for name in _CPU_KIND if name in facts), *flags])


def _plain(value: object) -> object:
    """A value as JSON carries it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
