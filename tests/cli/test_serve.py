"""What keeps `spoofcheck serve` from starting is one line, before any model is loaded."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from spoofcheck.cli import run
from spoofcheck.cli.status import ExitStatus


def refusal(capsys: pytest.CaptureFixture[str], tmp_path: Path, *options: str) -> str:
    command = ["serve", "--port", "0", "--keys", str(tmp_path / "keys.json"), "--data-dir", str(tmp_path / "data")]
    assert run([*command, *options]) == ExitStatus.FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spoofcheck: ")
    return line


def test_other_addresses_need_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "keys add" in refusal(capsys, tmp_path, "--host", "0.0.0.0")
    assert not (tmp_path / "data").exists()


def test_an_address_that_is_taken(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"--port {port}" in refusal(capsys, tmp_path, "--port", port)


def test_the_missing_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['fastapi'] = None\n"
        "from spoofcheck.cli import run\n"
        "sys.exit(run(['serve', '--port', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == ExitStatus.FAILED
    assert done.stderr.splitlines() == [
        "spoofcheck: fastapi is not installed; the service needs: pip install 'spoofcheck[serve]'"
    ]
