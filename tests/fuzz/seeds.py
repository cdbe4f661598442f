"""Small good recordings in every container and codec that spoofcheck reads, to mutate.

Made at run time from a second of the example recordings, by libsndfile and ffmpeg: nothing of it is committed.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from spoofcheck.audio.ffmpeg import ffmpeg_path
from tests.support.audio import human_speech

RATE_HZ = 16_000
_START_S, _LENGTH_S = 1.0, 1.25
_EXACT = ("-flags", "+bitexact", "-fflags", "+bitexact", "-map_metadata", "-1")


@dataclass(frozen=True, slots=True)
class Seed:
    """A recording to mutate.

    Attributes:
        name: of its container and codec, as in `mp4-aac`.
        container: as `audio.signatures` would call it, which says how its structure is read.
        extension: of its file.
        is_whole: whether it can be read; a few containers have no writer here, so that only their magic is known.
    """

    name: str
    container: str
    extension: str
    data: bytes
    is_whole: bool = True


_Made = tuple[str, str, Callable[[Path, NDArray[np.float32]], None]]


def speech(channels: int = 1, sample_rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """A little more than a second of human speech, `[frames, channels]`; two channels differ."""
    start = round(_START_S * RATE_HZ)
    mono = human_speech()[start : start + round(_LENGTH_S * RATE_HZ)]
    mono = np.asarray(soxr.resample(mono, RATE_HZ, sample_rate_hz), np.float32)
    return np.stack([mono if number % 2 == 0 else 0.5 * mono[::-1] for number in range(channels)], axis=1)


def formats() -> list[str]:
    """The names of all seeds."""
    return [*_KINDS, *_HEADS]


def make_seeds(folder: Path, names: Iterable[str] = ()) -> list[Seed]:
    """Write and read the recordings.

    Args:
        folder: for files that are there for a moment.
        names: of the seeds; all when empty.

    Raises:
        KeyError: a name that is none of `formats`.
    """
    seeds = []
    for name in names or formats():
        if name in _HEADS:
            container, head = _HEADS[name]
            seeds.append(Seed(name, container, container, head, is_whole=False))
            continue
        container, extension, write = _KINDS[name]
        path = folder / f"{name}.{extension}"
        write(path, speech())
        seeds.append(Seed(name, container, extension, path.read_bytes()))
        path.unlink()
    return seeds


def _stored(kind: str, subtype: str, path: Path, _: NDArray[np.float32], channels: int = 1) -> None:
    """By libsndfile."""
    soundfile.write(path, speech(channels), RATE_HZ, format=kind, subtype=subtype)


def _odd_rate(path: Path, _: NDArray[np.float32]) -> None:
    soundfile.write(path, speech(2, 44_100), 44_100, format="WAV", subtype="PCM_24")


def _big_endian(path: Path, samples: NDArray[np.float32]) -> None:
    soundfile.write(path, samples, RATE_HZ, format="WAV", subtype="PCM_16", endian="BIG")


def _tagged_wav(path: Path, samples: NDArray[np.float32]) -> None:
    """A WAV file with chunks before and after its sound, one of them in a list."""
    soundfile.write(path, samples, RATE_HZ, format="WAV", subtype="PCM_16")
    data = path.read_bytes()
    info = b"INFO" + b"INAM" + struct.pack("<I", 6) + b"title\0" + b"ISFT" + struct.pack("<I", 4) + b"lib\0"
    listed = b"LIST" + struct.pack("<I", len(info)) + info
    bext = b"bext" + struct.pack("<I", 602) + b"a description".ljust(602, b"\0")
    body = data[12:36] + bext + data[36:] + listed
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)


def _encoded(muxer: str, codec: str, path: Path, samples: NDArray[np.float32], *options: str, rate: int = 0) -> None:
    """By ffmpeg, from raw PCM on its standard input."""
    raw = (np.clip(samples, -1, 1 - 2**-15) * 2**15).astype("<i2")
    source = ("-f", "s16le", "-ar", str(RATE_HZ), "-ac", str(samples.shape[1]), "-i", "pipe:0")
    target = ("-c:a", codec, *(("-ar", str(rate)) if rate else ()), *_EXACT, *options, "-f", muxer, "-y", str(path))
    command = [str(ffmpeg_path()), "-hide_banner", "-loglevel", "error", *source, *target]
    subprocess.run(command, input=raw.tobytes(), check=True, capture_output=True)


def _ff(container: str, extension: str, muxer: str, codec: str, *options: str, rate: int = 0) -> _Made:
    def write(path: Path, samples: NDArray[np.float32]) -> None:
        _encoded(muxer, codec, path, samples, *options, rate=rate)

    return container, extension, write


def _sf(container: str, kind: str, subtype: str, channels: int = 1) -> _Made:
    return container, container, partial(_stored, kind, subtype, channels=channels)


_TITLED = ("-metadata", "title=A title", "-metadata", "comment=A comment")

_KINDS: dict[str, _Made] = {
    "wav-s16": _sf("wav", "WAV", "PCM_16"),
    "wav-u8": _sf("wav", "WAV", "PCM_U8"),
    "wav-f32": _sf("wav", "WAV", "FLOAT"),
    "wav-f64": _sf("wav", "WAV", "DOUBLE"),
    "wav-mulaw": _sf("wav", "WAV", "ULAW"),
    "wav-ima-adpcm": _sf("wav", "WAV", "IMA_ADPCM"),
    "wav-ms-adpcm": _sf("wav", "WAV", "MS_ADPCM"),
    "wav-gsm": _sf("wav", "WAV", "GSM610"),
    "wav-s24-stereo": ("wav", "wav", _odd_rate),
    "wav-big-endian": ("wav", "wav", _big_endian),
    "wav-tagged": ("wav", "wav", _tagged_wav),
    "wav-mp3": _ff("wav", "wav", "wav", "libmp3lame"),
    "wavex-s16": _sf("wav", "WAVEX", "PCM_16", 2),
    "rf64-s16": _sf("rf64", "RF64", "PCM_16"),
    "w64-s16": _sf("w64", "W64", "PCM_16"),
    "aiff-s16": _sf("aiff", "AIFF", "PCM_16"),
    "aiff-f32": _sf("aiff", "AIFF", "FLOAT"),
    "aiff-ima": _ff("aiff", "aiff", "aiff", "adpcm_ima_qt"),
    "au-s16": _sf("au", "AU", "PCM_16"),
    "au-g721": _sf("au", "AU", "G721_32"),
    "caf-s16": _sf("caf", "CAF", "PCM_16"),
    "caf-alac": _sf("caf", "CAF", "ALAC_16"),
    "caf-mulaw": _sf("caf", "CAF", "ULAW"),
    "nist-s16": _sf("nist", "NIST", "PCM_16"),
    "voc-u8": _sf("voc", "VOC", "PCM_U8"),
    "flac": _ff("flac", "flac", "flac", "flac"),
    "ogg-vorbis": _ff("ogg", "ogg", "ogg", "libvorbis"),
    "ogg-opus": _ff("ogg", "opus", "opus", "libopus"),
    "ogg-flac": _ff("ogg", "oga", "ogg", "flac"),
    "mp3": _ff("mp3", "mp3", "mp3", "libmp3lame", "-id3v2_version", "0"),
    "mp3-id3": _ff("mp3", "mp3", "mp3", "libmp3lame", "-id3v2_version", "3", *_TITLED),
    "aac-adts": _ff("aac", "aac", "adts", "aac"),
    "m4a-aac": _ff("m4a", "m4a", "ipod", "aac"),
    "m4a-alac": _ff("m4a", "m4a", "ipod", "alac"),
    "mp4-fragments": _ff("mp4", "mp4", "mp4", "aac", "-movflags", "frag_keyframe+empty_moov+default_base_moof"),
    "mov-s16": _ff("mov", "mov", "mov", "pcm_s16le"),
    "3gp-amr": _ff("3gp", "3gp", "3gp", "libopencore_amrnb", rate=8_000),
    "amr": _ff("amr", "amr", "amr", "libopencore_amrnb", rate=8_000),
    "wma": _ff("asf", "wma", "asf", "wmav2"),
    "webm-opus": _ff("webm", "webm", "webm", "libopus"),
    "mkv-vorbis": _ff("matroska", "mkv", "matroska", "libvorbis"),
    "avi-mp3": _ff("avi", "avi", "avi", "libmp3lame"),
    "flv-mp3": _ff("flv", "flv", "flv", "libmp3lame", rate=22_050),
    "mpegts-aac": _ff("mpegts", "mts", "mpegts", "aac"),
    "mpeg-mp2": _ff("mpeg", "mpg", "mpeg", "mp2"),
    "ac3": _ff("ac3", "ac3", "ac3", "ac3", rate=32_000),
    "tta": _ff("tta", "tta", "tta", "tta"),
    "wavpack": _ff("wavpack", "wv", "wv", "wavpack"),
}
_HEADS = {
    "ape": (
        "ape",
        b"MAC " + struct.pack("<HHIIIIIIHH", 3990, 0, 52, 24, 0, 44, 4_000, 0, 2000, 0) + bytes(range(256)) * 4,
    ),
    "dss": ("dss", b"\x02dss" + bytes(34) + b"221101093000" * 2 + bytes(1474) + bytes(range(256)) * 8),
    "dss-sp": ("dss", b"\x03dss" + bytes(1532) + b"\x06" + bytes(range(255)) * 8),
}
