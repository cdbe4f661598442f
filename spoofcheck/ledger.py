"""Case ledgers: append-only files that say what was done when, each entry bound to all before it by its hash.

A ledger is JSON lines. Every entry holds the SHA-256 of the entry before it and of itself; so an entry that is changed,
taken out, put in or moved is found, and where. Two things cannot be seen from inside: entries cut off at the end, and a
ledger that was written anew from some entry on. Whoever wrote down the hash of the last entry elsewhere
(`spoofcheck ledger head`) sees both: `check_ledger(path, head=...)`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from spoofcheck import __version__
from spoofcheck.errors import OutputError, UsageError
from spoofcheck.render.text import count, printable
from spoofcheck.schema import escape_undecodable

if sys.platform != "win32":
    import fcntl

MAX_LINE_BYTES: Final = 16 << 20
"""No entry is longer: 100,000 exhibits take about 7 MB."""
MAX_NOTE_CHARS: Final = 4_000
LOCK_WAIT_S: Final = 10.0
START: Final = "0" * 64
"""Stands for the hash of the entry before the first."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Kind(StrEnum):
    """What an entry tells of."""

    SCAN = "scan"
    REPORT = "report"
    VERIFICATION = "verification"
    NOTE = "note"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Subjects(_Model):
    """What was done something with, by SHA-256."""

    document: Sha256 | None = Field(default=None, description="of the result document's canonical JSON")
    report: Sha256 | None = Field(default=None, description="of the report file")
    exhibits: tuple[Sha256, ...] = Field(default=(), description="of the recordings' files, in the document's order")


class Entry(_Model):
    """One line of a ledger."""

    format_version: Literal[1] = 1
    index: int = Field(ge=1, description="1 for the first entry; also the number of its line")
    time: str = Field(max_length=40, description="ISO 8601, UTC, by the clock of the machine that wrote it")
    kind: Kind
    tool: str = Field(max_length=100, description="program and version that wrote it")
    subjects: Subjects
    note: str = Field(max_length=MAX_NOTE_CHARS, description="may be empty")
    previous_sha256: Sha256 = Field(description="of the entry before; zeros for the first")
    sha256: Sha256 = Field(description="of the canonical JSON of all the rest")


@dataclass(frozen=True, slots=True)
class LedgerProblem:
    """Something that is not as it was written.

    Attributes:
        line: 1-based number of the line; for what is missing, of the line before which it is missing.
        code: `"changed"`, `"unreadable"`, `"missing"`, `"reordered"`, `"repeated"`, `"unlinked"`, `"incomplete"` or
            `"head"`.
        message: one sentence, without the file's name.
    """

    line: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger as it was read.

    Attributes:
        entries: those that are as they were written, in the order of the file.
        problems: empty when all entries are, and follow each other.
        lines: how many lines the file has.
    """

    entries: tuple[Entry, ...]
    problems: tuple[LedgerProblem, ...]
    lines: int

    @property
    def head(self) -> str:
        """SHA-256 of the last entry, or zeros for an empty ledger; of use only when there are no problems."""
        return self.entries[-1].sha256 if self.entries else START


def append_entry(
    path: Path,
    kind: Kind,
    subjects: Subjects | None = None,
    note: str = "",
    *,
    at: datetime | None = None,
    must_exist: bool = False,
) -> Entry:
    """Add one entry at the end, on disk when this returns; other programs that use the ledger wait meanwhile.

    Args:
        path: the ledger; made when there is none, unless `must_exist`.
        kind: what was done.
        subjects: with what.
        note: up to 4,000 characters.
        at: when; now, unless given.

    Raises:
        UsageError: the chain is broken (nothing is added to it), another program holds the ledger, or a value that no
            entry may have.
        OutputError: it cannot be written; it is left as it was.
    """
    name = printable(str(path))
    flags = os.O_RDWR | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | (0 if must_exist else os.O_CREAT)
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{name}: not a regular file; a ledger is one")
        descriptor = os.open(path, flags, 0o666)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OutputError(f"{name}: the ledger cannot be written ({reason})") from error
    with os.fdopen(descriptor, "rb+", buffering=0), _locked(descriptor, name, exclusive=True):
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(f"{name}: not a regular file; a ledger is one")
        ledger = _checked(_lines(_Pieces(descriptor)))
        if ledger.problems:
            first = ledger.problems[0]
            raise UsageError(
                f"{name}: the chain is broken, so nothing is added: line {first.line}: {first.message}; keep the file "
                "as it is and begin a new ledger with a note on this one"
            )
        entry = _entry(ledger, kind, subjects or Subjects(), note, at or datetime.now(UTC), name)
        _write(descriptor, _line(entry), name)
    if not ledger.entries:
        _sync_folder(path)
    return entry


def read_ledger(path: Path, head: str | None = None) -> Ledger:
    """Read a ledger and find what is not as it was written.

    Args:
        path: the ledger.
        head: SHA-256 of an entry that was once written down elsewhere: it must still be there.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    name = printable(str(path))
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{name}: not a regular file; a ledger is one")
        with open(path, "rb", buffering=0) as file, _locked(file.fileno(), name, exclusive=False):
            ledger = _checked(_lines(_Pieces(file.fileno())))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{name}: the ledger cannot be read ({reason})") from error
    if head is None or any(entry.sha256 == head for entry in ledger.entries):
        return ledger
    lost = LedgerProblem(
        ledger.lines + 1,
        "head",
        f"no entry has the SHA-256 {printable(head[:80])}: the end was cut off, entries were written anew, or it "
        "belongs to another ledger",
    )
    return Ledger(ledger.entries, (*ledger.problems, lost), ledger.lines)


def check_ledger(path: Path, head: str | None = None) -> tuple[LedgerProblem, ...]:
    """What is wrong with a ledger, in the order of its lines; empty when nothing can be found. See `read_ledger`."""
    return read_ledger(path, head).problems


def canonical_sha256(fields: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON (sorted keys, no blanks, ASCII) of an entry's fields, `sha256` left out."""
    rest = {key: value for key, value in fields.items() if key != "sha256"}
    return hashlib.sha256(canonical(rest).encode("ascii")).hexdigest()


def canonical(fields: dict[str, Any]) -> str:
    """JSON with sorted keys, no blanks, ASCII only and nothing that acts on a terminal, without a newline."""
    # DEL is the one character of ASCII that JSON leaves as it is and a terminal obeys.
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).replace("\x7f", "\\u007f")


def _line(entry: Entry) -> bytes:
    """An entry as it stands in the file."""
    return canonical(entry.model_dump(mode="json")).encode("ascii") + b"\n"


def _entry(ledger: Ledger, kind: Kind, subjects: Subjects, note: str, at: datetime, name: str) -> Entry:
    note = escape_undecodable(note)
    if len(note) > MAX_NOTE_CHARS:
        raise UsageError(f"{name}: the note has {len(note):,} characters; at most {MAX_NOTE_CHARS:,} are kept")
    fields = Entry(
        index=len(ledger.entries) + 1,
        time=at.astimezone(UTC).isoformat(timespec="seconds"),
        kind=kind,
        tool=f"spoofcheck {__version__}",
        subjects=subjects,
        note=note,
        previous_sha256=ledger.head,
        sha256=START,
    )
    entry = fields.model_copy(update={"sha256": canonical_sha256(fields.model_dump(mode="json"))})
    if len(_line(entry)) > MAX_LINE_BYTES:
        raise UsageError(f"{name}: an entry of {count(len(subjects.exhibits), 'exhibit')} is longer than any may be")
    return entry


def _checked(lines: Iterator[bytes]) -> Ledger:
    """Every line by itself first, then how they follow each other."""
    read = [_read_line(number, raw) for number, raw in enumerate(lines, start=1)]
    problems = [each for each in read if isinstance(each, LedgerProblem)]
    problems += _chain_problems(read)
    problems.sort(key=lambda problem: problem.line)
    return Ledger(tuple(each for each in read if isinstance(each, Entry)), tuple(problems), len(read))


def _read_line(number: int, raw: bytes) -> Entry | LedgerProblem:
    if not raw.endswith(b"\n"):
        return LedgerProblem(number, "incomplete", "has no end: it was cut off, or its writing was")
    try:
        fields = json.loads(raw)
        entry = Entry.model_validate_json(raw)
    except (ValidationError, ValueError, RecursionError):
        return LedgerProblem(number, "unreadable", "is no entry: it was changed")
    if canonical_sha256(fields) != entry.sha256 or _line(entry) != raw:
        return LedgerProblem(number, "changed", "was changed: its content does not agree with its SHA-256")
    return entry


def _chain_problems(read: Sequence[Entry | LedgerProblem]) -> Iterator[LedgerProblem]:
    """What is missing, repeated, moved or put in between, judged by the entries that are whole.

    A line that is not whole counts as the entry that belongs in its place: what it says of itself is not believed.
    """
    lines_of = {each.index: line for line, each in reversed(list(enumerate(read, 1))) if isinstance(each, Entry)}
    hashes = {each.index: each.sha256 for each in reversed(read) if isinstance(each, Entry)} | {0: START}
    expected = 1
    for line, each in enumerate(read, start=1):
        if isinstance(each, LedgerProblem):
            expected += 1
            continue
        if lines_of[each.index] != line:
            text = f"holds entry {each.index} once more; it stands in line {lines_of[each.index]}"
            yield LedgerProblem(line, "repeated", text)
            continue
        if each.index < expected:
            yield LedgerProblem(line, "reordered", f"holds entry {each.index}, which belongs further up")
        elif each.index > expected:
            later = [index for index in lines_of if expected <= index < each.index and lines_of[index] > line]
            if later:
                text = (
                    f"holds entry {each.index}, which belongs after entry {min(later)} in line {lines_of[min(later)]}"
                )
                yield LedgerProblem(line, "reordered", text)
            else:
                yield LedgerProblem(line, "missing", f"{_entries(expected, each.index - 1)} missing before this line")
        before = hashes.get(each.index - 1)
        if before is not None and before != each.previous_sha256:
            text = (
                f"holds entry {each.index}, which was not written after entry {each.index - 1} as it is here: one of "
                "the two was written anew, or is from elsewhere"
            )
            yield LedgerProblem(line, "unlinked", text)
        expected = max(expected, each.index + 1)


def _entries(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"


class _Pieces:
    """A file's bytes from its start, read where the file is locked."""

    def __init__(self, descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        self._descriptor = descriptor

    def __iter__(self) -> Iterator[bytes]:
        while piece := os.read(self._descriptor, 1 << 20):
            yield piece


def _lines(pieces: _Pieces) -> Iterator[bytes]:
    """The lines with their ends. One that is too long to be an entry comes in several parts, none of them an entry."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in whole)
        if len(rest) > MAX_LINE_BYTES:
            yield rest
            rest = b""
    if rest:
        yield rest


@contextlib.contextmanager
def _locked(descriptor: int, name: str, *, exclusive: bool) -> Iterator[None]:
    """Hold the file against other programs that hold it in this way.

    Raises:
        UsageError: another one still holds it after ten seconds.
    """
    if sys.platform == "win32":  # no such lock: there, two programs must not write one ledger at the same time
        yield
        return
    give_up = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if time.monotonic() >= give_up:
                raise UsageError(f"{name}: another program is writing to the ledger; try again later") from error
            time.sleep(0.05)
        except OSError as error:  # some network file systems
            raise UsageError(f"{name}: the ledger cannot be locked here ({error.strerror or error})") from error
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _write(descriptor: int, line: bytes, name: str) -> None:
    """All of the line or nothing of it."""
    before = os.fstat(descriptor).st_size
    try:
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, before)
        raise OutputError(f"{name}: the ledger cannot be written ({error.strerror or error})") from error


def _sync_folder(path: Path) -> None:
    """A new file's name is on disk only when its folder is; some file systems cannot do it, and need not."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
