"""`spoofcheck watch` from the outside. A tiny model stands in for the shipped one.

Most run in this process: where the watch would wait for something to happen, the test makes it happen, and at its end
presses Ctrl-C there. What only a process of its own can show (signals, kill -9) runs in one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spoofcheck.cli import run
from spoofcheck.detect.folderevents import FolderEvents
from spoofcheck.detect.scan import Scanner
from spoofcheck.errors import OutputError
from spoofcheck.nets.bundle import Bundle, load_bundle

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 16_000
CEILING_S = 240.0
"""No test waits this long unless it fails."""
IDLE_S = 5.0
"""A watch that would wait for longer has nothing to do."""

Step = Callable[[], object]


def write_noise(path: Path, seed: int = 0, seconds: float = 2.0) -> Path:
    """Noise stands in for speech: `--no-vad` has it scored."""
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32)
    soundfile.write(path, samples, RATE_HZ, format="WAV", subtype="PCM_16")
    return path


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def names_of(path: Path) -> list[str]:
    return [Path(str(line["path"])).name for line in lines_of(path)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "findings.jsonl"


def command(folder: Path, model: Path, store: Path) -> list[str]:
    return [
        *("watch", str(folder), "--no-controls", "--model", str(model), "--device", "cpu", "--no-vad"),
        *("--settle", "0.05", "--store", str(store)),
    ]


@cache
def _loaded(directory: Path) -> Bundle:
    """The model, once for all tests."""
    return load_bundle(directory)


@pytest.fixture
def watch(folder: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Watches the folder; at each idle moment the next step is taken, and after the last one Ctrl-C is pressed."""
    wait = FolderEvents.wait
    monkeypatch.setattr("spoofcheck.detect.scan.load_bundle", _loaded)

    def call(*arguments: str | Path, steps: tuple[Step, ...] = (), isolate: bool = False) -> int:
        todo = iter(steps)

        def waiting(events: FolderEvents, timeout_s: float) -> None:
            if timeout_s <= IDLE_S:
                wait(events, timeout_s)
                return
            step = next(todo, None)
            if step is None:
                raise KeyboardInterrupt
            step()
            wait(events, timeout_s)

        monkeypatch.setattr(FolderEvents, "wait", waiting)
        given = command(folder, tiny_model, tmp_path / "store")
        status = run([*given, *([] if isolate else ["--no-isolate"]), *map(str, arguments)])
        assert next(todo, None) is None, "not every step was taken"
        return status

    return call


def test_what_is_there_and_what_arrives_is_judged_and_told(
    watch, folder: Path, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_noise(folder / "there.wav")
    reports = tmp_path / "flagged"
    status = watch(
        *("--threshold", "-100", "--jsonl", log, "--report-dir", reports),
        steps=(
            lambda: write_noise(folder / "esc\x1b[31m.wav", 1),
            lambda: write_noise(folder / "there.wav", 2),
            lambda: write_noise(folder / "there.wav", 2),
            lambda: (folder / "text.wav").write_text("no audio"),
        ),
    )
    assert status == 1
    out, err = capsys.readouterr()
    assert names_of(log) == ["there.wav", "esc\x1b[31m.wav", "there.wav", "text.wav"]
    assert len({line["sha256"] for line in lines_of(log)}) == 4
    assert "\x1b[31m" not in out + err
    head, *told = out.splitlines()
    assert head.split() == ["Verdict", "LLR", "Duration", "Speech", "Spoofed", "File"]
    assert [line.split()[0] for line in told] == ["spoof", "spoof", "spoof", "not"]
    assert r"esc\x1b[31m.wav" in told[1]
    assert err.splitlines()[1:] == [
        "Examined 3 recordings (3 exhibits), 0:06.0 of audio",
        "Verdicts: 3 spoof, 1 not examined",
    ]
    pages = sorted(page.name for page in reports.iterdir())
    assert [name.rsplit("-", 1)[0] for name in pages] == ["esc_31m", "there", "there"]
    assert all("<html" in page.read_text(encoding="utf-8") for page in reports.iterdir())


def test_a_line_is_that_of_a_scan(watch, folder: Path, log: Path, tiny_model: Path, tmp_path: Path) -> None:
    path = write_noise(folder / "a.wav")
    assert watch("--jsonl", log, "--threshold", "100") == 0
    scanned = tmp_path / "scan.jsonl"
    given = ["--no-controls", "--model", str(tiny_model), "--device", "cpu", "--no-vad", "--threshold", "100"]
    assert run(["scan", str(path), *given, "--no-store", "--quiet", "--jsonl", str(scanned)]) == 0
    assert log.read_bytes() == scanned.read_bytes()


def test_exit_codes_follow_the_findings(watch, folder: Path) -> None:
    assert watch() == 0, "nothing came"
    write_noise(folder / "a.wav")
    assert watch("--threshold", "100") == 0
    assert watch("--threshold", "-100") == 1
    (folder / "b.wav").write_text("no audio")
    assert watch("--threshold", "100") == 3
    assert watch("--new-only") == 0


def test_a_stop_before_all_is_examined_is_told(
    watch, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(3):
        write_noise(folder / f"{seed}.wav", seed)
    judged = Scanner.judged

    def interrupted(scanner: Scanner, recording, watcher):  # type: ignore[no-untyped-def]
        if recording.path.name == "1.wav":
            raise KeyboardInterrupt
        return judged(scanner, recording, watcher)

    monkeypatch.setattr(Scanner, "judged", interrupted)
    assert watch("--threshold", "-100") == 130
    err = capsys.readouterr().err
    assert "Examined 1 recording " in err
    assert "INTERRUPTED: 2 files not examined yet" in err


def test_a_restart_writes_and_scores_nothing_twice(
    watch, folder: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        write_noise(folder / f"{seed}.wav", seed)
    (folder / "x.wav").write_text("no audio")
    assert watch("--jsonl", log) in (0, 1, 3)
    before = log.read_bytes()
    read: list[str] = []
    reading = Scanner._read

    def noted(scanner: Scanner, path: Path, cancelled: Callable[[], bool]):  # type: ignore[no-untyped-def]
        read.append(path.name)
        return reading(scanner, path, cancelled)

    monkeypatch.setattr(Scanner, "_read", noted)
    assert watch("--jsonl", log) in (0, 1, 3)
    assert log.read_bytes() == before
    assert read == []
    assert watch("--jsonl", log, "--fresh") in (0, 1, 3)
    assert log.read_bytes() == before
    assert sorted(read) == ["0.wav", "1.wav", "2.wav", "x.wav"]
    write_noise(folder / "1.wav", 9)
    watch("--jsonl", log)
    assert names_of(log)[4:] == ["1.wav"]


def test_what_it_writes_into_the_watched_folder_is_not_examined(watch, folder: Path) -> None:
    log, reports = folder / "findings.wav", folder / "reports"
    write_noise(folder / "a.wav")

    watch(
        *("--threshold", "-100", "--jsonl", log, "--report-dir", reports, "--rescan", "6"),
        steps=(lambda: write_noise(reports / "page.wav", 5), lambda: write_noise(folder / "b.wav", 6)),
    )
    assert names_of(log) == ["a.wav", "b.wav"]


def test_a_report_that_cannot_be_made_any_more_is_told(
    watch, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from spoofcheck.cli.flaggedreports import FlaggedReports

    path = write_noise(folder / "a.wav")
    write = FlaggedReports.write

    def changed(reports: FlaggedReports, place: Path, findings):  # type: ignore[no-untyped-def]
        if len(list((tmp_path / "r").iterdir())) == 0 and "no report" not in capsys_seen():
            write_noise(path, 7)
        return write(reports, place, findings)

    seen: list[str] = []

    def capsys_seen() -> str:
        seen.append(capsys.readouterr().err)
        return "".join(seen)

    monkeypatch.setattr(FlaggedReports, "write", changed)
    assert watch("--threshold", "-100", "--report-dir", tmp_path / "r") == 1
    assert f"{path}: no report" in capsys_seen()
    assert len(list((tmp_path / "r").iterdir())) == 1, "of what it is now"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["watch"], "folders"),
        (["watch", "{tmp}/missing"], "there is no such folder"),
        (["watch", "{noise}"], "is no folder; watch takes folders"),
        (["watch", "{folder}", "{tmp}"], "is inside"),
        (["watch", "{folder}", "--jsonl", "-"], "name one"),
        (["watch", "{folder}", "--jsonl", "{tmp}/missing/x.jsonl"], "cannot be written"),
        (["watch", "{folder}", "--report-dir", "{tmp}"], "would be watched"),
        (["watch", "{folder}", "--store", "{folder}"], "would be watched"),
        (["watch", "{folder}", "--no-store", "--fresh"], "--no-store contradicts --fresh"),
        (["watch", "{folder}", "--settle", "-1"], "--settle"),
        (["watch", "{folder}", "--rescan", "0"], "--rescan"),
        (["watch", "{folder}", "--model", "no-such-model"], "no-such-model"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"tmp": tmp_path, "folder": folder, "noise": write_noise(tmp_path / "noise.wav")}
    assert run([argument.format(**places) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_controls_that_misbehave_keep_the_watch_from_beginning(
    folder: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from spoofcheck.detect import controls
    from spoofcheck.schema import ControlResult

    bad = ControlResult.model_construct(as_expected=False, message="The human control is judged spoof.")
    monkeypatch.setattr(controls, "control_results", lambda _: (bad,))
    given = [each for each in command(folder, tiny_model, tmp_path / "store") if each != "--no-controls"]
    assert run([*given, "--no-isolate"]) == 2
    assert "CONTROL FAILED: The human control is judged spoof.; nothing is watched" in capsys.readouterr().err


def test_a_signal_is_heard_at_the_end_of_what_must_be_whole() -> None:
    from spoofcheck.cli.stopping import StopAtSignal

    before = signal.getsignal(signal.SIGTERM)
    done = []
    with StopAtSignal() as stop:

        def whole() -> None:
            with stop.held():
                signal.raise_signal(signal.SIGTERM)
                done.append("whole")

        with pytest.raises(KeyboardInterrupt):
            whole()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        with stop.held():
            done.append("cleaned up")
        with pytest.raises(OutputError), stop.held():
            raise OutputError("as it was")
    assert done == ["whole", "cleaned up"]
    assert signal.getsignal(signal.SIGTERM) is before
    with StopAtSignal(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@contextmanager
def started(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "spoofcheck", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + CEILING_S
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.05)


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_killed_and_started_again_it_loses_nothing_and_doubles_nothing(
    folder: Path, log: Path, tiny_model: Path, tmp_path: Path
) -> None:
    given = [*command(folder, tiny_model, tmp_path / "store"), "--threshold", "-100", "--jsonl", str(log)]

    def arrive(name: str, seed: int) -> None:
        """All at once: this machine may be too busy to write a file within the time in which one settles."""
        write_noise(tmp_path / "made.wav", seed).rename(folder / name)

    arrive("a.wav", 0)

    def count() -> int:
        return log.read_bytes().count(b"\n") if log.exists() else 0

    with started([*given, "--no-isolate"]) as process:
        until(lambda: count() == 1, process)
        arrive("b.wav", 1)
        until(lambda: count() == 2, process)
        arrive("c.wav", 2)
        process.kill()
        process.wait()
    arrive("d.wav", 3)
    with log.open("ab") as file:
        file.write(b'{"schema_version":"1.0","tool')
    with started(given) as process:
        until(lambda: sorted(names_of_whole(log)) == ["a.wav", "b.wav", "c.wav", "d.wav"], process)
        arrive("e.part", 4)
        (folder / "e.part").rename(folder / "e.wav")
        until(lambda: count() == 5, process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=CEILING_S)
        assert process.returncode == 1, err
        group_gone_by = time.monotonic() + CEILING_S
        while _is_alive(process.pid):  # reader processes are its children
            assert time.monotonic() < group_gone_by
            time.sleep(0.05)
    assert names_of(log)[-1] == "e.wav"
    assert "Examined 5 recordings" in err
    assert out.count("spoof ") == 5


def names_of_whole(log: Path) -> list[str]:
    """Of the lines that are whole: another process is writing."""
    lines = log.read_bytes().split(b"\n")[:-1]
    return [Path(json.loads(line)["path"]).name for line in lines if line.endswith(b"}")]
