"""What a scan tells whoever watches it; the default watches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from spoofcheck.schema import Finding


class Progress(Protocol):
    """Watches a scan. Calls come from one thread, in order."""

    def started(self, inputs: Sequence[Path]) -> None:
        """The inputs that will be read are known."""

    def opened(self, path: Path, duration_s: float | None) -> None:
        """`path` was recognised; its header claims `duration_s`, if it says."""

    def heard(self, path: Path, position_s: float) -> None:
        """`path` was read up to `position_s`."""

    def heard_again(self, path: Path, position_s: float) -> None:
        """`path` was read up to `position_s` a second time, for the evidence beside its verdict."""

    def finished(self, path: Path, finding: Finding) -> None:
        """A finding of `path` is complete and about to be yielded."""


class NoProgress:
    """Watches nothing."""

    def started(self, inputs: Sequence[Path]) -> None:
        """Do nothing."""

    def opened(self, path: Path, duration_s: float | None) -> None:
        """Do nothing."""

    def heard(self, path: Path, position_s: float) -> None:
        """Do nothing."""

    def heard_again(self, path: Path, position_s: float) -> None:
        """Do nothing."""

    def finished(self, path: Path, finding: Finding) -> None:
        """Do nothing."""
