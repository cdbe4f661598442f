"""What the distance to the calibration data means for a likelihood ratio: full weight, less, or none."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Literal

from spoofcheck.detect.calibration import to_llr
from spoofcheck.nets.config import ModelConfig
from spoofcheck.schema import ValidityLimits


def validity_weight(distance: float | None, limits: ValidityLimits | None) -> float:
    """What an LLR is multiplied by: 1 up to `shrink_from`, falling linearly to 0 at `refuse_from`; 1 without a gate."""
    if distance is None or limits is None:
        return 1.0
    return min(1.0, max(0.0, (limits.refuse_from - distance) / (limits.refuse_from - limits.shrink_from)))


def shrunk_llr(spoof_llr: float, distance: float | None, limits: ValidityLimits | None) -> float:
    """The LLR an input at that distance is given; never minus zero."""
    return spoof_llr * validity_weight(distance, limits) + 0.0


def window_llr(raw_score: float, distance: float | None, config: ModelConfig) -> float | None:
    """The LLR of a window: calibrated, bounded, and shrunk where it lies far from the calibration data.

    None for an uncalibrated model.

    Raises:
        ValueError: the score is NaN.
    """
    return _llr(raw_score, distance, config, "window")


def exhibit_llr(raw_score: float, distance: float | None, config: ModelConfig) -> float | None:
    """The same of an exhibit, whose raw score and distance are pooled over its scored windows.

    Raises:
        ValueError: the score is NaN.
    """
    return _llr(raw_score, distance, config, "exhibit")


def _llr(
    raw_score: float, distance: float | None, config: ModelConfig, level: Literal["window", "exhibit"]
) -> float | None:
    calibration, gate = config.calibration, config.gate
    if calibration is None:
        return None
    is_window = level == "window"
    llr = to_llr(raw_score, calibration.window if is_window else calibration.exhibit, calibration.llr_bound)
    return shrunk_llr(llr, distance, None if gate is None else gate.window if is_window else gate.exhibit)


def exhibit_distance(distances: Iterable[float | None]) -> float | None:
    """Distance of an exhibit: the median over its scored windows; None without any."""
    measured = [distance for distance in distances if distance is not None]
    return median(measured) if measured else None
