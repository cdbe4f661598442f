"""Long recordings of human speech, made from the example recordings."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SAMPLE_RATE_HZ = 16_000
STEP_S = 37.3
"""Each file begins this much later in the pool, so that no two are alike."""


def human_pool() -> NDArray[np.float32]:
    """All human speech of the mono examples, one after the other, `[samples]` at 16 kHz; level as it is."""
    parts = []
    for row in _truth():
        if row["label"] == "bonafide" and not row["channel"]:
            parts.append(_read(EXAMPLES / "recordings" / row["path"]))
        elif row["label"] == "partial":
            samples = _read(EXAMPLES / "recordings" / row["path"])
            start, end = (round(float(row[f"spliced_{edge}_s"]) * SAMPLE_RATE_HZ) for edge in ("start", "end"))
            parts += [samples[:start], samples[end:]]
    return np.concatenate(parts)


def synthetic_pool() -> NDArray[np.float32]:
    """All synthetic speech of the mono examples, likewise."""
    parts = []
    for row in _truth():
        if row["label"] == "spoof" and not row["channel"]:
            parts.append(_read(EXAMPLES / "recordings" / row["path"]))
        elif row["label"] == "partial":
            samples = _read(EXAMPLES / "recordings" / row["path"])
            start, end = (round(float(row[f"spliced_{edge}_s"]) * SAMPLE_RATE_HZ) for edge in ("start", "end"))
            parts.append(samples[start:end])
    return np.concatenate(parts)


def _truth() -> list[dict[str, str]]:
    with (EXAMPLES / "truth.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def write_minutes(folder: Path, files: int) -> float:
    """Write `files` mono 16-bit WAV files of one minute at 16 kHz; their seconds together."""
    pool = human_pool()
    minute = 60 * SAMPLE_RATE_HZ
    for i in range(files):
        start = round(i * STEP_S * SAMPLE_RATE_HZ) % pool.size
        samples = np.take(pool, np.arange(start, start + minute), mode="wrap")
        soundfile.write(folder / f"minute-{i:03d}.wav", samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    return files * 60.0


def write_seconds(folder: Path, files: int, speech_every: int = 20) -> None:
    """Write as many mono WAV files of one second, a thousand to a folder: some of speech, the rest of faint noise."""
    pool = human_pool()
    second = SAMPLE_RATE_HZ
    rng = np.random.default_rng(0)
    for i in range(files):
        place = folder / f"{i // 1_000:02d}"
        place.mkdir(parents=True, exist_ok=True)
        samples = rng.standard_normal(second).astype(np.float32) * 1e-3
        if i % speech_every == 0:
            samples += np.take(pool, np.arange(i * second, (i + 1) * second), mode="wrap")
        soundfile.write(place / f"second-{i:05d}.wav", samples, SAMPLE_RATE_HZ, subtype="PCM_16")


def write_hours(path: Path, hours: float) -> float:
    """Write one long mono WAV, every ten minutes the pool once and then faint noise; its seconds."""
    pool = human_pool()
    ten_minutes = 600 * SAMPLE_RATE_HZ
    noise = np.random.default_rng(0).standard_normal(ten_minutes).astype(np.float32) * 1e-3
    noise[: pool.size] += pool
    with soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, 1, subtype="PCM_16") as file:
        for _ in range(round(6 * hours)):
            file.write(noise)
    return hours * 3_600.0


def write_hours_m4a(path: Path, hours: float) -> float:
    """The same as AAC in M4A: ten minutes are encoded once, their packets repeated; its seconds."""
    once = path.with_name("ten-minutes.m4a")
    wav = path.with_name("hour.wav")
    write_hours(wav, 1)
    _ffmpeg("-t", "600", "-i", str(wav), "-c:a", "aac", "-b:a", "32k", str(once))
    _ffmpeg("-stream_loop", str(round(6 * hours) - 1), "-i", str(once), "-c", "copy", str(path))
    wav.unlink()
    once.unlink()
    return hours * 3_600.0


def _ffmpeg(*arguments: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    subprocess.run(command, check=True)


def _read(path: Path) -> NDArray[np.float32]:
    to_pcm = ["-i", str(path), "-f", "f32le", "-ac", "1", "-ar", "48000", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *to_pcm]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return soxr.resample(np.frombuffer(raw, dtype="<f4"), 48_000, SAMPLE_RATE_HZ)
