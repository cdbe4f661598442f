"""File names that fit a column: relative to their common folder, cut in the middle, never two alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import PurePosixPath
from posixpath import commonpath, dirname

from rich.cells import cell_len

from spoofcheck.render.text import printable


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


def shortened(names: Sequence[str], width: int) -> dict[str, str]:
    """Each name in at most `width` terminal cells, no two alike.

    A name that is too long loses its middle. Names that would then look the same keep the stretch in which
    they differ instead; where even that does not tell them apart, they stay whole (and a table folds them).
    """
    labels = {name: cut_middle(name, width) for name in names}
    labels.update(_told_apart(_clashing(labels), width))
    whole = {name: name for name in _clashing(labels)}
    return labels | whole


def cut_middle(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in at most `width` cells: a third of the room goes to its start, the rest to its end."""
    if cell_len(text) <= width:
        return text
    room = max(0, width - cell_len(ellipsis))
    head = _head(text, room // 3)
    return head + ellipsis + _tail(text, room - cell_len(head))


def _clashing(labels: Mapping[str, str]) -> list[str]:
    uses = Counter(labels.values())
    return [name for name, label in labels.items() if uses[label] > 1]


def _told_apart(names: Sequence[str], width: int) -> dict[str, str]:
    """Labels that begin a little before the first character in which the names differ."""
    if not names:
        return {}
    first, last = min(names), max(names)  # in sorted order these two share what all share
    shared = next(i for i, (a, b) in enumerate(zip_longest(first, last)) if a != b)
    start = max(0, shared - width // 6)
    return {name: cut_middle("…" + name[start:], width) if start else name for name in names}


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
