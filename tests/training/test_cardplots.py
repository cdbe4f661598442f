"""The picture beside a card: drawn from the record alone, the same each time, and safe to show."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from spoofcheck.nets.index import PLOT_FILE
from spoofcheck.training.cardplots import write_plot
from spoofcheck.training.figures import detector_figures
from tests.support.exhibits import decision, exhibit, neutral_calibration, normal


def figures(*splits: Any) -> dict[str, Any]:
    exhibits = [
        exhibit(raw, system, split=split)
        for split in splits
        for system, mean in (("-", -1.0), ("a", 1.0))
        for raw in normal(10, mean)
    ]
    return detector_figures(exhibits, neutral_calibration(), decision(), ())


def test_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        write_plot(tmp_path, figures("dev", "test"))
        drawn.append((tmp_path / PLOT_FILE).read_bytes())
        (tmp_path / PLOT_FILE).unlink()
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) < 100_000
    assert list(tmp_path.iterdir()) == []


def test_a_picture_names_its_sets_and_holds_no_script_or_date(tmp_path: Path) -> None:
    write_plot(tmp_path, figures("dev", "test"))
    text = (tmp_path / PLOT_FILE).read_text(encoding="utf-8")
    shown = set("".join(ElementTree.fromstring(text).itertext()).split("\n"))
    assert {"dev", "test", "Reliability, windows", "Reliability, recordings"} <= {line.strip() for line in shown}
    assert "<script" not in text
    assert "dc:date" not in text

    write_plot(tmp_path, figures("dev") | {"folds": [{"name": "one"}]})
    told = (tmp_path / PLOT_FILE).read_text(encoding="utf-8")
    assert "left out" in told
    assert ">test<" not in told


def test_without_calibration_there_is_no_picture(tmp_path: Path) -> None:
    older = figures("dev")
    del older["dev"]["calibration_plot"]
    for nothing in ({}, older, {"dev": {"accuracy": 1.0}}):
        write_plot(tmp_path, nothing)
    assert list(tmp_path.iterdir()) == []
