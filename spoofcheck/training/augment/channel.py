"""What rooms, microphones and lines do to a window's spectrum and peaks."""

from __future__ import annotations

import numpy as np
import soxr

from spoofcheck.training.augment.signal import fit, unit_peak
from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ


def band_limit(wave: Wave, lowest_hz: int, rng: np.random.Generator) -> Wave:
    """Through a lower sampling rate and back; the telephone's 8 kHz is drawn three times in ten."""
    rate_hz = 8_000 if rng.random() < 0.3 else int(rng.uniform(2 * lowest_hz, 15_500))
    quality = str(rng.choice(["HQ", "MQ", "LQ"]))
    down = soxr.resample(wave, SAMPLE_RATE_HZ, rate_hz, quality=quality)
    back = np.asarray(soxr.resample(down, rate_hz, SAMPLE_RATE_HZ, quality=quality), dtype=np.float32)
    return fit(back, wave.size)


def cut_edge(wave: Wave, rng: np.random.Generator) -> Wave:
    """A low-pass with a raised-cosine edge 100 to 600 Hz wide that starts between 6.6 and 7.7 kHz; zero phase."""
    start_hz = rng.uniform(6600, 7700)
    width_hz = rng.uniform(100, 600)
    frequency_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, wave.size // 2 + 1)
    gain = 0.5 + 0.5 * np.cos(np.pi * np.clip((frequency_hz - start_hz) / width_hz, 0, 1))
    return np.asarray(np.fft.irfft(np.fft.rfft(wave) * gain, wave.size), dtype=np.float32)


def equalise(wave: Wave, rng: np.random.Generator) -> Wave:
    """A smooth random response of at most 8 dB up or down, linear phase."""
    bins = wave.size // 2 + 1
    gain_db = np.interp(np.linspace(0, 7, bins), np.arange(8), rng.uniform(-8, 8, 8))
    return np.asarray(np.fft.irfft(np.fft.rfft(wave) * 10 ** (gain_db / 20), wave.size), dtype=np.float32)


def reverberate(wave: Wave, rng: np.random.Generator) -> Wave:
    """A small room: exponentially decaying noise (T60 0.1 to 0.6 s) after the direct sound, energy kept.

    Not audiomentations' `RoomSimulator`: it needs pyroomacoustics, a compiled package, for a geometry that no one
    knows of a recording anyway.
    """
    t60_s = float(rng.uniform(0.1, 0.6))
    length = int(t60_s * SAMPLE_RATE_HZ)
    decay = np.exp(-6.9 * np.arange(length) / length)
    response = rng.standard_normal(length) * decay
    response *= 10 ** (-rng.uniform(0, 18) / 20) / np.sqrt(np.sum(np.square(response)))
    response[: int(rng.uniform(0.001, 0.01) * SAMPLE_RATE_HZ)] = 0
    response[0] = 1.0
    size = wave.size + length
    out = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(response, size), size)[: wave.size]
    return np.asarray(out, dtype=np.float32)


def clip_peaks(wave: Wave, rng: np.random.Generator) -> Wave:
    """An overdriven input: scaled to a peak of 1 and cut off at 0.3 to 0.9."""
    level = rng.uniform(0.3, 0.9)
    return np.clip(unit_peak(wave), -level, level)
