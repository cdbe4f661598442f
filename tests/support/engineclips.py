"""Short clips that engines spoke (tests/assets/engines), and copies of human speech by two vocoders of the classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from spoofcheck.training.copysynth import Vocoder, copy_window, griffin_lim_mel, world
from tests.support.audio import human_speech, write_wav

ENGINE_CLIPS = Path(__file__).resolve().parents[1] / "assets" / "engines"
NEVER_TRAINED = "gnuspeech"
"""An articulatory engine: no class of the shipped tracer has its clips, or another such engine's."""
FAMILIES = {"kokoro": "kokoro", "piper": "vits", "openjtalk": "hts"}
"""The family of each other engine among the shipped tracer's classes."""
COPIES: dict[str, Vocoder] = {"griffin-lim": griffin_lim_mel, "world": world}
"""Vocoders by their family among the classes."""

_RATE_HZ = 16_000
_STARTS_S = (0.3, 5.3)
_COPY_S = 4.5


def engine_clips(engine: str) -> list[Path]:
    """An engine's clips in the order of their numbers, mono at 16 kHz.

    Raises:
        ValueError: it has none.
    """
    clips = sorted(ENGINE_CLIPS.glob(f"{engine}-*.flac"))
    if not clips:
        raise ValueError(f"no clips of {engine!r} in {ENGINE_CLIPS}")
    return clips


def vocoder_copies(folder: Path, family: str) -> list[Path]:
    """Two pieces of the bundled human speech, 4.5 s each, copied by the vocoder of a family; written to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    speech = human_speech()
    paths = []
    for number, start_s in enumerate(_STARTS_S, 1):
        start = round(start_s * _RATE_HZ)
        piece = speech[start : start + round(_COPY_S * _RATE_HZ)]
        copy = copy_window(piece, COPIES[family], np.random.default_rng(number))
        paths.append(write_wav(folder / f"{family}-{number}.wav", copy, _RATE_HZ))
    return paths


def samples_of(clip: Path) -> np.ndarray:
    """A clip's samples, float32 `[n]` at 16 kHz."""
    samples, rate_hz = soundfile.read(clip, dtype="float32")
    assert rate_hz == _RATE_HZ
    return np.asarray(samples, np.float32)
