"""Lines of untrusted text files, the labels in them, and the paths they name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from spoofcheck.audio.inputs import display_path
from spoofcheck.errors import UsageError, brief
from spoofcheck.evaluation.clips import UNKNOWN, Label

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

LABELS: Mapping[str, Label] = MappingProxyType(
    {
        **dict.fromkeys(
            ("bonafide", "bona-fide", "bona_fide", "bona fide", "genuine", "real", "human", "live"), "bonafide"
        ),
        **dict.fromkeys(("spoof", "spoofed", "fake", "synthetic", "deepfake"), "spoof"),
    }
)
"""What the field's data sets call the two classes, in lower case."""

SPLITS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("train", "training"), "train"),
        **dict.fromkeys(("dev", "development", "val", "valid", "validation"), "dev"),
        **dict.fromkeys(("eval", "evaluation", "test", "testing"), "eval"),
    }
)
"""What file and folder names call the parts of a data set, in lower case."""

_QUOTED_LENGTH = 80
_FAULT_LENGTH = 1_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a protocol file.

    Attributes:
        file: the protocol file.
        number: 1-based.
        text: without the line's end.
    """

    file: Path
    number: int
    text: str

    def fault(self, message: str) -> UsageError:
        """The error that says what is wrong with this line."""
        return UsageError(f"{display_path(self.file)}: line {self.number}: {brief(message, _FAULT_LENGTH)}")

    def contradiction(self, label: str, system: str) -> UsageError:
        """The error for human speech that is said to have been made by a system."""
        return self.fault(f"label {quoted(label)} contradicts system {quoted(system)}: human speech has no system")

    def label(self, text: str) -> Label:
        """The class `text` means; letter case and surrounding blanks do not matter.

        Raises:
            UsageError: it is none of `LABELS`.
        """
        found = parse_label(text)
        if found is None:
            raise self.fault(f"label {quoted(text)}, expected one of {', '.join(LABELS)}")
        return found

    def path(self, name: str) -> str:
        """`name`, when it is a path that stays below the folder it is relative to.

        Raises:
            UsageError: it is empty, absolute, or climbs with `..`.
        """
        problem = path_problem(name)
        if problem is not None:
            raise self.fault(f"path {quoted(name)}: {problem}")
        return name

    def quantity(self, column: str, text: str) -> float | None:
        """A quantity; None where the field is empty or `-`.

        Raises:
            UsageError: it is not a number from 0 up.
        """
        if is_unknown(text):
            return None
        try:
            value = float(text)
        except ValueError:
            raise self.fault(f"{column} {quoted(text)} is not a number") from None
        if not (math.isfinite(value) and value >= 0):
            raise self.fault(f"{column} {quoted(text)}, expected a number from 0 up")
        return value


class Names:
    """The names met so far: none may come twice."""

    def __init__(self) -> None:
        self._first: dict[str | tuple[str, ...], tuple[Path, int]] = {}

    def add(self, line: Line, name: str, *, within: str = "") -> None:
        """Note `name`, which is to be unique among those of the same `within`.

        Raises:
            UsageError: it was there before; the message names both lines.
        """
        file, number = self._first.setdefault((within, name), (line.file, line.number))
        if (file, number) != (line.file, line.number):
            where = f"line {number}" if file == line.file else f"{display_path(file)}, line {number}"
            raise line.fault(f"{quoted(name)} again, it is already in {where}")


def quoted(text: str) -> str:
    """Text from a file as an error shows it: in quotes, what cannot be printed escaped, cut when very long."""
    return repr(text) if len(text) <= _QUOTED_LENGTH else f"{text[:_QUOTED_LENGTH]!r}..."


def parse_label(text: str) -> Label | None:
    """The class a word means, or None when it means neither."""
    return LABELS.get(text.strip().casefold())


def is_unknown(text: str) -> bool:
    """Whether a field says nothing."""
    return text in ("", UNKNOWN)


def or_unknown(text: str) -> str:
    """The field, or `-` when it says nothing."""
    return UNKNOWN if is_unknown(text) else text


def path_problem(name: str) -> str | None:
    """Why `name` is not a path below some folder, or None when it is one. Judges the text, not the file system."""
    if name.startswith("/"):
        return "is absolute; paths are relative to the audio's root"
    parts = name.split("/")
    if ".." in parts:
        return "leaves the audio's root"
    if "\0" in name:
        return "holds a NUL byte"
    if all(part in ("", ".") for part in parts):
        return "is empty"
    return None


def default_root(folder: Path, example: str) -> Path:
    """The folder that paths like `example` are relative to, for a protocol that lies in `folder`.

    That is `folder`, unless the path starts with the name of a folder that `folder` is or lies in (and has not
    itself): manifests are commonly written from one level up.
    """
    first = PurePosixPath(example).parts[0]
    if (folder / first).exists():
        return folder
    absolute = folder.absolute()
    return next((above.parent for above in (absolute, *absolute.parents) if above.name == first), folder)


def read_lines(file: Path) -> Iterator[Line]:
    r"""The lines of a UTF-8 text file that are not blank; a byte order mark and CR LF ends are taken off.

    Only `\n` ends a line: a name may hold what Unicode counts as a line break.

    Raises:
        UsageError: the file cannot be read, or is not UTF-8 text (with the line's number).
    """
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{display_path(file)}: cannot be read: {reason}") from error
    return _split(file, data.removeprefix(_BYTE_ORDER_MARK))


def _split(file: Path, data: bytes) -> Iterator[Line]:
    for number, raw in enumerate(data.split(b"\n"), start=1):
        if b"\0" in raw:
            raise Line(file, number, "").fault("holds a NUL byte: this is not a text file in UTF-8")
        try:
            text = raw.decode("utf-8").removesuffix("\r")
        except UnicodeDecodeError as error:
            message = f"byte 0x{raw[error.start]:02x} at column {error.start + 1} is not UTF-8"
            raise Line(file, number, "").fault(message) from error
        if text.strip():
            yield Line(file, number, text)
