"""Are the channels of a recording one signal, to be mixed, or several, like the legs of a call?"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_IDENTICAL_RESIDUAL = 10 ** (-40 / 10)
_AUDIBLE_POWER = 10 ** (-70 / 10)


def channels_are_one(blocks: Iterable[NDArray[np.float32]], sample_rate_hz: int) -> bool:
    """Whether every channel is the first one at another level, in every second of the recording.

    Second by second, because a leg that differs for two seconds in an hour is a second exhibit, too; and
    because the answer for a call is known after the first of them, and reading stops there. In each second,
    every channel's residual against the best positive gain times the first channel must stay 40 dB below the
    channel. A silent channel beside a sounding one, and one of inverted polarity (mixing would cancel both),
    is another signal. Seconds in which no channel reaches -70 dBFS say nothing.

    Args:
        blocks: float32 `[frames, channels]`, in order.
        sample_rate_hz: frames per second.
    """
    held: NDArray[np.float32] | None = None
    for block in blocks:
        held = block if held is None else np.concatenate((held, block))
        whole = len(held) // sample_rate_hz * sample_rate_hz
        if any(_differ(held[start : start + sample_rate_hz]) for start in range(0, whole, sample_rate_hz)):
            return False
        held = held[whole:].copy()
    return held is None or len(held) == 0 or not _differ(held)


def _differ(segment: NDArray[np.float32]) -> bool:
    samples = segment.astype(np.float64)
    power = np.mean(samples**2, axis=0)
    if power.max() < _AUDIBLE_POWER:
        return False
    if power.min() < _IDENTICAL_RESIDUAL * power.max():
        return True
    cross = samples[:, 0] @ samples / len(samples)
    residual = power - cross**2 / power[0]
    return bool(np.any(cross <= 0) or np.any(residual > _IDENTICAL_RESIDUAL * power))
