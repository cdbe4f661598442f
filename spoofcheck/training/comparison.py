"""Detectors side by side on the same recordings, as a table for cards and documents."""

from __future__ import annotations

from typing import Any

Figures = dict[str, Any]


def comparison_table(kept: Figures) -> str:
    """Markdown: a row for every model, then how each ensemble differs from what is named before it.

    Args:
        kept: `models`, by name the error figures of `spoofcheck eval` and as `flagged` the shares of `human` and
            `synthetic` recordings that reach the model's own threshold; and `differences`, those of `eval --compare`.
            A model without calibration has None for what depends on LLRs.
    """
    first = next(iter(kept["models"].values()))
    lines = [
        f"{first['bonafide_trials']} human and {first['spoof_trials']} synthetic recordings of test.",
        "",
        "| model | EER % (95 % interval) | minDCF | actDCF | Cllr | Cllr_min | human flagged % | synthetic flagged % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, x in kept["models"].items():
        interval = x["eer_interval"]
        between = f" ({100 * interval['low']:.1f}-{100 * interval['high']:.1f})" if interval else ""
        flagged = x["flagged"] or {"human": None, "synthetic": None}
        lines.append(
            f"| {name} | {100 * x['eer']:.1f}{between} | {_number(x['min_dcf'])} | {_number(x['act_dcf'])} "
            f"| {_number(x['cllr'])} | {_number(x['cllr_min'])} | {_percent(flagged['human'])} "
            f"| {_percent(flagged['synthetic'])} |"
        )
    lines += [
        "",
        '"-" stands where a model is not calibrated. Differences, second less first, with speakers resampled alike for',
        "both (below 0: the second errs less):",
        "",
        "| first | second | EER, points (95 % interval) | Cllr (95 % interval) |",
        "|---|---|---|---|",
    ]
    found: dict[tuple[str, str], Figures] = {}
    for one in kept["differences"]:
        found.setdefault((one["first"], one["second"]), {})[one["statistic"]] = one
    for (one, other), by in found.items():
        if other.startswith("ensemble"):
            lines.append(
                f"| {one} | {other} | {_difference(by['eer'], 100, 1)} | {_difference(by.get('cllr'), 1, 3)} |"
            )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _difference(one: Figures | None, unit: float, places: int) -> str:
    """`-1.2 (-3.0 to +0.5)`."""
    if one is None:
        return "-"
    interval = one["interval"]
    text = f"{unit * one['difference']:+.{places}f}"
    if interval is None:
        return text
    return f"{text} ({unit * interval['low']:+.{places}f} to {unit * interval['high']:+.{places}f})"
