"""`scan --budget`: what was not looked at is in every output, and a later command keeps to it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from spoofcheck.cli import run
from spoofcheck.render import Format, render
from spoofcheck.render.console import render as render_table
from spoofcheck.render.console import summary
from spoofcheck.render.timeline import Level, bars, strip
from spoofcheck.schema import ScanDocument
from tests.support.audio import noise, write_wav

RATE_HZ = 16_000
PART = "8.0 s in 2 of 5 windows"


@pytest.fixture(scope="module")
def outputs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every output of a scan of two recordings, of which one is longer than the budget."""
    folder = tmp_path_factory.mktemp("evidence")
    write_wav(folder / "long.wav", noise(20 * RATE_HZ, seed=1), RATE_HZ)
    write_wav(folder / "short.wav", noise(7 * RATE_HZ, seed=2), RATE_HZ)
    forms = [part for name in ("json", "jsonl", "csv") for part in (f"--{name}", str(folder / f"scan.{name}"))]
    shown = ["--report", str(folder / "scan.html"), "--labels", str(folder / "labels"), "--no-acoustics"]
    how = ["--model", str(tiny_model), "--device", "cpu", "--no-vad", "--no-controls", "--no-store"]
    status = run(["scan", str(folder), "--budget", "8s", *how, *shown, *forms])
    assert status in (0, 1)
    return folder


@pytest.fixture(scope="module")
def document(outputs: Path) -> ScanDocument:
    return ScanDocument.model_validate_json((outputs / "scan.json").read_bytes())


def test_the_document_says_what_was_not_looked_at(document: ScanDocument) -> None:
    assert document.options.budget_s == 8.0
    cut, whole = document.findings
    (reason,) = [reason for reason in cut.reasons if reason.code == "budget"]
    assert reason.message.startswith(
        f"{PART}, spread evenly, were examined (--budget 8s); nothing is said of the other 3"
    )
    assert [window.not_scored for window in cut.windows] == [None, "budget", "budget", "budget", None]
    assert "budget" not in [reason.code for reason in whole.reasons]
    assert {window.not_scored for window in whole.windows} == {None}


def test_so_do_the_lines_and_the_rows(outputs: Path) -> None:
    line = json.loads((outputs / "scan.jsonl").read_text().splitlines()[0])
    assert "budget" in [reason["code"] for reason in line["reasons"]]
    rows = list(csv.DictReader(io.StringIO((outputs / "scan.csv").read_text())))
    assert [(row["examined_s"], row["windows_over_budget"], row["windows_scored"]) for row in rows] == [
        ("8.0", "3", "2"),
        ("7.0", "0", "2"),
    ]
    assert "budget" in rows[0]["reason_codes"]
    assert "budget" not in rows[1]["reason_codes"]


def test_so_do_the_table_and_the_summary(document: ScanDocument) -> None:
    table = render_table(document, width=80)
    assert table.count(f"examined: {PART}") == 1
    assert "not looked at, over the budget" in table
    assert "Examined in part: 1 exhibit, over the budget; nothing is said of 3 windows" in summary(document)
    levels = strip(document.findings[0], document.options, 5)
    assert [level is Level.OVER_BUDGET for level in levels] == [False, True, True, True, False]
    whole = document.model_copy(update={"findings": document.findings[1:]})
    assert "budget" not in render_table(whole) + summary(whole)


def test_so_does_the_report_at_the_verdict_in_the_timeline_and_in_the_opinion(
    outputs: Path, document: ScanDocument
) -> None:
    page = (outputs / "scan.html").read_text()
    first, second = page.split('id="exhibit-2"')
    exhibit = first.split('id="exhibit-1"')[1]
    assert "<dt>Examined in part</dt><dd>0:08.0</dd>" in exhibit
    assert "nothing is said of the other 3" in exhibit
    assert exhibit.count('<rect class="over-budget"') == 3
    assert f"Cross-hatched: not looked at, over the budget; {PART}" in exhibit
    assert "over-budget" not in second.split("<section")[0]
    assert "not looked at, over the budget</span>" in first, "the legend"
    assert "1 exhibit examined in part</dd>" in page, "the cover"
    assert '<span class="origin">examined in part</span>' in page, "the table of exhibits"
    assert "1 exhibit was examined in part" in page, "limitations"
    assert ", budget 8 s</dd>" in page, "options"
    verdict_in_words = page.split('id="opinion"')[1].split("</table>")[0]
    assert ("This rests on" in verdict_in_words) == (document.findings[0].verdict != "inconclusive")


def test_so_do_the_labels(outputs: Path) -> None:
    labels = {path.name: path.read_text() for path in (outputs / "labels").iterdir()}
    assert f", examined {PART}\n" in labels["long.wav.audacity.txt"]
    assert labels["long.wav.audacity.txt"].count("not scored: budget") == 3
    assert f'examined {PART}"' in labels["long.wav.TextGrid"]
    assert labels["long.wav.csv"].count('"budget"') == 3
    kinds = [line.split()[:5] for line in labels["long.wav.rttm"].splitlines()]
    assert kinds[1] == ["NOSCORE", "long.wav", "1", "4.000000", "12.000000"]
    assert [kind[0] for kind in kinds] == ["SPEAKER", "NOSCORE", "SPEAKER"]
    assert "budget" not in "".join(text for name, text in labels.items() if name.startswith("short"))


def test_a_recording_of_many_windows_is_drawn_by_those_examined(document: ScanDocument) -> None:
    cut = document.findings[0]
    joined = bars(cut, document.options, 2)
    assert [bar.level is Level.OVER_BUDGET for bar in joined] == [False, False], "each holds an examined window"
    unscored = cut.model_copy(update={"windows": cut.windows[1:4]})
    assert [bar.level for bar in bars(unscored, document.options, 1)] == [Level.OVER_BUDGET]


def test_a_saved_result_says_it_again(document: ScanDocument) -> None:
    again = ScanDocument.model_validate_json(render(document, Format.JSON))
    assert render_table(again) == render_table(document)


def test_verify_computes_the_same_windows_again(
    outputs: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(
        ["verify", str(outputs / "scan.json"), "--exhibits", str(outputs), "--model", str(tiny_model), "--recompute"]
    )
    told = capsys.readouterr()
    assert status == 0, told
    assert "2 recordings scanned again: none differs" in told.out


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("3s", "--budget 3s: less than one window of the model tiny"),
        ("2h", "--budget 7200s: at most 3600s"),
        ("soon", "--budget soon: neither seconds (90, 60s), minutes (5m) nor hours (1h)"),
        ("1e3", "neither seconds"),
        ("-5", "neither seconds"),
        ("", "neither seconds"),
        ("inf", "neither seconds"),
        ("٣m", "neither seconds"),
    ],
)
def test_what_is_no_budget_is_refused(
    budget: str, words: str, tiny_model: Path, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["scan", str(outputs / "long.wav"), "--model", str(tiny_model), "--device", "cpu", f"--budget={budget}"]
    assert run(arguments) == 2
    assert words in capsys.readouterr().err
