"""Background noise: from a spectrum, or from recordings.

audiomentations' `AddBackgroundNoise` draws from Python's global random state and decodes a whole file for each window;
torchaudio's `add_noise` would change the last bit of what shipped models were trained with. Hence our own few lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from spoofcheck.errors import UsageError
from spoofcheck.training.augment.signal import resample
from spoofcheck.training.augment.timing import crop_or_repeat
from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ

_SPECTRUM_FFT = 512
_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf"})


def add_noise(
    wave: Wave,
    noises: NDArray[np.float32],
    snr_db: tuple[float, float],
    rng: np.random.Generator,
    recorded: Wave | None = None,
) -> Wave:
    """Background noise at a random signal-to-noise ratio (signal level over the whole window).

    Args:
        noises: magnitude spectra `[k, 257]` to colour the noise with.
        recorded: noise of unit RMS `[n]` to add instead.
    """
    noise = coloured_noise(wave.size, noises, rng) if recorded is None else recorded
    if rng.random() < 0.3:  # slow swell and fade, as outdoors
        points = rng.uniform(0.2, 1.0, 6)
        noise = noise * np.interp(np.linspace(0, 5, wave.size), np.arange(6), points).astype(np.float32)
    level = float(np.sqrt(np.mean(np.square(wave)))) * 10 ** (-rng.uniform(*snr_db) / 20)
    return np.asarray(wave + level * noise, dtype=np.float32)


def coloured_noise(samples: int, noises: NDArray[np.float32], rng: np.random.Generator) -> Wave:
    """Gaussian noise of unit RMS: white, falling 3 to 6 dB per octave, or with the spectrum of a real background."""
    bins = samples // 2 + 1
    kind = rng.random()
    if kind < 0.5 and len(noises):
        spectrum = noises[int(rng.integers(len(noises)))]
        shape = np.interp(np.linspace(0, 1, bins), np.linspace(0, 1, spectrum.size), spectrum)
    else:
        slope = 0.0 if kind < 0.7 else float(rng.uniform(0.3, 1.0))
        shape = (np.arange(bins) + bins / 200) ** -slope
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * shape, samples)
    return _unit_rms(noise)


def recorded_noise(samples: int, folder: Path, rng: np.random.Generator) -> Wave:
    """A random stretch of a random recording below `folder`, of unit RMS; a shorter recording is repeated.

    Raises:
        UsageError: see `noise_files`.
    """
    files = noise_files(folder)
    file = files[int(rng.integers(len(files)))]
    wanted = min(-(-samples * file.rate_hz // SAMPLE_RATE_HZ), file.frames)
    start = int(rng.integers(0, file.frames - wanted + 1))
    try:
        sound, _ = soundfile.read(file.path, wanted, start, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise UsageError(f"augment.noise_folder: {file.path}: cannot be read any more: {error}") from error
    mono = resample(sound.mean(axis=1), file.rate_hz, SAMPLE_RATE_HZ)
    return _unit_rms(crop_or_repeat(mono if mono.size else np.zeros(1, np.float32), samples, rng))


@dataclass(frozen=True, slots=True)
class NoiseFile:
    """A recording of noise."""

    path: Path
    rate_hz: int
    frames: int


@cache
def noise_files(folder: Path) -> tuple[NoiseFile, ...]:
    """The recordings below a folder, sorted by name.

    Raises:
        UsageError: no such folder, no recording in it, or one that cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"augment.noise_folder: {folder}: no such folder")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not found:
        raise UsageError(f"augment.noise_folder: {folder}: holds no {', '.join(sorted(_SUFFIXES))} file")
    files = []
    for path in found:
        try:
            info = soundfile.info(path)
        except (OSError, soundfile.LibsndfileError) as error:
            raise UsageError(f"augment.noise_folder: {path}: not a readable recording") from error
        if info.frames:
            files.append(NoiseFile(path, info.samplerate, info.frames))
    if not files:
        raise UsageError(f"augment.noise_folder: {folder}: all its recordings are empty")
    return tuple(files)


def noise_spectrum(wave: Wave) -> NDArray[np.float32] | None:
    """Mean magnitude spectrum `[257]` of a recording's quietest frames, peak 1; None without a real background."""
    frames = wave[: wave.size - wave.size % _SPECTRUM_FFT].reshape(-1, _SPECTRUM_FFT)
    if len(frames) < 20:
        return None
    level = np.sqrt(np.mean(np.square(frames), axis=1))
    quiet = frames[level <= np.quantile(level, 0.1)]
    if float(level.min()) < 1e-5:  # a gate or a synthesiser's silence, not a background
        return None
    spectrum = np.abs(np.fft.rfft(quiet * np.hanning(_SPECTRUM_FFT), axis=1)).mean(axis=0)
    return np.asarray(spectrum / spectrum.max(), dtype=np.float32)


def _unit_rms(noise: NDArray[np.floating]) -> Wave:
    return np.asarray(noise / (np.sqrt(np.mean(np.square(noise))) + 1e-12), dtype=np.float32)
