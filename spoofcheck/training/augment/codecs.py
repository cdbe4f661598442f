"""Real coders: in memory through libsndfile, and through ffmpeg's pipes where libsndfile has none."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import soundfile

from spoofcheck.audio.ffmpeg import ffmpeg_path
from spoofcheck.errors import InputError, UsageError
from spoofcheck.training.augment.rule import CODECS, AugmentRule, Codec
from spoofcheck.training.augment.signal import fit, resample, unit_peak
from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ

_TIME_LIMIT_S = 60.0
_MESSAGE_CHARACTERS = 160
_HEADROOM = 0.9

_SNDFILE_FORMATS: dict[Codec, tuple[tuple[str, str], ...]] = {
    "mp3": (("MP3", "MPEG_LAYER_III"),),
    "vorbis": (("OGG", "VORBIS"),),
    "opus": (("OGG", "OPUS"),),
    "g711": (("WAV", "ULAW"), ("WAV", "ALAW")),
    "gsm": (("WAV", "GSM610"),),
    "adpcm": (("WAV", "IMA_ADPCM"),),
}


@dataclass(frozen=True, slots=True)
class FfmpegCodec:
    """A codec of ffmpeg.

    Attributes:
        encoder: its name in ffmpeg.
        container: a stream without seeking, as (muxer, demuxer).
        rates_hz: sampling rates to draw from.
        bit_rates: bits per second to draw from, rising.
    """

    encoder: str
    container: tuple[str, str]
    rates_hz: tuple[int, ...]
    bit_rates: tuple[int, ...]


FFMPEG_CODECS: dict[Codec, FfmpegCodec] = {
    "aac": FfmpegCodec(
        "aac", ("adts", "aac"), (16_000, 22_050, 44_100), (16_000, 24_000, 32_000, 48_000, 64_000, 96_000)
    ),
    "amr_nb": FfmpegCodec(
        "libopencore_amrnb", ("amr", "amr"), (8_000,), (4750, 5150, 5900, 6700, 7400, 7950, 10_200, 12_200)
    ),
    "amr_wb": FfmpegCodec(
        "libvo_amrwbenc", ("amr", "amr"), (16_000,),
        (6600, 8850, 12_650, 14_250, 15_850, 18_250, 19_850, 23_050, 23_850),
    ),
}  # fmt: skip


def check_codecs(rule: AugmentRule) -> None:
    """Code a short sound with every codec that windows may meet, so that a missing one shows before training.

    Raises:
        UsageError: names the codec that this libsndfile or ffmpeg cannot encode, and those that can be had.
    """
    wanted = [name for name in CODECS if rule.codec and rule.codecs.get(name)]
    if rule.lossless_mp3 and "mp3" not in wanted:
        wanted.append("mp3")
    for name in wanted:
        reason = _why_not(name)
        if reason:
            usable = ", ".join(other for other in CODECS if not _why_not(other))
            raise UsageError(f"augment.codecs: {name} cannot be encoded here ({reason}); usable: {usable}")


def random_codec(wave: Wave, weights: Mapping[Codec, float], rng: np.random.Generator) -> Wave:
    """One of the weighted codecs at a random rate and quality.

    Args:
        weights: relative frequency of each codec, at least one above 0; their order does not matter.
    """
    kinds = [name for name in CODECS if weights.get(name)]
    upper = np.cumsum([weights[name] for name in kinds])
    kind = kinds[int(np.searchsorted(upper / upper[-1], rng.random(), side="right"))]
    quality = float(rng.uniform(0.0, 1.0))
    if kind == "mp3":
        return code(wave, int(rng.choice([16_000, 22_050, 24_000, 44_100])), "MP3", "MPEG_LAYER_III", quality)
    if kind == "vorbis":
        return code(wave, int(rng.choice([16_000, 22_050, 44_100])), "OGG", "VORBIS", quality)
    if kind == "opus":
        return code(wave, int(rng.choice([8_000, 16_000, 16_000, 24_000, 48_000])), "OGG", "OPUS", quality)
    if kind == "g711":
        rate_hz = int(rng.choice([8_000, 16_000]))
        return code(unit_peak(wave) * _HEADROOM, rate_hz, "WAV", str(rng.choice(["ULAW", "ALAW"])))
    if kind == "gsm":
        return code(unit_peak(wave) * _HEADROOM, 8_000, "WAV", "GSM610")
    if kind == "adpcm":
        return code(unit_peak(wave) * _HEADROOM, int(rng.choice([8_000, 16_000])), "WAV", "IMA_ADPCM")
    codec = FFMPEG_CODECS[kind]
    bit_rate = codec.bit_rates[int(quality * len(codec.bit_rates))]
    return code_with_ffmpeg(unit_peak(wave) * _HEADROOM, kind, int(rng.choice(codec.rates_hz)), bit_rate)


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
    at_rate = resample(wave, SAMPLE_RATE_HZ, rate_hz)
    buffer = io.BytesIO()
    soundfile.write(buffer, at_rate, rate_hz, format=container, subtype=subtype, compression_level=compression)
    buffer.seek(0)
    decoded, decoded_rate_hz = soundfile.read(buffer, dtype="float32")
    return fit(resample(decoded, decoded_rate_hz, SAMPLE_RATE_HZ), wave.size)


def code_with_ffmpeg(wave: Wave, name: Codec, rate_hz: int, bit_rate: int) -> Wave:
    """Encode at `rate_hz` and decode through two ffmpeg processes, keeping length and alignment.

    Args:
        name: one of `FFMPEG_CODECS`.
        bit_rate: bits per second, one that the codec has.

    Raises:
        UsageError: no ffmpeg, no such encoder, or ffmpeg failed or took longer than a minute.
    """
    at_rate = resample(wave, SAMPLE_RATE_HZ, rate_hz)
    decoded = _through_ffmpeg(at_rate, name, rate_hz, bit_rate)[_delay_samples(name, rate_hz) :]
    return fit(resample(fit(decoded, at_rate.size), rate_hz, SAMPLE_RATE_HZ), wave.size)


@cache
def _delay_samples(name: Codec, rate_hz: int) -> int:
    """How much later the decoder gives what the encoder got: the lag of the highest correlation for a sweep.

    Measured once with a sound of ours, not on each window: a window's own correlation may peak a pitch period off.
    """
    time_s = np.arange(rate_hz) / rate_hz
    sweep = (0.5 * np.sin(2 * np.pi * (200 + rate_hz / 10 * time_s) * time_s)).astype(np.float32)
    decoded = _through_ffmpeg(sweep, name, rate_hz, FFMPEG_CODECS[name].bit_rates[-1])
    size = sweep.size + decoded.size
    correlation = np.fft.irfft(np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(sweep, size)), size)
    return int(np.argmax(correlation[: rate_hz // 4]))


def _through_ffmpeg(wave: Wave, name: Codec, rate_hz: int, bit_rate: int) -> Wave:
    codec = FFMPEG_CODECS[name]
    muxer, demuxer = codec.container
    raw = ["-f", "f32le", "-ar", str(rate_hz), "-ac", "1"]
    encode = ["-c:a", codec.encoder, "-b:a", str(bit_rate), "-flags:a", "+bitexact", "-f", muxer]
    coded = _ffmpeg([*raw, "-i", "pipe:0", *encode, "pipe:1"], wave.astype("<f4").tobytes())
    decoded = _ffmpeg(["-f", demuxer, "-i", "pipe:0", "-c:a", "pcm_f32le", *raw, "pipe:1"], coded)
    return np.frombuffer(decoded, "<f4").astype(np.float32)


def _ffmpeg(arguments: list[str], data: bytes) -> bytes:
    """What ffmpeg writes to its standard output for `data` at its standard input."""
    try:
        program = str(ffmpeg_path())
        done = subprocess.run(
            [program, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "error", "-threads", "1", *arguments],
            input=data,
            capture_output=True,
            timeout=_TIME_LIMIT_S,
            check=False,
            env={key: value for key, value in os.environ.items() if key != "FFREPORT"},
            start_new_session=True,  # Ctrl-C in the terminal is for the trainer
        )
    except InputError as error:
        raise UsageError(error.message) from error
    except OSError as error:
        raise UsageError(f"ffmpeg cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"ffmpeg took longer than {_TIME_LIMIT_S:.0f} s for one window") from error
    if done.returncode or not done.stdout:
        words = done.stderr.decode("utf-8", "replace").split()
        complaint = "".join(char for char in " ".join(words) if char.isprintable())[:_MESSAGE_CHARACTERS]
        raise UsageError(f"{program}: {complaint or 'no output'}")
    return done.stdout


@cache
def _why_not(name: Codec) -> str:
    """Why a codec cannot be used here; empty when it can."""
    if name in _SNDFILE_FORMATS:
        usable = all(soundfile.check_format(*format_) for format_ in _SNDFILE_FORMATS[name])
        return "" if usable else f"libsndfile {soundfile.__libsndfile_version__} lacks it"
    try:
        for rate_hz in FFMPEG_CODECS[name].rates_hz:
            _delay_samples(name, rate_hz)
    except UsageError as error:
        return str(error)
    return ""
