"""What the shipped model finds in a few example recordings, here or in a process of its own.

`python -m tests.support.determinism JSON NAME ...` prints them, one a line; JSON has fields of `ScanOptions`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.schema import Finding

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("address-1961.wav", "transcript.wav", "novela.m4a", "voice-memo.ogg", "voicemail-accounts.mp3")
"""PCM, no audio at all, AAC, Vorbis, MP3: 17 windows, two decoders, and one exhibit that is flagged."""
RECORDINGS = tuple(ROOT / "examples" / "recordings" / name for name in NAMES)
COMMON: dict[str, Any] = {"device": "cpu", "trace_all": True, "use_sources": False}


def scanner(**options: Any) -> Scanner:
    """The shipped detector with its tracer; every exhibit is traced, nothing that the user enrolled is looked at."""
    return Scanner(None, ScanOptions(**{**COMMON, **options}))


def found(judge: Scanner, recordings: Sequence[Path] = RECORDINGS) -> dict[str, str]:
    """Every finding as JSON, to the last digit, by the name of its recording (none has several findings)."""
    return {path.name: finding.model_dump_json() for path, finding in judge.examined(recordings)}


def found_elsewhere(
    options: Mapping[str, Any], environment: Mapping[str, str], names: Sequence[str] = NAMES
) -> dict[str, str]:
    """As `found`, in a fresh process with these environment variables added."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.determinism", json.dumps(dict(options)), *names],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    return dict(zip(names, done.stdout.splitlines(), strict=True))


def numbers(finding: str) -> dict[str, float]:
    """The scores in a finding by a name: raw scores, LLRs, distances and similarities, of windows and as a whole."""
    parsed = Finding.model_validate_json(finding)
    values: dict[str, float | None] = {
        "raw score": parsed.raw_score,
        "LLR": parsed.spoof_llr,
        "distance": parsed.validity_distance,
        **{f"similarity to {match.name}": match.similarity for match in parsed.sources},
    }
    for window in parsed.windows:
        at = f"window at {window.start_s:g} s"
        values[f"raw score, {at}"] = window.raw_score
        values[f"LLR, {at}"] = window.spoof_llr
        values[f"distance, {at}"] = window.validity_distance
    return {name: value for name, value in values.items() if value is not None}


if __name__ == "__main__":
    chosen = [RECORDINGS[NAMES.index(name)] for name in sys.argv[2:]]
    for line in found(scanner(**json.loads(sys.argv[1])), chosen).values():
        print(line)
