"""A few hundred labelled clips made on the spot: two kinds of voice-like sound that a tiny network can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.protocols.manifest import write_manifest
from spoofcheck.types import SAMPLE_RATE_HZ

SYSTEMS = ("tts:buzzer", "tts:hisser", "vocoder:ringer")


def voice(seed: int, system: str = "-", seconds: float = 1.2) -> NDArray[np.float32]:
    """Something with pitch, formants and pauses, and with what a "system" leaves behind.

    Human: a jittery glottal pulse train through two moving formants. Buzzer: the same without jitter. Hisser: pulses
    that alternate in strength. Ringer: a steady tone at 3.1 kHz lies under it.
    """
    rng = np.random.default_rng(seed)
    n = int(seconds * SAMPLE_RATE_HZ)
    pitch_hz = rng.uniform(90, 220) * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(1, 3) * np.arange(n) / SAMPLE_RATE_HZ))
    if system == "-":
        pitch_hz = pitch_hz * (1 + 0.04 * np.repeat(rng.standard_normal(n // 80 + 1), 80)[:n])
    phase = np.cumsum(pitch_hz / SAMPLE_RATE_HZ)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    if system == "tts:hisser":
        pulses *= 1 - 0.7 * (np.cumsum(pulses) % 2)
    out = np.zeros(n)
    for formant_hz, width_hz in ((rng.uniform(400, 800), 80), (rng.uniform(1200, 2200), 120)):
        t = np.arange(400) / SAMPLE_RATE_HZ
        out += np.convolve(pulses, np.exp(-np.pi * width_hz * t) * np.sin(2 * np.pi * formant_hz * t))[:n]
    envelope = np.clip(np.sin(2 * np.pi * rng.uniform(2, 4) * np.arange(n) / SAMPLE_RATE_HZ) + 0.8, 0.02, None)
    out = out / (np.abs(out).max() + 1e-9) * envelope
    out += 10 ** (rng.uniform(-55, -45) / 20) * rng.standard_normal(n)
    if system == "vocoder:ringer":
        out += 0.03 * np.sin(2 * np.pi * 3100 * np.arange(n) / SAMPLE_RATE_HZ)
    return np.asarray(0.5 * out / np.abs(out).max(), dtype=np.float32)


def write_corpus(
    folder: Path,
    clips_per_class: dict[str, int],
    systems: tuple[str, ...] = SYSTEMS,
    seconds: float = 1.2,
    repos: Sequence[str] = ("made/here",),
    first_voice: int = 0,
) -> Path:
    """Write clips and a manifest; so many human clips per split, and as many of each system, of the repos in turn.

    Returns:
        The manifest; audio paths in it are relative to its folder.
    """
    clips = []
    number = first_voice
    for split, count in clips_per_class.items():
        for system in ("-", *systems):
            for index in range(count):
                number += 1
                name = f"{split}/{system.replace(':', '-')}-{index}.wav"
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, voice(number, system, seconds), SAMPLE_RATE_HZ)
                clips.append(
                    Clip(
                        name, path, "bonafide" if system == "-" else "spoof", system=system, split=split,
                        speaker=f"{split}-{system}-{index % 4}", repo=repos[index % len(repos)], duration_s=seconds,
                    )
                )  # fmt: skip
    manifest = folder / "manifest.tsv"
    write_manifest(manifest, clips)
    return manifest
