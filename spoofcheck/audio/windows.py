"""Which stretches of a recording the network hears. Pure: positions are samples at 16 kHz.

Every sample lies in at least one window: windows start at multiples of the hop, and what is left at the end
is covered by one more window that ends where the recording ends. A recording shorter than a window is
repeated to fill it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class HeardWindow(NamedTuple):
    """A stretch `[start, end)` and its float32 samples `[window_samples]`, repeated to fill where it is shorter."""

    start: int
    end: int
    samples: NDArray[np.float32]


def plan_windows(n_samples: int, window_samples: int, hop_samples: int) -> list[tuple[int, int]]:
    """`(start, end)` of every window of a recording of `n_samples`; together they cover exactly `[0, n_samples)`.

    Raises:
        ValueError: a hop or window below 1, or a hop longer than the window (it would leave gaps).
    """
    _require_no_gaps(window_samples, hop_samples)
    if n_samples <= 0:
        return []
    if n_samples <= window_samples:
        return [(0, n_samples)]
    starts = range(0, n_samples - window_samples + 1, hop_samples)
    windows = [(start, start + window_samples) for start in starts]
    if windows[-1][1] < n_samples:
        windows.append((n_samples - window_samples, n_samples))
    return windows


def fill_window(samples: NDArray[np.float32], window_samples: int) -> NDArray[np.float32]:
    """Repeat a short stretch until it fills a window, and cut it there; a new array.

    Shape:
        input `[n]` with n >= 1, output `[window_samples]`.

    Raises:
        ValueError: there is nothing to repeat.
    """
    if len(samples) == 0:
        raise ValueError("no samples to fill a window with")
    return np.resize(samples, window_samples)


class StreamWindower:
    """The windows of `plan_windows`, from blocks as they come, with at most a window and a block in memory."""

    def __init__(self, window_samples: int, hop_samples: int) -> None:
        _require_no_gaps(window_samples, hop_samples)
        self._window = window_samples
        self._hop = hop_samples
        self._held = np.zeros(0, np.float32)
        self._held_from = 0
        self._next_start = 0
        self._covered = 0

    @property
    def n_samples(self) -> int:
        """How many samples came so far."""
        return self._held_from + len(self._held)

    def push(self, samples: NDArray[np.float32]) -> list[HeardWindow]:
        """The windows that became whole.

        Shape:
            `[n]`, any n.
        """
        self._held = np.concatenate((self._held, samples))
        windows = []
        while self._next_start + self._window <= self.n_samples:
            windows.append(self._cut(self._next_start, self._next_start + self._window))
            self._next_start += self._hop
        # The last window may reach back a whole window from an end that is not known yet.
        keep_from = max(self._held_from, min(self._next_start, self.n_samples - self._window))
        self._held = self._held[keep_from - self._held_from :].copy()
        self._held_from = keep_from
        return windows

    def finish(self) -> list[HeardWindow]:
        """The window over the end, if the others left it uncovered."""
        if self._covered == self.n_samples:
            return []
        return [self._cut(max(0, self.n_samples - self._window), self.n_samples)]

    def _cut(self, start: int, end: int) -> HeardWindow:
        self._covered = end
        return HeardWindow(
            start, end, fill_window(self._held[start - self._held_from : end - self._held_from], self._window)
        )


def _require_no_gaps(window_samples: int, hop_samples: int) -> None:
    if window_samples < 1 or hop_samples < 1:
        raise ValueError(f"window {window_samples} and hop {hop_samples} must be at least 1 sample")
    if hop_samples > window_samples:
        raise ValueError(f"a hop of {hop_samples} samples leaves gaps between windows of {window_samples}")
