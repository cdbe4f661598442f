"""What a report shows around an exhibit's LLR: its place among the calibration recordings, and its stability. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from spoofcheck.render import measures, wording
from spoofcheck.render.drawing import Scale, Tick
from spoofcheck.render.text import format_llr
from spoofcheck.schema import Finding, ScanDocument, ScorePercentile, Verdict

_MINUS = "\N{MINUS SIGN}"
_MARGIN = 0.04
_TICK_STEPS = (1, 2, 5, 10, 20, 50, 100)
_MOST_TICKS = 9


@dataclass(frozen=True, slots=True)
class Spread:
    """How the LLRs of one class of calibration recordings are spread; places in percent of the drawing."""

    label: str
    kind: str
    y: int
    low_x: str
    high_x: str
    box_x: str
    box_width: str
    median_x: str


@dataclass(frozen=True, slots=True)
class ScorePosition:
    """The pooled LLR on one axis with the calibration recordings."""

    marker_x: str
    zero_x: str
    spreads: tuple[Spread, ...]
    ticks: tuple[Tick, ...]
    low: str
    high: str
    sentence: str
    description: str


@dataclass(frozen=True, slots=True)
class StabilityRow:
    """One judgement of the exhibit: unchanged, or after a change."""

    label: str
    llr: str
    verdict: Verdict | None
    x: str | None
    changed: bool
    flipped: bool


@dataclass(frozen=True, slots=True)
class StabilityView:
    """The stability card, ready to be drawn; places in percent."""

    rows: tuple[StabilityRow, ...]
    zero_x: str
    threshold_xs: tuple[str, ...]
    range_x: str | None
    range_width: str
    low: str
    high: str
    lowest: str
    highest: str
    sentence: str
    flips: int


def score_position(
    finding: Finding, percentiles: Sequence[ScorePercentile], bound: float | None
) -> ScorePosition | None:
    """Where the pooled LLR lies among those of the calibration recordings; None without either."""
    llr = finding.spoof_llr
    table = sorted(percentiles, key=lambda entry: entry.percent)
    if llr is None or len(table) < 2:
        return None
    human = [(entry.percent, entry.bonafide_llr) for entry in table]
    synthetic = [(entry.percent, entry.spoof_llr) for entry in table]
    reached = [llr, 0.0, *(value for _, value in (*human, *synthetic))]
    margin = _MARGIN * (max(reached) - min(reached) or 1.0)
    scale = Scale(min(reached) - margin, max(reached) + margin)
    sentence = wording.score_position(_share_below(human, llr), _share_below(synthetic, llr))
    return ScorePosition(
        marker_x=scale.x(llr),
        zero_x=scale.x(0.0),
        spreads=(_spread("human", "human", 6, human, scale), _spread("synthetic", "synthetic", 28, synthetic, scale)),
        ticks=tuple(_llr_ticks(scale)),
        low=f"{table[0].percent:g}",
        high=f"{table[-1].percent:g}",
        sentence=sentence,
        description=f"Pooled LLR {_llr(llr, bound)} beside the calibration recordings. {sentence}",
    )


def _spread(label: str, kind: str, y: int, values: Sequence[tuple[float, float]], scale: Scale) -> Spread:
    quartiles = [_value_at(values, percent) for percent in (25.0, 50.0, 75.0)]
    return Spread(
        label=label,
        kind=kind,
        y=y,
        low_x=scale.x(values[0][1]),
        high_x=scale.x(values[-1][1]),
        box_x=scale.x(quartiles[0]),
        box_width=scale.width(quartiles[0], quartiles[2]),
        median_x=scale.x(quartiles[1]),
    )


def _value_at(values: Sequence[tuple[float, float]], percent: float) -> float:
    """The LLR below which `percent` of the recordings lie, between two known ones in proportion."""
    for (first, low), (last, high) in pairwise(values):
        if percent <= last:
            share = (percent - first) / (last - first) if last > first else 0.0
            return low + max(0.0, share) * (high - low)
    return values[-1][1]


def _share_below(values: Sequence[tuple[float, float]], llr: float) -> tuple[str, float]:
    """How many of 100 recordings lie below `llr`: `("about", 37.2)`, or beyond what is known `("less than", 1)`."""
    if llr <= values[0][1]:
        return ("less than", values[0][0]) if values[0][0] > 0 else ("none", 0.0)
    for (first, low), (last, high) in pairwise(values):
        # Where many share the value, as they do at the bound, only those before them are below.
        if llr <= high:
            return "about", first + (llr - low) / (high - low) * (last - first)
    return ("more than", values[-1][0]) if values[-1][0] < 100 else ("all", 100.0)


def _llr_ticks(scale: Scale) -> list[Tick]:
    step = next((s for s in _TICK_STEPS if (scale.high - scale.low) / s <= _MOST_TICKS), _TICK_STEPS[-1])
    first = -int(-scale.low // step) if scale.low < 0 else -(-int(scale.low) // step)
    values = [index * step for index in range(first, int(scale.high // step) + 1)]
    return [Tick(scale.x(value), _signed(value), "middle", value != 0 and index % 2 == 1) for index, value in
            enumerate(values)]  # fmt: skip


def _signed(value: int) -> str:
    return f"{value:+d}".replace("-", _MINUS) if value else "0"


def stability_view(finding: Finding, document: ScanDocument) -> StabilityView | None:
    """The card of an exhibit; None without one."""
    card = finding.stability
    bound, options = measures.llr_bound(document), document.options
    if card is None or bound is None:
        return None
    llrs = [finding.spoof_llr, *(run.spoof_llr for run in card.runs), card.lowest_llr, card.highest_llr]
    reach = max(bound, *(abs(llr) for llr in llrs if llr is not None), 1.0)
    scale = Scale(-reach * (1 + _MARGIN), reach * (1 + _MARGIN))

    def x(llr: float | None) -> str | None:
        return None if llr is None else scale.x(llr)

    low, high = card.lowest_llr, card.highest_llr
    unchanged = StabilityRow(
        "as it is", _llr(finding.spoof_llr, bound), None if card.flips else finding.verdict, x(finding.spoof_llr),
        changed=False, flipped=False,
    )  # fmt: skip
    return StabilityView(
        rows=(
            unchanged,
            *(
                StabilityRow(
                    run.label,
                    _llr(run.spoof_llr, bound),
                    run.verdict,
                    x(run.spoof_llr),
                    changed=True,
                    flipped=run.flipped,
                )
                for run in card.runs
            ),
        ),
        zero_x=scale.x(0.0),
        threshold_xs=tuple(
            scale.x(threshold)
            for threshold in (options.bonafide_threshold_llr, options.spoof_threshold_llr)
            if threshold is not None
        ),
        range_x=x(low),
        range_width="0%" if low is None or high is None else scale.width(low, high),
        low=_llr(-reach),
        high=_llr(reach),
        lowest=_llr(low, bound),
        highest=_llr(high, bound),
        sentence=wording.stability(len(card.runs), card.flips),
        flips=card.flips,
    )


def _llr(llr: float | None, bound: float | None = None) -> str:
    return format_llr(llr, bound).replace("-", _MINUS)
