"""The condition of one channel, measured as it streams by. The definitions are those of `types.Quality`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.speech import CHUNK_SAMPLES
from spoofcheck.types import SAMPLE_RATE_HZ, Quality, samples_to_seconds

FLOOR_DBFS = -200.0
"""Stands for the level of digital silence, which has none."""

_SILENT_POWER = 10 ** (-60 / 10)
_SILENCE_FRAME_SAMPLES = SAMPLE_RATE_HZ // 50
_STEP_SAMPLES = math.lcm(_SILENCE_FRAME_SAMPLES, CHUNK_SAMPLES)

_CLIPPING_LEVEL = 0.98

_SNR_RANGE_DB = (-10.0, 80.0)
_SNR_MIN_S = 0.3

_BANDS = 64
_BINS_PER_BAND = CHUNK_SAMPLES // 2 // _BANDS
_BAND_HZ = SAMPLE_RATE_HZ / 2 / _BANDS
_BAND_RANGE = 10 ** (-60 / 10)
_LEAKAGE = 10 ** (-90 / 10)
_LEVELS_DB = 160
_LOUD_SHARE = 0.05
_LOUD_RANGE_DB = 20


class QualityMeter:
    """Measures one channel: give it the samples at both rates and the speech decisions as they come."""

    def __init__(self, vad: bool) -> None:
        self._speech = _SpeechLevels() if vad else None
        self._peak = 0.0
        self._clipping = (_ExtremeRuns(), _ExtremeRuns())
        self._native_samples = 0
        self._held = np.zeros(0, np.float32)
        self._samples = 0
        self._energy = 0.0
        self._frames = 0
        self._silent_frames = 0
        self._spectrum = _LoudSpectrum()

    def push_native(self, samples: NDArray[np.float32]) -> None:
        """Samples `[n]` at the recording's own rate: peak and clipping."""
        self._native_samples += len(samples)
        self._peak = max(self._peak, float(np.abs(samples).max(initial=0.0)))
        for sign, runs in zip((1, -1), self._clipping, strict=True):
            runs.push(sign * samples)

    def push_16k(self, samples: NDArray[np.float32]) -> None:
        """Samples `[n]` at 16 kHz: all the rest."""
        held = np.concatenate((self._held, samples))
        whole = len(held) // _STEP_SAMPLES * _STEP_SAMPLES
        if whole:
            self._measure(held[:whole])
        self._held = held[whole:].copy()

    def push_speech(self, chunk_is_speech: NDArray[np.bool_]) -> None:
        """Decisions `[chunks]` of the voice activity detector, from the first chunk on."""
        if self._speech is None:
            raise ValueError("this meter was told that there is no voice activity detection")
        self._speech.push_decisions(chunk_is_speech)

    def finish(self) -> Quality:
        """What was measured, once all samples and decisions are in."""
        if len(self._held):
            self._measure(self._held)
        clipped = sum(runs.samples for runs in self._clipping)
        return Quality(
            speech_s=None if self._speech is None else self._speech.speech_s(self._samples),
            silence_share=self._silent_frames / max(1, self._frames),
            snr_db=None if self._speech is None else self._speech.snr_db(),
            clipping_share=clipped / max(1, self._native_samples),
            bandwidth_hz=self._spectrum.bandwidth_hz(),
            peak_dbfs=_dbfs(self._peak**2),
            rms_dbfs=_dbfs(self._energy / max(1, self._samples)),
        )

    def _measure(self, samples: NDArray[np.float32]) -> None:
        """Take in whole frames and chunks, or the end of the recording."""
        power = samples.astype(np.float64) ** 2
        self._samples += len(samples)
        self._energy += float(power.sum())
        is_silent = _frame_means(power, _SILENCE_FRAME_SAMPLES) < _SILENT_POWER
        self._silent_frames += int(is_silent.sum())
        self._frames += len(is_silent)
        chunk_power = _frame_means(power, CHUNK_SAMPLES)
        if self._speech is not None:
            self._speech.push_powers(chunk_power)
        self._spectrum.push(samples, chunk_power)


class _ExtremeRuns:
    """Counts the samples in runs of two or more at the largest value so far, when that is near full scale."""

    def __init__(self) -> None:
        self._extreme = _CLIPPING_LEVEL
        self._open_run = 0
        self.samples = 0

    def push(self, samples: NDArray[np.float32]) -> None:
        largest = float(samples.max(initial=-np.inf))
        if largest < self._extreme:
            self._open_run = 0
            return
        if largest > self._extreme:
            self._extreme, self._open_run, self.samples = largest, 0, 0
        # A run that began in the block before goes on: put its samples in front again.
        at_extreme = np.concatenate((np.ones(self._open_run, bool), samples == np.float32(largest)))
        self.samples -= self._open_run if self._open_run > 1 else 0
        edges = np.flatnonzero(np.diff(at_extreme, prepend=False, append=False))
        lengths = edges[1::2] - edges[::2]
        self.samples += int(lengths[lengths > 1].sum())
        self._open_run = int(lengths[-1]) if at_extreme[-1] else 0


class _SpeechLevels:
    """Power of chunks with and without speech. Powers and decisions come apart and are matched here."""

    def __init__(self) -> None:
        self._powers = np.zeros(0)
        self._decisions = np.zeros(0, np.bool_)
        self._chunks = {True: 0, False: 0}
        self._power = {True: 0.0, False: 0.0}
        self._ends_in_speech = False

    def push_powers(self, powers: NDArray[np.float64]) -> None:
        self._powers = np.concatenate((self._powers, powers))
        self._match()

    def push_decisions(self, chunk_is_speech: NDArray[np.bool_]) -> None:
        self._decisions = np.concatenate((self._decisions, chunk_is_speech))
        self._match()

    def speech_s(self, n_samples: int) -> float:
        padding = -n_samples % CHUNK_SAMPLES if self._ends_in_speech else 0
        return samples_to_seconds(self._chunks[True] * CHUNK_SAMPLES - padding)

    def snr_db(self) -> float | None:
        if samples_to_seconds(min(self._chunks.values()) * CHUNK_SAMPLES) < _SNR_MIN_S:
            return None
        speech, noise = (self._power[kind] / self._chunks[kind] for kind in (True, False))
        lowest, highest = _SNR_RANGE_DB
        if speech <= noise:
            return lowest
        return highest if noise == 0 else min(highest, max(lowest, 10 * math.log10((speech - noise) / noise)))

    def _match(self) -> None:
        n = min(len(self._powers), len(self._decisions))
        if n == 0:
            return
        powers, is_speech = self._powers[:n], self._decisions[:n]
        for kind in (True, False):
            self._chunks[kind] += int(np.count_nonzero(is_speech == kind))
            self._power[kind] += float(powers[is_speech == kind].sum())
        self._ends_in_speech = bool(is_speech[-1])
        self._powers, self._decisions = self._powers[n:].copy(), self._decisions[n:].copy()


class _LoudSpectrum:
    """Mean power spectrum of the louder chunks.

    Which chunks are loud is known only at the end, so spectra are summed apart for every decibel of chunk
    level.
    """

    def __init__(self) -> None:
        self._window = _blackman_harris(CHUNK_SAMPLES)
        self._counts = np.zeros(_LEVELS_DB, np.int64)
        self._bands = np.zeros((_LEVELS_DB, _BANDS))

    def push(self, samples: NDArray[np.float32], chunk_power: NDArray[np.float64]) -> None:
        whole = len(samples) // CHUNK_SAMPLES
        if whole == 0 and not self._counts.any():
            # So short a recording has no whole chunk; elsewhere a cut-off chunk would only smear the spectrum.
            samples, whole = np.pad(samples, (0, CHUNK_SAMPLES - len(samples))), 1
        chunks, chunk_power = samples[: whole * CHUNK_SAMPLES].reshape(-1, CHUNK_SAMPLES), chunk_power[:whole]
        sounding = chunk_power > 0
        spectra = np.abs(np.fft.rfft(chunks[sounding] * self._window)) ** 2
        # The bin at 8 kHz has no band of its own; where it holds anything, the one below does, too.
        bands = spectra[:, :-1].reshape(-1, _BANDS, _BINS_PER_BAND).mean(2)
        levels = np.clip(_LEVELS_DB + 10 * np.log10(chunk_power[sounding]), 0, _LEVELS_DB - 1).astype(int)
        for level in np.unique(levels):
            self._counts[level] += np.count_nonzero(levels == level)
            self._bands[level] += bands[levels == level].sum(0)

    def bandwidth_hz(self) -> float:
        if not self._counts.any():
            return 0.0
        from_loudest = np.cumsum(self._counts[::-1])
        loud = _LEVELS_DB - 1 - int(np.argmax(from_loudest >= _LOUD_SHARE * from_loudest[-1]))
        bands = self._bands[max(0, loud - _LOUD_RANGE_DB) :].sum(0)
        bands[bands < _LEAKAGE * bands.max()] = 0.0
        bands[0] = 0.0  # a DC offset is no sound
        if not bands.any():
            return 0.0
        return float((np.flatnonzero(bands >= _BAND_RANGE * bands.max())[-1] + 1) * _BAND_HZ)


def _frame_means(values: NDArray[np.float64], frame: int) -> NDArray[np.float64]:
    """Mean of every `frame` values; the last mean may be over fewer."""
    whole = len(values) // frame * frame
    means = values[:whole].reshape(-1, frame).mean(1)
    return means if whole == len(values) else np.append(means, values[whole:].mean())


def _blackman_harris(n: int) -> NDArray[np.float32]:
    """4-term Blackman-Harris window (Harris 1978): side lobes 92 dB down, so no tone leaks past 60 dB."""
    phase = 2 * np.pi * np.arange(n) / n
    terms = (0.35875, -0.48829, 0.14128, -0.01168)
    return np.asarray(sum(a * np.cos(k * phase) for k, a in enumerate(terms)), np.float32)


def _dbfs(power: float) -> float:
    return max(FLOOR_DBFS, 10 * math.log10(power)) if power > 0 else FLOOR_DBFS
