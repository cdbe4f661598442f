"""Rebuild `tests/assets/engines/*.flac`: short clips that four engines speak, for tests of the shipped tracer.

Run by hand, never by a test. ENGINES is what `sh train/engines/setup.sh ENGINES` made:

    python -m tests.support.make_engine_clips ENGINES [MADE]

The programs of train/engines speak the sentences beside the clips; what they say there of rates, voices and chance
holds here. Their speech is resampled to 16 kHz by soxr and cut to at most 5 s. No clip was chosen or changed after a
tracer had heard it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
import soxr

ROOT = Path(__file__).resolve().parents[2]
CLIPS = ROOT / "tests" / "assets" / "engines"
SENTENCES = CLIPS / "sentences.tsv"
RATE_HZ = 16_000
LONGEST_S = 5.0


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine: how its clips are called, the program that speaks, and which of its clips are taken.

    Attributes:
        name: the clips are `<name>-<number>.flac`.
        command: the program; `{engines}` and `{root}` are filled in.
        count: how many sentences it speaks.
        seed: of the sentences' order and of all that is drawn.
        pattern: which of the files it made are taken, in the order of their names.
    """

    name: str
    command: tuple[str, ...]
    count: int
    seed: int
    pattern: str = "*/*.flac"


_ONNX = "{engines}/venv-onnx/bin/python"
ENGINES = (
    Engine("kokoro", (_ONNX, "{root}/train/engines/kokoro_mix.py"), 2, 505),
    Engine("piper", (_ONNX, "{root}/train/engines/piper_joe.py"), 2, 506),
    Engine("openjtalk", ("{engines}/venv-openjtalk/bin/python", "{root}/train/engines/openjtalk_mei.py"), 2, 507),
    Engine(
        "gnuspeech",
        ("node", "{root}/train/engines/gnuspeech.mjs", "--modules", "{engines}/gnuspeech"),
        20,
        508,
        "*male/*.wav",  # two of its five voices
    ),
)


def make(engine: Engine, engines: Path, made: Path) -> None:
    """Have an engine speak, and take its clips over."""
    out = made / engine.name
    program = [part.format(engines=engines, root=ROOT) for part in engine.command]
    options = ["--texts", SENTENCES, "--out", out, "--count", engine.count, "--seed", engine.seed]
    environment = {**os.environ, "KOKORO_JA_CACHE": str(engines / "kokoro")}
    subprocess.run([*program, *map(str, options)], check=True, env=environment)
    for number, path in enumerate(sorted(out.glob(engine.pattern)), 1):
        samples, rate_hz = soundfile.read(path, dtype="float32")
        heard = soxr.resample(samples, rate_hz, RATE_HZ)[: round(LONGEST_S * RATE_HZ)]
        soundfile.write(CLIPS / f"{engine.name}-{number}.flac", heard, RATE_HZ, subtype="PCM_16")


def main(arguments: Sequence[str]) -> None:
    """ENGINES [MADE]: the clips at their own rates stay in MADE, where it is given."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(arguments[1]) if len(arguments) > 1 else Path(folder)
        for engine in ENGINES:
            make(engine, Path(arguments[0]).resolve(), made)


if __name__ == "__main__":
    main(sys.argv[1:])
