"""`scan` with its result store, `spoofcheck store`, and what is left when a scan is killed."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bench.kills import torment, write_pieces
from spoofcheck.cli import run
from spoofcheck.detect.resultdatabase import DATABASE_NAME
from spoofcheck.detect.scan import Scanner
from spoofcheck.document import load_document
from spoofcheck.render.canonical import reproducible
from spoofcheck.resources import user_cache_dir
from spoofcheck.schema import ScanDocument
from tests.support.enrolling import clips_of, embedding_tracer, twin_detector

RATE_HZ = 16_000
Scan = Callable[..., tuple[int, ScanDocument, str]]


def write_noise(path: Path, seed: int = 0) -> Path:
    samples = np.random.default_rng(seed).normal(0, 0.1, 5 * RATE_HZ).astype(np.float32)
    soundfile.write(path, samples, RATE_HZ, format="WAV", subtype="PCM_16")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for n in range(3):
        write_noise(folder / f"{n}.wav", n)
    (folder / "letter.wav").write_text("no recording\n" * 20)
    return folder


@pytest.fixture
def scan(tiny_model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Scan:
    """Scans the folder with the tiny model; gives the exit code, the document and standard error."""

    def call(*arguments: str | Path, model: Path = tiny_model) -> tuple[int, ScanDocument, str]:
        result = tmp_path / "result.json"
        common = ["--no-controls", "--no-vad", "--device", "cpu", "--model", model, "--json", result]
        status = run(["scan", *map(str, [folder, *common, *arguments])])
        return status, load_document(result), capsys.readouterr().err

    return call


def same(one: ScanDocument, other: ScanDocument) -> bool:
    """Whether two documents differ in time and command line alone."""
    tool = one.tool.model_copy(update={"command_line": ()})
    return reproducible(one).model_copy(update={"tool": tool}) == reproducible(other).model_copy(update={"tool": tool})


def test_a_second_scan_says_what_it_took_from_the_store(scan: Scan, folder: Path) -> None:
    status, first, err = scan()
    assert "judged before" not in err
    assert first.run.from_store == 0
    write_noise(folder / "9.wav", 9)
    again = scan()
    assert again[1].run.from_store == 4
    said = "".join(again[2].split())
    assert "4of5recordingswerejudgedbeforeandtakenfromthestore" in said
    assert f"({user_cache_dir() / 'results'})" in said
    assert "realtime" not in said
    (folder / "9.wav").unlink()
    again = scan()
    assert (again[0], again[1].run.from_store) == (status, 4)
    assert same(again[1], first)
    assert reproducible(again[1]).run.from_store == 0


def test_the_store_may_lie_elsewhere_or_nowhere(scan: Scan, tmp_path: Path) -> None:
    scan("--no-store")
    assert not user_cache_dir().exists()
    place = tmp_path / "case 7" / "store"
    scan("--store", place)
    assert not user_cache_dir().exists()
    assert scan("--store", place)[1].run.from_store == 4
    assert scan("--store", place, "--fresh")[1].run.from_store == 0
    assert scan()[1].run.from_store == 0
    assert scan("--no-store")[1].run.from_store == 0


def test_every_output_can_be_made_from_the_store(scan: Scan, tmp_path: Path) -> None:
    evidence = ("--acoustics", "--pictures", "--excerpts")
    first = scan(*evidence)[1]
    page = tmp_path / "report.html"
    again = scan(*evidence, "--report", page)[1]
    assert again.run.from_store == 4
    assert same(first, again)
    assert all(finding.pictures is not None for finding in again.findings[:3])
    assert "Taken from the result store" in page.read_text(encoding="utf-8")
    assert scan()[1].run.from_store == 0, "a scan without evidence finds other things"


def test_a_scan_that_was_interrupted_ends_as_if_it_had_not_been(
    scan: Scan, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    embedding_tracer(models / "tracer")
    twin_detector(models / "detector", models / "tracer")
    for name in ("plain", "dull"):
        clips_of(folder / name, name, 2, first_s=5.2)
    options = ("--threshold", "-100", "--tracer", models / "tracer")
    unbroken = scan(*options, "--no-store", model=models / "detector")
    assert any(finding.trace is not None for finding in unbroken[1].findings)
    judged = Scanner.judged
    count = 0

    def interrupted(scanner: Scanner, *arguments: Any) -> Generator[Any]:
        nonlocal count
        count += 1
        if count == 5:
            raise KeyboardInterrupt
        yield from judged(scanner, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Scanner, "judged", interrupted)
        status, broken, _ = scan(*options, model=models / "detector")
    assert (status, len(broken.findings)) == (130, 4)
    status, again, _ = scan(*options, model=models / "detector")
    assert (status, again.run.from_store) == (unbroken[0], 4)
    assert same(again, unbroken[1])
    assert again.unknown_groups == unbroken[1].unknown_groups
    assert all(finding.custody is not None for finding in again.findings if finding.sha256)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--no-store", "--fresh"], "--no-store contradicts --fresh"),
        (["--no-store", "--store", "x"], "--no-store contradicts --store"),
        (["--store", "{file}"], "is no folder"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    folder: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "0.wav"
    assert run(["scan", str(file), *(option.format(file=file) for option in options)]) == 2
    assert said in capsys.readouterr().err


def test_a_store_that_cannot_be_used_is_told_once_and_costs_nothing(
    scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, first, _ = scan("--no-store")
    (tmp_path / "file").touch()
    again = scan("--store", tmp_path / "file" / "store", "--quiet")
    assert again[0] == status
    assert again[2].count("the scan goes on without it") == 1
    assert same(first, again[1])
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pathlib.Path.home", _no_home)
    again = scan()
    assert "there is no folder for the result store" in again[2]
    assert same(first, again[1])


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_what_went_wrong_with_a_file_at_the_moment_is_tried_again(
    scan: Scan, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Scanner._read

    def broken(scanner: Scanner, path: Path, *arguments: Any) -> Generator[Any]:
        if path.name == "1.wav":
            raise OSError("for once")
        yield from read(scanner, path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Scanner, "_read", broken)
        assert scan()[1].findings[1].reasons[0].code == "internal-error"
    again = scan()[1]
    assert again.run.from_store == 3
    assert again.findings[1].raw_score is not None


def test_stats_and_prune(scan: Scan, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["store", "stats"]) == 2
    assert "there is no result store" in capsys.readouterr().err
    scan()
    scan("--hop", "2")
    place = tmp_path / "moved"
    shutil.copytree(user_cache_dir() / "results", place)
    store = ("--store", str(place))
    assert run(["store", "stats", *store]) == 0
    out, err = capsys.readouterr()
    assert out.count("tiny 1") == 2
    assert f"{place / DATABASE_NAME}: 8 recordings" in err
    assert run(["store", "stats", "--json", *store]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert (stats["entries"], len(stats["runs"]), stats["path"]) == (8, 2, str(place / DATABASE_NAME))
    assert {run["facts"]["options"]["hop_s"] for run in stats["runs"]} == {2.0, 4.0}
    for options, said in (
        ([], "say what to remove"),
        (["--all", "--model", "tiny"], "--all contradicts"),
    ):
        assert run(["store", "prune", *store, *options]) == 2
        assert said in capsys.readouterr().err
    for options, removed, left in (
        (["--older-than", "1"], 0, 8),
        (["--model", "other"], 0, 8),
        (["--model", "tiny", "--older-than", "0.5"], 0, 8),
        (["--model", "tiny"], 8, 0),
        (["--all"], 0, 0),
    ):
        assert run(["store", "prune", *store, *options]) == 0
        assert f"{removed} recordings removed" in (err := capsys.readouterr().err)
        assert f"{left} recordings left" in err
    assert scan("--store", place)[1].run.from_store == 0
    assert run(["store", "prune", "--all"]) == 0
    assert scan()[1].run.from_store == 0


def test_a_damaged_store_is_told_by_its_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / DATABASE_NAME).write_bytes(b"no database " * 1_000)
    (tmp_path / DATABASE_NAME).chmod(0o600)
    assert run(["store", "stats", "--store", str(tmp_path)]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_a_scan_of_this_program_cannot_be_killed_into_losing_anything(tiny_model: Path, tmp_path: Path) -> None:
    """A few kills; `python -m bench.kills` makes fifty, of the shipped model."""
    write_pieces(tmp_path / "recordings", 8)
    options = ("--model", str(tiny_model), "--device", "cpu", "--no-vad", "--no-controls", "--no-isolate")
    outcome = torment(tmp_path, options, 2, random.Random(1), warm=False)
    assert outcome.kills == 2
    assert outcome.most_lost <= 1
    assert (outcome.differing, outcome.exit_codes, outcome.leaked, outcome.left_over, outcome.damaged) == (0,) * 5
