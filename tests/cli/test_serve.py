"""What keeps `spoofcheck serve` from starting is one line, before any model is loaded."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from spoofcheck.cli import run
from spoofcheck.cli.status import ExitStatus
from spoofcheck.serve import server
from spoofcheck.serve.settings import Settings


def refusal(capsys: pytest.CaptureFixture[str], tmp_path: Path, *options: str) -> str:
    command = ["serve", "--port", "0", "--keys", str(tmp_path / "keys.json"), "--data-dir", str(tmp_path / "data")]
    assert run([*command, *options]) == ExitStatus.FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spoofcheck: ")
    return line


def test_other_addresses_need_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "keys add" in refusal(capsys, tmp_path, "--host", "0.0.0.0")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("option", ["--threshold", "--keep-hours", "--max-duration", "--deadline", "--grace"])
def test_numbers_without_a_size(capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str) -> None:
    assert f"{option} inf" in refusal(capsys, tmp_path, option, "inf")


def test_jobs_are_found_again_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Settings] = []
    monkeypatch.setattr(server, "run", lambda settings, _listens: served.append(settings))
    monkeypatch.chdir(tmp_path)
    assert run(["serve", "--data-dir", "data"]) == ExitStatus.CLEAR
    assert served[0].jobs_dir == tmp_path / "data" / "jobs"


def test_an_address_that_is_taken(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"--port {port}" in refusal(capsys, tmp_path, "--port", port)


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [
        ("fastapi", ["--port", "0"]),
        ("argon2", ["keys", "add", "x"]),
        ("argon2", ["keys", "list"]),
        ("argon2", ["keys", "revoke", "x"]),
    ],
)
def test_the_missing_extra_is_named(missing: str, arguments: list[str]) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from spoofcheck.cli import run\n"
        f"sys.exit(run(['serve', *{arguments!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == ExitStatus.FAILED
    assert done.stderr.splitlines() == [
        f"spoofcheck: {missing} is not installed; the service needs: pip install 'spoofcheck[serve]'"
    ]
