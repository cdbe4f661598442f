"""Data sets that come with a table of their clips: In-the-Wild and MLAAD."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

from spoofcheck.audio.inputs import display_path
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.protocols.lines import Line, Names, default_root, or_unknown, parse_label, read_lines
from spoofcheck.evaluation.protocols.walk import walk, walk_audio

META = "meta.csv"
_M_AILABS_FOLDERS = frozenset({"m-ailabs", "m_ailabs", "mailabs"})
_LOCALE = re.compile(r"([a-z]{2})(?:[_-][A-Z]{2})?")


def read_in_the_wild(path: Path, root: Path | None = None) -> list[Clip]:
    """Read In-the-Wild's `meta.csv` (or the folder it is in): `file,speaker,label`.

    Raises:
        UsageError: see `protocols.read_protocol`.
    """
    file = path / META if path.is_dir() else path
    base = file.parent if root is None else root
    names = Names()
    clips = []
    for line, row in _rows(file, ",", ("file", "speaker", "label")):
        name = line.path(row["file"])
        names.add(line, name)
        clips.append(
            Clip(name, base / name, line.label(row["label"]), speaker=or_unknown(row["speaker"]), repo="In-the-Wild")
        )
    return clips


def read_mlaad(path: Path, root: Path | None = None) -> list[Clip]:
    """Read MLAAD's `meta.csv` tables, `path|original_file|language|...|model_name|...`: all of it is spoofed.

    Args:
        path: one `meta.csv`, or a folder all of whose `meta.csv` are read. Its human counterpart M-AILABS is a
            separate data set: the recordings in a folder `M-AILABS` (or `real`, `human`, ...) directly inside the
            folder are bona fide, their language and speaker read from their paths.
        root: folder that the tables' paths (`./fake/LANGUAGE/MODEL/x.wav`) are relative to, by default the one that
            holds `fake`.

    Raises:
        UsageError: see `protocols.read_protocol`.
    """
    if not path.is_dir():
        return _mlaad_table(path, root, Names())
    human = _human_folders(path)
    skipped = tuple(f"{folder}/" for folder in human)
    files = [name for name in walk(path) if PurePosixPath(name).name == META and not name.startswith(skipped)]
    if not files:
        raise UsageError(f"{display_path(path)}: no {META} in this folder or below")
    names = Names()
    clips = [clip for file in files for clip in _mlaad_table(path / file, root, names)]
    return clips + [_m_ailabs_clip(path, f"{folder}/{name}") for folder in human for name in walk_audio(path / folder)]


def _mlaad_table(file: Path, root: Path | None, names: Names) -> list[Clip]:
    clips = []
    for line, row in _rows(file, "|", ("path",)):
        name = line.path(row["path"]).removeprefix("./")
        root = default_root(file.parent, name) if root is None else root
        names.add(line, name)
        parts = PurePosixPath(name).parts
        # Before the tables had a column for it, the model was the folder.
        model = row.get("model_name") or (parts[-2] if len(parts) > 1 else "")
        language = or_unknown(row.get("language", ""))
        clips.append(Clip(name, root / name, "spoof", or_unknown(model), language=language, repo="MLAAD"))
    return clips


def _human_folders(path: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in path.iterdir()
        if entry.is_dir() and (entry.name.casefold() in _M_AILABS_FOLDERS or parse_label(entry.name) == "bonafide")
    )


def _m_ailabs_clip(root: Path, name: str) -> Clip:
    """A human clip such as `M-AILABS/de_DE/by_book/female/eva_k/grune_haus/wavs/x.wav`."""
    parts = PurePosixPath(name).parts[1:-1]
    locale = next((found for part in parts if (found := _LOCALE.fullmatch(part))), None)
    named = [part for gender, part in pairwise(parts) if gender in ("female", "male")]
    return Clip(
        name,
        root / name,
        "bonafide",
        speaker=named[0] if named else UNKNOWN,
        language=locale[1] if locale else UNKNOWN,
        repo="M-AILABS",
    )


def _rows(file: Path, delimiter: str, required: Sequence[str]) -> Iterator[tuple[Line, Mapping[str, str]]]:
    """The lines below the header as column -> field.

    Raises:
        UsageError: a column of `required` is missing, or a line has not all the fields before its last column.
    """
    header: list[str] | None = None
    for line in read_lines(file):
        values = _values(line, delimiter)
        if header is None:
            header = [value.strip() for value in values]
            if missing := [column for column in required if column not in header]:
                raise line.fault(f"missing columns: {', '.join(missing)}; found {', '.join(header)}")
            continue
        # MLAAD's last column is a transcript, and a transcript may hold the delimiter.
        if len(values) != len(header) and not (delimiter == "|" and len(values) > len(header)):
            raise line.fault(f"{len(values)} fields, expected {len(header)}: {delimiter.join(header)}")
        yield line, dict(zip(header, values, strict=False))


def _values(line: Line, delimiter: str) -> list[str]:
    if delimiter != ",":
        return line.text.split(delimiter)
    try:
        (values,) = csv.reader([line.text], strict=True)
    except csv.Error as error:
        raise line.fault(f"not comma-separated values: {error}") from error
    return values
