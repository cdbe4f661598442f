"""What several steps need: level, length, sampling rate."""

from __future__ import annotations

import numpy as np
import soxr

from spoofcheck.training.store import Wave


def unit_peak(wave: Wave) -> Wave:
    """Scaled to a peak of 1; silence stays silence."""
    return np.asarray(wave / (np.abs(wave).max(initial=0.0) + 1e-6), dtype=np.float32)


def fit(wave: Wave, samples: int) -> Wave:
    """The first `samples` of a wave, padded with zeros where it is shorter."""
    return wave[:samples] if wave.size >= samples else np.pad(wave, (0, samples - wave.size))


def resample(wave: Wave, from_hz: int, to_hz: int) -> Wave:
    """At another sampling rate, with soxr's high quality."""
    if from_hz == to_hz:
        return wave
    return np.asarray(soxr.resample(wave, from_hz, to_hz, quality="HQ"), dtype=np.float32)
