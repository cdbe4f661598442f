"""Sounds with known properties, and files of any format that holds them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from spoofcheck.audio.ffmpeg import ffmpeg_path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydub looks for ffmpeg on the PATH; it is told below where one is
    from pydub import AudioSegment

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "recordings"
HUMAN_SPEECH = EXAMPLES / "address-1961.wav"
"""11 s of speech with pauses, 16 kHz mono, 16 bit."""


def tone(
    duration_s: float, sample_rate_hz: int, hz: float = 440.0, channels: int = 1, amplitude: float = 0.5
) -> NDArray[np.float32]:
    """A sine `[frames, channels]`, the same in every channel."""
    phase = 2 * np.pi * hz * np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    return np.repeat((amplitude * np.sin(phase)).astype(np.float32)[:, None], channels, axis=1)


def noise(n: int, amplitude: float = 0.1, channels: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """White Gaussian noise `[n, channels]` of standard deviation `amplitude`."""
    return (amplitude * np.random.default_rng(seed).standard_normal((n, channels))).astype(np.float32)


def human_speech() -> NDArray[np.float32]:
    """The samples of `HUMAN_SPEECH`, `[n]` at 16 kHz."""
    samples, sample_rate_hz = soundfile.read(HUMAN_SPEECH, dtype="float32")
    assert sample_rate_hz == 16_000
    return np.asarray(samples, dtype=np.float32)


def write_wav(path: Path, samples: NDArray[np.float32], sample_rate_hz: int, subtype: str = "PCM_16") -> Path:
    """A WAV file of `[frames]` or `[frames, channels]`; returns its path."""
    soundfile.write(path, samples, sample_rate_hz, subtype=subtype, format="WAV")
    return path


def encode(
    path: Path,
    samples: NDArray[np.float32],
    sample_rate_hz: int,
    muxer: str,
    codec: str,
    parameters: tuple[str, ...] = (),
) -> Path:
    """A file of any format ffmpeg writes, by pydub; returns its path.

    Args:
        path: where to.
        samples: `[frames, channels]`, full scale 1.
        sample_rate_hz: their rate; `parameters` may ask for another one in the file.
        muxer: ffmpeg's name of the container.
        codec: ffmpeg's name of the encoder.
        parameters: further output options for ffmpeg.
    """
    AudioSegment.converter = str(ffmpeg_path())
    frames = (np.clip(samples, -1, 1 - 2**-15) * 2**15).astype("<i2")
    segment = AudioSegment(frames.tobytes(), sample_width=2, frame_rate=sample_rate_hz, channels=samples.shape[1])
    segment.export(path, format=muxer, codec=codec, parameters=list(parameters)).close()
    return path
