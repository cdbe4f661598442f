"""What of a recording is measured: at most six stretches of 10 s, spread evenly, those with the most speech.

All measures are taken stretch by stretch, so a long exhibit is compared with the short recordings of a reference
population at a like length.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.recording import read_windows, windows_again
from spoofcheck.audio.speech import CHUNK_SAMPLES, SPEECH_PROBABILITY, SpeechMeter
from spoofcheck.audio.windows import HeardWindow, StreamWindower, plan_windows
from spoofcheck.types import (
    SAMPLE_RATE_HZ,
    RecordingSummary,
    samples_to_seconds,
    seconds_to_samples,
)

STRETCH_SAMPLES = 10 * SAMPLE_RATE_HZ
MOST_STRETCHES = 6
_SHORTEST_SAMPLES = SAMPLE_RATE_HZ
"""What is left at the end of a recording and is shorter than this is not worth a stretch."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A stretch of one channel and where speech is in it.

    Attributes:
        samples: float32 `[n]`, mono, 16 kHz.
        speech: `(start, end)` in samples of the stretch, ascending and apart; empty where nobody speaks.
        start_sample: where the stretch begins in the recording, at 16 kHz.
    """

    samples: NDArray[np.float32]
    speech: tuple[tuple[int, int], ...]
    start_sample: int = 0

    @property
    def duration_s(self) -> float:
        """Seconds of the stretch."""
        return samples_to_seconds(len(self.samples))

    @property
    def speech_s(self) -> float:
        """Seconds of it that are speech."""
        return samples_to_seconds(sum(end - start for start, end in self.speech))


def stretches_of(samples: NDArray[np.float32]) -> tuple[Stretch, ...]:
    """The stretches to measure of a recording in memory.

    Args:
        samples: float32 `[n]`, mono, 16 kHz; any n.
    """
    plan = plan_windows(len(samples), STRETCH_SAMPLES, STRETCH_SAMPLES)
    return _choose(((index, start, samples[start:end]) for index, (start, end) in enumerate(plan)), len(plan))


def acoustic_stretches(
    summary: RecordingSummary, channels: Collection[int | None]
) -> dict[int | None, tuple[Stretch, ...]]:
    """The stretches to measure of a recording that was read before: reads it once more, keeps a minute of a channel.

    Args:
        summary: what the first reading ended with.
        channels: which channels, as numbered there (None: mono, or the mix).

    Returns:
        Stretches by channel, in order of time.

    Raises:
        InputError: it cannot be read any more, or it changed (`changed-while-reading`).
    """
    planned = len(plan_windows(seconds_to_samples(summary.duration_s), STRETCH_SAMPLES, STRETCH_SAMPLES))
    choices = {channel: _Choice(planned) for channel in channels}
    items = read_windows(
        summary.file.path,
        window_samples=STRETCH_SAMPLES,
        hop_samples=STRETCH_SAMPLES,
        channels="each" if summary.channel_mode == "each" else "mix",
        vad=False,
        min_window_speech_s=0.0,
    )
    with closing(items):
        for window in windows_again(items, summary):
            if window.channel in choices and window.samples is not None:
                length = window.end_sample - window.start_sample  # a short recording was repeated to fill the window
                choices[window.channel].add(window.index, window.start_sample, window.samples[:length])
    return {channel: choice.finish() for channel, choice in choices.items()}


class StretchCollector:
    """The stretches to measure of one channel, from its samples as they come; keeps a minute at most.

    Args:
        duration_s: of the recording, known from its first reading.
    """

    def __init__(self, duration_s: float) -> None:
        planned = plan_windows(seconds_to_samples(duration_s), STRETCH_SAMPLES, STRETCH_SAMPLES)
        self._choice = _Choice(len(planned))
        self._windower = StreamWindower(STRETCH_SAMPLES, STRETCH_SAMPLES)
        self._windows = 0

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take in the next samples, `[n]` at 16 kHz, any n."""
        self._add(self._windower.push(samples))

    def finish(self) -> tuple[Stretch, ...]:
        """The stretches, in order of time, once all samples are in."""
        self._add(self._windower.finish())
        return self._choice.finish()

    def _add(self, windows: Iterable[HeardWindow]) -> None:
        for window in windows:
            # A short recording was repeated to fill the window.
            self._choice.add(self._windows, window.start, window.samples[: window.end - window.start])
            self._windows += 1


def speech_in(samples: NDArray[np.float32]) -> tuple[tuple[int, int], ...]:
    """Where speech is, by silero-vad, which knows nothing of what came before: `(start, end)` in samples."""
    meter = SpeechMeter()
    is_speech = np.concatenate((meter.push(samples), meter.finish())) >= SPEECH_PROBABILITY
    edges = np.flatnonzero(np.diff(is_speech.astype(np.int8), prepend=0, append=0)) * CHUNK_SAMPLES
    return tuple((int(start), min(int(end), len(samples))) for start, end in edges.reshape(-1, 2))


class _Choice:
    """The stretches kept so far: one of each sixth of the recording, that with the most speech, else the earliest."""

    def __init__(self, planned: int) -> None:
        self._planned = max(1, planned)
        self._best: dict[int, Stretch] = {}
        self._covered = 0

    def add(self, index: int, start: int, samples: NDArray[np.float32]) -> None:
        """Consider window `index` of the recording, `[start, start + n)`; the last one may reach back."""
        fresh = samples[max(0, self._covered - start) :]
        self._covered = start + len(samples)
        if len(fresh) < _SHORTEST_SAMPLES and index > 0:
            return
        part = min(MOST_STRETCHES - 1, index * MOST_STRETCHES // max(MOST_STRETCHES, self._planned))
        stretch = Stretch(fresh.copy(), speech_in(fresh), self._covered - len(fresh))
        if part not in self._best or stretch.speech_s > self._best[part].speech_s:
            self._best[part] = stretch

    def finish(self) -> tuple[Stretch, ...]:
        return tuple(self._best[part] for part in sorted(self._best))


def _choose(windows: Iterable[tuple[int, int, NDArray[np.float32]]], planned: int) -> tuple[Stretch, ...]:
    choice = _Choice(planned)
    for index, start, samples in windows:
        choice.add(index, start, samples)
    return choice.finish()
