"""`spoofcheck verify` from the outside: one changed byte in report, ledger, exhibit or model is found, and where."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from spoofcheck import __version__
from spoofcheck.cli import run
from spoofcheck.cli.verifying import Difference, check_scores, differences
from spoofcheck.detect import toolinfo
from spoofcheck.errors import InputError
from spoofcheck.ledger import Kind, Subjects, append_entry, check_ledger, read_ledger
from spoofcheck.nets import precision
from spoofcheck.render import canonical, html
from spoofcheck.render.json import render as json_text
from spoofcheck.schema import ScanDocument, Verdict, WindowResult
from tests.support import documents

Verify = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def scanned(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recordings, and the result of scanning them."""
    folder = tmp_path_factory.mktemp("case")
    (folder / "recordings/calls").mkdir(parents=True)
    for name, seed in (("a.wav", 1), ("calls/b.wav", 2)):
        noise = np.random.default_rng(seed).normal(0, 0.1, 80_000).astype(np.float32)
        soundfile.write(folder / "recordings" / name, noise, 16_000, subtype="PCM_16")
    arguments = ["--model", str(tiny_model), "--device", "cpu", "--no-vad", "--hop", "2", "--threshold", "0.5"]
    arguments += ["--precision", "float32"]  # the same on every machine that runs this test
    result = str(folder / "scan.json")
    assert run(["scan", str(folder / "recordings"), "--no-controls", *arguments, "--json", result, "--quiet"]) in (
        0,
        1,
        3,
    )
    return folder


@pytest.fixture
def case(scanned: Path, tmp_path: Path) -> Path:
    """A copy of it with a report, and a ledger that tells of both."""
    folder = Path(shutil.copytree(scanned, tmp_path / "case"))
    document = ScanDocument.model_validate_json((folder / "scan.json").read_bytes())
    page = html.render(document).encode()
    (folder / "report.html").write_bytes(page)
    digest = canonical.document_sha256(document)
    exhibits = tuple(finding.sha256 or "" for finding in document.findings)
    append_entry(folder / "case.jsonl", Kind.SCAN, Subjects(document=digest, exhibits=exhibits))
    report = hashlib.sha256(page).hexdigest()
    append_entry(folder / "case.jsonl", Kind.REPORT, Subjects(document=digest, report=report))
    return folder


@pytest.fixture
def verify(case: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> Verify:
    """Runs `verify` on the case's report with all that it can be compared with; gives the exit code and the JSON."""

    def call(*arguments: str | Path, file: str = "report.html", model: Path = tiny_model) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        given = ["--exhibits", case / "recordings", "--ledger", case / "case.jsonl", "--model", model, "--json", "-q"]
        status = run(["verify", str(case / file), *map(str, [*given, *arguments])])
        captured = capsys.readouterr()
        assert captured.out, captured.err
        return status, json.loads(captured.out)

    return call


def outcomes(result: dict[str, Any], outcome: str) -> dict[str, str]:
    return {check["what"]: check["message"] for check in result["checks"] if check["outcome"] == outcome}


def edit(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new, 1))


def test_all_is_as_it_was(case: Path, verify: Verify) -> None:
    for arguments in ([], ["--recompute"]):
        status, result = verify(*arguments)
        assert status == 0, result
        assert outcomes(result, "differs") == outcomes(result, "cannot be checked") == {}
        expected = ["result document", "page", "exhibit a.wav", "exhibit calls/b.wav", "model", "ledger"]
        assert set(expected) <= outcomes(result, "ok").keys()
    assert outcomes(result, "ok")["exhibit calls/b.wav"].startswith("calls/b.wav, SHA-256")
    assert "2 recordings scanned again: none differs by more than 1e-06" in outcomes(result, "ok")["scores"]
    assert result["differences"] == []
    assert result["report_id"] == canonical.report_id_of(result["document_sha256"])


def test_a_result_document_is_verified_too(case: Path, verify: Verify) -> None:
    status, result = verify(file="scan.json")
    assert status == 0, result
    assert "result document" in outcomes(result, "not asked for")
    assert "result document in the ledger" in outcomes(result, "ok")
    edit(case / "scan.json", b'"verdict": "', b'"verdict":  "')  # its spelling says nothing
    assert verify(file="scan.json")[0] == 0
    document = ScanDocument.model_validate_json((case / "scan.json").read_bytes())
    changed = document.model_copy(update={"note": "x"})
    (case / "scan.json").write_text(json_text(changed), encoding="utf-8")
    status, result = verify(file="scan.json")
    assert status == 1
    assert list(outcomes(result, "differs")) == ["result document in the ledger"]


def test_a_changed_byte_of_the_page_is_located(case: Path, verify: Verify) -> None:
    edit(case / "report.html", b"<dt>Pooled LLR</dt>", b"<dt>Pooled LLR!</dt>")
    status, result = verify()
    assert status == 1
    different = outcomes(result, "differs")
    assert different.keys() == {"page", "report file in the ledger"}
    assert "(exhibit-1): " in different["page"]
    assert "in 1 place: line" in different["page"]
    assert "!" in different["page"].partition("where")[0]


def test_every_line_of_the_page_is_compared(case: Path, verify: Verify) -> None:
    lines = (case / "report.html").read_bytes().splitlines(keepends=True)
    marked = [number for number, line in enumerate(lines) if b">" in line]
    for number in (0, marked[len(marked) // 2], len(lines) - 1):
        changed = [*lines]
        changed[number] = lines[number].replace(b">", b"> ", 1)
        (case / "report.html").write_bytes(b"".join(changed))
        status, result = verify("--no-record")
        assert status == 1
        assert f"line {number + 1} (" in outcomes(result, "differs")["page"]
    (case / "report.html").write_bytes(b"".join([*lines[:5], b"<p>x</p>\n", *lines[5:]]))
    status, result = verify("--no-record")
    assert status == 1
    assert "line 6 (head of the page) and what follows" in outcomes(result, "differs")["page"]


def test_a_changed_byte_of_the_document_is_located(case: Path, verify: Verify) -> None:
    document = ScanDocument.model_validate_json((case / "scan.json").read_bytes())
    digits = document.findings[1].sha256 or ""
    place = canonical.canonical_json(document)
    assert place.count(digits) == 2  # of the file when it was examined, and after the run
    changed = ("0" if digits[0] != "0" else "1") + digits[1:]
    page = (case / "report.html").read_text(encoding="utf-8")
    element = canonical.script_element(document)
    (case / "report.html").write_text(page.replace(element, element.replace(digits, changed)), encoding="utf-8")
    status, result = verify()
    assert status == 1
    different = outcomes(result, "differs")
    assert "changed: its SHA-256 is" in different["result document"]
    assert "(evidence): " in different["page"]
    assert "exhibit calls/b.wav" in different  # the recording has not the hash that the changed document states
    assert "result document in the ledger" in different


def test_a_document_that_is_no_json_any_more(case: Path, verify: Verify) -> None:
    page = (case / "report.html").read_text(encoding="utf-8")
    (case / "report.html").write_text(page.replace('"findings":[', '"findings":{', 1), encoding="utf-8")
    status, result = verify()
    assert status == 1
    assert "not JSON" in outcomes(result, "differs")["result document"]
    assert "all else" in outcomes(result, "cannot be checked")


def test_a_forged_page_is_whole_by_itself_and_found_by_the_ledger(case: Path, verify: Verify) -> None:
    document = ScanDocument.model_validate_json((case / "scan.json").read_bytes())
    forged = document.model_copy(update={"note": "forged"})
    (case / "report.html").write_text(html.render(forged), encoding="utf-8")
    status, result = verify()
    assert status == 1
    assert outcomes(result, "differs").keys() == {"result document in the ledger", "report file in the ledger"}
    # What a verification entered vouches for nothing.
    status, result = verify()
    assert status == 1
    assert outcomes(result, "differs").keys() == {"result document in the ledger", "report file in the ledger"}


def test_another_version_cannot_be_compared(case: Path, verify: Verify) -> None:
    document = ScanDocument.model_validate_json((case / "scan.json").read_bytes())
    older = document.model_copy(update={"tool": document.tool.model_copy(update={"version": "0.0.1"})})
    (case / "report.html").write_text(html.render(older), encoding="utf-8")
    _, result = verify()
    assert f"written by spoofcheck 0.0.1, this is {__version__}" in outcomes(result, "cannot be checked")["page"]
    assert run(["verify", str(case / "report.html"), "--model", str(case)]) == 2


def test_a_changed_byte_of_an_exhibit_is_located(case: Path, verify: Verify) -> None:
    path = case / "recordings/calls/b.wav"
    content = bytearray(path.read_bytes())
    content[5_000] ^= 1
    path.write_bytes(content)
    status, result = verify()
    assert status == 1
    (what, message) = next(iter(outcomes(result, "differs").items()))
    assert what == "exhibit calls/b.wav"
    assert message.startswith("changed: calls/b.wav has the SHA-256")
    path.write_bytes(content[:-2])
    assert "160,042 bytes, not 160,044" in outcomes(verify()[1], "differs")[what]
    path.unlink()
    status, result = verify()
    assert status == 2
    assert "not found" in outcomes(result, "cannot be checked")[what]


def test_an_exhibit_is_found_under_another_name(case: Path, verify: Verify) -> None:
    (case / "recordings/calls/b.wav").rename(case / "recordings/renamed \x1b.bin")
    status, result = verify()
    assert status == 0
    assert outcomes(result, "ok")["exhibit calls/b.wav"].startswith("renamed \x1b.bin, SHA-256")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_changed_byte_of_the_model_is_located(verify: Verify, tiny_model: Path, tmp_path: Path, name: str) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "tiny"))
    content = bytearray((model / name).read_bytes())
    content[-1] ^= 1
    (model / name).write_bytes(content)
    status, result = verify("--recompute", model=model)
    assert status == 1
    different = outcomes(result, "differs")
    assert different.keys() == {"model"}
    assert f"{name} has the SHA-256 {hashlib.sha256(content).hexdigest()}" in different["model"]
    assert "without the model" in outcomes(result, "cannot be checked")["scores"]


def test_a_model_that_is_not_there(
    verify: Verify, tmp_path: Path, case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, result = verify(model=tmp_path / "none")
    assert status == 2
    assert "no such model directory" in outcomes(result, "cannot be checked")["model"]
    # The document's own name for it is never taken for a folder or a download.
    document = ScanDocument.model_validate_json((case / "scan.json").read_bytes())
    lured = document.model_copy(update={"model": document.model.model_copy(update={"name": "hub:evil/model"})})
    (case / "scan.json").write_text(json_text(lured), encoding="utf-8")
    assert run(["verify", str(case / "scan.json")]) == 2
    assert "hub:evil/model is not installed" in " ".join(capsys.readouterr().out.split())


def test_a_changed_byte_of_the_ledger_is_located_and_nothing_is_added(
    case: Path, verify: Verify, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(case / "case.jsonl", b'"kind":"scan"', b'"kind":"sca~"')
    before = (case / "case.jsonl").read_bytes()
    status, result = verify()
    assert status == 1
    assert outcomes(result, "differs")["ledger"].startswith("line 1: ")
    assert (case / "case.jsonl").read_bytes() == before


def test_a_cut_off_ledger_is_found_by_its_head(case: Path, verify: Verify) -> None:
    append_entry(case / "case.jsonl", Kind.NOTE, note="later")
    head = read_ledger(case / "case.jsonl").head
    assert verify("--head", head, "--no-record")[0] == 0
    (case / "case.jsonl").write_bytes(b"".join((case / "case.jsonl").read_bytes().splitlines(keepends=True)[:2]))
    status, result = verify("--head", head, "--no-record")
    assert status == 1
    assert "cut off" in outcomes(result, "differs")["ledger"]


def test_a_verification_is_entered(case: Path, verify: Verify) -> None:
    verify()
    verify("--no-record")
    edit(case / "report.html", b"<h1>", b"<h1>!")
    verify()
    ledger = read_ledger(case / "case.jsonl")
    assert check_ledger(case / "case.jsonl") == ()
    assert [entry.kind for entry in ledger.entries] == ["scan", "report", "verification", "verification"]
    good, bad = ledger.entries[2:]
    assert good.note.startswith("as it was: result document, page")
    assert bad.note == "differs: page, report file in the ledger"
    assert good.subjects.exhibits == ledger.entries[0].subjects.exhibits
    assert bad.subjects.report == hashlib.sha256((case / "report.html").read_bytes()).hexdigest()


def test_a_changed_score_is_found_when_it_is_computed_again(case: Path, verify: Verify) -> None:
    document = ScanDocument.model_validate_json((case / "scan.json").read_bytes())
    first = document.findings[0]
    assert first.windows[1].raw_score is not None
    moved = first.windows[1].model_copy(update={"raw_score": first.windows[1].raw_score + 0.25})
    windows: tuple[WindowResult, ...] = (first.windows[0], moved, *first.windows[2:])
    forged = document.model_copy(
        update={"findings": (first.model_copy(update={"windows": windows}), *document.findings[1:])}
    )
    (case / "report.html").write_text(html.render(forged), encoding="utf-8")
    status, result = verify("--recompute")
    assert status == 1
    assert (
        "a difference of more than 1e-06 in 1 figure, largest difference of a score 0.25"
        in outcomes(result, "differs")["scores"]
    )
    (difference,) = result["differences"]
    assert (difference["exhibit"], difference["what"]) == ("a.wav", "window 2, raw score")
    assert result["largest_difference"] == pytest.approx(0.25)


def test_what_is_said_of_the_model_and_the_rule_is_compared_too(case: Path, verify: Verify) -> None:
    document = ScanDocument.model_validate_json((case / "scan.json").read_bytes())
    forged = document.model_copy(
        update={
            "model": document.model.model_copy(update={"limitations": ()}),
            "options": document.options.model_copy(update={"window_threshold_llr": 0.25}),
        }
    )
    (case / "report.html").write_text(html.render(forged), encoding="utf-8")
    status, result = verify("--recompute")
    assert status == 1
    assert [(each["exhibit"], each["what"]) for each in result["differences"]] == [
        ("model", "limitations"),
        ("options", "window_threshold_llr"),
    ]


def test_a_hash_that_is_none_matches_no_unreadable_file(case: Path, verify: Verify) -> None:
    document = ScanDocument.model_validate_json((case / "scan.json").read_bytes())
    first = document.findings[0].model_copy(update={"sha256": "unreadable"})
    (case / "report.html").write_text(
        html.render(document.model_copy(update={"findings": (first, *document.findings[1:])})), encoding="utf-8"
    )
    assert "changed: a.wav" in outcomes(verify()[1], "differs")["exhibit a.wav"]


def test_an_unreadable_namesake_cannot_be_checked(case: Path, verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(path: Path) -> str:
        raise InputError("permission-denied", "The file may not be read with the rights of this user.")

    monkeypatch.setattr("spoofcheck.cli.verifying.sha256_of", unreadable)
    status, result = verify()
    assert status == 2
    assert "a.wav has its name, but cannot be read" in outcomes(result, "cannot be checked")["exhibit a.wav"]


def test_another_kind_of_machine_gets_more_room() -> None:
    small = [Difference("a.wav", "window 1, LLR", 1.0, 1.0 + 1e-5)]
    assert check_scores(small, 1, same_kind=True).outcome == "differs"
    assert check_scores(small, 1, same_kind=False).outcome == "ok"
    assert check_scores([Difference("a.wav", "verdict", "spoof", "bonafide")], 1, same_kind=False).outcome == "differs"


def test_bfloat16_gets_more_room_than_float32() -> None:
    def outcome(size: float, *, same_kind: bool, dtype: str) -> str:
        found = [Difference("a.wav", "window 1, raw score", 1.0, 1.0 + size)]
        return check_scores(found, 1, same_kind=same_kind, dtype=dtype).outcome

    assert outcome(0.01, same_kind=True, dtype="bfloat16") == "ok"
    assert outcome(0.03, same_kind=True, dtype="bfloat16") == "differs"
    assert outcome(0.03, same_kind=False, dtype="bfloat16") == "ok"
    assert outcome(0.11, same_kind=False, dtype="bfloat16") == "differs"
    assert outcome(0.01, same_kind=False, dtype="float32") == "differs"


def test_without_bfloat16_a_document_in_it_is_computed_again_in_float32(
    case: Path, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = ScanDocument.model_validate_json((case / "scan.json").read_bytes())
    options = document.options.model_copy(update={"dtype": "bfloat16"})
    (case / "report.html").write_text(html.render(document.model_copy(update={"options": options})), encoding="utf-8")
    monkeypatch.setattr(precision, "has_native_bf16", lambda: False)
    _, result = verify("--recompute")
    scores = outcomes(result, "ok")["scores"]
    assert "none differs by more than 0.1, largest difference of a score 0;" in scores
    assert "these scores are in bfloat16" in scores


@pytest.mark.skipif(not precision.has_native_bf16(), reason="this CPU has no bfloat16")
def test_a_document_in_bfloat16_is_computed_again_in_it(case: Path, tiny_model: Path, verify: Verify) -> None:
    scan = [
        "scan",
        case / "recordings",
        "--model",
        tiny_model,
        "--precision",
        "bf16",
        "--no-vad",
        "--no-controls",
        "-q",
    ]
    run([*map(str, scan), "--device", "cpu", "--json", str(case / "reduced.json")])
    document = ScanDocument.model_validate_json((case / "reduced.json").read_bytes())
    assert document.options.dtype == "bfloat16"
    _, result = verify("--recompute", file="reduced.json")
    assert "none differs by more than 0.02, largest difference of a score 0;" in outcomes(result, "ok")["scores"]
    assert result["differences"] == []


def test_differences_name_every_figure() -> None:
    old = documents.finding("calls/a.wav", Verdict.SPOOF, 3.0, [3.0, None, 2.0])
    assert list(differences("a.wav", [old], [old])) == []
    new = old.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "spoof_llr": None, "windows": old.windows[:2]})
    assert [(d.what, d.recorded, d.found) for d in differences("a.wav", [old], [new])] == [
        ("verdict", "spoof", "inconclusive"),
        ("pooled LLR", 3.0, None),
        ("windows", "3", "2"),
    ]
    assert [d.what for d in differences("a.wav", [old], [])] == ["finding"]


def test_the_table_is_safe_to_print(case: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (case / "recordings/calls/b.wav").rename(case / "recordings/\x1b[31m.wav")
    given = ["--exhibits", str(case / "recordings"), "--model", str(tiny_model), "--recompute", "-q"]
    capsys.readouterr()
    assert run(["verify", str(case / "report.html"), *given]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "all that was checked is as it was" in " ".join(out.split())
    edit(case / "report.html", b"<h1>", b"<h1>\x1b[2J")
    assert run(["verify", str(case / "report.html"), *given]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "SOMETHING DIFFERS" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.html"], "no such file"),
        (["."], "a folder"),
        (["recordings/a.wav"], "neither a report nor a result document"),
        (["case.jsonl"], "not JSON"),
        (["plain.html"], "carries no element"),
        (["report.html", "--recompute"], "say with --exhibits"),
        (["report.html", "--exhibits", "none"], "no such folder"),
        (["report.html", "--ledger", "none.jsonl"], "cannot be read"),
        (["report.html", "--head", "0" * 64], "there is no ledger"),
        (["report.html", "--ledger", "case.jsonl", "--head", "x"], "not a SHA-256"),
    ],
)
def test_what_cannot_be_verified(
    case: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(case)
    (case / "plain.html").write_text("<p>no report</p>", encoding="utf-8")
    assert run(["verify", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_platform_of_this_machine_is_what_a_scan_records(case: Path) -> None:
    """Else no machine would ever count as of the same kind, and differences would be let pass."""
    document = ScanDocument.model_validate_json((case / "scan.json").read_bytes())
    assert document.tool.platform == toolinfo.platform.platform()
