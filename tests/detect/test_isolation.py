from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spoofcheck.detect.isolation import ReaderProcesses
from spoofcheck.detect.limits import MAX_CLAIMED_S, ReadLimits
from spoofcheck.detect.readers import ReadItem, ReadRecording
from spoofcheck.detect.reading import WindowReading
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.errors import InputError
from spoofcheck.schema import Finding, Verdict
from spoofcheck.types import AudioFile, RecordingSummary, Window
from tests.support import readings

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/recordings"
MEMORY_BYTES = 512 << 20
GENEROUS = ReadLimits(stall_s=600, base_s=600, memory_bytes=MEMORY_BYTES)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills processes by signals")


@pytest.fixture(scope="module")
def processes() -> Iterator[ReaderProcesses]:
    with ReaderProcesses(GENEROUS) as processes:
        yield processes


def is_there(pid: int) -> bool:
    """Also as a zombie."""
    return Path(f"/proc/{pid}").exists()


def fate(processes: ReaderProcesses, read: ReadRecording, path: Path = Path("some.wav")) -> tuple[str, str]:
    """Code and message of what becomes of a recording."""
    with pytest.raises(InputError) as caught:
        list(processes.read(read, path))
    return caught.value.code, caught.value.message


def reader_of(processes: ReaderProcesses) -> int:
    """The process that reads a good recording now."""
    summary = list(processes.read(readings.good, Path("good.wav")))[-1]
    assert isinstance(summary, RecordingSummary)
    return int(summary.sha256)


@pytest.mark.parametrize("name", ["voice-memo.ogg", "reading.mp3", "message-to-grandma.m4a", "call-bank-security.flac"])
def test_a_process_reads_what_a_thread_reads_to_the_bit(processes: ReaderProcesses, name: str) -> None:
    reading = WindowReading(16_000, 16_000, "auto", vad=name == "voice-memo.ogg", min_window_speech_s=0.4)
    here = list(reading(EXAMPLES / name))
    there = list(processes.read(reading, EXAMPLES / name))
    assert len(here) == len(there) > 3
    for ours, theirs in zip(here, there, strict=True):
        if isinstance(ours, Window) and isinstance(theirs, Window):
            assert (ours.samples is None) == (theirs.samples is None)
            if ours.samples is not None and theirs.samples is not None:
                assert ours.samples.tobytes() == theirs.samples.tobytes()
            ours, theirs = (dataclasses.replace(each, samples=None) for each in (ours, theirs))
        assert ours == theirs


def test_one_process_reads_one_recording_after_the_other(processes: ReaderProcesses) -> None:
    first = reader_of(processes)
    items = list(processes.read(readings.good, Path("a.wav")))
    assert [type(item) for item in items] == [AudioFile, Window, Window, Window, RecordingSummary]
    assert fate(processes, readings.refused) == ("not-audio", "It is no audio.")
    with pytest.raises(PermissionError, match="a bug"):
        list(processes.read(readings.buggy, Path("bug.wav")))
    assert reader_of(processes) == first in processes.pids()


def test_a_process_that_is_killed_costs_its_recording_alone(processes: ReaderProcesses) -> None:
    pid = reader_of(processes)
    got: list[ReadItem] = []
    with pytest.raises(InputError) as caught:
        got.extend(processes.read(readings.killed, Path("bad.wav")))
    assert caught.value.code == "decode-crashed"
    assert "SIGKILL" in caught.value.message
    assert pid not in processes.pids()
    assert not is_there(pid)
    assert reader_of(processes) != pid


def test_a_process_that_died_while_idle_costs_nothing(processes: ReaderProcesses) -> None:
    pid = reader_of(processes)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert reader_of(processes) != pid


def test_a_decoder_that_wants_too_much_memory_is_given_up(processes: ReaderProcesses) -> None:
    pid = reader_of(processes)
    code, message = fate(processes, readings.greedy)
    assert code == "decode-memory"
    assert "more than 512 MiB" in message
    assert not is_there(pid)


def test_a_decoder_that_hangs_is_killed_with_the_program_it_started(tmp_path: Path) -> None:
    path = tmp_path / "hangs.wav"
    with ReaderProcesses(ReadLimits(stall_s=0.5)) as processes:
        code, message = fate(processes, readings.hanging, path)
        assert processes.pids() == []
    assert code == "decode-timeout"
    assert "nothing came of it for 0.5 s" in message
    decoder = Path(f"/proc/{path.read_text(encoding='ascii')}/stat")
    try:
        state = decoder.read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        state = "gone"
    assert state in ("gone", "Z", "X")  # nobody may have collected an orphan's exit code yet


@pytest.mark.parametrize("read", [readings.busy, readings.burning])
def test_what_takes_far_longer_than_it_lasts_is_given_up(read: ReadRecording) -> None:
    with ReaderProcesses(ReadLimits(stall_s=600, base_s=1)) as processes:
        code, message = fate(processes, read)
    assert code == "decode-timeout"
    assert "more than 1 s" in message


def test_nothing_is_left_when_the_consumer_leaves() -> None:
    before = set(threading.enumerate())
    with ReaderProcesses(GENEROUS) as processes:
        with closing(processes.read(readings.busy, Path("a.wav"))) as items:
            next(items)
            (left,) = processes.pids()
        assert not is_there(left)
        items = processes.read(readings.good, Path("b.wav"))
        next(items)
        (half_read,) = processes.pids()
    assert not is_there(half_read)
    assert processes.pids() == []
    items.close()
    with pytest.raises(RuntimeError, match="inside their `with`"):
        next(processes.read(readings.good, Path("c.wav")))
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_a_cancelled_reading_ends_although_its_decoder_hangs(tmp_path: Path) -> None:
    path = tmp_path / "hangs.wav"
    with ReaderProcesses(GENEROUS) as processes:
        items = processes.read(readings.hanging, path, path.exists)
        assert [type(item) for item in items] == [AudioFile]
        assert processes.pids() == []


@pytest.mark.parametrize(
    ("file", "position_s", "allowed_s"),
    [
        (None, 0.0, 100.0),
        (readings.header(Path("a")), 0.0, 100.0),
        (readings.header(Path("a")), 60.0, 130.0),
        (readings.header(Path("a"), 600.0, channels=2), 60.0, 700.0),
        (readings.header(Path("a"), 1e12), 60.0, 100.0 + 0.5 * MAX_CLAIMED_S),
        (readings.header(Path("a"), 1e12), 2 * MAX_CLAIMED_S, 100.0 + MAX_CLAIMED_S),
    ],
)
def test_time_grows_with_what_was_heard_and_a_header_is_not_believed_for_ever(
    file: AudioFile | None, position_s: float, allowed_s: float
) -> None:
    assert ReadLimits(base_s=100, per_audio_s=0.5).allowed_s(file, position_s) == allowed_s


class Saboteur:
    """Kills the readers as soon as a recording of a name is opened."""

    def __init__(self, scanner: Scanner, name: str) -> None:
        self._scanner = scanner
        self._name = name

    def opened(self, path: Path, duration_s: float | None) -> None:
        if path.name == self._name and self._scanner.processes is not None:
            for pid in self._scanner.processes.pids():
                os.kill(pid, signal.SIGKILL)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


@pytest.fixture
def folder(tmp_path: Path) -> list[Path]:
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000 * 100).astype(np.float32)
    for name, seconds in (("a", 5), ("b", 100), ("c", 9)):  # the long one is still being read when it is killed
        soundfile.write(tmp_path / f"{name}.wav", noise[: seconds * 16_000], 16_000)
    (tmp_path / "d.wav").write_bytes(b"RIFF")
    return [tmp_path / name for name in ("a.wav", "b.wav", "c.wav", "d.wav", "gone.wav")]


def test_a_scan_of_many_inputs_reads_in_processes_by_itself(
    tiny_model: Path, folder: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU too: a file that ends its reader costs itself alone, and no process is left."""
    monkeypatch.setattr("spoofcheck.detect.readers._READ_AHEAD_ITEMS", 4)
    monkeypatch.setattr("spoofcheck.detect.scan.MANY_INPUTS", len(folder))
    scanner = Scanner(tiny_model, ScanOptions(vad=False, workers=1, hop_s=4.0, device="cpu"))
    assert scanner.processes is None
    few = list(scanner.findings(folder[:-1], Saboteur(scanner, "b.wav")))
    many = list(scanner.findings(folder, Saboteur(scanner, "b.wav")))
    assert few[1].verdict is not Verdict.SKIPPED
    assert [reason.code for reason in many[1].reasons] == ["decode-crashed"]
    assert [many[0], *many[2:-1]] == [few[0], *few[2:]]
    assert scanner.processes is None


def test_a_scan_in_processes_finds_the_same_and_loses_one_file_with_its_reader(
    tiny_model: Path, folder: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoofcheck.detect.readers._READ_AHEAD_ITEMS", 4)

    def found(scanner: Scanner, sabotaged: str = "") -> Generator[Finding]:
        yield from scanner.findings(folder, Saboteur(scanner, sabotaged))

    options = ScanOptions(vad=False, workers=1, hop_s=4.0, device="cpu")
    in_threads = list(found(Scanner(tiny_model, options)))
    scanner = Scanner(tiny_model, dataclasses.replace(options, isolation="processes"))
    assert scanner.processes is not None
    with scanner.processes:
        assert list(found(scanner)) == in_threads
        pids = scanner.processes.pids()
        assert len(pids) == 1
        first, killed, *others = found(scanner, "b.wav")
        assert killed.verdict is Verdict.SKIPPED
        assert [reason.code for reason in killed.reasons] == ["decode-crashed"]
        assert [first, *others] == [in_threads[0], *in_threads[2:]]
        assert not is_there(pids[0])
        with closing(found(scanner)) as findings:
            list(islice(findings, 1))
    assert scanner.processes.pids() == []
