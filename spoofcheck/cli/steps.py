"""A bar for work with a known number of items: how many, how fast, how long still; on stderr, in terminals only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")


class RichSteps:
    """A `spoofcheck.training.progress.Steps` drawn with rich."""

    def __init__(self, console: Console, enabled: bool = True) -> None:
        self._console = console
        self._enabled = enabled and console.is_terminal

    def over(self, items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
        """The items, unchanged, as they come."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, disable=not self._enabled, transient=True) as bar:
            task = bar.add_task(description, total=total, rate="")
            for item in items:
                bar.advance(task)
                elapsed_s = bar.tasks[0].elapsed or 0.0
                if elapsed_s > 1:
                    bar.update(task, rate=f"{bar.tasks[0].completed / elapsed_s:.1f}/s")
                yield item
