"""A sound like a voice, and how far one sound lags another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 16_000


def voice(seconds: float = 1.0, seed: int = 0) -> NDArray[np.float32]:
    """A vowel-like buzz with syllables: harmonics of 120 Hz under a 3 Hz envelope."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * 120 * k * t + rng.uniform(0, 6)) / k for k in range(1, 40))
    wave = buzz * (0.55 + 0.45 * np.sin(2 * np.pi * 3 * t)) + 0.01 * rng.standard_normal(t.size)
    return np.asarray(0.3 * wave / np.abs(wave).max(), dtype=np.float32)


def lag(a: NDArray[np.float32], b: NDArray[np.float32]) -> int:
    """By how many samples `b` is later than `a`, where their correlation is strongest."""
    size = 2 * a.size
    correlation = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    at = int(np.argmax(np.abs(correlation)))
    return at if at < a.size else at - size
