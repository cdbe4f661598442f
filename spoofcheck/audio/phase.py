"""The windows of a recording when the first of them starts later than the recording does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.windows import HeardWindow, StreamWindower, fill_window


class PhasedWindower:
    """Windows from `phase_samples` on at multiples of the hop, from blocks as they come.

    As in `plan_windows` every sample lies in at least one window: one more window lies over the begin, and one over
    the end, where the others leave it uncovered. A recording no longer than a window is repeated to fill it; there the
    repetition starts at the phase.

    Args:
        window_samples: length of a window.
        hop_samples: distance of their starts, at most `window_samples`.
        phase_samples: above 0 and below `hop_samples`.

    Raises:
        ValueError: sizes that contradict this.
    """

    def __init__(self, window_samples: int, hop_samples: int, phase_samples: int) -> None:
        if not 0 < phase_samples < hop_samples:
            raise ValueError(f"a phase of {phase_samples} samples must lie inside a hop of {hop_samples}")
        self._window = window_samples
        self._phase = phase_samples
        self._windower = StreamWindower(window_samples, hop_samples)
        # Enough for the window over the begin, and for the one over the end of a recording that ends there.
        self._head = np.zeros(0, np.float32)
        self._n_samples = 0
        self._head_is_out = False

    @property
    def n_samples(self) -> int:
        """How many samples came so far."""
        return self._n_samples

    def push(self, samples: NDArray[np.float32]) -> list[HeardWindow]:
        """The windows that became whole, in order of time. Shape: `[n]`, any n."""
        room = self._window + self._phase - len(self._head)
        if room > 0:
            self._head = np.concatenate((self._head, samples[:room]))
        later = self._windower.push(samples[max(0, self._phase - self._n_samples) :])
        self._n_samples += len(samples)
        return [*self._over_the_begin(), *map(self._shifted, later)]

    def finish(self) -> list[HeardWindow]:
        """The windows over the end."""
        n_samples = self._n_samples
        if n_samples == 0:
            return []
        if n_samples <= self._window:
            return [HeardWindow(0, n_samples, fill_window(np.roll(self._head, -self._phase), self._window))]
        if n_samples < self._window + self._phase:
            return [HeardWindow(n_samples - self._window, n_samples, self._head[n_samples - self._window :].copy())]
        return [self._shifted(window) for window in self._windower.finish()]

    def _over_the_begin(self) -> list[HeardWindow]:
        if self._head_is_out or self._n_samples <= self._window:
            return []
        self._head_is_out = True
        return [HeardWindow(0, self._window, self._head[: self._window].copy())]

    def _shifted(self, window: HeardWindow) -> HeardWindow:
        return HeardWindow(window.start + self._phase, window.end + self._phase, window.samples)
