"""RawBoost: noise of telephone channels and cheap hardware made from the signal alone.

Written from the paper: Tak, Kamble, Patino, Todisco, Evans, "RawBoost: a raw data boosting and augmentation method
applied to automatic speaker verification anti-spoofing", ICASSP 2022 (arXiv 2111.04433). Signals are at 16 kHz,
and what exceeds full scale is scaled down, as there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoofcheck.training.augment.rule import RawBoostRule
from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ

_RESPONSE_BINS = 4096
_Samples = NDArray[np.float64]


def rawboost(wave: Wave, rule: RawBoostRule, rng: np.random.Generator) -> Wave:
    """The rule's algorithms in series or side by side, peak at most 1.

    Each algorithm has its own random numbers: 2 adds the same impulses alone as in `1+2`, for the same input.
    """
    streams = dict(zip("123", rng.spawn(3), strict=True))
    steps = {"1": convolutive, "2": impulsive, "3": stationary}
    samples = wave.astype(np.float64)
    if rule.algorithm == "1||2":
        samples = limit_peak(sum((steps[name](samples, rule, streams[name]) for name in "12"), np.zeros(wave.size)))
    else:
        for name in rule.algorithm.split("+"):
            samples = steps[name](samples, rule, streams[name])
    return limit_peak(samples).astype(np.float32)


def convolutive(samples: _Samples, rule: RawBoostRule, rng: np.random.Generator) -> _Samples:
    """Algorithm 1, linear and non-linear convolutive noise: `sum over i of b_i * x^i`, without its mean.

    A Hammerstein model: each power of the signal up to `rule.orders` passes its own row of random notch filters `b_i`.
    """
    power = samples
    out = filtered(power, notch_filter(rule, rule.linear_gain_db, rng))
    for _ in range(rule.orders - 1):
        power = power * samples
        out = out + filtered(power, notch_filter(rule, rule.higher_gain_db, rng))
    return limit_peak(out - out.mean())


def impulsive(samples: _Samples, rule: RawBoostRule, rng: np.random.Generator) -> _Samples:
    """Algorithm 2, impulsive signal-dependent noise: up to `impulsive_share` of the samples jump.

    A chosen sample x becomes `x + g_sd u v x` with u and v uniform in -1..1, whose product has the logarithmic density
    of the paper's noise.
    """
    count = int(samples.size * rng.uniform(0.0, rule.impulsive_share))
    at = rng.choice(samples.size, count, replace=False)
    out = samples.copy()
    out[at] += rule.impulsive_gain * rng.uniform(-1, 1, count) * rng.uniform(-1, 1, count) * samples[at]
    return limit_peak(out)


def stationary(samples: _Samples, rule: RawBoostRule, rng: np.random.Generator) -> _Samples:
    """Algorithm 3, stationary signal-independent noise: notch-filtered white noise at a ratio within `snr_db`."""
    noise = filtered(rng.standard_normal(samples.size), notch_filter(rule, rule.linear_gain_db, rng))
    ratio = 10 ** (-rng.uniform(*rule.snr_db) / 20)
    scale = ratio * np.linalg.norm(samples) / max(float(np.linalg.norm(noise)), 1e-12)
    return samples + scale * noise


def notch_filter(rule: RawBoostRule, gain_db: tuple[float, float], rng: np.random.Generator) -> _Samples:
    """Taps `[odd]`, symmetric, of `rule.notches` random notches in a row; the response peaks at a gain of `gain_db`."""
    taps = np.ones(1)
    for _ in range(rule.notches):
        centre_hz, width_hz = rng.uniform(*rule.centre_hz), rng.uniform(*rule.width_hz)
        taps = np.convolve(taps, band_stop(centre_hz, width_hz, int(rng.integers(*rule.coefficients, endpoint=True))))
    highest = float(np.abs(np.fft.rfft(taps, max(_RESPONSE_BINS, taps.size))).max())
    return taps * (10 ** (rng.uniform(*gain_db) / 20) / max(highest, 1e-12))


def band_stop(centre_hz: float, width_hz: float, coefficients: int) -> _Samples:
    """A linear-phase FIR filter by the window method (Hamming) that takes out `width_hz` around `centre_hz`.

    Its number of taps is odd (one more where `coefficients` is even), so that its delay is a whole number of samples.
    The stopped band ends at 0 Hz and at half the sampling rate.
    """
    taps = coefficients | 1
    low = max(centre_hz - width_hz / 2, 0.0) * 2 / SAMPLE_RATE_HZ
    high = min((centre_hz + width_hz / 2) * 2 / SAMPLE_RATE_HZ, 1.0)
    k = np.arange(taps) - taps // 2
    # All-pass less low-pass at `high` plus low-pass at `low`, each the inverse transform of its ideal response.
    ideal = np.sinc(k) - high * np.sinc(high * k) + low * np.sinc(low * k)
    return np.asarray(ideal * np.hamming(taps))


def filtered(samples: _Samples, taps: _Samples) -> _Samples:
    """A signal through a symmetric filter, of the same length and without its delay."""
    size = 1 << (samples.size + taps.size - 2).bit_length()
    out = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(taps, size), size)
    half = taps.size // 2
    return np.asarray(out[half : half + samples.size])


def limit_peak(samples: _Samples) -> _Samples:
    """Scaled down to a peak of 1 where it is higher."""
    return samples / max(float(np.abs(samples).max(initial=0.0)), 1.0)
