"""Plain lists: a path, its label, and perhaps what made it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.protocols.lines import (
    SPLITS,
    Line,
    Names,
    default_root,
    or_unknown,
    parse_label,
    read_lines,
)

_Split = Callable[[Line], list[str]]
_HEADER_WORDS = frozenset({"label", "class", "key"})


def read_labels(path: Path, root: Path | None = None) -> list[Clip]:
    """Read lines `path label` or `path label system`, separated by tabs, commas or blanks (the first line decides).

    A first line `path label`, the header of many such files, is left out. With blanks, names cannot hold any.

    Raises:
        UsageError: see `protocols.read_protocol`.
    """
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        return []
    split = _separator(first)
    fields = split(first)
    is_header = len(fields) > 1 and fields[1].strip().casefold() in _HEADER_WORDS
    rows = [(line, _fields(line, split, "path label [system]")) for line in chain([] if is_header else [first], lines)]
    return _clips(path, root, [(line, row[0], row[1], row[2] if len(row) > 2 else "") for line, row in rows])


def read_multiapi(path: Path, root: Path | None = None) -> list[Clip]:
    """Read MultiAPI Spoof's lines `path api label`, or `path label`; `api` is `-` for human speech.

    The split is what the file's name ends in: `MultiAPI_train.txt`.

    Raises:
        UsageError: see `protocols.read_protocol`.
    """
    rows = []
    for line in read_lines(path):
        fields = _fields(line, _by_tabs if "\t" in line.text else _by_blanks, "path [api] label")
        rows.append((line, fields[0], fields[-1], fields[1] if len(fields) > 2 else ""))
    return _clips(path, root, rows, "MultiAPI Spoof", _split_of(path))


def _clips(
    path: Path, root: Path | None, rows: list[tuple[Line, str, str, str]], repo: str = UNKNOWN, split: str = UNKNOWN
) -> list[Clip]:
    names = Names()
    clips = []
    for line, name, label_text, made_by in rows:
        label = line.label(label_text)
        base = root = default_root(path.parent, line.path(name)) if root is None else root
        # Some lists repeat the class where human speech has no system.
        system = UNKNOWN if parse_label(made_by) == "bonafide" and label == "bonafide" else or_unknown(made_by)
        if label == "bonafide" and system != UNKNOWN:
            raise line.contradiction(label_text, system)
        names.add(line, name)
        clips.append(Clip(line.path(name), base / name, label, system, repo=repo, split=split))
    return clips


def _split_of(file: Path) -> str:
    return SPLITS.get(re.split(r"[._-]", file.stem)[-1].casefold(), UNKNOWN)


def _separator(line: Line) -> _Split:
    if "\t" in line.text:
        return _by_tabs
    blanks = line.text.split()
    if (
        2 <= len(blanks) <= 3
        and not blanks[0].endswith(",")
        and (parse_label(blanks[1]) or blanks[1].casefold() in _HEADER_WORDS)
    ):
        return _by_blanks
    return _by_commas if "," in line.text else _by_blanks


def _by_tabs(line: Line) -> list[str]:
    return line.text.split("\t")


def _by_blanks(line: Line) -> list[str]:
    return line.text.split()


def _by_commas(line: Line) -> list[str]:
    try:
        (fields,) = csv.reader([line.text], strict=True, skipinitialspace=True)
    except csv.Error as error:
        raise line.fault(f"not comma-separated values: {error}") from error
    return fields


def _fields(line: Line, split: _Split, expected: str) -> list[str]:
    fields = split(line)
    if not 2 <= len(fields) <= 3:
        hint = "; separate fields by tabs where names hold blanks" if split is _by_blanks and len(fields) > 3 else ""
        raise line.fault(f"{len(fields)} fields, expected `{expected}`{hint}")
    return fields
