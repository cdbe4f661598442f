"""What a manifest says of an audio file, measured: hash, codec, rate, duration, bandwidth; and its sound at 16 kHz."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.decode import Resampler16k, decode_blocks
from spoofcheck.audio.files import open_recording
from spoofcheck.audio.probe import probe
from spoofcheck.evaluation.clips import Clip
from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ, AudioFile

BANDWIDTH_RANGE_DB = 70.0
_FFT = 2048
_BLOCK = 32 * _FFT


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """Measured facts of one file.

    Attributes:
        codec: `"wav/pcm_16"`, `"flac/pcm_16"`, `"mp3"`, `"ogg/opus"`: container and codec, once where they agree.
        duration_s: of what can be decoded.
        bandwidth_hz: highest frequency of the mean spectrum within 70 dB of the strongest; 0 for digital silence.
    """

    sha1: str
    codec: str
    sample_rate_hz: int
    duration_s: float
    bandwidth_hz: float

    def on(self, clip: Clip) -> Clip:
        """The clip with these facts."""
        return replace(
            clip,
            sha1=self.sha1,
            codec=self.codec,
            sample_rate_hz=self.sample_rate_hz,
            duration_s=self.duration_s,
            bandwidth_hz=self.bandwidth_hz,
        )


class BandwidthMeter:
    """Mean power spectrum of mono blocks at the native rate, and how far up it reaches."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._bin_hz = sample_rate_hz / _FFT
        self._window = np.hanning(_FFT + 1)[:-1].astype(np.float32)
        self._power = np.zeros(_FFT // 2 + 1)
        self._held = np.zeros(0, np.float32)
        self._frames = 0

    def push(self, mono: NDArray[np.float32]) -> None:
        """Samples `[n]`; frames do not overlap, so that a long file stays cheap."""
        held = np.concatenate((self._held, mono))
        whole = held.size // _FFT * _FFT
        if whole:
            self._add(held[:whole].reshape(-1, _FFT))
        self._held = held[whole:].copy()

    def finish(self) -> float:
        """Bandwidth in hertz."""
        if not self._frames and self._held.size:
            self._add(np.pad(self._held, (0, _FFT - self._held.size))[None])
        power = self._power
        power[0] = 0.0  # a DC offset is no sound
        if not power.any():
            return 0.0
        highest = int(np.flatnonzero(power >= power.max() * 10 ** (-BANDWIDTH_RANGE_DB / 10))[-1])
        return round(highest * self._bin_hz, 1)

    def _add(self, frames: NDArray[np.float32]) -> None:
        self._frames += len(frames)
        self._power += np.square(np.abs(np.fft.rfft(frames * self._window, axis=1))).sum(axis=0)


def measure(path: Path) -> ClipFacts:
    """Hash a file and decode it whole.

    Raises:
        InputError: as `audio.probe.probe` and `audio.decode.decode_blocks`.
    """
    file = probe(path)
    meter = BandwidthMeter(file.sample_rate_hz)
    frames = 0
    with closing(decode_blocks(file, _BLOCK)) as blocks:
        for block in blocks:
            frames += len(block)
            meter.push(block.mean(axis=1, dtype=np.float32))
    return ClipFacts(
        sha1=sha1_of(path),
        codec=codec_of(file),
        sample_rate_hz=file.sample_rate_hz,
        duration_s=round(frames / file.sample_rate_hz, 6),
        bandwidth_hz=meter.finish(),
    )


def sha1_of(path: Path) -> str:
    """Hexadecimal SHA-1 of a file's bytes, the hash git tables speak of.

    Raises:
        InputError: as `open_recording`.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    with open_recording(path) as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def codec_of(file: AudioFile) -> str:
    """Container and codec in one word, as manifests write it."""
    sample = {8: "pcm_8", 16: "pcm_16", 24: "pcm_24", 32: "pcm_32"}
    codec = file.codec
    if codec in ("pcm_f32", "pcm_f64"):
        codec = "float"
    elif codec.startswith("pcm_s") or codec == "pcm_u8" or codec in ("flac", "alac"):
        codec = sample.get(file.bit_depth or 0, codec)
    return codec if codec == file.container else f"{file.container}/{codec}"


def is_lossy(codec: str) -> bool:
    """Whether a manifest's codec throws sound away (G.711 included)."""
    return not any(word in codec for word in ("/pcm_16", "/pcm_24", "/pcm_32", "/pcm_8", "/float"))


def read_16k(path: Path, most_s: float | None = None) -> Wave:
    """Decode any recording to mono float32 `[n]` at 16 kHz, at most its first `most_s` seconds.

    Raises:
        InputError: as `probe` and `decode_blocks`.
    """
    file = probe(path)
    resampler = Resampler16k(file.sample_rate_hz, 1)
    parts, samples = [], 0
    most = None if most_s is None else round(most_s * SAMPLE_RATE_HZ)
    with closing(decode_blocks(file)) as blocks:
        for block in blocks:
            parts.append(resampler.push(block.mean(axis=1, keepdims=True, dtype=np.float32))[:, 0])
            samples += parts[-1].size
            if most is not None and samples >= most:
                break
        else:
            parts.append(resampler.finish()[:, 0])
    return np.concatenate(parts)[:most]


BANDS = (
    ("narrow (to 4 kHz)", 4_200.0),
    ("wide (to 8 kHz)", 8_200.0),
    ("super-wide (to 16 kHz)", 16_200.0),
    ("full (above)", float("inf")),
)
"""Bandwidth classes and their upper edges in hertz, the last a little above the nominal one."""


def band_of(bandwidth_hz: float | None) -> str:
    """The class of a bandwidth, `"-"` when it is not known."""
    if bandwidth_hz is None:
        return "-"
    return next(name for name, edge_hz in BANDS if bandwidth_hz < edge_hz)
