"""Folders made to trap whoever searches them, and rights and disks that get in the way.

Files that change while they are read: tests/audio/test_recording.py.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from spoofcheck.audio.inputs import find_inputs
from tests.hostile.canary import write_secret
from tests.hostile.conftest import Scan, codes
from tests.hostile.crafted import noise_bytes, wav_bytes


def test_links_pipes_devices_and_sockets_are_neither_followed_nor_opened(tmp_path: Path, scan: Scan) -> None:
    """A pipe that was opened would stop the scan for ever; nobody writes to it."""
    outside = write_secret(tmp_path / "secret.wav")
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "good.wav").write_bytes(wav_bytes(noise_bytes(5)))
    (folder / "out.wav").symlink_to(outside)
    (folder / "up.wav").symlink_to("../secret.wav")
    (folder / "out-folder").symlink_to(tmp_path)
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "loop-1.wav").symlink_to("loop-2.wav")
    (folder / "loop-2.wav").symlink_to("loop-1.wav")
    (folder / "self").symlink_to(".")
    (folder / "zero.wav").symlink_to("/dev/zero")
    (folder / "memory.wav").symlink_to("/proc/self/mem")
    (folder / "dangling.wav").symlink_to("gone.wav")
    os.mkfifo(folder / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.wav"))
        found = scan(folder)
    assert found.pop("good.wav")[0].spoof_llr is not None
    why = {name: codes(findings) for name, findings in found.items()}
    assert why == {
        name: {code}
        for code, names in (
            ("symlink-outside", ("out.wav", "up.wav", "out-folder", "zero.wav", "memory.wav")),
            ("not-found", ("loop.wav", "loop-1.wav", "loop-2.wav", "dangling.wav")),
            ("not-a-file", ("pipe.wav", "socket.wav")),
        )
        for name in names
    }
    named = scan(folder / "zero.wav", folder / "memory.wav", folder / "pipe.wav", folder / "good.wav")
    assert named.pop("good.wav")[0].spoof_llr is not None
    assert codes(named["zero.wav"]) == codes(named["pipe.wav"]) == {"not-a-file"}
    assert named["memory.wav"][0].verdict == "skipped"


def test_folders_nested_deeper_than_calls_can_be(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 100
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("a", dir_fd=folder)
        inner = os.open("a", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(os.open("deep.wav", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    (tmp_path / "z.wav").touch()
    found = list(find_inputs([tmp_path]))
    subprocess.run(["rm", "-rf", tmp_path / "a"], check=True)
    assert found == [tmp_path.joinpath(*"a" * depth, "deep.wav"), tmp_path / "z.wav"]


def test_a_folder_of_ten_thousand_files(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number:05d}.wav").touch()
    found = list(find_inputs([tmp_path, tmp_path]))
    assert found == [tmp_path / f"{number:05d}.wav" for number in range(10_000)]


BOUND_BY_RIGHTS = """
import ctypes, os, sys
for capability in (1, 2):  # to overrule the rights to files, and to folders: root must not have them here
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "spoofcheck", *sys.argv[1:]])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="root is bound by rights on Linux alone")
def test_without_rights(tiny_model: Path, tmp_path: Path) -> None:
    """What may not be read is skipped with a reason; an output folder that may not be written is told first."""

    def unprivileged(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", BOUND_BY_RIGHTS, *arguments]
        return subprocess.run(command, capture_output=True, check=False)

    (tmp_path / "good.wav").write_bytes(wav_bytes(noise_bytes(5)))
    (tmp_path / "good.wav").chmod(0o644)
    (tmp_path / "unreadable.wav").write_bytes(wav_bytes(noise_bytes(5)))
    (tmp_path / "unreadable.wav").chmod(0)
    for name, mode in (("closed", 0), ("listed", stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").write_bytes(wav_bytes(noise_bytes(5)))
        (tmp_path / name).chmod(mode)
    options = ("--model", tiny_model, "--no-controls", "--no-trace", "--no-store", "--no-vad", "--device", "cpu")
    inputs = [tmp_path / name for name in ("good.wav", "unreadable.wav", "closed", "listed")]
    (tmp_path / "read-only").mkdir(mode=0o555)
    refused = unprivileged("scan", *inputs, *options, "--json", tmp_path / "read-only" / "scan.json")
    assert refused.returncode == 2
    assert b"cannot be written (Permission denied)" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    ended = unprivileged("scan", *inputs, *options, "--json", "-")
    assert ended.returncode in (1, 3), ended.stderr.decode()
    findings = {Path(each["path"]).name: each for each in json.loads(ended.stdout)["findings"]}
    for closed in (tmp_path / "closed", tmp_path / "listed"):
        closed.chmod(0o755)
    assert findings.pop("good.wav")["verdict"] != "skipped"
    assert {name: each["reasons"][0]["code"] for name, each in findings.items()} == dict.fromkeys(
        ("unreadable.wav", "closed", "a.wav"), "permission-denied"
    )
