"""Case ledgers: what an entry holds, and that every kind of tampering is found, and where."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from spoofcheck import ledger as ledgers
from spoofcheck.errors import OutputError, UsageError
from spoofcheck.ledger import (
    START,
    Kind,
    Subjects,
    append_entry,
    canonical,
    canonical_sha256,
    check_ledger,
    read_ledger,
)
from tests.support.documents import sha256

AT = datetime(2026, 11, 21, 9, 14, 3, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Five entries."""
    path = tmp_path / "case.jsonl"
    subjects = Subjects(document=sha256("document"), exhibits=(sha256("a"), sha256("b")))
    append_entry(path, Kind.NOTE, note="Bag 4711 opened: \x1b[31m \x7f é \udce9", at=AT)
    append_entry(path, Kind.SCAN, subjects, at=AT + timedelta(hours=1))
    append_entry(path, Kind.REPORT, Subjects(document=sha256("document"), report=sha256("report")), at=AT)
    append_entry(path, Kind.VERIFICATION, subjects, note="as it was", at=AT)
    append_entry(path, Kind.NOTE, note="sent to the client", at=AT)
    return path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def found(path: Path, changed: list[bytes]) -> list[tuple[int, str]]:
    path.write_bytes(b"".join(changed))
    return [(problem.line, problem.code) for problem in check_ledger(path)]


def rehashed(line: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    fields = json.loads(line)
    change(fields)
    fields["sha256"] = canonical_sha256(fields)
    return canonical(fields).encode() + b"\n"


def test_entries_follow_each_other(ledger: Path) -> None:
    read = read_ledger(ledger)
    assert read.problems == ()
    assert [entry.index for entry in read.entries] == [1, 2, 3, 4, 5]
    assert [entry.previous_sha256 for entry in read.entries] == [START, *(e.sha256 for e in read.entries[:-1])]
    assert read.head == read.entries[-1].sha256
    assert read.entries[1].subjects.exhibits == (sha256("a"), sha256("b"))
    assert read.entries[0].note == "Bag 4711 opened: \x1b[31m \x7f é \\xe9"
    assert all(0x20 <= byte < 0x7F for line in lines(ledger) for byte in line[:-1])


def test_times_are_kept_in_utc(tmp_path: Path) -> None:
    entry = append_entry(tmp_path / "x", Kind.NOTE, note="x", at=AT.astimezone(timezone(timedelta(hours=5))))
    assert entry.time == "2026-11-21T09:14:03+00:00"


def test_a_hash_is_that_of_the_other_fields(ledger: Path) -> None:
    """By the shell's own tools, as a reader would do it."""
    fields = json.loads(lines(ledger)[1])
    claimed = fields.pop("sha256")
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    done = subprocess.run(["sha256sum"], input=text.encode(), capture_output=True, check=True)
    assert done.stdout.split()[0].decode() == claimed


def test_every_changed_byte_is_found_in_its_line(ledger: Path) -> None:
    original = lines(ledger)
    for position in range(0, len(original[2]) - 1, 7):
        changed = bytearray(original[2])
        changed[position] ^= 1
        assert (3, "changed") in (result := found(ledger, [*original[:2], bytes(changed), *original[3:]])) or (
            3,
            "unreadable",
        ) in result, position
        assert {line for line, _ in result} == {3}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([0, 1, 3, 4], [(3, "missing")]),
        ([1, 2, 3, 4], [(1, "missing")]),
        ([0, 4], [(2, "missing")]),
        ([0, 2, 1, 3, 4], [(2, "reordered"), (3, "reordered")]),
        ([4, 0, 1, 2, 3], [(1, "reordered"), (2, "reordered"), (3, "reordered"), (4, "reordered"), (5, "reordered")]),
        ([0, 1, 1, 2, 3, 4], [(3, "repeated")]),
        ([0, 1, 2, 3], []),  # a cut-off end cannot be seen from inside
        ([], []),
    ],
)
def test_lines_that_are_missing_moved_or_repeated(
    ledger: Path, order: list[int], expected: list[tuple[int, str]]
) -> None:
    original = lines(ledger)
    assert found(ledger, [original[i] for i in order]) == expected


def test_what_is_missing_is_named(ledger: Path) -> None:
    original = lines(ledger)
    found(ledger, [original[0], original[4]])
    assert check_ledger(ledger)[0].message == "entries 2 to 4 are missing before this line"
    found(ledger, [original[0], original[2], original[1], *original[3:]])
    assert "belongs after entry 2 in line 3" in check_ledger(ledger)[0].message


def test_an_entry_written_anew_does_not_fit_the_next(ledger: Path) -> None:
    original = lines(ledger)
    forged = rehashed(original[1], lambda fields: fields.update(note="nothing happened"))
    assert found(ledger, [original[0], forged, *original[2:]]) == [(3, "unlinked")]


def test_an_entry_put_in_is_found(ledger: Path) -> None:
    original = lines(ledger)
    extra = rehashed(original[1], lambda fields: fields.update(index=3, note="extra"))
    assert (4, "repeated") in found(ledger, [*original[:2], extra, *original[2:]])


def test_a_first_entry_of_another_ledger_is_found(ledger: Path) -> None:
    original = lines(ledger)
    other = rehashed(original[0], lambda fields: fields.update(previous_sha256="1" * 64))
    assert (1, "unlinked") in found(ledger, [other, *original[1:]])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda line: line.replace(b'":"', b'": "', 1), "changed"),  # a blank
        (lambda line: line[:-1] + b"\r\n", "changed"),
        (lambda line: b"\n", "unreadable"),
        (lambda line: b"[" * 100_000 + b"\n", "unreadable"),
        (lambda line: b'{"index": NaN}\n', "unreadable"),
        (lambda line: b"\xff\xfe\n", "unreadable"),
    ],
)
def test_other_spellings_are_no_entries(ledger: Path, change: Callable[[bytes], bytes], code: str) -> None:
    original = lines(ledger)
    assert found(ledger, [*original[:3], change(original[3]), original[4]]) == [(4, code)]


def test_a_line_cut_short_is_found_and_nothing_is_added_to_it(ledger: Path) -> None:
    original = lines(ledger)
    assert found(ledger, [*original[:4], original[4][:-1]]) == [(5, "incomplete")]
    before = ledger.read_bytes()
    with pytest.raises(UsageError, match="the chain is broken, so nothing is added: line 5"):
        append_entry(ledger, Kind.NOTE, note="more")
    assert ledger.read_bytes() == before


def test_a_head_kept_elsewhere_shows_a_cut_off_end_and_a_rewritten_one(ledger: Path) -> None:
    head = read_ledger(ledger).head
    assert check_ledger(ledger, head) == ()
    append_entry(ledger, Kind.NOTE, note="later")
    assert check_ledger(ledger, head) == ()  # an earlier head stays valid
    original = lines(ledger)
    ledger.write_bytes(b"".join(original[:4]))
    (problem,) = check_ledger(ledger, head)
    assert (problem.line, problem.code) == (5, "head")
    append_entry(ledger, Kind.NOTE, note="something else")  # whole by itself, but not the ledger that it was
    assert check_ledger(ledger) == ()
    assert [each.code for each in check_ledger(ledger, head)] == ["head"]


def test_a_full_disk_leaves_the_ledger_as_it_was(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ledger.read_bytes()
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 100:
            return write(descriptor, data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ledgers.os, "write", lambda descriptor, data: full(descriptor, data[:150]))
    with pytest.raises(OutputError, match="No space left"):
        append_entry(ledger, Kind.NOTE, note="x" * 500)
    monkeypatch.undo()
    assert ledger.read_bytes() == before


def test_bounds(ledger: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most 4,000"):
        append_entry(ledger, Kind.NOTE, note="x" * 4_001)
    with pytest.raises(OutputError, match="cannot be written"):
        append_entry(tmp_path / "none.jsonl", Kind.NOTE, note="x", must_exist=True)
    with pytest.raises(UsageError, match="cannot be read"):
        read_ledger(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="not a regular file"):
        read_ledger(tmp_path)


def test_another_writer_is_waited_for(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "LOCK_WAIT_S", 0.1)
    with open(ledger, "rb") as held:
        ledgers.fcntl.flock(held, ledgers.fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another program is writing"):
            append_entry(ledger, Kind.NOTE, note="x")
    assert append_entry(ledger, Kind.NOTE, note="x").index == 6


def test_writers_at_the_same_time_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "case.jsonl"
    code = (
        "import sys; from pathlib import Path; from spoofcheck.ledger import Kind, append_entry\n"
        "for i in range(15): append_entry(Path(sys.argv[1]), Kind.NOTE, note=f'{sys.argv[2]} {i}')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [writer.wait(timeout=240) for writer in writers] == [0, 0]
    read = read_ledger(path)
    assert read.problems == ()
    for name in "ab":
        assert [e.note for e in read.entries if e.note.startswith(name)] == [f"{name} {i}" for i in range(15)]
