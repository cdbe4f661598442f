"""From a figure to a place on a drawing: scales and their ticks. Pure; lengths are in the drawing's own units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import NormalDist

_NORMAL = NormalDist()
_RATES = (0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999)
_LOWEST = (0.01, 0.005, 0.001, 0.0001)
_HIGHEST = (0.6, 0.8, 0.95, 0.99, 0.999, 0.9999)
_LOW_SHARE = 0.1
_TICKS = 5


def probit(share: float) -> float:
    """The normal deviate that a share (0 to 1) of a standard normal distribution lies below; 0 and 1 are infinite."""
    if share <= 0:
        return -math.inf
    return math.inf if share >= 1 else _NORMAL.inv_cdf(share)


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps `low` to `start` and `high` to `end`, evenly in `warp` of the value; an upright axis has `start > end`.

    A value outside is drawn on the nearer edge: an error rate of 0 has no place on a probit axis.
    """

    low: float
    high: float
    start: float
    end: float
    warp: Callable[[float], float] = float

    def __call__(self, value: float) -> float:
        """Where `value` lies on the drawing."""
        low, high = self.warp(self.low), self.warp(self.high)
        inside = min(max(self.warp(value), low), high)
        return self.start + (inside - low) / (high - low) * (self.end - self.start)


def padded(values: Iterable[float]) -> tuple[float, float]:
    """The span of `values`, widened by half where there is none: nothing can be drawn on an axis of no length."""
    kept = list(values) or [0.0]
    low, high = min(kept), max(kept)
    if high - low > 1e-9 * max(1.0, abs(low), abs(high)):
        return low, high
    half = max(0.5, abs(low) / 2)
    return low - half, high + half


def ticks(low: float, high: float, about: int = _TICKS) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) from `low` to `high`, about as many as asked for."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def det_limits(eers: Iterable[float]) -> tuple[float, float]:
    """The error rates a DET plot runs between, on both axes, so that each EER lies well inside.

    0.01 to 0.6 unless an EER is small (then down to 0.0001) or large (then up to 0.9999).
    """
    known = list(eers) or [0.5]
    low = next((rate for rate in _LOWEST if rate <= _LOW_SHARE * min(known)), _LOWEST[-1])
    high = next((rate for rate in _HIGHEST if rate >= min(1.0, 1.4 * max(known))), _HIGHEST[-1])
    return low, high


def det_ticks(low: float, high: float) -> list[float]:
    """The customary rates of a DET plot between two limits."""
    return [rate for rate in _RATES if low <= rate <= high]


def tick_label(value: float) -> str:
    """A round value as short as it can be, with a true minus sign."""
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}")


def rate_label(rate: float) -> str:
    """An error rate (0 to 1) in percent, the sign left to the axis."""
    return f"{100 * rate:.6g}"
