"""A bar for work with a known number of items: how many, how fast, how long still; on stderr. Logs get a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from spoofcheck.render.text import printable

Item = TypeVar("Item")


class RichSteps:
    """A `spoofcheck.training.progress.Steps` drawn with rich."""

    def __init__(self, console: Console, enabled: bool = True) -> None:
        self._console = console
        self._enabled = enabled

    def over(self, items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
        """The items, unchanged, as they come."""
        if not self._console.is_terminal:
            if self._enabled:
                self.note(f"{description} ({total:,})")
            yield from items
            return
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

    def note(self, text: str) -> None:
        """One line."""
        self._console.print(printable(text), highlight=False, markup=False, soft_wrap=True)
