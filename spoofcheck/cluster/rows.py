"""Chunks as rows of Ray Data: a number and a pickle. Both ends are our own actors of one scan."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa

Kind = TypeVar("Kind")


def rows_of(values: Iterable[tuple[int, object]]) -> pa.Table:
    """A row per `(number of the input, value)`."""
    import pyarrow as pa

    listed = list(values)
    return pa.table(
        {
            "input": pa.array([number for number, _ in listed], pa.int64()),
            "data": pa.array([pickle.dumps(value, protocol=5) for _, value in listed], pa.large_binary()),
        }
    )


def row_of(number: int, value: object) -> pa.Table:
    """One row."""
    return rows_of([(number, value)])


def values_of(table: pa.Table, kind: type[Kind]) -> Iterator[Kind]:
    """What the rows hold.

    Raises:
        TypeError: something else.
    """
    for data in table["data"].to_pylist():
        value = pickle.loads(data)
        if not isinstance(value, kind):
            raise TypeError(f"a row holds {type(value).__name__}, not {kind.__name__}")
        yield value
