"""What source generators shape: noise, or sines at multiples of F0 with noise."""

from __future__ import annotations

import numpy as np
import pyworld
from numpy.typing import NDArray

from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ

_HARMONICS = 8


def noise_source(samples: int, rng: np.random.Generator) -> Wave:
    """White noise, float32 `[n]`."""
    return rng.standard_normal(samples, dtype=np.float32)


def sine_source(wave: Wave, rng: np.random.Generator) -> Wave:
    """Sines at the first eight multiples of F0 with a little noise; noise alone where unvoiced. Float32 `[n]`."""
    f0_hz = f0_per_sample(wave)
    phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE_HZ
    sines = np.zeros(wave.size)
    for harmonic in range(1, _HARMONICS + 1):
        below = harmonic * f0_hz < SAMPLE_RATE_HZ / 2
        sines += np.where((f0_hz > 0) & below, np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi)), 0.0)
    noise = rng.standard_normal(wave.size)
    return np.where(f0_hz > 0, 0.3 * sines + 0.05 * noise, 0.3 * noise).astype(np.float32)


def f0_per_sample(wave: Wave) -> NDArray[np.float64]:
    """F0 in hertz at every sample, 0 where unvoiced, by WORLD's DIO and StoneMask."""
    signal = wave.astype(np.float64)
    f0, times = pyworld.dio(signal, SAMPLE_RATE_HZ)
    f0 = pyworld.stonemask(signal, f0, times, SAMPLE_RATE_HZ)
    nearest = np.minimum(np.rint(np.arange(wave.size) / (SAMPLE_RATE_HZ * 0.005)).astype(int), f0.size - 1)
    return np.asarray(f0[nearest], dtype=np.float64)
