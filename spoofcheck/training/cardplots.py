"""The calibration plots beside a card: one small SVG file, drawn from the figures of a training record alone."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spoofcheck.nets.index import PLOT_FILE
from spoofcheck.training.figures import SPLITS
from spoofcheck.training.rates import Figures

_COLOURS = {"dev": "#1f5f99", "test": "#b3541e"}
_LEVELS = {"window": "windows", "exhibit": "recordings"}


def write_plot(directory: Path, figures: Figures) -> None:
    """Write `calibration.svg` into a model directory; nothing where the figures hold no calibration.

    The same figures give the same bytes with one version of matplotlib.

    Args:
        directory: of the model; it is there already.
        figures: of its training record, by split.
    """
    plotted = {split: figures[split] for split in SPLITS if "calibration_plot" in figures.get(split, {})}
    if not plotted:
        return
    names = {"dev": "left out" if figures.get("folds") else "dev", "test": "test"}
    with matplotlib.rc_context(
        {"svg.hashsalt": "spoofcheck", "svg.fonttype": "none", "font.size": 9, "axes.titlesize": 9}
    ):
        figure = Figure(figsize=(7.6, 7.0), layout="constrained")
        panels = figure.subplots(2, 2)
        for column, (level, words) in enumerate(_LEVELS.items()):
            _frame_reliability(panels[0, column], words)
            _frame_tippett(panels[1, column], words)
            for split, f in plotted.items():
                _reliability(panels[0, column], f["calibration_plot"][level], names[split], _COLOURS[split])
                _tippett(panels[1, column], f["calibration_plot"][level], _COLOURS[split])
            panels[0, column].legend(loc="upper left")
        beside = directory / (PLOT_FILE + ".tmp")
        figure.savefig(beside, format="svg", metadata={"Date": None, "Creator": "spoofcheck"})
    beside.replace(directory / PLOT_FILE)


def _frame_reliability(panel: Axes, words: str) -> None:
    panel.set(
        title=f"Reliability, {words}", xlabel="synthetic speech promised (even prior odds)",
        ylabel="synthetic speech there", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02),
    )  # fmt: skip
    panel.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":")


def _frame_tippett(panel: Axes, words: str) -> None:
    panel.set(
        title=f"Tippett, {words}: synthetic (solid), human (dashed)", xlabel="LLR (natural log)",
        ylabel="share with at least this LLR", ylim=(-0.02, 1.02),
    )  # fmt: skip
    panel.axvline(0, color="0.6", linewidth=0.8, linestyle=":")


def _reliability(panel: Axes, plot: Figures, name: str, colour: str) -> None:
    rows = plot["reliability"]
    panel.plot(
        [row["predicted"] for row in rows], [row["observed"] for row in rows], color=colour, marker="o", markersize=3.5,
        linewidth=1.2, label=name,
    )  # fmt: skip


def _tippett(panel: Axes, plot: Figures, colour: str) -> None:
    rows = plot["percentiles"]
    above = [1 - row["percent"] / 100 for row in rows]
    for key, style in (("spoof", "-"), ("bonafide", "--")):
        panel.plot([row[key] for row in rows], above, color=colour, linestyle=style, linewidth=1.2)
