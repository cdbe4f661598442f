"""`spoofcheck sources` from the outside: enrolling, listing, evaluating, removing, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoofcheck.cli import run
from spoofcheck.cli import sources as commands
from spoofcheck.detect.gallery import gallery_of, unit
from spoofcheck.detect.sourcestore import read_store, store_json, with_source
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.cliptracing import ClipTracer
from spoofcheck.nets.bundle import load_tracer
from spoofcheck.nets.index import shipped_tracer, write_index
from tests.support.enrolling import clips_of, embedding_tracer, twin_detector

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embedding_tracer(tmp_path_factory.mktemp("models") / "tiny-embedder")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of two sources that differ, and of one that is nearly the first."""
    folder = tmp_path_factory.mktemp("clips")
    for source in ("plain", "dull", "thin"):
        clips_of(folder / source, source)
    return folder


@pytest.fixture
def sources(tracer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs `sources COMMAND ARGUMENTS` with a store of its own; gives the exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "160")

    def call(command: str, *arguments: str | Path) -> tuple[int, str, str]:
        own = {
            "enroll": ["--tracer", tracer, "--device", "cpu"],
            "evaluate": ["--tracer", tracer],
        }.get(command, [])
        status = run(["sources", command, *map(str, [*own, "--store", tmp_path / "store.json", *arguments])])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store.json"


def test_a_source_is_enrolled_and_recognised(
    sources: Call, store: Path, clips: Path, tracer: Path, tmp_path: Path
) -> None:
    status, out, err = sources("enroll", "Dull box", clips / "dull", "--note", "from a dull box")
    assert status == 0
    assert "5 of 5 (100 %)" in out
    assert "'Dull box' enrolled from 5 clips, revision 1" in err
    assert sources("enroll", "Plain voice", clips / "plain")[0] == 0

    kept = read_store(store)
    assert [source.name for source in kept.sources] == ["Dull box", "Plain voice"]
    bundle = load_tracer(tracer)
    gallery = gallery_of(bundle, kept.enrolled())
    assert gallery.names == ("A0", "A1", "A2", "Dull box", "Plain voice")
    for source, expected in (("dull", "Dull box"), ("plain", "Plain voice")):
        others = clips_of(tmp_path / "others", source, 2, first_s=5.2)
        rows = ClipTracer(bundle, "all", "cpu", embeddings=True).trace(
            ["0", "1"], [Clip(path.stem, path, "spoof") for path in others]
        )
        for row in rows:
            assert row.embedding is not None
            assert gallery.names[int(gallery.similarities(unit(row.embedding)).argmax())] == expected


def test_the_order_of_clips_changes_nothing(sources: Call, store: Path, clips: Path) -> None:
    forward = sorted((clips / "dull").iterdir())
    prototypes, hashes = [], []
    for order in (forward, forward[::-1], [forward[2], clips / "dull"]):
        assert sources("enroll", "Dull box", *order)[0] == 0
        (source,) = read_store(store).sources
        prototypes.append(source.source().prototype.tolist())
        hashes.append(source.content_sha256)
        store.unlink()
    assert prototypes[0] == prototypes[1] == prototypes[2]
    assert len(set(hashes)) == 1


def test_enrolling_again_asks_for_it(sources: Call, store: Path, clips: Path) -> None:
    assert sources("enroll", "Box", clips / "dull")[0] == 0
    before = store.read_bytes()
    status, _, err = sources("enroll", "BOX", clips / "plain")
    assert status == 2
    assert "'Box' is enrolled already; --replace" in err
    assert store.read_bytes() == before
    assert sources("enroll", "Box", clips / "plain", "--replace")[0] == 0
    (source,) = read_store(store).sources
    assert source.revision == 2
    assert [clip.name for clip in source.clips if clip.name.startswith("dull")] == []
    assert not [path for path in store.parent.iterdir() if path.name.startswith(".")]


def test_bad_clips_are_left_out_with_a_line_each(sources: Call, store: Path, clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(clips / "dull", folder)
    shutil.copy(folder / "dull-0.wav", folder / "same.wav")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text\x1b[31m\u202e.wav").write_text("no audio at all, but it claims to be some")
    missing = tmp_path / "missing.wav"
    status, _, err = sources("enroll", "Box", folder, missing)
    assert status == 3
    left_out = [line for line in err.splitlines() if "left out" in line]
    assert len(left_out) == 4
    assert any("same.wav: left out: the same bytes as" in line for line in left_out)
    assert any("empty.wav" in line for line in left_out)
    assert any("missing.wav" in line for line in left_out)
    assert "\x1b" not in err
    assert "\u202e" not in err
    assert len(read_store(store).sources[0].clips) == 5

    status, _, err = sources("enroll", "Other", clips / "dull")
    assert status == 2
    assert err.count("left out: it is a clip of the source 'Box'") == 5
    assert "0 clips to enrol, and at least 5 are needed" in err
    assert len(read_store(store).sources) == 1


def test_too_few_clips_enrol_nothing(sources: Call, store: Path, clips: Path) -> None:
    status, out, err = sources("enroll", "Box", *sorted((clips / "dull").iterdir())[:4])
    assert status == 2
    assert out == ""
    assert "'Box': 4 clips to enrol, and at least 5 are needed; nothing was changed" in err
    assert not store.exists()


def test_sources_that_cannot_be_told_apart_are_warned_of(sources: Call, store: Path, clips: Path) -> None:
    assert sources("enroll", "Plain voice", clips / "plain")[0] == 0
    status, out, err = sources("enroll", "Thin voice", clips / "thin")
    assert status == 0
    assert "cannot be told apart" in out
    assert "warning: 'Thin voice' cannot be told apart from 'Plain voice'" in err
    assert sources("enroll", "Dull box", clips / "dull")[0] == 0
    status, out, err = sources("evaluate")
    assert status == 0
    assert "Dull box" in out
    assert "reported as one group" in err
    status, out, err = sources("evaluate", "--json")
    document = json.loads(out)
    assert [source["name"] for source in document["sources"]] == [
        "A0", "A1", "A2", "Plain voice", "Thin voice", "Dull box",
    ]  # fmt: skip
    assert any({"Plain voice", "Thin voice"} <= set(group) for group in document["groups"])
    assert sum(document["closest"]["Dull box"].values()) == 5
    assert document["open_set"] == {"method": "prototype-cosine", "threshold": 0.3}


def test_sources_are_listed_and_removed(sources: Call, store: Path, clips: Path, tracer: Path) -> None:
    sources("enroll", "[red]../..[/red]", clips / "dull", "--note", "<b>bold</b>")
    status, out, err = sources("list")
    assert status == 0
    assert "[red]../..[/red]" in out
    assert "<b>bold</b>" in out
    assert "A0" not in out
    assert "A0" in sources("list", "--tracer", tracer)[1]
    document = json.loads(sources("list", "--json", "--tracer", tracer)[1])
    assert [source["origin"] for source in document["sources"]] == ["shipped"] * 3 + ["enrolled"]
    assert document["store_sha256"] == read_store(store).sha256
    assert "embedding" not in document["sources"][3]["clips"][0]

    status, _, err = sources("remove", "nobody")
    assert status == 2
    assert "no source 'nobody' is enrolled" in err
    assert sources("remove", "[red]../..[/red]")[0] == 0
    assert read_store(store).sources == ()
    assert sorted(path.name for path in store.parent.iterdir()) == ["store.json"]


def test_the_one_shipped_tracer_is_the_default(
    sources: Call, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    twin_detector(models / "detector", embedding_tracer(models / "one"))
    write_index(models)
    monkeypatch.setattr("spoofcheck.nets.index.models_dir", lambda: models)
    assert shipped_tracer() == "one"
    store = ["--store", str(tmp_path / "own.json")]
    assert run(["sources", "enroll", "Box", str(clips / "dull"), "--device", "cpu", *store]) == 0
    capsys.readouterr()
    listed = json.loads(sources("list", "--json", *store)[1])
    assert [source["name"] for source in listed["sources"]] == ["A0", "A1", "A2", "Box"]
    embedding_tracer(models / "two", seed=1)
    write_index(models)
    assert shipped_tracer() is None
    assert run(["sources", "evaluate", *store]) == 2
    assert "--tracer is needed: there is no tracer, or more than one" in capsys.readouterr().err
    listed = json.loads(sources("list", "--json", *store)[1])
    assert [source["name"] for source in listed["sources"]] == ["Box"], "nobody can say what is shipped with it"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a\x1b[31mred", "control characters"),
        ("abc\u202egnp", "marks that do not show"),
        ("a\u200f", "marks that do not show"),
        ("unknown", "open-set rule"),
        ("a1", "the tracer ships a source of this name"),
        ("x" * 101, "1 to 100 characters"),
    ],
)
def test_hostile_names_are_refused(sources: Call, store: Path, clips: Path, name: str, problem: str) -> None:
    status, out, err = sources("enroll", name, clips / "dull")
    assert status == 2
    assert problem in err
    assert out == ""
    assert err.count("\n") == 1
    assert not {"\x1b", "\u202e", "\u200f"} & set(err)
    assert not store.exists()


def test_a_damaged_store_stops_every_command(sources: Call, store: Path, clips: Path) -> None:
    sources("enroll", "Box", clips / "dull")
    store.write_text(store.read_text().replace('"Box"', '"Bix"'))
    damaged = store.read_bytes()
    for call in (["list"], ["remove", "Bix"], ["evaluate"], ["enroll", "New", clips / "plain"]):
        status, out, err = sources(*call)
        assert status == 2
        assert out == ""
        assert "store.json: damaged store of sources: the SHA-256 differs" in err
    assert store.read_bytes() == damaged


def test_another_tracers_store_is_refused(sources: Call, store: Path, clips: Path, tmp_path: Path) -> None:
    sources("enroll", "Box", clips / "dull")
    other = embedding_tracer(tmp_path / "other", seed=1)
    for call in (["list"], ["evaluate"], ["enroll", "New", clips / "plain"]):
        status, _, err = sources(*call, "--tracer", other)
        assert status == 2
        assert "store.json: made for the tracer tiny-embedder 1" in err


def test_a_tracer_without_prototypes_cannot_enrol(
    sources: Call, store: Path, clips: Path, tiny_tracer_model: Path
) -> None:
    for call in (["evaluate"], ["enroll", "New", clips / "plain"]):
        status, _, err = sources(*call, "--tracer", tiny_tracer_model)
        assert status == 2
        assert "the tracer tiny-tracer 1 (pooled-embedding) has no prototypes" in err
    assert not store.exists()


def test_what_is_not_there_is_named(sources: Call, tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    for call in (["list"], ["remove", "x"], ["evaluate"]):
        status, _, err = sources(*call)
        assert status == 2
        assert "store.json: no such store of sources" in err
    status, _, err = sources("enroll", "x", clips / "dull", "--store", tmp_path / "no" / "folder" / "s.json")
    assert status == 2
    assert "cannot be written" in err
    assert sources("enroll", "x", clips / "dull", "--tracer", tiny_model)[0] == 2


def test_the_users_own_store_is_made_where_it_belongs(
    tracer: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert run(["sources", "list"]) == 0
    assert "no sources are enrolled" in capsys.readouterr().err
    assert run(["sources", "enroll", "Box", str(clips / "dull"), "--tracer", str(tracer), "--device", "cpu"]) == 0
    assert read_store(tmp_path / "data" / "spoofcheck" / "sources.json").find("Box") is not None
    capsys.readouterr()
    assert run(["sources", "list"]) == 0
    assert "Box" in capsys.readouterr().out


def test_what_another_run_enrolled_meanwhile_is_not_lost(
    sources: Call, store: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sources("enroll", "Dull box", clips / "dull")[0] == 0
    heard = commands._embedded

    def another_run_ends_first(*arguments: Any) -> Any:
        kept = read_store(store)
        other = kept.sources[0].model_copy(update={"name": "Other"})
        store.write_text(store_json(with_source(kept, other)))
        return heard(*arguments)

    monkeypatch.setattr(commands, "_embedded", another_run_ends_first)
    status, out, err = sources("enroll", "Plain voice", clips / "plain")
    assert status == 2
    assert out == ""
    assert "store.json: changed while the clips were heard; nothing was written" in err
    assert [source.name for source in read_store(store).sources] == ["Dull box", "Other"]
