"""What a recording is, by its content: container, codec, rate, channels, bit depth.

libsndfile reads the formats whose samples are simply stored (PCM, float, G.711, ADPCM). Whatever is coded in
frames goes to ffmpeg, FLAC, MP3 and Ogg included: libsndfile stops at the first damaged frame and at the
joint of a chained file, so that speech after it would go unheard without a word (measured with libsndfile
1.2.2).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

import soundfile

from spoofcheck.audio.ffmpeg import probe_with_ffmpeg
from spoofcheck.audio.files import open_recording
from spoofcheck.audio.signatures import HEAD_BYTES, HEADERLESS_EXTENSIONS, container_of, extension_of
from spoofcheck.errors import InputError
from spoofcheck.types import AudioFile

MIN_SAMPLE_RATE_HZ = 4_000
MAX_SAMPLE_RATE_HZ = 768_000
MAX_CHANNELS = 64

_STORED_SAMPLES = frozenset({"wav", "rf64", "w64", "aiff", "au", "caf", "nist", "voc"})
_CODECS: dict[str, tuple[str, int | None]] = {
    "PCM_S8": ("pcm_s8", 8),
    "PCM_U8": ("pcm_u8", 8),
    "PCM_16": ("pcm_s16", 16),
    "PCM_24": ("pcm_s24", 24),
    "PCM_32": ("pcm_s32", 32),
    "FLOAT": ("pcm_f32", 32),
    "DOUBLE": ("pcm_f64", 64),
    "ULAW": ("pcm_mulaw", 8),
    "ALAW": ("pcm_alaw", 8),
    "ALAC_16": ("alac", 16),
    "ALAC_20": ("alac", 20),
    "ALAC_24": ("alac", 24),
    "ALAC_32": ("alac", 32),
}
_DECLARED_BYTES = re.compile(r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)$", re.MULTILINE)
_UNKNOWN_LENGTH = 0x7FFF_0000
"""32-bit lengths from here on are the placeholders of programs that wrote to a pipe."""


def probe(path: Path) -> AudioFile:
    """Find out what a recording is.

    Raises:
        InputError: `empty-file`, `not-audio`, `no-audio-stream`, `decode-failed`, `no-decoder`,
            `unsupported-audio`, or as `open_recording`.
    """
    with open_recording(path) as handle:
        status = os.fstat(handle.fileno())
        if status.st_size == 0:
            raise InputError("empty-file", "The file is empty (0 bytes).")
        container = container_of(handle.read(HEAD_BYTES))
        sound = _open_stored(handle) if container in _STORED_SAMPLES else None
        file = (
            _by_soundfile(path, status, container or "", sound)
            if sound is not None
            else _by_ffmpeg(path, status, container)
        )
    _require_supported(file)
    return file


def _open_stored(handle: BinaryIO) -> soundfile.SoundFile | None:
    """The recording as libsndfile sees it, or None when it is one for ffmpeg.

    That is what libsndfile cannot read, what it hands to its MPEG decoder, and what it finds empty: the
    length of a recording whose writer crashed is 0, its sound may be there.
    """
    handle.seek(0)
    try:
        sound = soundfile.SoundFile(handle.fileno(), closefd=False)
    except soundfile.LibsndfileError:
        return None
    if sound.frames <= 0 or sound.subtype.startswith("MPEG"):
        sound.close()
        return None
    return sound


def _by_soundfile(path: Path, status: os.stat_result, container: str, sound: soundfile.SoundFile) -> AudioFile:
    with sound:
        codec, bit_depth = _CODECS.get(sound.subtype, (sound.subtype.lower(), None))
        return AudioFile(
            path=path,
            size_bytes=status.st_size,
            modified_at_s=status.st_mtime,
            container=container,
            codec=codec,
            sample_rate_hz=sound.samplerate,
            channels=sound.channels,
            bit_depth=bit_depth,
            header_duration_s=sound.frames / sound.samplerate * _declared_excess(sound.extra_info),
            decoder="soundfile",
        )


def _by_ffmpeg(path: Path, status: os.stat_result, container: str | None) -> AudioFile:
    try:
        facts = probe_with_ffmpeg(path, container)
    except InputError as error:
        if error.code == "not-audio" and extension_of(path.name) in HEADERLESS_EXTENSIONS:
            message = "A headerless recording does not say its rate, channels or coding: convert it to WAV."
            raise InputError("not-audio", message) from error
        raise
    return AudioFile(
        path=path,
        size_bytes=status.st_size,
        modified_at_s=status.st_mtime,
        container=container or facts.demuxer.partition(",")[0],
        codec=facts.codec,
        sample_rate_hz=facts.sample_rate_hz,
        channels=facts.channels,
        bit_depth=facts.bit_depth,
        header_duration_s=facts.duration_s,
        decoder="ffmpeg",
    )


def _declared_excess(log: str) -> float:
    """How many times the sound the file holds its header declares, by libsndfile's notes; 1 without any."""
    for declared, held in _DECLARED_BYTES.findall(log):
        if int(held) < int(declared) and not _UNKNOWN_LENGTH <= int(declared) < 1 << 32:
            return int(declared) / max(1, int(held))
    return 1.0


def _require_supported(file: AudioFile) -> None:
    if not MIN_SAMPLE_RATE_HZ <= file.sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
        message = f"A sample rate of {file.sample_rate_hz} Hz; 4 to 768 kHz are read."
        raise InputError("unsupported-audio", message)
    if not 1 <= file.channels <= MAX_CHANNELS:
        raise InputError("unsupported-audio", f"{file.channels} channels; 1 to {MAX_CHANNELS} are read.")
