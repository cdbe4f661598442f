"""The progress bar of a scan: files, times real time, time left; on stderr, in terminals only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from spoofcheck.schema import Finding


class RichProgress:
    """A `spoofcheck.detect.progress.Progress` drawn with rich.

    The bar advances by bytes, since sizes are known before anything is opened; within a file by its header's duration.

    Args:
        console: where to draw.
        enabled: False draws nothing.
        evidence_cost: how many times longer than its judgement the evidence of a file takes; it is heard again for it.
    """

    def __init__(self, console: Console, enabled: bool = True, evidence_cost: float = 0.0) -> None:
        self._bar = Progress(
            TextColumn("{task.fields[files]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not (enabled and console.is_terminal),
            transient=True,
        )
        self._task = self._bar.add_task("scan", total=None, files="", rate="")
        self._bytes: dict[Path, int] = {}
        self._duration_s: dict[Path, float | None] = {}
        self._position_s: dict[Path, float] = {}
        self._share: dict[Path, float] = {}
        self._done: set[Path] = set()
        self._done_bytes = 0.0
        self._first_share = 1 / (1 + evidence_cost)
        self._heard_s = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def started(self, inputs: Sequence[Path]) -> None:
        """Set the bar's length."""
        self._bytes = {path: _size_bytes(path) for path in inputs}
        self._bar.update(self._task, total=sum(self._bytes.values()))
        self._show()

    def opened(self, path: Path, duration_s: float | None) -> None:
        """Remember how long the file claims to be."""
        self._duration_s[path] = duration_s

    def heard(self, path: Path, position_s: float) -> None:
        """Advance within a file."""
        advance_s = position_s - self._position_s.get(path, 0.0)
        if advance_s <= 0:  # another channel of what was heard already
            return
        self._position_s[path] = position_s
        self._heard_s += advance_s
        self._advance(path, self._first_share * self._part(path, position_s))

    def heard_again(self, path: Path, position_s: float) -> None:
        """Advance within a file that was judged."""
        self._advance(path, self._first_share + (1 - self._first_share) * self._part(path, position_s))

    def finished(self, path: Path, finding: Finding) -> None:  # noqa: ARG002
        """Complete a file."""
        self._done.add(path)
        self._advance(path, 1.0)

    def _part(self, path: Path, position_s: float) -> float:
        """How much of a file lies before a position; 0 where its duration is not known."""
        duration_s = self._duration_s.get(path)
        return min(1.0, position_s / duration_s) if duration_s else 0.0

    def _advance(self, path: Path, share: float) -> None:
        gained = share - self._share.get(path, 0.0)
        if gained > 0:
            self._share[path] = share
            self._done_bytes += gained * self._bytes.get(path, 0)
        self._show()

    def _show(self) -> None:
        elapsed_s = self._bar.tasks[0].elapsed or 0.0
        rate = f"{self._heard_s / elapsed_s:.0f} x real time" if elapsed_s > 1 else ""
        files = f"{len(self._done)}/{len(self._bytes)} files"
        self._bar.update(self._task, completed=self._done_bytes, files=files, rate=rate)


def _size_bytes(path: Path) -> int:
    try:
        return max(1, path.stat().st_size)
    except OSError:
        return 1
