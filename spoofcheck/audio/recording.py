"""The stream of one recording: what it is, its windows in order of time, and what was found out."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.channels import channels_are_one
from spoofcheck.audio.decode import BLOCK_FRAMES, DecodeNotes, Resampler16k, decode_blocks
from spoofcheck.audio.files import Fingerprint, fingerprint, sha256_of
from spoofcheck.audio.probe import probe
from spoofcheck.audio.quality import QualityMeter
from spoofcheck.audio.speech import CHUNK_SAMPLES, SPEECH_PROBABILITY, SpeechMeter, speech_seconds
from spoofcheck.audio.windows import HeardWindow, StreamWindower
from spoofcheck.errors import InputError
from spoofcheck.types import AudioFile, ChannelSummary, ReadPosition, RecordingSummary, Window

_BLOCK_S = 2
_CANCELLING_MIX = 10 ** (-20 / 10)


def read_windows(
    path: Path,
    *,
    window_samples: int,
    hop_samples: int,
    channels: Literal["auto", "mix", "each"],
    vad: bool,
    min_window_speech_s: float,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[AudioFile | Window | RecordingSummary]:
    """Read a recording once, in little memory, in any thread.

    The file's SHA-256 is taken before and after decoding; a file that is not the same before and after is
    refused, and the windows it gave must be thrown away.

    Args:
        path: the recording.
        window_samples: length of a window at 16 kHz, and `hop_samples` the distance of their starts.
        hop_samples: at most `window_samples`.
        channels: `"mix"` averages all channels, `"each"` scores them apart, `"auto"` mixes what is one signal
            (`audio.channels`).
        vad: measure speech by silero-vad; without it, every window is scored and no speech is known.
        min_window_speech_s: a window with less speech has no samples: it is not to be scored.
        cancelled: asked at every block; once true, the stream ends without a summary.

    Yields:
        The `AudioFile`; every `Window`, by time and then by channel; the `RecordingSummary`.

    Raises:
        InputError: why the recording cannot be read (codes in `probe` and `decode_blocks`), or
            `changed-while-reading`.
        ValueError: a hop longer than the window.
    """
    before = fingerprint(path)
    try:
        file = probe(path)
        yield file
        sha256 = sha256_of(path, cancelled)
        mode = _channel_mode(file, channels, cancelled)
        decoding = _Decoding(file, mode, window_samples, hop_samples, vad, min_window_speech_s)
        with closing(decode_blocks(file, decoding.block_frames, decoding.notes)) as blocks:
            for block in _until(cancelled, blocks):
                yield from decoding.push(block)
        if cancelled():
            return
        yield from decoding.finish()
        sha256_after = sha256_of(path, cancelled)
    except InputError as error:
        if _is_changed(path, before):
            raise _changed() from error
        raise
    if cancelled():
        return
    if sha256_after != sha256 or _is_changed(path, before):
        raise _changed()
    yield decoding.summary(sha256)


class _Decoding:
    """One pass over the samples of a recording."""

    def __init__(
        self,
        file: AudioFile,
        mode: str,
        window_samples: int,
        hop_samples: int,
        vad: bool,
        min_window_speech_s: float,
    ) -> None:
        self.block_frames = min(_BLOCK_S * file.sample_rate_hz, 32 * BLOCK_FRAMES // file.channels)
        self.notes = DecodeNotes()
        self._file = file
        self._mode = mode
        self._pcm = hashlib.sha256()
        numbers: Iterable[int | None] = range(file.channels) if mode == "each" else (None,)
        self._tracks = [
            Track(number, StreamWindower(window_samples, hop_samples), vad, min_window_speech_s) for number in numbers
        ]
        self._resampler = Resampler16k(file.sample_rate_hz, len(self._tracks))
        self._mix_power = 0.0
        self._channel_power = 0.0

    def push(self, block: NDArray[np.float32]) -> Iterator[Window]:
        """The windows that a block completes, block `[frames, channels]` at the native rate."""
        self._pcm.update(np.ascontiguousarray(block, "<f4").data)
        heard = self._mixed(block) if self._mode == "mix" else block
        for track, samples in zip(self._tracks, heard.T, strict=True):
            track.quality.push_native(samples)
        return self._windows(self._resampler.push(heard), last=False)

    def finish(self) -> Iterator[Window]:
        """The windows that the end completes.

        Raises:
            InputError: `zero-length`, not one sample at 16 kHz.
        """
        yield from self._windows(self._resampler.finish(), last=True)
        if self._tracks[0].n_samples == 0:
            raise InputError("zero-length", "It is shorter than one sample at 16 kHz.")

    def summary(self, sha256: str) -> RecordingSummary:
        warnings = dict(self.notes.warnings)
        if self._mix_power < _CANCELLING_MIX * self._channel_power:
            warnings["mix-cancels"] = (
                "The channels cancel each other in the mix (inverted polarity?): score them each by itself."
            )
        return RecordingSummary(
            file=self._file,
            sha256=sha256,
            pcm_sha256=self._pcm.hexdigest(),
            duration_s=self.notes.frames / self._file.sample_rate_hz,
            channel_mode=self._mode,
            channels=tuple(ChannelSummary(track.number, track.quality.finish()) for track in self._tracks),
            warnings=tuple(warnings.items()),
        )

    def _windows(self, samples: NDArray[np.float32], last: bool) -> Iterator[Window]:
        ready: list[Window] = []
        for track, track_samples in zip(self._tracks, samples.T, strict=True):
            ready += track.push(np.ascontiguousarray(track_samples))
            if last:
                ready += track.finish()
        # Tracks are equally long and equally far, so what is ready is ready in all of them.
        yield from sorted(ready, key=lambda window: (window.index, window.channel or 0))

    def _mixed(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        mix: NDArray[np.float32] = block.mean(axis=1, keepdims=True, dtype=np.float32)
        self._mix_power += float(np.vdot(mix, mix))
        self._channel_power += float(np.vdot(block, block)) / block.shape[1]
        return mix


class Windower(Protocol):
    """Cuts windows from samples as they come, as `audio.windows.StreamWindower` does."""

    @property
    def n_samples(self) -> int:
        """How many samples came so far."""

    def push(self, samples: NDArray[np.float32]) -> list[HeardWindow]:
        """The windows that became whole, samples `[n]`."""

    def finish(self) -> list[HeardWindow]:
        """The windows that are left."""


class Track:
    """One channel, or the mix of all, at 16 kHz: its windows wait here until it is known where speech is.

    Args:
        number: 0-based channel, None for the mix; windows carry it.
        windower: cuts the windows.
        vad: measure speech; without it, every window is scored.
        min_window_speech_s: a window with less speech has no samples.
    """

    def __init__(self, number: int | None, windower: Windower, vad: bool, min_window_speech_s: float) -> None:
        self.number = number
        self.quality = QualityMeter(vad)
        self._windower = windower
        self._meter = SpeechMeter() if vad else None
        self._min_window_speech_s = min_window_speech_s
        self._waiting: deque[HeardWindow] = deque()
        self._is_speech = bytearray()
        self._next_index = 0

    @property
    def n_samples(self) -> int:
        """How many samples came so far."""
        return self._windower.n_samples

    def push(self, samples: NDArray[np.float32]) -> list[Window]:
        """The windows that are ready, samples `[n]`."""
        self.quality.push_16k(samples)
        self._waiting.extend(self._windower.push(samples))
        if self._meter is not None:
            self._add_speech(self._meter.push(samples))
        return self._ready(len(self._is_speech) * CHUNK_SAMPLES)

    def finish(self) -> list[Window]:
        """The windows that are left."""
        self._waiting.extend(self._windower.finish())
        if self._meter is not None:
            self._add_speech(self._meter.finish())
        return self._ready(self.n_samples)

    def _add_speech(self, probabilities: NDArray[np.float32]) -> None:
        is_speech = probabilities >= SPEECH_PROBABILITY
        self._is_speech.extend(is_speech.tobytes())
        self.quality.push_speech(is_speech)

    def _ready(self, known_samples: int) -> list[Window]:
        ready = []
        while self._waiting and (self._meter is None or self._waiting[0].end <= known_samples):
            ready.append(self._window(self._waiting.popleft()))
        return ready

    def _window(self, heard: HeardWindow) -> Window:
        speech_s = None
        if self._meter is not None:
            first = heard.start // CHUNK_SAMPLES
            chunks = self._is_speech[first : -(-heard.end // CHUNK_SAMPLES)]
            shift = first * CHUNK_SAMPLES
            speech_s = speech_seconds(np.frombuffer(chunks, np.bool_), heard.start - shift, heard.end - shift)
        is_scored = speech_s is None or speech_s >= self._min_window_speech_s
        self._next_index += 1
        return Window(
            channel=self.number,
            index=self._next_index - 1,
            start_sample=heard.start,
            end_sample=heard.end,
            speech_s=speech_s,
            samples=heard.samples if is_scored else None,
            not_scored=None if is_scored else "no-speech",
        )


def _channel_mode(file: AudioFile, channels: Literal["auto", "mix", "each"], cancelled: Callable[[], bool]) -> str:
    if file.channels == 1:
        return "mono"
    if channels != "auto":
        return channels
    with closing(decode_blocks(file)) as blocks:
        return "mix" if channels_are_one(_until(cancelled, blocks), file.sample_rate_hz) else "each"


def windows_again(
    items: Iterable[AudioFile | Window | ReadPosition | RecordingSummary], first_reading: RecordingSummary
) -> Iterator[Window]:
    """The windows of a second reading, which must end as the first one did.

    Raises:
        InputError: `changed-while-reading`; what was yielded before must then be thrown away.
    """
    for item in items:
        if isinstance(item, Window):
            yield item
        elif isinstance(item, RecordingSummary) and item.sha256 != first_reading.sha256:
            raise InputError("changed-while-reading", "The file changed after it was judged.")


def _until(cancelled: Callable[[], bool], blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    for block in blocks:
        if cancelled():
            return
        yield block


def _is_changed(path: Path, before: Fingerprint) -> bool:
    try:
        return fingerprint(path) != before
    except InputError:
        return True


def _changed() -> InputError:
    return InputError("changed-while-reading", "The file changed while it was read; nothing of it was used.")
