"""The tables and JSON documents of `spoofcheck corpus stats`, `check` and `verify`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from spoofcheck.render.text import MISSING, isolated, printable

if TYPE_CHECKING:
    from spoofcheck.evaluation.clips import Clip
    from spoofcheck.training.shortcuts import ShortcutReport
    from spoofcheck.training.summary import Row
    from spoofcheck.training.verify import Checked

MOST_VALUES = 25
"""Values of one dimension that a table shows; JSON holds them all."""


def cell(text: str) -> Text:
    """Outside text, made harmless, without markup."""
    return Text(isolated(printable(text)))


def totals_table(rows: Sequence[Row]) -> Table:
    """Clips, hours, speakers and systems by split and label."""
    table = _table("split", "label", "clips", "hours", "speakers", "systems", "no speaker", numbers_from=2)
    for row in rows:
        tally = row.tally
        hours = f"{tally.hours:.2f}" + ("+" if tally.unmeasured else "")
        counts = (f"{number:,}" for number in (tally.speakers, tally.systems, tally.nameless))
        table.add_row(cell(row.split), cell(row.label), f"{tally.clips:,}", hours, *counts)
    return table


def dimension_table(dimension: str, rows: Sequence[Row]) -> Table:
    """Clips by value of one dimension, a column for each split and label that has any."""
    columns = list(dict.fromkeys((row.split, row.label) for row in rows))
    clips: dict[str, dict[tuple[str, str], int]] = {}
    for row in rows:
        clips.setdefault(row.value, {})[row.split, row.label] = row.tally.clips
    values = sorted(clips, key=lambda value: (-sum(clips[value].values()), value))
    table = _table(dimension, *(f"{split}\n{label}" for split, label in columns), numbers_from=1)
    for value in values[:MOST_VALUES]:
        counts = (clips[value].get(column) for column in columns)
        table.add_row(cell(value), *(MISSING if number is None else f"{number:,}" for number in counts))
    if len(values) > MOST_VALUES:
        rest = values[MOST_VALUES:]
        sums = (sum(clips[value].get(column, 0) for value in rest) for column in columns)
        table.add_row(f"({len(rest):,} more)", *(f"{number:,}" for number in sums))
    return table


def shortcut_table(report: ShortcutReport) -> Table:
    """AUC of every feature."""
    from spoofcheck.training.shortcuts import WARN_ABOVE

    table = _table("told from", "AUC", "by speaker", "by repository", "warning", numbers_from=1)
    for shortcut in report.shortcuts:
        aucs = (shortcut.auc, shortcut.by_speaker, shortcut.by_repo)
        warning = Text(f"above {WARN_ABOVE}", style="yellow") if shortcut.is_warning else Text("")
        table.add_row(shortcut.feature, *(MISSING if auc is None else f"{auc:.2f}" for auc in aucs), warning)
    return table


def stats_json(clips: Sequence[Clip]) -> str:
    """Every table of `corpus stats`."""
    from spoofcheck.training.summary import DIMENSIONS, by_dimension, totals

    document = {
        "totals": [_row(row, "") for row in totals(clips)],
        **{
            dimension.replace(" ", "_"): [_row(row, "value") for row in by_dimension(clips, dimension)]
            for dimension in DIMENSIONS
        },
    }
    return _dumps(document)


def shortcuts_json(report: ShortcutReport) -> str:
    """What `corpus check` found."""
    document = asdict(report)
    for entry, shortcut in zip(document["shortcuts"], report.shortcuts, strict=True):
        entry["warning"] = shortcut.is_warning
    return _dumps(document)


def problems_json(checked: Sequence[Checked], clips: int) -> str:
    """What `corpus verify` found."""
    problems = [
        {"repo": item.clip.repo, "path": item.clip.name, "file": str(item.clip.path), "problems": item.problems}
        for item in checked
    ]
    return _dumps({"clips": clips, "problems": problems})


def _row(row: Row, value: str) -> dict[str, Any]:
    named = {value: row.value} if value else {}
    return {"split": row.split, "label": row.label, **named, **asdict(row.tally)}


def _dumps(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"


def _table(*headings: str, numbers_from: int) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(
            Text("\n".join(map(printable, heading.split("\n")))),
            justify="right" if index >= numbers_from else "left",
            overflow="fold",
        )
    return table
