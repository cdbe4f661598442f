"""`spoofcheck scan` and `report` for a case: evidence, controls, custody, labels, ledger, PDF, reproducible documents.

A tiny model stands in for the shipped one; its controls misbehave, so they are scored where they are tested alone.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spoofcheck.cli import run
from spoofcheck.cli.status import ExitStatus, status_of
from spoofcheck.errors import UsageError
from spoofcheck.ledger import Kind, append_entry, read_ledger
from spoofcheck.render.canonical import document_sha256
from spoofcheck.schema import ControlResult, Finding, ScanDocument, Verdict
from tests.support.audio import human_speech, write_wav
from tests.support.documents import of_verdict

RATE = 16_000
CASE = """\
number = "2026-114"
question = "Is the speech synthetic?"

[[exhibits]]
file = "recordings/a.wav"
reference = "EX-1"
description = "the first call"
"""
Scan = Callable[..., tuple[int, ScanDocument, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A case's folder: two short recordings with speech, and a case file that names the first."""
    (tmp_path / "case" / "recordings").mkdir(parents=True)
    for number, name in enumerate(("a.wav", "b.wav")):
        write_wav(tmp_path / "case" / "recordings" / name, human_speech()[number * RATE : (4 + number) * RATE], RATE)
    (tmp_path / "case" / "case.toml").write_text(CASE)
    return tmp_path / "case"


@pytest.fixture
def scan(tiny_model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> Scan:
    """Scans the recordings with the tiny model, without controls unless asked; exit code, document, stderr."""

    def call(*arguments: str | Path) -> tuple[int, ScanDocument, str]:
        result = folder / "scan.json"
        common = [folder / "recordings", "--model", tiny_model, "--device", "cpu", "--quiet", "--json", result]
        own = [] if "--controls" in arguments else ["--no-controls"]
        status = run(["scan", *map(str, [*common, *own, *arguments])])
        return status, ScanDocument.model_validate_json(result.read_bytes()), capsys.readouterr().err

    return call


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def made(finding: Finding) -> dict[str, bool]:
    return {
        "acoustics": finding.acoustics is not None,
        "pictures": finding.pictures is not None,
        "excerpts": bool(finding.excerpts),
        "stability": finding.stability is not None,
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], set()),
        (["--report", "{folder}/report.html"], {"acoustics", "pictures"}),
        (["--report", "{folder}/report.html", "--no-acoustics", "--no-pictures"], set()),
        (["--labels", "{folder}/labels"], {"pictures"}),
        (["--labels", "{folder}/labels", "--no-pictures"], set()),
        (["--acoustics", "--pictures", "--excerpts"], {"acoustics", "pictures", "excerpts"}),
        (["--excerpts", "--stability"], {"excerpts", "stability"}),
    ],
)
def test_what_is_made_follows_the_options(scan: Scan, folder: Path, options: list[str], expected: set[str]) -> None:
    status, document, _ = scan(*(option.format(folder=folder) for option in options))
    assert status in (0, 1)
    for finding in document.findings:
        assert {name for name, there in made(finding).items() if there} == expected
        assert finding.custody is not None
        assert finding.custody.unchanged
    assert document.controls == ()


def test_a_case_and_a_note_reach_the_document(scan: Scan, folder: Path) -> None:
    note = "Bag 4711 was sealed."
    _, document, _ = scan("--case", folder / "case.toml", "--note", f"  {note}\n", "--report", folder / "report.html")
    assert document.case is not None
    assert (document.case.number, document.case.sha256) == ("2026-114", sha256(folder / "case.toml"))
    assert [finding.exhibit for finding in document.findings] == ["EX-1", None]
    assert document.note == note
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "2026-114" in page
    assert note in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--note", "This recording is 100 % fake"], "is more than a report can say"),
        (["--note", " "], "--note: the text is empty"),
        (["--note", "x" * 4_001], "4,001 characters; at most 4,000"),
        (["--case", "{folder}/missing.toml"], "cannot be read"),
        (["--case", "{folder}/recordings/a.wav"], "not a case file"),
        (["--labels", "{folder}/case.toml"], "is a file, not a folder"),
        (["--labels", "{folder}/missing/labels"], "cannot be written"),
        (["--labels", "-"], "--labels -: cannot go to standard output; name a folder"),
        (["--pdf", "-"], "--pdf -: cannot go to standard output; name a file"),
        (["--ledger", "-"], "--ledger -: cannot go to standard output"),
        (["--pdf", "{folder}/missing/report.pdf"], "cannot be written"),
        (["--ledger", "{folder}/case.toml"], "the chain is broken"),
        (["--ledger", "{folder}/x", "--pdf", "{folder}/x"], "two outputs name the same place"),
    ],
)
def test_what_cannot_be_done_is_found_before_the_work(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in folder.iterdir())
    given = [argument.format(folder=folder) for argument in arguments]
    assert run(["scan", str(folder / "recordings"), "--model", "no-such-model", *given]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_flip_makes_the_verdict_inconclusive(scan: Scan, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    from spoofcheck.detect.stability import StabilityTest, card_of
    from spoofcheck.schema import StabilityCard, StabilityRun

    def flipped(test: StabilityTest) -> StabilityCard:
        run_of = StabilityRun(name="8khz", label="brought to 8 kHz and back", spoof_llr=-3, verdict=Verdict.BONAFIDE)
        return card_of(test._decision.verdict, test._decision.spoof_llr, [run_of])

    monkeypatch.setattr(StabilityTest, "finish", flipped)
    plain_status, plain, _ = scan("--threshold", "-100")
    status, document, _ = scan("--threshold", "-100", "--stability")
    assert (plain_status, status) == (1, 0)
    for before, finding in zip(plain.findings, document.findings, strict=True):
        assert (before.verdict, finding.verdict) == (Verdict.SPOOF, Verdict.INCONCLUSIVE)
        assert finding.reasons[0].code == "unstable"
        assert finding.spoof_llr == before.spoof_llr


def control(as_expected: bool) -> ControlResult:
    return ControlResult(
        name="control-human.flac", truth="bonafide", sha256="0" * 64, verdict=Verdict.SPOOF, raw_score=2.0,
        spoof_llr=2.0, as_expected=as_expected, message="The human control is judged spoof (LLR +2.00).",
    )  # fmt: skip


def test_controls_that_misbehave_end_in_2_after_everything_was_written(
    scan: Scan, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoofcheck.detect.controls.control_results", lambda _: (control(False),))
    ledger = folder / "case.jsonl"
    status, document, err = scan("--controls", "--report", folder / "report.html", "--ledger", ledger)
    assert status == 2
    assert err == "CONTROL FAILED: The human control is judged spoof (LLR +2.00).\n"
    assert document.controls == (control(False),)
    assert (folder / "report.html").is_file()
    assert "CONTROL FAILED" in read_ledger(ledger).entries[0].note
    monkeypatch.setattr("spoofcheck.detect.controls.control_results", lambda _: (control(True),))
    status, document, err = scan("--controls", "--threshold", "-100")
    assert (status, err) == (1, "")
    assert document.controls == (control(True),)


def test_controls_are_scored_once_with_the_options_of_the_run(
    scan: Scan, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    from spoofcheck.detect import controls
    from spoofcheck.detect.scan import Scanner

    seen: list[Scanner] = []

    def spy(scanner: Scanner) -> tuple[ControlResult, ...]:
        seen.append(scanner)
        return found(scanner)

    found = controls.control_results
    monkeypatch.setattr(controls, "control_results", spy)
    status, document, err = scan("--controls", "--threshold", "-100", "--stability", "--pictures")
    (scanner,) = seen
    assert scanner.rule.spoof_threshold_llr == -100
    assert not scanner.options.evidence.is_any
    assert [each.truth for each in document.controls] == ["bonafide", "spoof"]
    assert [each.as_expected for each in document.controls] == [False, True], "all is flagged at this threshold"
    assert status == 2
    assert "The human control is judged" in err


def test_the_exit_code_of_a_misbehaving_control_wins() -> None:
    flagged, clear = of_verdict(Verdict.SPOOF), of_verdict(Verdict.BONAFIDE)
    assert status_of([flagged], [control(True)]) is ExitStatus.FLAGGED
    assert status_of([flagged], [control(True), control(False)]) is ExitStatus.FAILED
    assert status_of([clear], [control(False)], complete=False) is ExitStatus.FAILED
    assert status_of([flagged], complete=False) is ExitStatus.INTERRUPTED


@pytest.mark.weights
def test_the_shipped_model_has_its_controls_and_figures_in_every_document(folder: Path) -> None:
    result = folder / "scan.json"
    run(["scan", str(folder / "recordings" / "a.wav"), "--device", "cpu", "--quiet", "--json", str(result)])
    document = ScanDocument.model_validate_json(result.read_bytes())
    assert [each.as_expected for each in document.controls] == [True, True]
    assert document.model.conditions
    assert document.model.percentiles


def test_a_file_that_changes_during_the_run_is_told(scan: Scan, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spoofcheck.detect.scan import Scanner

    examined = Scanner.examined_inputs

    def then_changed(*arguments: object) -> object:
        yield from examined(*arguments)  # type: ignore[arg-type]
        write_wav(folder / "recordings" / "b.wav", human_speech()[:RATE], RATE)

    monkeypatch.setattr(Scanner, "examined_inputs", then_changed)
    status, document, err = scan()
    first, second = document.findings
    assert status in (0, 1)
    assert first.custody is not None
    assert first.custody.unchanged
    assert second.custody is not None
    assert (second.custody.unchanged, second.custody.sha256) == (False, sha256(folder / "recordings" / "b.wav"))
    assert second.reasons[-1].code == "changed-after-examination"
    assert err.count("\n") == 1
    assert "b.wav: The file changed after it was examined" in err


def test_a_plain_scan_checks_no_file_again(
    tiny_model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("spoofcheck.detect.custody.check_again", lambda *_: pytest.fail("hashed again"))
    arguments = ["--model", str(tiny_model), "--device", "cpu", "--no-controls", "--csv", str(folder / "scan.csv")]
    assert run(["scan", str(folder / "recordings"), *arguments]) in (0, 1)


def test_label_tracks_are_written_for_every_exhibit(scan: Scan, folder: Path) -> None:
    scan("--case", folder / "case.toml", "--labels", folder / "labels")
    endings = (".audacity.txt", ".TextGrid", ".rttm", ".csv")
    names = {f"{exhibit}{ending}" for exhibit in ("EX-1-a.wav", "b.wav") for ending in endings}
    assert {path.name for path in (folder / "labels").iterdir()} == names
    assert "speech" in (folder / "labels" / "b.wav.TextGrid").read_text()
    again = folder / "again"
    assert run(["report", str(folder / "scan.json"), "--labels", str(again)]) == 0
    for path in again.iterdir():
        assert path.read_bytes() == (folder / "labels" / path.name).read_bytes()


def test_scan_and_report_are_entered_in_the_ledger_beside_the_case_file(scan: Scan, folder: Path) -> None:
    _, document, _ = scan("--case", folder / "case.toml", "--report", folder / "report.html")
    html = str(folder / "again.html")
    arguments = ["report", str(folder / "scan.json"), "--html", html, "--ledger", str(folder / "case.jsonl")]
    assert run(arguments) == 0
    ledger = read_ledger(folder / "case.jsonl")
    assert ledger.problems == ()
    first, second = ledger.entries
    assert (first.kind, second.kind) == (Kind.SCAN, Kind.REPORT)
    for entry, page in ((first, "report.html"), (second, "again.html")):
        assert entry.subjects.document == document_sha256(document)
        assert entry.subjects.report == sha256(folder / page)
        assert entry.subjects.exhibits == tuple(finding.sha256 for finding in document.findings)
    assert sha256(folder / "report.html") == sha256(folder / "again.html")


def test_a_broken_ledger_stops_the_scan_before_it_begins(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = folder / "case.jsonl"
    append_entry(ledger, Kind.NOTE, note="first")
    ledger.write_bytes(ledger.read_bytes().replace(b"first", b"FIRST"))
    before = ledger.read_bytes()
    case = str(folder / "case.toml")
    assert run(["scan", str(folder / "recordings"), "--model", "no-such-model", "--case", case]) == 2
    assert "the chain is broken, so nothing can be added: line 1" in capsys.readouterr().err
    assert ledger.read_bytes() == before


def test_reproducible_documents_are_the_same_bytes(scan: Scan, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = []
    options = (
        "--reproducible",
        "--no-store",
        "--excerpts",
        "--stability",
        "--case",
        folder / "case.toml",
        "--note",
        "Sealed.",
    )
    for workers in ("1", "3"):
        page = folder / f"report-{workers}.html"
        arguments = (*options, "--workers", workers, "--report", page, "--ledger", folder / f"{workers}.jsonl")
        monkeypatch.setattr(sys, "argv", ["spoofcheck", "scan", *map(str, arguments)])
        _, document, _ = scan(*arguments)
        pages.append((page.read_bytes(), (folder / "scan.json").read_bytes()))
        assert document.run.host == document.run.started_at == ""
        (entry,) = read_ledger(folder / f"{workers}.jsonl").entries
        assert entry.subjects.document == document_sha256(document)
        assert entry.subjects.report == sha256(page)
    assert pages[0] == pages[1]
    assert "--workers" not in document.tool.command_line


def test_report_makes_a_document_reproducible_afterwards(scan: Scan, folder: Path) -> None:
    scan()
    first, again = folder / "first.html", folder / "again.html"
    assert run(["report", str(folder / "scan.json"), "--reproducible", "--html", str(first)]) == 0
    scan("--workers", "1")
    assert run(["report", str(folder / "scan.json"), "--reproducible", "--html", str(again)]) == 0
    assert first.read_bytes() == again.read_bytes()


@pytest.fixture
def printer(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Stands in for the browser; keeps the pages it was given."""
    pages: list[bytes] = []

    def html_to_pdf(html: Path, pdf: Path, report_id: str = "") -> None:
        pages.append(html.read_bytes())
        pdf.write_bytes(b"%PDF " + report_id.encode())

    monkeypatch.setattr("spoofcheck.pdf.html_to_pdf", html_to_pdf)
    return pages


def test_a_pdf_is_printed_with_and_without_a_page(scan: Scan, folder: Path, printer: list[bytes]) -> None:
    pdf, page = folder / "report.pdf", folder / "report.html"
    _, document, _ = scan("--pdf", pdf, "--ledger", folder / "case.jsonl")
    assert all(made(finding)["acoustics"] for finding in document.findings)
    assert run(["report", str(folder / "scan.json"), "--pdf", str(pdf), "--html", str(page)]) == 0
    assert printer == [page.read_bytes()] * 2
    assert f"PDF {sha256(pdf)}" in read_ledger(folder / "case.jsonl").entries[0].note
    assert {path.name for path in folder.iterdir()} == {
        *("case.toml", "case.jsonl", "recordings", "scan.json", "report.pdf", "report.html"),
    }


def test_without_a_browser_all_else_is_written(scan: Scan, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> None:
        raise UsageError("a PDF needs a browser to print it, and none was found")

    monkeypatch.setattr("spoofcheck.pdf.html_to_pdf", nobody)
    status, document, err = scan("--pdf", folder / "report.pdf", "--report", folder / "report.html")
    assert status == 2
    assert err == "spoofcheck: --pdf: a PDF needs a browser to print it, and none was found\n"
    assert len(document.findings) == 2
    assert (folder / "report.html").is_file()
    assert not (folder / "report.pdf").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ledger", "{folder}/case.jsonl"], "there is no report to enter"),
        (["--html", "{folder}/scan.json"], "is an input"),
        (["--pdf", "{folder}/scan.json"], "is an input"),
        (["--html", "{folder}/x", "--ledger", "{folder}/case.toml"], "the chain is broken"),
    ],
)
def test_what_report_cannot_do(
    scan: Scan, folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    scan()
    before = (folder / "scan.json").read_bytes()
    assert run(["report", str(folder / "scan.json"), *(each.format(folder=folder) for each in options)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert (folder / "scan.json").read_bytes() == before


def test_lines_of_findings_carry_the_evidence(tiny_model: Path, folder: Path) -> None:
    lines = folder / "scan.jsonl"
    arguments = ["--model", str(tiny_model), "--no-controls", "--quiet", "--device", "cpu", "--pictures"]
    assert run(["scan", str(folder / "recordings" / "a.wav"), *arguments, "--jsonl", str(lines)]) in (0, 1)
    (line,) = lines.read_text().splitlines()
    assert json.loads(line)["pictures"]["spectrogram_hz"] == 8_000


def test_stereo_legs_share_a_custody_check(scan: Scan, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spoofcheck.audio import files

    legs = np.stack([human_speech()[: 4 * RATE], human_speech()[RATE : 5 * RATE]], axis=1)
    soundfile.write(folder / "recordings" / "a.wav", legs, RATE)
    (folder / "recordings" / "b.wav").unlink()
    hashed: list[Path] = []
    monkeypatch.setattr(
        "spoofcheck.detect.custody.sha256_of", lambda path: (hashed.append(path), files.sha256_of(path))[1]
    )
    _, document, _ = scan("--channels", "each")
    assert len(hashed) == 1
    assert [finding.custody for finding in document.findings] == [document.findings[0].custody] * 2
