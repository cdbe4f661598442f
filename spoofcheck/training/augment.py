"""What happens to a window before training, alike for human and synthetic speech.

Every step exists to take a shortcut away: codec, bandwidth, noise floor, level, room, duration. No step sees the
label. All functions map float32 `[n]` at 16 kHz to float32 `[n]`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ

_SPECTRUM_FFT = 512


@dataclass(frozen=True, slots=True)
class AugmentRule:
    """How often each step is applied (probabilities) and how far it goes.

    Attributes:
        edge: share of windows whose top edge is cut somewhere between 6.6 and 7.8 kHz. Synthetic speech comes from
            higher rates and carries the roll-off of its resampling; most human speech here was recorded at 16 kHz.
        clean: share of windows that otherwise only get the noise floor and the level.
        lossless_mp3: share of windows from LOSSLESS sources that first go through an MP3 coder like the one most
            synthetic sources went through, so that "was once an MP3" says nothing.
        noise_snr_db: lowest and highest signal-to-noise ratio of added noise.
        floor_db: lowest and highest level of the noise floor that is always added, relative to the window's peak.
        lowest_band_hz: band-limiting never goes below twice this rate's half.
    """

    edge: float = 0.92
    clean: float = 0.25
    lossless_mp3: float = 0.6
    reverb: float = 0.2
    equaliser: float = 0.25
    noise: float = 0.45
    band_limit: float = 0.3
    codec: float = 0.55
    clip: float = 0.05
    mask: float = 0.25
    noise_snr_db: tuple[float, float] = (8.0, 35.0)
    floor_db: tuple[float, float] = (-75.0, -45.0)
    lowest_band_hz: int = 3600


def augment(wave: Wave, lossy: bool, rule: AugmentRule, noises: NDArray[np.float32], seed: int) -> Wave:
    """One augmented version of a window: same length, peak in 0.05..1, no exact silence.

    Args:
        wave: float32 `[n]`.
        lossy: whether the window's source was already lossy.
        noises: magnitude spectra `[k, 257]` of real background noise, from `noise_spectra`.
        seed: draws everything; the copies of a window get their source's seed, so pairs differ in synthesis alone.
    """
    rng = np.random.default_rng(seed)
    samples = wave.size
    mp3_first, clean = rng.random() < rule.lossless_mp3, rng.random() < rule.clean
    steps = rng.random(8)
    step_seeds = rng.integers(0, 2**63, 10)  # a step that is left out must not change what the others draw
    out = _unit_peak(wave)
    if mp3_first and not lossy:
        out = site_mp3(out, np.random.default_rng(step_seeds[0]))
    if steps[7] < rule.edge:
        out = cut_edge(out, np.random.default_rng(step_seeds[9]))
    if not clean:
        if steps[0] < rule.reverb:
            out = reverberate(out, np.random.default_rng(step_seeds[1]))
        if steps[1] < rule.equaliser:
            out = equalise(out, np.random.default_rng(step_seeds[2]))
        if steps[2] < rule.noise:
            out = add_noise(out, noises, rule.noise_snr_db, np.random.default_rng(step_seeds[3]))
        if steps[3] < rule.band_limit:
            out = band_limit(out, rule.lowest_band_hz, np.random.default_rng(step_seeds[4]))
    floor_rng = np.random.default_rng(step_seeds[5])
    out = _unit_peak(out)
    out = out + 10 ** (floor_rng.uniform(*rule.floor_db) / 20) * coloured_noise(samples, noises, floor_rng)
    if not clean:
        if steps[4] < rule.clip:
            level = np.random.default_rng(step_seeds[6]).uniform(0.3, 0.9)
            out = np.clip(_unit_peak(out), -level, level)
        if steps[5] < rule.codec:
            out = random_codec(_unit_peak(out), np.random.default_rng(step_seeds[7]))
        if steps[6] < rule.mask:
            out = mask(out, np.random.default_rng(step_seeds[8]))
    out = _unit_peak(out) * np.float32(10 ** (floor_rng.uniform(-26, 0) / 20))
    # Rounding to 16 bits leaves exact zeros; recordings have none, so a least significant bit of noise hides them.
    return (out + floor_rng.normal(0, 2e-5, samples)).astype(np.float32)


def random_codec(wave: Wave, rng: np.random.Generator) -> Wave:
    """MP3, Ogg Vorbis, Opus, G.711, GSM 06.10 or IMA ADPCM, at a random rate and quality."""
    kind = rng.choice(["mp3", "vorbis", "opus", "g711", "gsm", "adpcm"], p=[0.35, 0.15, 0.25, 0.13, 0.06, 0.06])
    quality = float(rng.uniform(0.0, 1.0))
    if kind == "mp3":
        return code(wave, int(rng.choice([16_000, 22_050, 24_000, 44_100])), "MP3", "MPEG_LAYER_III", quality)
    if kind == "vorbis":
        return code(wave, int(rng.choice([16_000, 22_050, 44_100])), "OGG", "VORBIS", quality)
    if kind == "opus":
        return code(wave, int(rng.choice([8_000, 16_000, 16_000, 24_000, 48_000])), "OGG", "OPUS", quality)
    if kind == "g711":
        rate_hz = int(rng.choice([8_000, 16_000]))
        return code(_unit_peak(wave) * 0.9, rate_hz, "WAV", str(rng.choice(["ULAW", "ALAW"])))
    if kind == "gsm":
        return code(_unit_peak(wave) * 0.9, 8_000, "WAV", "GSM610")
    return code(_unit_peak(wave) * 0.9, int(rng.choice([8_000, 16_000])), "WAV", "IMA_ADPCM")


def site_mp3(wave: Wave, rng: np.random.Generator) -> Wave:
    """The kind of MP3 a demonstration page offers: native rate of a speech engine, about 48 to 128 kb/s."""
    return code(
        wave, int(rng.choice([16_000, 22_050, 24_000, 44_100])), "MP3", "MPEG_LAYER_III", rng.uniform(0.3, 0.85)
    )


def code(wave: Wave, rate_hz: int, container: str, subtype: str, compression: float | None = None) -> Wave:
    """Encode at `rate_hz` and decode in memory, keeping length and alignment.

    Args:
        compression: libsndfile's compression level, 0 (best) to 1 (smallest); None for codecs without.
    """
    at_rate = _resample(wave, SAMPLE_RATE_HZ, rate_hz)
    buffer = io.BytesIO()
    soundfile.write(buffer, at_rate, rate_hz, format=container, subtype=subtype, compression_level=compression)
    buffer.seek(0)
    decoded, decoded_rate_hz = soundfile.read(buffer, dtype="float32")
    back = _resample(decoded, decoded_rate_hz, SAMPLE_RATE_HZ)
    return back[: wave.size] if back.size >= wave.size else np.pad(back, (0, wave.size - back.size))


def band_limit(wave: Wave, lowest_hz: int, rng: np.random.Generator) -> Wave:
    """Through a lower sampling rate and back; the telephone's 8 kHz is drawn three times in ten."""
    rate_hz = 8_000 if rng.random() < 0.3 else int(rng.uniform(2 * lowest_hz, 15_500))
    quality = str(rng.choice(["HQ", "MQ", "LQ"]))
    down = soxr.resample(wave, SAMPLE_RATE_HZ, rate_hz, quality=quality)
    back = np.asarray(soxr.resample(down, rate_hz, SAMPLE_RATE_HZ, quality=quality), dtype=np.float32)
    return back[: wave.size] if back.size >= wave.size else np.pad(back, (0, wave.size - back.size))


def cut_edge(wave: Wave, rng: np.random.Generator) -> Wave:
    """A low-pass with a raised-cosine edge 100 to 600 Hz wide that starts between 6.6 and 7.7 kHz; zero phase."""
    start_hz = rng.uniform(6600, 7700)
    width_hz = rng.uniform(100, 600)
    frequency_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, wave.size // 2 + 1)
    gain = 0.5 + 0.5 * np.cos(np.pi * np.clip((frequency_hz - start_hz) / width_hz, 0, 1))
    return np.asarray(np.fft.irfft(np.fft.rfft(wave) * gain, wave.size), dtype=np.float32)


def add_noise(wave: Wave, noises: NDArray[np.float32], snr_db: tuple[float, float], rng: np.random.Generator) -> Wave:
    """Background noise at a random signal-to-noise ratio (signal level over the whole window)."""
    noise = coloured_noise(wave.size, noises, rng)
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
    return np.asarray(noise / (np.sqrt(np.mean(np.square(noise))) + 1e-12), dtype=np.float32)


def reverberate(wave: Wave, rng: np.random.Generator) -> Wave:
    """A small room: exponentially decaying noise (T60 0.1 to 0.6 s) after the direct sound, energy kept."""
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


def equalise(wave: Wave, rng: np.random.Generator) -> Wave:
    """A smooth random response of at most 8 dB up or down, linear phase."""
    bins = wave.size // 2 + 1
    gain_db = np.interp(np.linspace(0, 7, bins), np.arange(8), rng.uniform(-8, 8, 8))
    return np.asarray(np.fft.irfft(np.fft.rfft(wave) * 10 ** (gain_db / 20), wave.size), dtype=np.float32)


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


def crop_or_repeat(wave: Wave, samples: int, rng: np.random.Generator) -> Wave:
    """Exactly `samples`: a random stretch of a longer wave, a shorter one repeated as inference does."""
    if wave.size >= samples:
        start = int(rng.integers(0, wave.size - samples + 1))
        return wave[start : start + samples]
    return np.tile(wave, -(-samples // wave.size))[:samples]


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


def _unit_peak(wave: Wave) -> Wave:
    return np.asarray(wave / (np.abs(wave).max(initial=0.0) + 1e-6), dtype=np.float32)


def _resample(wave: Wave, from_hz: int, to_hz: int) -> Wave:
    if from_hz == to_hz:
        return wave
    return np.asarray(soxr.resample(wave, from_hz, to_hz, quality="HQ"), dtype=np.float32)
