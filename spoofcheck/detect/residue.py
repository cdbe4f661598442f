"""What of a recording is not speech: the samples between words, gathered from a stream and joined.

Speech is where silero-vad says so, with 0.13 s before and after it. Chunks quieter than -85 dBFS are left out too:
digital silence and the rounding noise of 16 bits (-101 dBFS; -93 dBFS with dither) are no channel to hear, and would
only be blown up.

At most 32 s are kept, spread over the whole recording: by seconds, of which every second one is dropped whenever there
are too many. Memory does not grow with the recording.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.speech import CHUNK_SAMPLES, SpeechMeter
from spoofcheck.types import SAMPLE_RATE_HZ

LEAST_LEVEL_DBFS = -85.0
"""RMS of a chunk of 32 ms, full scale being 1; a quieter one is left out."""

MOST_PIECES = 32
PIECE_SAMPLES = SAMPLE_RATE_HZ

_ENDED_PROBABILITY = 0.35
"""Below it speech has ended: silero-vad's own default is the threshold for its begin, 0.5, less 0.15."""
_MARGIN_CHUNKS = 4
_LEAST_MEAN_SQUARE = 10.0 ** (LEAST_LEVEL_DBFS / 10)


class SpeechRemover:
    """Samples that are not speech, from consecutive samples of one channel as they come."""

    def __init__(self) -> None:
        self._meter = SpeechMeter()
        self._undecided = np.zeros(0, np.float32)
        self._is_speech = np.zeros(_MARGIN_CHUNKS, np.bool_)  # from `_MARGIN_CHUNKS` chunks before `_undecided` on

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is known not to be speech now.

        Shape:
            input `[n]` at 16 kHz, any n; output `[m]`, whole chunks of 512.
        """
        self._undecided = np.concatenate((self._undecided, samples))
        return self._decide(self._meter.push(samples))

    def finish(self) -> NDArray[np.float32]:
        """The rest of it; what is left after the last whole chunk, less than 32 ms, is not kept."""
        nothing_after = np.zeros(_MARGIN_CHUNKS, np.float32)
        return self._decide(np.concatenate((self._meter.finish(), nothing_after)))

    def _decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        self._is_speech = np.concatenate((self._is_speech, probabilities >= _ENDED_PROBABILITY))
        around = 2 * _MARGIN_CHUNKS + 1
        if len(self._is_speech) < around:
            return np.zeros(0, np.float32)
        near = np.lib.stride_tricks.sliding_window_view(self._is_speech, around)
        is_near_speech = np.asarray(near.any(axis=1), np.bool_)
        n_whole = min(len(is_near_speech), len(self._undecided) // CHUNK_SAMPLES)
        chunks = self._undecided[: n_whole * CHUNK_SAMPLES].reshape(n_whole, CHUNK_SAMPLES)
        is_audible = np.square(chunks, dtype=np.float64).mean(axis=1) >= _LEAST_MEAN_SQUARE
        self._undecided = self._undecided[n_whole * CHUNK_SAMPLES :].copy()
        self._is_speech = self._is_speech[len(is_near_speech) :].copy()
        return np.asarray(chunks[~is_near_speech[:n_whole] & is_audible].reshape(-1), np.float32)


class SpreadSamples:
    """At most 32 s of a stream of samples, spread over all of it: whole seconds at even distances, and its end."""

    def __init__(self) -> None:
        self._pieces: list[NDArray[np.float32]] = []
        self._unfinished = np.zeros(0, np.float32)
        self._step = 1
        self._number = 0

    def push(self, samples: NDArray[np.float32]) -> None:
        """Keep what belongs to the even distances. Shape: `[n]`, any n."""
        self._unfinished = np.concatenate((self._unfinished, samples))
        while len(self._unfinished) >= PIECE_SAMPLES:
            self._keep(self._unfinished[:PIECE_SAMPLES].copy())
            self._unfinished = self._unfinished[PIECE_SAMPLES:]
        self._unfinished = self._unfinished.copy()

    def joined(self) -> NDArray[np.float32]:
        """What was kept, in its order, `[m]`; the last, unfinished second where it fits."""
        last = [self._unfinished] if len(self._pieces) < MOST_PIECES else []
        return np.concatenate([*self._pieces, *last, np.zeros(0, np.float32)])

    def _keep(self, piece: NDArray[np.float32]) -> None:
        if self._number % self._step == 0:
            if len(self._pieces) == MOST_PIECES:
                self._pieces = self._pieces[::2]
                self._step *= 2
            if self._number % self._step == 0:
                self._pieces.append(piece)
        self._number += 1
