"""Names that act on terminals, pages, spreadsheets and file systems, in every output and in locales without UTF-8."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spoofcheck.cli import run
from spoofcheck.document import load_document
from spoofcheck.render.labels import WRITERS, label_files
from tests.hostile.crafted import noise_bytes, wav_bytes

NAMES = [
    *(b"new\nline.wav", b"carriage\rreturn.wav", b"tab\t.wav", b"esc\x1b[2J\x1b]0;owned\x07.wav", b"c1\xc2\x9b31m.wav"),
    *(b"rtl\xe2\x80\xaevaw.exe.wav", b"isolate\xe2\x81\xa6.wav", b"zero\xe2\x80\x8bwidth.wav", b"bom\xef\xbb\xbf.wav"),
    *(b"latin-1-\xe9.wav", b"\xff\xfe\xfd.wav", b"lone-surrogate-\xed\xa0\x80.wav", b"overlong-\xc0\xaf.wav"),
    *(
        b"-q.wav",
        b"--json.wav",
        b"=cmd|' C calc'!A0.wav",
        b"@SUM(1+1).wav",
        b"+1.wav",
        b"<script>alert(1)<!--.wav",
    ),
    *(b"quote\"'.wav", b"CON.wav", b"nul.wav", b"COM1.wav", b"trailing..wav", b"space .wav", b"a:b.wav", b"a*?.wav"),
    *(b"Case.wav", b"case.wav", "\u00e9.wav".encode(), "e\u0301.wav".encode(), "字".encode() * 80 + b".wav"),
]
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    for number, name in enumerate(NAMES):
        (folder / os.fsdecode(name)).write_bytes(wav_bytes(noise_bytes(1, seed=number)))
    return folder


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LANG": "POSIX", "PYTHONIOENCODING": "latin-1"},
    ],
    ids=["ascii", "latin-1"],
)
def test_every_output_comes_out_whole(locale: dict[str, str], folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
    options = ("--no-controls", "--no-trace", "--no-store", "--no-vad", "--no-acoustics", "--no-isolate")
    targets = {form: tmp_path / f"result.{form}" for form in ("json", "jsonl", "csv", "report")}
    outputs = [part for form, target in targets.items() for part in (f"--{form}", target)]
    labels = tmp_path / "labels"
    command = [sys.executable, "-m", "spoofcheck", "scan", folder, "--model", tiny_model, *options, *outputs]
    ended = subprocess.run(
        [*command, "--labels", labels, "--no-pictures"], capture_output=True, env=inherited | locale, check=False
    )
    assert ended.returncode in (0, 1), ended.stderr.decode(errors="replace")[-2_000:]
    shown = ended.stdout + ended.stderr
    assert b"Traceback" not in shown
    for acts in (b"\x1b[2J", b"\x1b]0", b"\r", b"\x07", b"\xc2\x9b", b"\xe2\x80\xae", b"\xe2\x81\xa6"):
        assert acts not in shown
    document = load_document(targets["json"])
    assert len(document.findings) == len(NAMES)
    assert len(targets["jsonl"].read_text("utf-8").splitlines()) == len(NAMES)
    rows = list(csv.DictReader(io.StringIO(targets["csv"].read_text("utf-8"))))
    assert len(rows) == len(NAMES)
    assert not any(value.startswith(("=", "+", "@", "\t", "\r")) for row in rows for value in row.values() if value)
    page = targets["report"].read_text("utf-8")
    assert "<script>alert(1)" not in page
    assert "\u202e" not in page
    names = [name for name, _ in label_files(document)]
    assert sorted(each.name for each in labels.iterdir()) == sorted(names)
    check_windows_names(names)


def check_windows_names(names: list[str]) -> None:
    """The rules of Win32: no reserved character or device, no dot or blank at the end, no two that differ in case."""
    assert len(names) == len(NAMES) * len(WRITERS)
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert not set(name) & set('<>:"/\\|?*')
        assert all(char.isprintable() for char in name)
        assert name.partition(".")[0].casefold() not in RESERVED
        assert name[-1] not in ". "
        assert name[0] not in ".- "
        assert len(name.encode("utf-16-le")) // 2 <= 160
        assert len(name.encode()) <= 255


def test_missing_files_of_such_names_are_lines_of_a_table(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = [f"{tmp_path}/{os.fsdecode(name)}" for name in NAMES]
    target = tmp_path / "scan.json"
    options = ("--no-controls", "--no-trace", "--no-store", "--model", str(tiny_model), "--json", str(target))
    assert run(["scan", *options, *missing]) == 2
    shown = "".join(capfd.readouterr())
    assert "Traceback" not in shown
    assert not set(shown) & {"\x07", "\x1b", "\r", "\x9b", "\u202e", "\u2066"}
    codes = [finding["reasons"][0]["code"] for finding in json.loads(target.read_text("utf-8"))["findings"]]
    assert codes == ["not-found"] * len(NAMES)
