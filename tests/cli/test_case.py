"""`spoofcheck case` and `spoofcheck ledger` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spoofcheck.cli import run
from spoofcheck.ledger import Kind, Subjects, append_entry
from tests.support.documents import sha256

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_a_new_case_file_can_be_checked_and_is_not_overwritten(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "case.toml"
    assert run(["case", "new", str(path)]) == 0
    assert run(["case", "check", str(path)]) == 0
    assert "CASE-NUMBER" in capsys.readouterr().out
    before = path.read_bytes()
    assert run(["case", "new", str(path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_checked_case_says_which_exhibits_are_there(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "case.toml"
    (tmp_path / "a.wav").write_bytes(b"x")
    path.write_text(
        'number = "7"\nclient = "A\\u200b"\n[[exhibits]]\nfile = "a.wav"\nreference = "EX-1"\n'
        '[[exhibits]]\nfile = "b.wav"\nreference = "EX-2"\n',
        encoding="utf-8",
    )
    assert run(["case", "check", str(path)]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.rstrip() for line in out.splitlines() if line.startswith("EX-")}
    assert rows["EX-1"].endswith("found")
    assert rows["EX-2"].endswith("not at this place")
    assert r"A\u200b" in out
    path.write_text('number = ""', encoding="utf-8")
    assert run(["case", "check", str(path)]) == 2
    assert "key 'number': empty" in capsys.readouterr().err


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "case.jsonl"
    append_entry(path, Kind.SCAN, Subjects(document=sha256("d"), exhibits=(sha256("a"),)), note="first \x1b[31m")
    assert run(["ledger", "note", str(path), "Bag 4711 opened"]) == 0
    return path


def test_a_ledger_is_shown_and_checked(ledger: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert run(["ledger", "head", str(ledger)]) == 0
    number, head = capsys.readouterr().out.split()
    assert number == "2"
    assert run(["ledger", "check", str(ledger), "--head", head.upper()]) == 0
    assert capsys.readouterr().out == f"whole: 2 entries, head {head}\n"
    assert run(["ledger", "show", str(ledger)]) == 0
    out = capsys.readouterr().out
    assert "1 exhibit" in out
    assert "Bag 4711 opened" in out
    assert r"first \x1b[31m" in out
    assert "\x1b[31m" not in out
    assert run(["ledger", "show", str(ledger), "--json"]) == 0
    assert capsys.readouterr().out.encode() == ledger.read_bytes()


def test_tampering_is_located(ledger: Path, capsys: Capture) -> None:
    head = json.loads(ledger.read_bytes().splitlines()[1])["sha256"]
    ledger.write_bytes(ledger.read_bytes().replace(b"4711", b"4712"))
    capsys.readouterr()
    assert run(["ledger", "check", str(ledger)]) == 1
    assert capsys.readouterr().out == "line 2: was changed: its content does not agree with its SHA-256\n"
    for command in (["show"], ["head"]):
        assert run(["ledger", *command, str(ledger)]) == 1
        assert "the chain is broken: line 2" in capsys.readouterr().err
    assert run(["ledger", "note", str(ledger), "x"]) == 2
    assert "nothing is added" in capsys.readouterr().err
    ledger.write_bytes(ledger.read_bytes().splitlines(keepends=True)[0])
    assert run(["ledger", "check", str(ledger)]) == 0
    assert run(["ledger", "check", str(ledger), "--head", head]) == 1
    assert "the end was cut off" in capsys.readouterr().out


def test_bad_arguments(ledger: Path, tmp_path: Path, capsys: Capture) -> None:
    for arguments, words in (
        (["check", str(tmp_path / "none.jsonl")], "cannot be read"),
        (["check", str(ledger), "--head", "abc"], "not a SHA-256"),
        (["note", str(ledger), " "], "the text is empty"),
        (["note", str(ledger), "x" * 4_001], "at most 4,000"),
    ):
        assert run(["ledger", *arguments]) == 2
        assert words in capsys.readouterr().err
