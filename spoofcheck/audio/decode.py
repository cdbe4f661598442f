"""Recordings as float32 blocks at their native rate and at 16 kHz; never a whole recording in memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from spoofcheck.audio.ffmpeg import FfmpegLog, decode_with_ffmpeg
from spoofcheck.audio.files import open_recording
from spoofcheck.errors import InputError
from spoofcheck.types import SAMPLE_RATE_HZ, AudioFile

BLOCK_FRAMES = 65_536

_LARGEST_SAMPLE = float(2**31)
"""Full scale of 32-bit integers: a float file scaled like that is odd, anything beyond it is not a sample."""

MAX_RECORDING_S = 48 * 3_600
"""Longest recording that is read: a file of a few megabytes can declare years of sound."""

_OGG_LARGEST_PAGE_BYTES = 65_307
_OGG_END_OF_STREAM = 4


@dataclass(slots=True)
class DecodeNotes:
    """What there is to say of a decoding; complete when its last block is out."""

    frames: int = 0
    warnings: dict[str, str] = field(default_factory=dict)
    """code -> message: `truncated`, `decode-errors`, `non-finite-samples`."""


def decode_blocks(
    file: AudioFile, block_frames: int = BLOCK_FRAMES, notes: DecodeNotes | None = None
) -> Generator[NDArray[np.float32], None, None]:
    """Decode a recording, block by block, at its native rate.

    Samples that are NaN, infinite or beyond any scale become 0, with a warning: one bad sample must not
    silence the network for a whole window. A damaged or truncated file gives what decodes, with a warning.

    Args:
        file: what `probe` found.
        block_frames: frames per block; only the last one is shorter.
        notes: filled in on the way.

    Yields:
        float32 `[frames, channels]`, full scale 1.0, contiguous, never empty.

    Raises:
        InputError: `zero-length`, `decode-failed`, `non-finite-samples` (not one usable sample),
            `too-long`, `decode-timeout`, `decode-memory`, `changed-while-reading`, or as `open_recording`.
    """
    notes = DecodeNotes() if notes is None else notes
    log = FfmpegLog()
    replaced = 0
    for block in _raw_blocks(file, block_frames, log):
        notes.frames += len(block)
        if notes.frames > MAX_RECORDING_S * file.sample_rate_hz:
            raise InputError("too-long", f"It is longer than {MAX_RECORDING_S // 3_600} hours: read it in parts.")
        finite, bad = _finite(block)
        replaced += bad
        yield finite
    if notes.frames == 0:
        raise _nothing_decoded(file, log)
    if replaced == notes.frames * file.channels:
        raise InputError("non-finite-samples", "Not one sample is a finite number.")
    if replaced:
        notes.warnings["non-finite-samples"] = (
            f"{replaced} samples were NaN, infinite or out of any scale; they were replaced by silence."
        )
    notes.warnings.update(_damage(file, notes.frames / file.sample_rate_hz, log))


class Resampler16k:
    """Brings blocks of any rate to 16 kHz by soxr HQ, every channel by itself.

    The output of all calls together is that of one call, whatever the blocks: `round(frames * 16000 / rate)`
    frames. A recording at 16 kHz passes through untouched.

    Shape:
        input `[frames, channels]` float32, output `[frames at 16 kHz, channels]` float32.
    """

    def __init__(self, sample_rate_hz: int, channels: int) -> None:
        self._nothing = np.zeros((0, channels), np.float32)
        self._stream = (
            None
            if sample_rate_hz == SAMPLE_RATE_HZ
            else soxr.ResampleStream(sample_rate_hz, SAMPLE_RATE_HZ, channels, dtype="float32", quality="HQ")
        )

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the next block adds to the output."""
        if self._stream is None:
            return block
        return np.asarray(self._stream.resample_chunk(block), np.float32)

    def finish(self) -> NDArray[np.float32]:
        """The rest of the output."""
        if self._stream is None:
            return self._nothing
        return np.asarray(self._stream.resample_chunk(self._nothing, last=True), np.float32)


def _raw_blocks(file: AudioFile, block_frames: int, log: FfmpegLog) -> Iterator[NDArray[np.float32]]:
    if file.decoder == "ffmpeg":
        return decode_with_ffmpeg(file.path, file.channels, block_frames, log)
    return _soundfile_blocks(file, block_frames, log)


def _soundfile_blocks(file: AudioFile, block_frames: int, log: FfmpegLog) -> Iterator[NDArray[np.float32]]:
    with open_recording(file.path) as handle:
        try:
            sound = soundfile.SoundFile(handle.fileno(), closefd=False)
        except soundfile.LibsndfileError as error:
            raise InputError("changed-while-reading", "The file is a recording no more.") from error
        with sound:
            if (sound.samplerate, sound.channels) != (file.sample_rate_hz, file.channels):
                raise InputError("changed-while-reading", "The file is another recording than it was.")
            while True:
                try:
                    block = sound.read(block_frames, dtype="float32", always_2d=True)
                except soundfile.LibsndfileError as error:
                    log.errors, log.first_error = 1, str(error)
                    return
                if len(block) == 0:
                    return
                yield block


def _finite(block: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """The block with every unusable sample as 0, and how many there were."""
    if np.abs(block).max(initial=0.0) <= _LARGEST_SAMPLE:  # False for NaN, too
        return block, 0
    usable = np.abs(block) <= _LARGEST_SAMPLE
    return np.where(usable, block, np.float32(0)), int(block.size - np.count_nonzero(usable))


def _nothing_decoded(file: AudioFile, log: FfmpegLog) -> InputError:
    if log.errors or log.truncated:
        message = f"Nothing of the {file.codec} stream can be decoded ({log.first_error})."
        return InputError("decode-failed", message)
    return InputError("zero-length", "The file has a header but no sound in it.")


def _damage(file: AudioFile, decoded_s: float, log: FfmpegLog) -> dict[str, str]:
    """Warnings on what is missing or broken: a file may end early without its decoder minding, so compare."""
    warnings = {}
    promised_s = file.header_duration_s or 0.0
    # A frame of a lossy codec more or less, and the rounding of durations in reports, is no damage.
    is_short = promised_s - decoded_s > (0.1 + 0.001 * promised_s if file.decoder == "ffmpeg" else 0.001)
    if is_short:
        warnings["truncated"] = (
            f"The recording breaks off: its header promises {promised_s:.2f} s, {decoded_s:.2f} s can be read."
        )
    elif log.truncated or (file.container == "ogg" and _ogg_breaks_off(file)):
        warnings["truncated"] = f"The recording breaks off after {decoded_s:.2f} s: its end is missing."
    if log.errors:
        warnings["decode-errors"] = (
            f"The decoder reported errors ({log.errors}, the first: {log.first_error}); "
            "damaged parts are missing or silent."
        )
    return warnings


def _ogg_breaks_off(file: AudioFile) -> bool:
    """Whether an Ogg file lacks its last page, or the mark on it that ends the stream (RFC 3533, 6)."""
    with open_recording(file.path) as handle:
        handle.seek(max(0, file.size_bytes - _OGG_LARGEST_PAGE_BYTES))
        tail = handle.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    held = len(page) - 27 - page[26]
    return not page[5] & _OGG_END_OF_STREAM or held < sum(page[27 : 27 + page[26]])
