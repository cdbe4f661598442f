"""Where results may go: never over what is read, never over a device, and never in pieces."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from spoofcheck.cli import run
from tests.hostile.crafted import noise_bytes, wav_bytes

OUTPUTS = ("--json", "--jsonl", "--csv", "--report", "--pdf")


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    path = tmp_path / "evidence.wav"
    path.write_bytes(wav_bytes(noise_bytes()))
    return path


def refused(tiny_model: Path, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line with which a scan refuses to begin."""
    command = ["scan", "--model", str(tiny_model), "--no-controls", "--no-trace", *map(str, arguments)]
    assert run(command) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    return error


@pytest.mark.parametrize("option", OUTPUTS)
def test_evidence_is_never_overwritten(
    option: str, evidence: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = evidence.read_bytes()
    assert "would be overwritten" in refused(tiny_model, capsys, evidence, option, evidence)
    assert evidence.read_bytes() == before


@pytest.mark.parametrize("how", ["folder", "symlink", "hardlink", "other spelling", "skipped"])
def test_evidence_is_never_overwritten_under_another_name(
    how: str, evidence: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, given = evidence, evidence
    if how == "folder":
        given = tmp_path
    elif how == "symlink":
        target = tmp_path / "result.json"
        target.symlink_to(evidence)
    elif how == "hardlink":
        target = tmp_path / "result.json"
        os.link(evidence, target)
    elif how == "other spelling":
        target = tmp_path / ".." / tmp_path.name / "evidence.wav"
    else:
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "outside.wav").symlink_to(evidence)
        given = folder
    before = evidence.read_bytes()
    assert "would be overwritten" in refused(tiny_model, capsys, given, "--json", target)
    assert evidence.read_bytes() == before


def test_a_label_track_never_takes_the_place_of_a_recording(
    evidence: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(evidence, tmp_path / "evidence.wav.csv")
    assert "name another folder" in refused(tiny_model, capsys, tmp_path, "--labels", tmp_path)


def test_what_describes_the_case_is_never_overwritten(
    evidence: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = tmp_path / "case.toml"
    case.write_text('number = "1"\n')
    listed = tmp_path / "list.txt"
    listed.write_text(f"{evidence}\n")
    assert "would be overwritten" in refused(tiny_model, capsys, evidence, "--case", case, "--json", case)
    assert "would be overwritten" in refused(tiny_model, capsys, "--files-from", listed, "--csv", listed)


def test_devices_pipes_and_sockets_are_no_place_for_a_result(
    evidence: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for place in (pipe, link, tmp_path / "socket", Path("/dev/null")):
            assert "is a device, pipe or socket" in refused(tiny_model, capsys, evidence, "--json", place)
    assert Path("/dev/null").is_char_device()


def test_a_name_longer_than_names_can_be_is_one_line(
    evidence: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "cannot be written" in refused(tiny_model, capsys, evidence, "--json", tmp_path / ("x" * 300))
    assert "cannot be made" in refused(tiny_model, capsys, evidence, "--labels", tmp_path / ("x" * 300))


FULL = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
from spoofcheck.cli import run
sys.exit(run(sys.argv[1:]))
"""


def test_a_disk_that_is_full_half_way_leaves_the_old_result(evidence: Path, tmp_path: Path, tiny_model: Path) -> None:
    """As far as a process can have one: no file may grow beyond 2 kB."""
    folder = tmp_path / "results"
    folder.mkdir()
    old = folder / "scan.json"
    old.write_text("old")
    options = ("--no-controls", "--no-trace", "--no-store", "--no-vad", "--quiet", "--model", tiny_model)
    command = [sys.executable, "-c", FULL, "scan", evidence, *options, "--json", old, "--labels", folder / "labels"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert f"{old}: cannot be written" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert old.read_text() == "old"
    assert sorted(each.name for each in folder.iterdir()) == ["labels", "scan.json"]
