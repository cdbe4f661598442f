"""A small campaign with a fixed seed, past failures, and that the checks of a campaign see what they look for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from spoofcheck.audio.signatures import HEAD_BYTES, container_of
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.schema import Finding, Reason
from tests.fuzz import campaign
from tests.fuzz.checks import NO_SCORE, SCORED, outcome_of, problems_of
from tests.fuzz.held import MARK, held
from tests.fuzz.mutate import mutant, mutation_names
from tests.fuzz.seeds import Seed, formats, make_seeds
from tests.fuzz.structure import elements_of, fields_of, mended

RECORDINGS = sorted((Path(__file__).parent / "corpus" / "recordings").iterdir())
NO_HEADER = {"ac3"}
"""Containers that our signatures leave to ffmpeg."""


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Seed]:
    return make_seeds(tmp_path_factory.mktemp("seeds"))


def test_seeds_are_what_they_are_called(seeds: list[Seed]) -> None:
    assert [seed.name for seed in seeds] == formats()
    for seed in seeds:
        if seed.container not in NO_HEADER:
            assert container_of(seed.data[:HEAD_BYTES]) == seed.container, seed.name
        assert fields_of(seed.container, seed.data), seed.name


def test_the_structure_of_good_files_is_read_to_their_end(seeds: list[Seed]) -> None:
    for seed in seeds:
        elements = elements_of(seed.container, seed.data)
        if elements:
            left = len(seed.data) - max(end for _, end in elements)
            assert left in (0, 1) or seed.container == "flac", seed.name  # a byte to fill; frames without lengths
        if seed.container == "ogg":
            assert mended("ogg", seed.data) == seed.data, "the check sums of another writer"


def test_mutants_are_the_same_every_time_and_of_every_kind(seeds: list[Seed]) -> None:
    made = [mutant(9, number, seeds) for number in range(600)]
    assert made[:60] == [mutant(9, number, seeds) for number in range(60)]
    assert {name for each in made for name in each.how} == set(mutation_names())
    untouched = sum(each.data == each.seed.data for each in made)
    assert untouched < 30
    assert made[0].data != mutant(10, 0, seeds).data


def test_a_small_campaign_breaks_nothing(tmp_path: Path) -> None:
    report = campaign.run_campaign(tmp_path, seed=9, inputs=250, readers=2)
    assert report.problems == []
    assert (report.mutants, report.good, report.good_lost) == (250, 13, 0)
    totals = report.totals()
    assert {SCORED, NO_SCORE, "decode-failed", "not-audio"} <= totals.keys()
    assert totals[SCORED] > 50
    assert report.counts.keys() == set(formats())
    table = campaign.summary(report)
    assert table.row_count == len(formats()) + 1


def test_odd_recordings_are_judged_or_refused(tiny_model: Path) -> None:
    options = ScanOptions(device="cpu", trace=False, isolation="processes", workers=2, limits=campaign.LIMITS)
    outcomes = set()
    for path, findings in Scanner(tiny_model, options).examined_inputs(RECORDINGS):
        assert problems_of(path, findings) == [], path.name
        outcomes.add(outcome_of(findings))
    assert {SCORED, NO_SCORE, "decode-failed", "no-audio-stream", "not-audio", "zero-length"} <= outcomes


def good() -> Finding:
    return Finding.skipped("a.wav", "not-audio", "It is none.")


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ([], "no finding"),
        ([good().model_copy(update={"path": "b.wav"})], "another input"),
        ([good(), good()], "channels"),
        ([good().model_copy(update={"reasons": ()})], "no reason"),
        ([good().model_copy(update={"reasons": (Reason(code="", message="x"),)})], "the code ''"),
        ([good().model_copy(update={"reasons": (Reason(code="x", message=" "),)})], "no printable line"),
        ([good().model_copy(update={"reasons": (Reason(code="x", message="a\nb"),)})], "no printable line"),
        ([good().model_copy(update={"reasons": (Reason(code="x", message="\x1b[2J"),)})], "no printable line"),
        ([Finding.skipped("a.wav", "internal-error", "Oops.")], "a bug: Oops."),
        ([good().model_copy(update={"raw_score": float("nan")})], "not finite"),
    ],
)
def test_checks_see_what_is_wrong(findings: list[Finding], said: str) -> None:
    assert any(said in problem for problem in problems_of(Path("a.wav"), findings))
    assert problems_of(Path("a.wav"), [good()]) == []


def test_what_is_left_behind_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "of this test")
    before = held("of this test", tmp_path)
    assert held("of this test", tmp_path).more_than(before) == []
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="left-behind")
    thread.start()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (tmp_path / "left").write_bytes(b"")
    descriptor = os.open(tmp_path / "left", os.O_RDONLY)
    try:
        seen = " ".join(held("of this test", tmp_path).more_than(before))
    finally:
        os.close(descriptor)
        done.set()
        thread.join()
        process.communicate()
    for part in (
        "descriptors left behind",
        "threads left behind: left-behind",
        f"{process.pid}",
        "files left behind: left",
    ):
        assert part in seen
    (tmp_path / "left").unlink()
    assert held("of this test", tmp_path).more_than(before) == []


def test_a_campaign_notices_lost_and_changed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that answers wrongly must not pass."""

    def forgetful(self: Scanner, inputs: list[Path]) -> object:
        yield inputs[0], ()
        yield inputs[1], (Finding.skipped(str(inputs[1]), "not-audio", "A lie."),)
        raise ValueError("and then it fell")

    monkeypatch.setattr(Scanner, "examined_inputs", forgetful)
    monkeypatch.setattr(
        campaign, "_scan_alone", lambda *_: [good().model_copy(update={"verdict": "bonafide", "raw_score": 1.0})]
    )
    report = campaign.run_campaign(tmp_path, seed=9, inputs=3, names=["wav-s16", "amr"], keep=tmp_path / "kept")
    said = "\n".join(report.problems)
    assert "no finding" in said
    assert "a good file with other findings than alone" in said
    assert "the scan ended: ValueError: and then it fell" in said
    assert said.count("lost") == 2
    assert [path.name.startswith("lost-000000") for path in (tmp_path / "kept").iterdir()] == [True]
