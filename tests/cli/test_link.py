"""`spoofcheck link` from the outside: recordings of one source and of two, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spoofcheck.cli import run
from spoofcheck.linkschema import LinkDocument
from tests.support.audio import write_wav
from tests.support.enrolling import RATE_HZ, clips_of, embedding_tracer

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embedding_tracer(tmp_path_factory.mktemp("models") / "tiny-embedder")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("clips")
    return {source: clips_of(folder / source, source, 2) for source in ("plain", "dull")}


@pytest.fixture
def link(tracer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs `link ARGUMENTS` with the tiny tracer and no sources of the user's own."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        status = run(["link", "--tracer", str(tracer), "--device", "cpu", *map(str, arguments)])
        out, err = capsys.readouterr()
        return status, out, err

    return call


def document(link: Call, *arguments: str | Path) -> LinkDocument:
    status, out, err = link("--json", "--quiet", *arguments)
    assert (status, err) == (0, "")
    return LinkDocument.model_validate_json(out)


def test_one_source_and_two(link: Call, clips: dict[str, list[Path]]) -> None:
    (plain, again), (dull, _) = clips["plain"], clips["dull"]
    same, different = document(link, plain, again), document(link, plain, dull)
    assert same.cosine > different.cosine
    assert same.llr > 0 > different.llr
    assert same.recordings[0] == different.recordings[0]
    back = document(link, again, plain)
    assert (back.cosine, back.llr) == (same.cosine, same.llr)
    assert back.recordings == same.recordings[::-1]


def test_the_table_says_what_was_compared(link: Call, clips: dict[str, list[Path]]) -> None:
    status, out, err = link(*clips["plain"])
    assert status == 0
    assert "Listening" in err
    for part in ("plain-0.wav", "plain-1.wav", "SHA-256", "support for", "none: a stand-in for tests", "EER 20.0 %"):
        assert part in out
    assert "run 'spoofcheck scan' on both" in " ".join(out.split())
    assert link("-q", *clips["plain"]) == (0, out, "")


def test_enrolled_sources_are_named_and_change_no_ratio(
    link: Call, clips: dict[str, list[Path]], tracer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store.json"
    enrolled = clips_of(tmp_path / "dull", "dull")
    assert run(["sources", "enroll", "Dull box", *map(str, enrolled), "--tracer", str(tracer), "--device", "cpu",
                "--store", str(store)]) == 0  # fmt: skip
    capsys.readouterr()
    without, with_store = document(link, *clips["dull"]), document(link, *clips["dull"], "--sources", store)
    assert (without.cosine, without.llr) == (with_store.cosine, with_store.llr)
    assert with_store.recordings[0].trace.decision == "Dull box"
    assert with_store.enrolled is not None
    assert without.enrolled is None
    status, _, err = link(*clips["dull"], "--sources", store, "--no-sources")
    assert (status, err.count("\n")) == (2, 1)
    status, _, err = link(*clips["dull"], "--sources", tmp_path / "none.json")
    assert (status, err.count("\n")) == (2, 1)


def refused(link: Call, *arguments: str | Path) -> str:
    status, out, err = link("--quiet", *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    return err


def test_what_cannot_be_compared_is_refused(link: Call, clips: dict[str, list[Path]], tmp_path: Path) -> None:
    plain = clips["plain"][0]
    copy = Path(shutil.copy(plain, tmp_path / "copy.wav"))
    assert "hold the same bytes" in refused(link, plain, copy)
    assert "hold the same bytes" in refused(link, plain, plain)
    silence = write_wav(tmp_path / "silence.wav", np.zeros(2 * RATE_HZ, dtype=np.float32), RATE_HZ)
    assert "silence.wav: nothing to compare: it holds no window with enough speech" in refused(link, plain, silence)
    assert "a folder; name one recording" in refused(link, plain, tmp_path)
    assert "missing.wav" in refused(link, tmp_path / "missing.wav", plain)
    (tmp_path / "text.wav").write_text("no audio at all, but it claims to be some")
    assert "text.wav: nothing to compare" in refused(link, plain, tmp_path / "text.wav")


def test_hostile_names_are_written_out(link: Call, clips: dict[str, list[Path]], tmp_path: Path) -> None:
    hostile = tmp_path / "[red]\x1b[31m\u202egnp\n\u200b.wav"
    shutil.copy(clips["plain"][1], hostile)
    outputs = [*link(clips["plain"][0], hostile)[1:], *link(clips["plain"][0], hostile, "--json")[1:]]
    shutil.copy(clips["plain"][0], hostile)
    outputs.append(refused(link, clips["plain"][0], hostile))
    for text in outputs:
        assert not set("\x1b\u202e\u200b") & set(text)
    assert r"[red]\x1b[31m\u202egnp\n\u200b.wav" in "".join(outputs[0].split()) + outputs[-1]


def test_tracers_that_cannot_compare_are_refused(
    link: Call, clips: dict[str, list[Path]], tiny_tracer_model: Path, tracer: Path, tmp_path: Path
) -> None:
    assert "has no prototypes" in refused(link, *clips["plain"], "--tracer", tiny_tracer_model)
    uncalibrated = tmp_path / "uncalibrated"
    shutil.copytree(tracer, uncalibrated)
    config = json.loads((uncalibrated / "config.json").read_text())
    (uncalibrated / "config.json").write_text(json.dumps({**config, "link_calibration": None}))
    assert "has no link_calibration" in refused(link, *clips["plain"], "--tracer", uncalibrated)
