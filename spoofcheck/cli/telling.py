"""What a scan's result says on the terminal: its table, its summary, and warnings in red."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from spoofcheck.schema import ControlResult, Finding, ScanDocument


def show(document: ScanDocument, table: bool, store: Path | None = None) -> None:
    """The table on standard output, where it is wanted, and the summary on standard error.

    Args:
        document: the result.
        table: whether there is to be one.
        store: where findings were kept.
    """
    from rich.console import Console

    from spoofcheck.render.console import ScanTable, summary

    if table:
        Console().print(ScanTable(document))
    Console(stderr=True).print(
        summary(document, "" if store is None else str(store)), highlight=False, markup=False, end=""
    )


def warn(warnings: Sequence[str]) -> None:
    """What must be seen, even with --quiet: red lines on standard error."""
    from rich.console import Console
    from rich.text import Text

    from spoofcheck.render.text import printable

    console = Console(stderr=True)
    for warning in warnings:
        console.print(Text(printable(warning), style="bold red"), soft_wrap=True)


def control_warnings(controls: Sequence[ControlResult]) -> list[str]:
    """A line for each control that misbehaved."""
    return [f"CONTROL FAILED: {control.message}" for control in controls if control.as_expected is False]


def custody_warnings(findings: Sequence[Finding]) -> list[str]:
    """A line for each file that is not what was examined any more."""
    changed = {each.path: each for each in findings if each.custody is not None and not each.custody.unchanged}
    return [f"{path}: {finding.reasons[-1].message}" for path, finding in changed.items()]
