"""The project's own list of clips: tab-separated, one row a clip, a header line that names the columns."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from spoofcheck.audio.inputs import display_path
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.files import replace_file
from spoofcheck.evaluation.protocols.lines import (
    Line,
    Names,
    default_root,
    or_unknown,
    path_problem,
    quoted,
    read_lines,
)

REQUIRED_COLUMNS = ("path", "label")
WRITTEN_COLUMNS = (
    "split", "repo", "path", "label", "system", "speaker", "language", "seconds", "sample_rate", "codec", "bw_hz",
    "corpus", "licence", "note", "sha1", "local_path",
)  # fmt: skip

_SHA1 = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def read_manifest(path: Path, root: Path | None = None, splits: Container[str] | None = None) -> list[Clip]:
    """Read the clips of a manifest, in the order of the file.

    Columns come in any order; `path` and `label` must be there, `system`, `speaker`, `language`, `split`, `repo`,
    `codec`, `corpus`, `licence`, `seconds`, `sample_rate`, `bw_hz`, `sha1`, `note` and `local_path` may be, others are
    ignored. An empty field and `-` say nothing. `path` is the clip's public name; its audio is `local_path` below
    `root` where the row has one, else `path` below `root/OWNER+NAME` where there is such a folder of the row's `repo`,
    else `path` below `root`.

    Args:
        path: the manifest.
        root: folder of the audio, by default as `protocols.read_protocol`.
        splits: which splits to keep, all by default; the lines of the others are checked all the same.

    Raises:
        UsageError: the file cannot be read, a column is missing or named twice, or a line does not make sense (with
            its number): a field too many, an unknown label, a label that contradicts the system, a path that leaves
            the root, a clip that is there twice.
    """
    lines = read_lines(path)
    header_line = next(lines, None)
    if header_line is None:
        raise UsageError(f"{display_path(path)}: is empty, expected a header line with the columns path and label")
    header = _header(header_line)
    names = Names()
    folders = _Folders(path.parent, root)
    clips = []
    for line in lines:
        values = line.text.split("\t")
        if len(values) != len(header):
            raise line.fault(f"{len(values)} fields, expected {len(header)}")
        clip = _clip(line, dict(zip(header, values, strict=True)), folders)
        names.add(line, clip.name, within=clip.repo)
        if splits is None or clip.split in splits:
            clips.append(clip)
    return clips


def write_manifest(path: Path, clips: Iterable[Clip], root: Path | None = None) -> None:
    """Write clips as a manifest that `read_manifest(path, root)` reads back as they are.

    Args:
        path: the file; it is replaced in one step.
        root: folder that `local_path` is relative to, by default the manifest's.

    Raises:
        UsageError: a clip that does not lie below `root`, or a field that a line of text cannot hold.
        OutputError: the file cannot be written.
    """
    base = (root or path.parent).absolute()
    rows = ["\t".join(WRITTEN_COLUMNS), *("\t".join(_row(clip, base)) for clip in clips)]
    replace_file(path, "".join(f"{row}\n" for row in rows).encode("utf-8"))


class _Folders:
    """Where the audio of a row lies; asks the file system once per repository, not once per row."""

    def __init__(self, folder: Path, root: Path | None) -> None:
        self._folder = folder
        self._root = root
        self._repos: dict[str, Path] = {}

    def locate(self, line: Line, row: Mapping[str, str]) -> Path:
        local = row.get("local_path", "")
        if or_unknown(local) != UNKNOWN:
            return self._base(line.path(local)) / local
        repo = or_unknown(row.get("repo", ""))
        if repo not in self._repos:
            base = self._base(row["path"])
            # `OWNER+NAME` is how folders of extracted clips are named after the repository they come from.
            below = base / repo.replace("/", "+")
            named = repo != UNKNOWN and path_problem(repo) is None and below.is_dir()
            self._repos[repo] = below if named else base
        return self._repos[repo] / row["path"]

    def _base(self, example: str) -> Path:
        if self._root is None:
            self._root = default_root(self._folder, example)
        return self._root


def _header(line: Line) -> list[str]:
    header = [column.strip() for column in line.text.split("\t")]
    missing = [column for column in REQUIRED_COLUMNS if column not in header]
    if missing:
        raise line.fault(f"missing columns: {', '.join(missing)}; a manifest is tab-separated and starts with a header")
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise line.fault(f"columns named twice: {', '.join(twice)}")
    return header


def _clip(line: Line, row: Mapping[str, str], folders: _Folders) -> Clip:
    name = line.path(row["path"])
    label = line.label(row["label"])
    system = or_unknown(row.get("system", ""))
    if label == "bonafide" and system != UNKNOWN:
        raise line.contradiction(row["label"], system)
    sha1 = or_unknown(row.get("sha1", ""))
    if sha1 != UNKNOWN and not _SHA1.fullmatch(sha1):
        raise line.fault(f"sha1 {quoted(sha1)}, expected 40 hexadecimal digits")
    rate_hz = line.quantity("sample_rate", row.get("sample_rate", ""))
    if rate_hz is not None and not rate_hz.is_integer():
        raise line.fault(f"sample_rate {quoted(row['sample_rate'])}, expected a whole number")
    return Clip(
        name=name,
        path=folders.locate(line, row),
        label=label,
        system=system,
        speaker=or_unknown(row.get("speaker", "")),
        language=or_unknown(row.get("language", "")),
        split=or_unknown(row.get("split", "")),
        codec=or_unknown(row.get("codec", "")),
        repo=or_unknown(row.get("repo", "")),
        corpus=or_unknown(row.get("corpus", "")),
        licence=or_unknown(row.get("licence", "")),
        duration_s=line.quantity("seconds", row.get("seconds", "")),
        sha1=None if sha1 == UNKNOWN else sha1.lower(),
        sample_rate_hz=None if rate_hz is None else int(rate_hz),
        bandwidth_hz=line.quantity("bw_hz", row.get("bw_hz", "")),
        note=or_unknown(row.get("note", "")),
    )


def _row(clip: Clip, base: Path) -> Sequence[str]:
    where = display_path(clip.path)
    try:
        local = clip.path.absolute().relative_to(base).as_posix()
    except ValueError as error:
        message = f"{where}: lies outside {display_path(base)}, which the manifest's paths are relative to"
        raise UsageError(message) from error
    fields = {
        "path": clip.name,
        "label": clip.label,
        "seconds": _number(clip.duration_s),
        "sample_rate": _number(clip.sample_rate_hz),
        "bw_hz": _number(clip.bandwidth_hz),
        "sha1": clip.sha1 or UNKNOWN,
        "local_path": local,
        **{
            column: getattr(clip, column)
            for column in ("split", "repo", "system", "speaker", "language", "codec", "corpus", "licence", "note")
        },
    }
    for column, value in fields.items():
        if _CONTROL.search(value) or not _is_text(value):
            raise UsageError(
                f"{where}: {column} {quoted(value)} cannot be written to a manifest: a character that is no text"
            )
    for column in ("path", "local_path"):
        problem = path_problem(fields[column])
        if problem is not None:
            raise UsageError(f"{where}: {column} {quoted(fields[column])} cannot be written to a manifest: {problem}")
    return [fields[column] for column in WRITTEN_COLUMNS]


def _number(value: float | None) -> str:
    """The shortest digits that read back as `value`."""
    return UNKNOWN if value is None else repr(value)


def _is_text(value: str) -> bool:
    """Whether UTF-8 can hold it: the bytes of a file name that are not UTF-8 come as lone surrogates."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
