"""The acoustic observations of an exhibit as a report shows them: remarks first, then every measure. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spoofcheck.render.text import MISSING
from spoofcheck.schema import AcousticObservations

_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class AcousticRow:
    """One measure; `human_x` and `synthetic_x` in percent of the bar, None without a percentile."""

    label: str
    value: str
    unit: str
    human: str
    synthetic: str
    human_x: str | None
    synthetic_x: str | None
    remarked: bool


@dataclass(frozen=True, slots=True)
class AcousticView:
    """All measures of one exhibit, and the sentences on the few that are unusual."""

    remarks: tuple[str, ...]
    rows: tuple[AcousticRow, ...]
    observations: AcousticObservations


def acoustic_view(observations: AcousticObservations | None) -> AcousticView | None:
    """The view of an exhibit's observations; None without any."""
    if observations is None or not observations.measures:
        return None
    return AcousticView(
        remarks=tuple(measure.remark for measure in observations.measures if measure.remark),
        rows=tuple(
            AcousticRow(
                label=measure.label,
                value=MISSING if measure.value is None else three_digits(measure.value),
                unit=measure.unit if measure.value is not None else "",
                human=_percentile(measure.human_percentile),
                synthetic=_percentile(measure.synthetic_percentile),
                human_x=_x(measure.human_percentile),
                synthetic_x=_x(measure.synthetic_percentile),
                remarked=measure.remark is not None,
            )
            for measure in observations.measures
        ),
        observations=observations,
    )


def three_digits(value: float) -> str:
    """Three significant digits, and all that stand left of the point."""
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".replace("-", _MINUS)


def _percentile(percentile: float | None) -> str:
    """A rank of 100, cut so that what is inside never reads as an end."""
    if percentile is None:
        return MISSING
    if percentile < 1:
        return "0" if percentile == 0 else "< 1"
    return "100" if percentile == 100 else "> 99" if percentile > 99 else f"{percentile:.0f}"


def _x(percentile: float | None) -> str | None:
    return None if percentile is None else f"{percentile:.3g}%"
