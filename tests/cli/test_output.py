from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from spoofcheck.cli.output import STDOUT, check_outputs, write_output
from spoofcheck.errors import OutputError, UsageError


def test_a_file_is_written_whole_with_ordinary_permissions(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    write_output(target, "à\n")
    assert target.read_bytes() == b"\xc3\xa0\n"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = tmp_path / "out.json"
    target.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"out\.json: cannot be written \(no space left on the disk\)"):
        write_output(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_standard_output_gets_the_text_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    write_output(STDOUT, "text")
    assert capsys.readouterr() == ("text", "")


def test_what_cannot_be_written_is_found_out_before(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        check_outputs([tmp_path / "missing" / "out.json"])
    with pytest.raises(OutputError, match="is a folder"):
        check_outputs([tmp_path])
    with pytest.raises(UsageError, match="same place"):
        check_outputs([tmp_path / "a", tmp_path / "a"])
    with pytest.raises(UsageError, match="same place"):
        check_outputs([STDOUT, STDOUT])
    check_outputs([tmp_path / "a", tmp_path / "b", STDOUT])
    assert list(tmp_path.iterdir()) == []
