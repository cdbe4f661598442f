"""How long work tells how far it is: passed in by whoever draws it, silent by default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Steps(Protocol):
    """Watches a piece of work with a known number of items."""

    def over(self, items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
        """The items, unchanged, as they come."""

    def note(self, text: str) -> None:
        """Something to be told at once."""


class NoSteps:
    """Watches nothing."""

    def over(self, items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
        """The items, unchanged."""
        yield from items

    def note(self, text: str) -> None:
        """Nothing."""
