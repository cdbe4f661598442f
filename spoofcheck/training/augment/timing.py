"""Which stretch of a recording a window shows: crop, silence, masks."""

from __future__ import annotations

import numpy as np

from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ

_LEAST_AFTER_TRIM_S = 0.5
_TRIM_FRAME_SAMPLES = 1024
_FADE_S = 0.005


def crop_or_repeat(wave: Wave, samples: int, rng: np.random.Generator) -> Wave:
    """Exactly `samples`: a random stretch of a longer wave, a shorter one repeated as inference does."""
    if wave.size >= samples:
        start = int(rng.integers(0, wave.size - samples + 1))
        return wave[start : start + samples]
    return np.tile(wave, -(-samples // wave.size))[:samples]


def trim_silence(wave: Wave, silence_db: tuple[float, float], rng: np.random.Generator) -> Wave:
    """Without the silence before and after the speech, repeated to the old length.

    Silence lies a random number of decibels, from `silence_db`, below the loudest frame (64 ms). What would keep less
    than half a second is left as it was.
    """
    from librosa.effects import trim

    kept, _ = trim(
        wave, top_db=rng.uniform(*silence_db), frame_length=_TRIM_FRAME_SAMPLES, hop_length=_TRIM_FRAME_SAMPLES // 4
    )
    if kept.size < min(_LEAST_AFTER_TRIM_S * SAMPLE_RATE_HZ, wave.size):
        return wave
    return crop_or_repeat(np.asarray(kept, dtype=np.float32), wave.size, rng)


def mask(wave: Wave, rng: np.random.Generator) -> Wave:
    """Either a band 300 to 1,500 Hz wide or a stretch of 50 to 400 ms falls by 50 dB."""
    out = wave.copy()
    if rng.random() < 0.5:
        spectrum = np.fft.rfft(out)
        width, low = rng.uniform(300, 1500), rng.uniform(0, 6500)
        step = SAMPLE_RATE_HZ / out.size
        spectrum[int(low / step) : int((low + width) / step)] *= 0.003
        return np.asarray(np.fft.irfft(spectrum, out.size), dtype=np.float32)
    length = min(int(rng.uniform(0.05, 0.4) * SAMPLE_RATE_HZ), out.size // 4)
    start = int(rng.integers(0, out.size - length + 1))
    out[start : start + length] *= np.float32(0.003)
    return out


def time_mask(wave: Wave, mask_s: tuple[float, float], rng: np.random.Generator) -> Wave:
    """A stretch of `mask_s`, at most a quarter of the window, falls silent within 5 ms."""
    from audiomentations import TimeMask

    length = min(int(rng.uniform(*mask_s) * SAMPLE_RATE_HZ), wave.size // 4)
    start = int(rng.integers(0, wave.size - length + 1))
    step = TimeMask(fade_duration=_FADE_S, p=1.0)
    # The library would draw these two from Python's global random state; given, nothing is left to draw.
    step.parameters = {"should_apply": True, "t": length, "t0": start}
    step.freeze_parameters()
    return np.asarray(step(wave, SAMPLE_RATE_HZ), dtype=np.float32)
