"""The recording conditions a model is tested under, beside the recordings as they are. Deterministic."""

from __future__ import annotations

import io
import zlib

import numpy as np
import soundfile
import soxr

from spoofcheck.training.corpus import active_frames
from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ

ORIGINAL = "original"
CONDITIONS = ("mp3-64k", "opus-16k", "8khz", "noise-15db")

# libsndfile takes a compression level, not a bit rate; these give 64 kb/s MP3 and 16 to 18 kb/s Opus at 16 kHz mono.
_MP3_64K_LEVEL = 0.63
_OPUS_16K_LEVEL = 0.96


def degrade(wave: Wave, condition: str, name: str) -> Wave:
    """A 16 kHz waveform under a condition; `name` seeds the noise.

    Raises:
        ValueError: unknown condition.
    """
    if condition == ORIGINAL:
        return wave
    if condition == "mp3-64k":
        return _code(wave, "MP3", "MPEG_LAYER_III", _MP3_64K_LEVEL, bitrate_mode="CONSTANT")
    if condition == "opus-16k":
        return _code(wave, "OGG", "OPUS", _OPUS_16K_LEVEL)
    if condition == "8khz":
        narrow = soxr.resample(wave, SAMPLE_RATE_HZ, 8_000, quality="HQ")
        return np.asarray(soxr.resample(narrow, 8_000, SAMPLE_RATE_HZ, quality="HQ"), dtype=np.float32)
    if condition == "noise-15db":
        noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(wave.size)
        active = np.repeat(active_frames(wave, 35.0), SAMPLE_RATE_HZ // 50)
        speech = wave[: active.size][active] if active.any() else wave
        level = np.sqrt(np.mean(np.square(speech))) * 10 ** (-15 / 20)
        return np.asarray(np.clip(wave + level * noise, -1, 1), dtype=np.float32)
    raise ValueError(f"unknown condition {condition!r}")


def _code(wave: Wave, container: str, subtype: str, level: float, bitrate_mode: str | None = None) -> Wave:
    buffer = io.BytesIO()
    peak = max(1.0, float(np.abs(wave).max(initial=0.0)))
    soundfile.write(
        buffer, wave / peak, SAMPLE_RATE_HZ, format=container, subtype=subtype,
        compression_level=level, bitrate_mode=bitrate_mode,
    )  # fmt: skip
    buffer.seek(0)
    decoded, rate_hz = soundfile.read(buffer, dtype="float32")
    if rate_hz != SAMPLE_RATE_HZ:
        decoded = soxr.resample(decoded, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    return np.asarray(decoded, dtype=np.float32)
