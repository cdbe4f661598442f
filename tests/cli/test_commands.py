"""The small commands, the progress bar and the exit codes."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pytest
from rich.console import Console

import spoofcheck
from spoofcheck.cli import doctor, run
from spoofcheck.cli.progress import RichProgress
from spoofcheck.cli.status import ExitStatus, status_of
from spoofcheck.errors import ModelError
from spoofcheck.schema import Finding, Reason, Verdict


def finding(verdict: Verdict, raw_score: float | None = None) -> Finding:
    return Finding(
        path="a.wav",
        channel=None,
        sha256=None,
        duration_s=None,
        speech_s=None,
        verdict=verdict,
        spoof_llr=raw_score,
        raw_score=raw_score,
        reasons=(Reason(code="x", message="x"),),
    )


CLEAR = finding(Verdict.BONAFIDE, -1.0)
UNDECIDED = finding(Verdict.INCONCLUSIVE, 0.0)
UNSCORED = finding(Verdict.INCONCLUSIVE)
SKIPPED = finding(Verdict.SKIPPED)
SPOOF = finding(Verdict.SPOOF, 1.0)
PARTIAL = finding(Verdict.PARTIAL, -1.0)


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([CLEAR], ExitStatus.CLEAR),
        ([CLEAR, UNDECIDED], ExitStatus.CLEAR),
        ([CLEAR, UNSCORED], ExitStatus.INCOMPLETE),
        ([UNSCORED], ExitStatus.INCOMPLETE),
        ([CLEAR, SKIPPED], ExitStatus.INCOMPLETE),
        ([SKIPPED, SKIPPED], ExitStatus.FAILED),
        ([SPOOF], ExitStatus.FLAGGED),
        ([PARTIAL], ExitStatus.FLAGGED),
    ],
)
def test_the_exit_code_of_findings(findings: list[Finding], status: ExitStatus) -> None:
    for order in itertools.permutations(findings):
        assert status_of(order) is status
        if status is not ExitStatus.CLEAR and status is not ExitStatus.FLAGGED:
            assert status_of([*order, SPOOF]) is ExitStatus.FLAGGED


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"spoofcheck {spoofcheck.__version__}\n"


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    listed = capsys.readouterr().out
    for command in (["scan"], ["report"], ["models", "list"], ["models", "show"], ["models", "verify"], ["doctor"]):
        assert command[0] in listed
        assert run([*command, "--help"]) == 0
        assert len(capsys.readouterr().out.split()) > 10


def test_shell_completion_is_offered(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # The shell is looked for among the processes above this one, where a detached run has none.
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    assert run(["--show-completion", "bash"]) == 0
    assert "_SPOOFCHECK_COMPLETE" in capsys.readouterr().out


@pytest.mark.weights
def test_the_shipped_models_are_listed_shown_and_intact(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert "compact-detector" in listed
    assert "uncalibrated" in listed  # voice-features
    assert run(["models", "show"]) == 0
    card = capsys.readouterr().out
    for word in ("EER", "minDCF", "actDCF", "Cllr", "must not"):
        assert word in card
    assert run(["models", "verify"]) == 0
    names = ["compact-detector", "compact-tracer", "ensemble", "ensemble-fused", "mel-cnn", "voice-features"]
    assert capsys.readouterr().out.splitlines() == [f"{name}: intact" for name in names]
    assert run(["models", "verify", "no-such-model"]) == 2
    assert "no-such-model" in capsys.readouterr().err


def test_a_damaged_model_is_reported(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoofcheck.nets.index.list_models", lambda: ("compact-detector",))
    monkeypatch.setattr("spoofcheck.nets.index.verify_model", lambda name: [f"{name}.x: SHA-256 differs"])
    assert run(["models", "verify"]) == 2
    assert capsys.readouterr().out == "compact-detector: compact-detector.x: SHA-256 differs\n"


def test_the_doctor_names_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise ModelError("weights are gone")

    monkeypatch.setattr(doctor, "_CHECKS", {"spoofcheck": lambda: "1.2.3", "models": broken})
    assert run(["doctor"]) == 2
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "weights are gone" in out
    monkeypatch.setattr(doctor, "_CHECKS", {"spoofcheck": lambda: "1.2.3"})
    assert run(["doctor"]) == 0


@pytest.mark.weights
def test_the_doctor_finds_this_machine_fit(capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["doctor"])
    out = capsys.readouterr().out
    assert status == 0, out
    for check in ("torch", "device", "ffmpeg", "libsndfile", "models"):
        assert check in out


def test_the_bar_advances_by_bytes_and_shows_the_rate(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x" * 100)
    large.write_bytes(b"x" * 300)
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with RichProgress(console) as progress:
        task = progress._bar.tasks[0]
        progress.started([small, large, tmp_path / "gone"])
        assert task.total == 401
        progress.opened(large, 8.0)
        progress.heard(large, 4.0)
        progress.heard(large, 4.0)  # the second channel of the same stretch
        assert task.completed == pytest.approx(150)
        progress.finished(small, CLEAR)
        assert task.completed == pytest.approx(250)
        progress.heard(large, 9.0)  # a header may claim less than there is
        progress.finished(large, CLEAR)
        progress.finished(large, CLEAR)
        assert task.completed == pytest.approx(400)
        assert task.fields["files"] == "2/3 files"


def test_the_bar_leaves_room_for_a_second_reading(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100)
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with RichProgress(console, evidence_cost=4.0) as progress:
        task = progress._bar.tasks[0]
        progress.started([file])
        progress.opened(file, 10.0)
        progress.heard(file, 10.0)
        assert task.completed == pytest.approx(20)
        progress.heard_again(file, 5.0)
        assert task.completed == pytest.approx(60)
        progress.heard_again(file, 4.0)  # nothing is taken back
        assert task.completed == pytest.approx(60)
        progress.finished(file, CLEAR)
        assert task.completed == pytest.approx(100)


def test_no_bar_outside_a_terminal(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    with RichProgress(console) as progress:
        progress.started([tmp_path])
        progress.finished(tmp_path, CLEAR)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
