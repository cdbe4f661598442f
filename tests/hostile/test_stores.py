"""Stores of sources, cases, results and lists that somebody made or changed: one clear line each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spoofcheck.cli import run
from spoofcheck.detect.caseunknowns import read_case
from spoofcheck.detect.sourcestore import StoreTracer
from spoofcheck.errors import ModelError

KINDS = ("pipe", "device", "sparse", "deep", "deep-list", "long-number", "folder", "noise", "nan")
PIPES_ARE_FINE = ("report", "merge", "files-from")
"""Where a shell's `<(...)` is of use: whoever names a pipe waits for it."""


def made(kind: str, path: Path) -> Path:
    """Something at a path that should be a JSON file."""
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "sparse":
            path.write_bytes(b"{")
            os.truncate(path, 1 << 38)
        case "deep":
            path.write_text('{"a":' * 100_000)
        case "deep-list":
            path.write_text("[" * 1_000_000)
        case "long-number":
            number = "9" * 10_000
            path.write_text(f'{{"format_version":{number},"schema_version":{number},"findings":[]}}')
        case "nan":
            tracer = f'{{"name":"x","version":"1","weights_sha256":"{"0" * 64}"}}'
            path.write_text(f'{{"format_version":1,"sha256":"{"0" * 64}","tracer":{tracer},"sources":[NaN]}}')
        case _:
            path.write_bytes(bytes(range(256)) * 8)
    return path


@pytest.mark.parametrize("reader", ["sources list", "case", "report", "merge", "files-from"])
def test_what_is_no_such_file_is_refused_in_one_line(
    reader: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "a.wav"
    recording.write_bytes(b"RIFF")
    scan = ["scan", "--model", str(tiny_model), "--no-controls", "--no-store"]
    for kind in KINDS:
        if reader in PIPES_ARE_FINE and kind == "pipe":
            continue
        if reader == "files-from" and kind in ("deep", "deep-list", "long-number", "noise", "nan"):
            continue  # any bytes are a list of names
        place = str(made(kind, tmp_path / kind))
        command = {
            "sources list": ["sources", "list", "--store", place],
            "case": [*scan, str(recording), "--case", place],
            "report": ["report", place],
            "merge": ["merge", place],
            "files-from": [*scan, "--files-from", place],
        }[reader]
        assert run(command) == 2, kind
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1, error
        assert "unexpected" not in error, error
        assert place in error
        assert len(error) < 1_000


@pytest.mark.parametrize("kind", KINDS)
def test_what_holds_no_unknown_exhibits_is_refused(kind: str, tmp_path: Path) -> None:
    path = made(kind, tmp_path / kind)
    with pytest.raises(ModelError) as error:
        read_case(path, StoreTracer(name="x", version="1", weights_sha256="0" * 64))
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 1_000
