"""Parts of drawings that every chart of a page shares: rectangles, ticks, places in percent. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from spoofcheck.render.timeline import ticks


@dataclass(frozen=True, slots=True)
class Rect:
    """One rectangle of a drawing: `x` and `width` in percent of its width, `y` and `height` in pixels."""

    x: str
    width: str
    y: str
    height: str
    kind: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis, at `x` percent."""

    x: str
    label: str
    anchor: str
    minor: bool


@dataclass(frozen=True, slots=True)
class Scale:
    """A horizontal axis from `low` to `high`."""

    low: float
    high: float

    def x(self, value: float) -> str:
        """Where a value lies, in percent of the width; values beyond the axis lie at its end."""
        return percent(min(max(value, self.low), self.high) - self.low, self.high - self.low)

    def width(self, first: float, last: float) -> str:
        """How wide a stretch is, in percent of the width."""
        held = [min(max(value, self.low), self.high) for value in (first, last)]
        return percent(held[1] - held[0], self.high - self.low)


def percent(part: float, whole: float) -> str:
    """A share as an SVG length, to a tenth of a pixel on any screen."""
    return f"{100 * part / whole:.5g}%"


def time_ticks(length_s: float) -> list[Tick]:
    """Round times along a recording."""
    times = ticks(length_s)
    hours = length_s >= 3_600
    labels = [_axis_label(time, hours=hours) for time in times]
    return [
        Tick(
            x=percent(time, length_s),
            label=label,
            anchor="start" if index == 0 else "end" if time > 0.97 * length_s else "middle",
            minor=index % 2 == 1,
        )
        for index, (time, label) in enumerate(zip(times, labels, strict=True))
    ]


def _axis_label(seconds: float, *, hours: bool) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
