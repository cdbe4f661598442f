"""What a report draws of an exhibit beside its scores: waveform, speech and spectrogram, in one pass and little memory.

However long the recording, a picture has a bounded number of columns; nothing that is kept grows with it but one byte
for every 32 ms (where speech is).

The spectrogram is a grey PNG made with Pillow: of the libraries that write PNG it is the lightest to install (one
wheel, no dependencies; matplotlib needs it and eight more, and is no dependency of a scan). With 360 columns, 72 rows
and 16 levels, packed in four bits each, a file has 5 to 7 kB on the example recordings, whatever their length. A report
holds it twice, as a picture and in its document: 480 by 96 with 21 levels in a byte each take 13 to 19 kB, too much for
a case of 500 exhibits, and look the same beside the text of a page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import rfft

from spoofcheck.audio.speech import CHUNK_SAMPLES, SPEECH_PROBABILITY, SpeechMeter
from spoofcheck.detect.again import ReadAgain, heard_again, new_samples
from spoofcheck.schema import Pictures, SpeechStretch
from spoofcheck.types import SAMPLE_RATE_HZ, RecordingSummary, Window, samples_to_seconds, seconds_to_samples

PEAKS = 400
"""At most this many columns of the waveform."""

COLUMNS = 360
"""At most this many columns of the spectrogram, and `ROWS` rows."""

ROWS = 72

RANGE_DB = 70.0
"""From the strongest point of the spectrogram (black) down to white."""

_FULL_SCALE = 127
_FRAME_SAMPLES = 400
"""25 ms, Hann: harmonics of a voice and its syllables both show."""
_FFT_SAMPLES = 512
_HOP_SAMPLES = 160
_BIN_HZ = SAMPLE_RATE_HZ / _FFT_SAMPLES
_LEVELS = 16
_FRAMES_AT_ONCE = 1024
_LEAST_PAUSE_S = 0.1
"""Shorter pauses are not drawn, nor those narrower than a column of the waveform."""


def pictures_of(
    windows: Iterable[Window], duration_s: float, sample_rate_hz: int = SAMPLE_RATE_HZ, vad: bool = True
) -> Pictures:
    """Pictures of one channel.

    Args:
        windows: of that channel, in order, without gaps and all with samples; taken as they come.
        duration_s: of the recording.
        sample_rate_hz: of the file: half of it is the highest frequency there can be.
        vad: whether to find speech.

    Raises:
        ValueError: a gap, a window without samples, or no window at all.
        ModelError: the voice activity detector cannot be loaded.
    """
    painter = Painter(duration_s, sample_rate_hz, vad)
    for _, samples in new_samples(windows):
        painter.push(samples)
    return painter.finish()


def paint_recording(
    summary: RecordingSummary, channels: Collection[int | None], read_again: ReadAgain, vad: bool = True
) -> dict[int | None, Pictures]:
    """Pictures of channels of a recording that was read before, in one further reading.

    Raises:
        InputError: it cannot be read any more, or it changed (`changed-while-reading`).
    """
    painters = {channel: Painter(summary.duration_s, summary.file.sample_rate_hz, vad) for channel in channels}
    for channel, samples in heard_again(summary, read_again):
        if channel in painters:
            painters[channel].push(samples)
    return {channel: painter.finish() for channel, painter in painters.items()}


class Painter:
    """Paints one channel from its samples as they come.

    Args:
        duration_s: of the recording, known from its first reading.
        sample_rate_hz: of the file.
        vad: whether to find speech.
    """

    def __init__(self, duration_s: float, sample_rate_hz: int = SAMPLE_RATE_HZ, vad: bool = True) -> None:
        n_samples = max(1, seconds_to_samples(duration_s))
        self._peaks = _Peaks(n_samples)
        self._spectrogram = _Spectrogram(n_samples, min(SAMPLE_RATE_HZ, sample_rate_hz) / 2)
        self._meter = SpeechMeter() if vad else None
        self._is_speech = bytearray()
        self._n_samples = 0

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take in the next samples, `[n]` at 16 kHz, any n."""
        self._n_samples += len(samples)
        self._peaks.push(samples)
        self._spectrogram.push(samples)
        if self._meter is not None:
            self._hear(self._meter.push(samples))

    def finish(self) -> Pictures:
        """The pictures, once all samples are in.

        Raises:
            ValueError: there was no sample.
        """
        if self._n_samples == 0:
            raise ValueError("there is nothing to paint")
        if self._meter is not None:
            self._hear(self._meter.finish())
        png = self._spectrogram.finish()
        return Pictures(
            peaks=self._peaks.finish(),
            speech=tuple(speech_stretches(np.frombuffer(self._is_speech, np.bool_), self._n_samples)),
            spectrogram_png_base64=base64.b64encode(png).decode("ascii"),
            spectrogram_hz=self._spectrogram.top_hz,
            spectrogram_db=(-RANGE_DB, 0.0),
        )

    def _hear(self, probabilities: NDArray[np.float32]) -> None:
        self._is_speech.extend((probabilities >= SPEECH_PROBABILITY).tobytes())


def speech_stretches(chunk_is_speech: NDArray[np.bool_], n_samples: int) -> Iterator[SpeechStretch]:
    """Speech as it is drawn: chunks joined over pauses that are too short to be seen.

    Args:
        chunk_is_speech: bool `[chunks]`, chunk `i` being the samples `[512 i, 512 (i + 1))`.
        n_samples: of the recording.

    Yields:
        Stretches in order, none touching another; at most as many as there are peaks.
    """
    edges = np.flatnonzero(np.diff(chunk_is_speech, prepend=False, append=False)) * CHUNK_SAMPLES
    starts, ends = edges[::2], np.minimum(edges[1::2], n_samples)
    if len(starts) == 0:
        return
    pauses = starts[1:] - ends[:-1]
    is_seen = pauses >= max(seconds_to_samples(_LEAST_PAUSE_S), n_samples / PEAKS)
    firsts = starts[np.concatenate(([True], is_seen))]
    lasts = ends[np.concatenate((is_seen, [True]))]
    for start, end in zip(firsts.tolist(), lasts.tolist(), strict=True):
        yield SpeechStretch(start_s=samples_to_seconds(start), end_s=samples_to_seconds(end))


class _Peaks:
    """Lowest and highest sample of equal stretches."""

    def __init__(self, n_samples: int) -> None:
        columns = min(PEAKS, n_samples)
        # Column c holds the samples from starts[c] on.
        self._starts = -(-np.arange(columns) * n_samples // columns)
        self._low = np.full(columns, np.inf, np.float32)
        self._high = np.full(columns, -np.inf, np.float32)
        self._position = 0

    def push(self, samples: NDArray[np.float32]) -> None:
        if len(samples) == 0:
            return
        begin, self._position = self._position, self._position + len(samples)
        first = int(np.searchsorted(self._starts, begin, side="right")) - 1
        after = int(np.searchsorted(self._starts, self._position, side="left"))
        cuts = np.maximum(self._starts[first:after] - begin, 0)
        low, high = np.minimum.reduceat(samples, cuts), np.maximum.reduceat(samples, cuts)
        self._low[first:after] = np.minimum(self._low[first:after], low)
        self._high[first:after] = np.maximum(self._high[first:after], high)

    def finish(self) -> tuple[tuple[int, int], ...]:
        heard = np.stack((self._low, self._high), axis=1)[np.isfinite(self._low)]
        scaled = np.clip(np.rint(heard * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE).astype(int)
        return tuple((low, high) for low, high in scaled.tolist())


class _Spectrogram:
    """Mean power by column and row; frames are centred, so that its columns lie under those of the waveform."""

    def __init__(self, n_samples: int, top_hz: float) -> None:
        self.top_hz = top_hz
        bins = max(1, int(top_hz / _BIN_HZ))
        rows = min(ROWS, bins)
        self._n_samples = n_samples
        self._columns = max(1, min(COLUMNS, n_samples // _HOP_SAMPLES))
        self._first_bins = np.arange(rows) * bins // rows
        self._row_bins = np.diff(self._first_bins, append=bins)
        self._bins = bins
        self._power = np.zeros((self._columns, rows))
        self._frames = np.zeros(self._columns, np.int64)
        self._window = np.hanning(_FRAME_SAMPLES + 1)[:-1].astype(np.float32)
        self._held = np.zeros(_FRAME_SAMPLES // 2, np.float32)
        self._next_frame = 0

    def push(self, samples: NDArray[np.float32]) -> None:
        held = np.concatenate((self._held, samples))
        while (ready := min(_FRAMES_AT_ONCE, (len(held) - _FRAME_SAMPLES) // _HOP_SAMPLES + 1)) > 0:
            frames = np.lib.stride_tricks.sliding_window_view(held, _FRAME_SAMPLES)[::_HOP_SAMPLES][:ready]
            self._add(frames)
            held = held[ready * _HOP_SAMPLES :]
        self._held = held.copy()

    def finish(self) -> bytes:
        """The PNG."""
        self.push(np.zeros(_FRAME_SAMPLES // 2, np.float32))
        mean = self._power / np.maximum(1, self._frames)[:, None]
        return _png(mean[self._frames > 0].T[::-1])

    def _add(self, frames: NDArray[np.float32]) -> None:
        spectra = np.abs(rfft(frames * self._window, _FFT_SAMPLES, axis=1)) ** 2
        # Bin 0 is left out: an offset is no sound.
        rows = np.add.reduceat(spectra[:, 1 : self._bins + 1], self._first_bins, axis=1) / self._row_bins
        centres = (self._next_frame + np.arange(len(frames))) * _HOP_SAMPLES
        columns = np.minimum(centres * self._columns // self._n_samples, self._columns - 1)
        np.add.at(self._power, columns, rows)
        np.add.at(self._frames, columns, 1)
        self._next_frame += len(frames)


def _png(power: NDArray[np.float64]) -> bytes:
    """Power `[rows, columns]`, the highest frequency first, as a grey PNG: the strongest is black."""
    strongest = power.max(initial=0.0)
    if strongest > 0:
        with np.errstate(divide="ignore"):
            below_db = np.minimum(-10 * np.log10(power / strongest), RANGE_DB)
    else:
        below_db = np.full(power.shape, RANGE_DB)
    levels = np.rint(below_db / RANGE_DB * (_LEVELS - 1)).astype(np.uint8)
    # Pillow packs levels of a palette in four bits, those of a grey picture never.
    picture = Image.fromarray(levels, mode="P")
    picture.putpalette([255 * level // (_LEVELS - 1) for level in range(_LEVELS) for _ in "rgb"])
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", bits=4, optimize=True)
    return buffer.getvalue()
