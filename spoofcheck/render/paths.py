"""File names that fit a column: relative to their common folder, cut in the middle, never two alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import PurePosixPath
from posixpath import commonpath, dirname

from rich.cells import cell_len

from spoofcheck.render.text import printable

_ROUNDS = 3


def common_folder(paths: Iterable[str]) -> str:
    """The deepest folder that holds every path; `""` if there is none (relative beside absolute, no path)."""
    folders = {dirname(path) for path in paths}
    if not folders or len({folder.startswith("/") for folder in folders}) > 1:
        return ""
    return commonpath(folders)


def relative_names(paths: Iterable[str]) -> dict[str, str]:
    """Every path relative to the folder they share, safe to print."""
    distinct = list(dict.fromkeys(paths))
    folder = common_folder(distinct)
    return {path: printable(_below(path, folder)) for path in distinct}


def _below(path: str, folder: str) -> str:
    try:
        return str(PurePosixPath(path).relative_to(folder)) if folder else path
    except ValueError:  # a spelling the two modules normalise differently, such as a root of two slashes
        return path


def shortened(names: Sequence[str], width: int, ellipsis: str = "…") -> dict[str, str]:
    """Each name in at most `width` terminal cells, no two alike.

    A name that is too long loses its middle. Names that would then look the same keep the stretch in which
    they differ instead; where even that does not tell them apart, they stay whole (and a table folds them).
    """
    labels = {name: cut_middle(name, width, ellipsis) for name in names}
    for _ in range(_ROUNDS):
        for group in _clashes(labels):
            labels.update(_told_apart(group, width, ellipsis))
    return labels | {name: name for group in _clashes(labels) for name in group}


def cut_middle(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in at most `width` cells: a third of the room goes to its start, the rest to its end."""
    if cell_len(text) <= width:
        return text
    room = max(0, width - cell_len(ellipsis))
    head = _head(text, room // 3)
    return head + ellipsis + _tail(text, room - cell_len(head))


def _clashes(labels: Mapping[str, str]) -> list[list[str]]:
    """The names that share a label, label by label."""
    users: dict[str, list[str]] = defaultdict(list)
    for name, label in labels.items():
        users[label].append(name)
    return [group for group in users.values() if len(group) > 1]


def _told_apart(names: Sequence[str], width: int, ellipsis: str) -> dict[str, str]:
    """Labels that begin a little before the first character in which the names differ."""
    first, last = min(names), max(names)  # in sorted order these two share what all share
    shared = next(i for i, (a, b) in enumerate(zip_longest(first, last)) if a != b)
    start = max(0, shared - width // 6)
    return {name: cut_middle(ellipsis + name[start:] if start else name, width, ellipsis) for name in names}


def _head(text: str, width: int) -> str:
    end = 0
    while end < len(text) and cell_len(text[: end + 1]) <= width:
        end += 1
    return text[:end].rstrip()


def _tail(text: str, width: int) -> str:
    start = len(text)
    while start and cell_len(text[start - 1 :]) <= width:
        start -= 1
    return text[start:].lstrip()
