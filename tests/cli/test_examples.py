"""The shipped model on the example recordings, through the command line: what `make demo` shows.

Scores are compared with `tests/assets/example-scores.tsv`, so that a dependency that shifts them is noticed. The truth
about the recordings is in `examples/truth.tsv`; how often the model is right is measured in its card, not here.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from spoofcheck.cli import run
from spoofcheck.schema import Finding, ScanDocument, Verdict

pytestmark = pytest.mark.weights

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = ROOT / "examples" / "recordings"
GOLDEN = ROOT / "tests" / "assets" / "example-scores.tsv"
LLR_TOLERANCE = 0.02
"""Between kinds of CPU; between runs on one machine the difference is below 1e-4."""


def scan_examples(folder: Path, *options: str) -> tuple[int, ScanDocument]:
    result = folder / "scan.json"
    status = run(["scan", str(RECORDINGS), "--device", "cpu", "--json", str(result), *options])
    return status, ScanDocument.model_validate_json(result.read_bytes())


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, ScanDocument, str]:
    folder = tmp_path_factory.mktemp("examples")
    status, document = scan_examples(folder, "--report", str(folder / "report.html"), "--quiet")
    return status, document, (folder / "report.html").read_text(encoding="utf-8")


def _key(finding: Finding) -> tuple[str, str]:
    return Path(finding.path).name, "" if finding.channel is None else str(finding.channel)


def _truth() -> dict[tuple[str, str], str]:
    with (ROOT / "examples" / "truth.tsv").open(newline="") as lines:
        return {(row["path"], row["channel"]): row["label"] for row in csv.DictReader(lines, delimiter="\t")}


def golden_rows(document: ScanDocument) -> list[str]:
    """What the golden file holds of a scan of the examples."""
    rows = ["path\tchannel\tverdict\treason\traw_score\tspoof_llr"]
    for finding in document.findings:
        numbers = ["" if value is None else f"{value:.4f}" for value in (finding.raw_score, finding.spoof_llr)]
        rows.append("\t".join([*_key(finding), finding.verdict, finding.reasons[0].code, *numbers]))
    return rows


def test_every_example_is_examined_as_what_it_is(examples: tuple[int, ScanDocument, str]) -> None:
    _, document, _ = examples
    truth = _truth()
    assert {_key(finding) for finding in document.findings} == set(truth)
    for finding in document.findings:
        label = truth[_key(finding)]
        assert (finding.verdict is Verdict.SKIPPED) == (label == "broken"), finding.path
        if label == "not-speech":
            assert finding.reasons[0].code == "no-speech"
            assert all(window.not_scored == "no-speech" for window in finding.windows)
        elif label != "broken":
            assert finding.spoof_llr is not None
            assert abs(finding.spoof_llr) <= document.model.calibration.llr_bound


def test_the_scores_are_those_of_the_golden_file(examples: tuple[int, ScanDocument, str]) -> None:
    _, document, _ = examples
    regenerate = "if the model or a dependency changed on purpose: python -m tests.cli.test_examples"
    for new, old in zip(golden_rows(document), GOLDEN.read_text().splitlines(), strict=True):
        *new_words, _, new_llr = new.split("\t")
        *old_words, _, old_llr = old.split("\t")
        assert new_words == old_words, regenerate
        if new_llr and new_llr != "spoof_llr":
            assert float(new_llr) == pytest.approx(float(old_llr), abs=LLR_TOLERANCE), f"{new_words}: {regenerate}"


def test_the_spliced_passage_scores_higher_than_the_reading_around_it(
    examples: tuple[int, ScanDocument, str],
) -> None:
    _, document, _ = examples
    (finding,) = (f for f in document.findings if Path(f.path).name == "reading-with-statement.opus")
    inside = [w.raw_score for w in finding.windows if w.raw_score is not None and w.start_s >= 51 and w.end_s <= 69.2]
    outside = [w.raw_score for w in finding.windows if w.raw_score is not None and (w.end_s <= 51 or w.start_s >= 69.2)]
    assert len(inside) >= 3
    assert len(outside) >= 20
    assert sum(inside) / len(inside) > sum(outside) / len(outside)


def test_the_exit_code_and_the_report_agree_with_the_findings(examples: tuple[int, ScanDocument, str]) -> None:
    status, document, report = examples
    flagged = [f for f in document.findings if f.verdict in (Verdict.SPOOF, Verdict.PARTIAL)]
    assert status == (1 if flagged else 3)
    for finding in document.findings:
        assert Path(finding.path).name in report
        assert finding.sha256 is None or finding.sha256 in report.replace("<wbr>", "")


def test_batches_order_and_workers_leave_the_scores_alone(
    examples: tuple[int, ScanDocument, str], tmp_path: Path
) -> None:
    reference = {(*_key(f), w.start_s): w.spoof_llr for f in examples[1].findings for w in f.windows}
    names = ["voicemail-accounts.mp3", "novela.m4a", "call-bank-security.flac", "address-1961.wav"]
    result = tmp_path / "scan.json"
    for options in (["--batch-size", "1"], ["--batch-size", "7", "--workers", "3"]):
        run(
            [
                "scan",
                *(str(RECORDINGS / name) for name in names),
                "--quiet",
                "--no-controls",
                "--no-store",
                "--json",
                str(result),
                *options,
            ]
        )
        document = ScanDocument.model_validate_json(result.read_bytes())
        for finding in document.findings:
            for window in finding.windows:
                expected = reference[(*_key(finding), window.start_s)]
                assert window.spoof_llr == (None if expected is None else pytest.approx(expected, abs=1e-4))


def test_the_command_works_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spoofcheck", "scan", "examples/recordings/transcript.wav"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert "transcript.wav" in done.stdout
    assert "Traceback" not in done.stderr


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        GOLDEN.write_text("\n".join(golden_rows(scan_examples(Path(scratch), "--quiet")[1])) + "\n")
