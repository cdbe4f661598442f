"""The stages one after the other in this process, without Ray: what they make together is a scan."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spoofcheck.cluster.chunks import Assembled, Assembly, Case, Chunk, Refusal, Stored
from spoofcheck.cluster.fetching import FetchLimits
from spoofcheck.cluster.judging import Judge
from spoofcheck.cluster.places import Remote
from spoofcheck.cluster.reading import ReadJob, RecordingReader
from spoofcheck.cluster.scoring import heard_chunks
from spoofcheck.cluster.setup import Setup, asking_options, setup_for
from spoofcheck.detect.hearing import HeardRecording
from spoofcheck.detect.limits import ReadLimits
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.errors import ModelError
from spoofcheck.schema import Finding
from spoofcheck.types import RecordingSummary
from tests.support.audio import noise, write_wav

pytest.importorskip("fsspec")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="readers are processes with limits")
OPTIONS = ScanOptions(vad=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    write_wav(folder / "long.wav", noise(16_000 * 70, seed=1), 16_000)
    write_wav(folder / "short.wav", noise(9_000, seed=2), 8_000)
    write_wav(folder / "stereo.wav", np.hstack([noise(200_000, seed=3), noise(200_000, seed=4)]), 16_000)
    (folder / "damaged.wav").write_bytes((folder / "long.wav").read_bytes()[:60])
    (folder / "empty.wav").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def names(folder: Path) -> list[Path]:
    return [*sorted(folder.iterdir()), folder / "gone.wav"]


@pytest.fixture(scope="module")
def scanner(tiny_model: Path) -> Scanner:
    return Scanner(tiny_model, OPTIONS)


@pytest.fixture(scope="module")
def expected(scanner: Scanner, names: Sequence[Path]) -> list[tuple[Finding, ...]]:
    return [findings for _, findings in scanner.examined_inputs(names)]


@pytest.fixture(scope="module")
def setup(tiny_model: Path) -> Setup:
    asking = Scanner(tiny_model, asking_options(OPTIONS))
    return setup_for(asking, tiny_model, OPTIONS, "cpu")


@pytest.fixture(scope="module")
def judge(setup: Setup) -> Iterator[Judge]:
    judge = Judge(setup, FetchLimits())
    yield judge
    judge.close()


def reader(scanner: Scanner, chunk_windows: int, known: frozenset[tuple[str, str]] | None = None) -> RecordingReader:
    return RecordingReader(ReadJob(scanner.first_reading(), ReadLimits(), chunk_windows=chunk_windows, known=known))


def whole(scanner: Scanner, chunks: Sequence[Chunk]) -> Assembled:
    assembly = Assembly([0])
    (done,) = [each for chunk in heard_chunks(scanner.scorer, chunks) if (each := assembly.add(chunk)) is not None]
    return done


def judged(judge: Judge, place: Path | Remote, done: Assembled) -> tuple[Finding, ...]:
    if isinstance(done.end, Refusal):
        return (Finding.skipped(str(place), done.end.code, done.end.message),)
    assert isinstance(done.end, RecordingSummary)
    recording = HeardRecording(done.end.file.path, done.windows, done.end)
    modified_at_s = None if done.content is None else done.content.modified_at_s
    case = Case(recording, place if isinstance(place, Remote) else None, modified_at_s)
    findings = judge.judged(pickle.loads(pickle.dumps(case)))
    assert isinstance(findings, tuple)
    return findings


@pytest.mark.parametrize("chunk_windows", [1, 3, 64])
def test_the_stages_find_what_a_scan_finds(
    scanner: Scanner, names: Sequence[Path], expected: Sequence[object], judge: Judge, chunk_windows: int
) -> None:
    with reader(scanner, chunk_windows) as reading:
        for place, findings in zip(names, expected, strict=True):
            chunks = list(reading.chunks(0, place))
            assert max(len(chunk.windows) for chunk in chunks) <= chunk_windows
            assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
            assert judged(judge, place, whole(scanner, chunks)) == findings


def test_an_address_gives_the_same_under_its_own_name(
    scanner: Scanner, names: Sequence[Path], expected: Sequence[Sequence[Finding]], judge: Judge
) -> None:
    with reader(scanner, 8) as reading:
        for place, findings in zip(names[:-1], expected, strict=False):
            remote = Remote(f"file://{place}")
            found = judged(judge, remote, whole(scanner, list(reading.chunks(0, remote))))
            assert found == tuple(finding.model_copy(update={"path": f"file://{place}"}) for finding in findings)


def test_what_is_known_is_not_read(scanner: Scanner, folder: Path, expected: Sequence[Sequence[Finding]]) -> None:
    sha256 = next(findings[0].sha256 for findings in expected if findings[0].path.endswith("short.wav"))
    assert sha256 is not None
    with reader(scanner, 8, frozenset({(sha256, "wav")})) as reading:
        (known,) = reading.chunks(0, folder / "short.wav")
        assert (known.end, known.windows) == (Stored(), ())
        assert known.content is not None
        assert known.content.sha256 == sha256
        *_, last = reading.chunks(0, folder / "long.wav")
        assert isinstance(last.end, RecordingSummary)
        assert last.content is not None


def test_nobody_hashes_for_nobody(scanner: Scanner, folder: Path) -> None:
    with reader(scanner, 64) as reading:
        (chunk,) = reading.chunks(0, folder / "short.wav")
        assert chunk.content is None


def test_a_worker_with_another_model_is_refused(setup: Setup) -> None:
    other = replace(setup, identity=replace(setup.identity, model=("0" * 64, "0" * 64), libraries=()))
    with pytest.raises(ModelError, match="libraries and model of this worker are not those"):
        other.scanner(Scanner)
