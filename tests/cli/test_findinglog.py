"""A file of findings that grows: what it writes, and what it makes of a file that was there before."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from spoofcheck.cli.findinglog import FindingLog
from spoofcheck.errors import OutputError, UsageError
from spoofcheck.render import jsonl
from spoofcheck.schema import Finding, ScanDocument
from tests.support.documents import sample_document, skipped


@pytest.fixture(scope="module")
def origin() -> ScanDocument:
    return sample_document()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "findings.jsonl"


def written(log: Path, origin: ScanDocument, *findings: Finding) -> bytes:
    with FindingLog(log, origin) as appended:
        for finding in findings:
            appended.append([finding])
    return log.read_bytes()


def test_lines_are_those_of_a_scan_each_once(log: Path, origin: ScanDocument) -> None:
    whole = jsonl.render(origin).encode()
    assert len(whole.splitlines()) > 5
    assert written(log, origin, *origin.findings, *origin.findings) == whole
    assert written(log, origin, *reversed(origin.findings)) == whole


def test_other_bytes_channels_places_models_and_reasons_are_other_findings(log: Path, origin: ScanDocument) -> None:
    exhibit = next(finding for finding in origin.findings if finding.sha256)
    others = [
        exhibit,
        exhibit.model_copy(update={"sha256": "0" * 64}),
        exhibit.model_copy(update={"channel": 1}),
        exhibit.model_copy(update={"path": "elsewhere.wav"}),
        skipped("a.wav"),
        skipped("a.wav", "empty-file", "The file is empty."),
    ]
    assert written(log, origin, *others, *others).count(b"\n") == len(others)
    another = origin.model_copy(
        update={"model": origin.model.model_copy(update={"weights_sha256": "1" * 64}), "findings": ()}
    )
    assert written(log, another, exhibit).count(b"\n") == len(others) + 1


def test_what_a_loss_of_power_leaves_of_a_last_line_is_repaired(log: Path, origin: ScanDocument) -> None:
    findings = origin.findings[:2]
    whole = jsonl.render(origin.model_copy(update={"findings": findings})).encode()
    first, second = whole.splitlines(keepends=True)
    kept = [b"", first, first + second[:-1]]
    torn = [whole[:n] for n in (1, 5, len(first) // 2, len(first) - 2, len(first) + 1, len(whole) - 2)]
    zeros = [b"\0" * 40, first + b"\0" * 40, first + second[:30] + b"\0" * 9, first + b"\0\0\n"]
    for left in (*kept, *torn, *zeros):
        log.write_bytes(left)
        assert written(log, origin, *findings) == whole, left


@pytest.mark.parametrize(
    "content",
    [
        b"RIFF\x00\x00\x00\x00WAVE",
        b"a shopping list",
        b"\n{}\n",
        b'{"schema_version":"1.0","path":3}\nmore\n',
        b'{"schema_version":"1.0"}\n',
        b"[]\n",
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(content: bytes, log: Path, origin: ScanDocument) -> None:
    log.write_bytes(content)
    with pytest.raises(UsageError, match="finding"):
        written(log, origin)
    assert log.read_bytes() == content


def test_a_damaged_line_in_the_middle_is_named(log: Path, origin: ScanDocument) -> None:
    lines = jsonl.render(origin).encode().splitlines(keepends=True)
    content = lines[0] + lines[1][:40] + b"\n" + lines[2]
    log.write_bytes(content)
    with pytest.raises(UsageError, match="line 2 is no finding"):
        written(log, origin)
    assert log.read_bytes() == content


def test_two_programs_do_not_append_to_one_file(log: Path, origin: ScanDocument) -> None:
    with (
        FindingLog(log, origin),
        pytest.raises(UsageError, match="another program appends to it"),
        FindingLog(log, origin),
    ):
        pass
    with FindingLog(log, origin):
        pass


def test_a_full_disk_leaves_no_half_line(log: Path, origin: ScanDocument, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = origin.findings[:2]
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        if bytes(data).startswith(b'{"schema_version"'):
            return write(descriptor, bytes(data)[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with FindingLog(log, origin) as appended:
        appended.append([first])
        before = log.read_bytes()
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(OutputError, match="No space left"):
            appended.append([second])
        monkeypatch.undo()
        assert log.read_bytes() == before
        appended.append([second])
    assert [json.loads(line)["path"] for line in log.read_text().splitlines()] == [first.path, second.path]


def test_a_file_that_is_moved_away_is_begun_anew(log: Path, origin: ScanDocument) -> None:
    first, second = origin.findings[:2]
    with FindingLog(log, origin) as appended:
        appended.append([first])
        log.rename(log.with_suffix(".1"))
        appended.append([first, second])
    assert [json.loads(line)["path"] for line in log.read_text().splitlines()] == [second.path]


def test_what_cannot_be_written_is_told_before_the_work(tmp_path: Path, origin: ScanDocument) -> None:
    with pytest.raises(OutputError, match="cannot be read and appended to"):
        written(tmp_path, origin)
