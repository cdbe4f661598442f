from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from spoofcheck.cli import run
from spoofcheck.errors import ModelError
from spoofcheck.nets import index
from spoofcheck.nets.bundle import load_tracer
from tests.support.models import tiny_bundle, tiny_tracer


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and their index; not to be changed."""
    folder = tmp_path_factory.mktemp("models")
    tiny_bundle(folder / "alpha", seed=1)
    tiny_bundle(folder / "beta", seed=2)
    index.write_index(folder, default="beta")
    return folder


@pytest.fixture
def shipped(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that takes the place of the shipped models."""
    folder = tmp_path / "models"
    for path in sorted(built.rglob("*")):
        target = folder / path.relative_to(built)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    monkeypatch.setattr(index, "models_dir", lambda: folder)
    return folder


def test_index_holds_size_and_hash_of_every_file(shipped: Path) -> None:
    document = json.loads((shipped / "index.json").read_text())
    assert document["default"] == "beta"
    assert sorted(document["models"]) == ["alpha", "beta"]
    for name, entry in document["models"].items():
        assert entry["version"] == "1"
        assert sorted(entry["files"]) == ["README.md", "config.json", "model.safetensors"]
        for file_name, facts in entry["files"].items():
            data = (shipped / name / file_name).read_bytes()
            assert facts == {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def test_what_training_leaves_beside_a_model_is_listed_and_checked(shipped: Path) -> None:
    for name in ("training.json", "calibration.svg", "notes.txt"):
        (shipped / "alpha" / name).write_text(name)
    listed = index.write_index(shipped).models["alpha"].files
    assert set(listed) == {"README.md", "config.json", "model.safetensors", "training.json", "calibration.svg"}
    assert index.verify_model("alpha") == []
    (shipped / "alpha" / "calibration.svg").write_text("calibration.SVG")
    assert index.verify_model("alpha") == ["calibration.svg: SHA-256 differs from index.json"]


def test_default_comes_first(shipped: Path) -> None:
    assert index.list_models() == ("beta", "alpha")


def test_finds_models_by_name_and_by_path(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert index.find_model() == shipped / "beta"
    assert index.find_model("alpha") == shipped / "alpha"
    assert index.find_model(str(shipped / "alpha")) == shipped / "alpha"
    own = tmp_path / "own"
    own.mkdir()
    assert index.find_model(own) == own
    monkeypatch.chdir(tmp_path)
    assert index.find_model("own") == Path("own")
    (tmp_path / "alpha").mkdir()
    assert index.find_model("alpha") == shipped / "alpha"
    assert index.find_model("./alpha") == Path("alpha")


@pytest.mark.parametrize("name", ["gamma", "../models/gamma", "alpha/../gamma", "", "a\0b", "alpha\n"])
def test_refuses_names_that_lead_nowhere(shipped: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shipped / "alpha")
    with pytest.raises(ModelError) as caught:
        index.find_model(name)
    assert "\n" not in str(caught.value)
    assert "\0" not in str(caught.value)


def test_an_unknown_name_lists_the_known(shipped: Path) -> None:
    with pytest.raises(ModelError, match=r"'gamma' is neither a model here \(beta, alpha\) nor a directory"):
        index.find_model("gamma")


def test_verify_finds_every_kind_of_damage(shipped: Path) -> None:
    assert index.verify_model("alpha") == []
    (shipped / "alpha" / "README.md").unlink()
    config = shipped / "alpha" / "config.json"
    config.write_bytes(config.read_bytes() + b" ")
    weights = shipped / "alpha" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert index.verify_model("alpha") == [
        f"config.json: {len(config.read_bytes())} bytes, expected {len(config.read_bytes()) - 1}",
        "model.safetensors: SHA-256 differs from index.json",
        "README.md: cannot be read (No such file or directory)",
    ]
    assert index.verify_model("beta") == []


def test_verify_notices_a_file_without_hash(shipped: Path) -> None:
    document = json.loads((shipped / "index.json").read_text())
    del document["models"]["alpha"]["files"]["model.safetensors"]
    (shipped / "index.json").write_text(json.dumps(document))
    assert index.verify_model("alpha") == ["model.safetensors: not in index.json"]


def test_verify_refuses_other_names(shipped: Path) -> None:
    with pytest.raises(ModelError, match=r"'\.\./alpha' is no model here"):
        index.verify_model("../alpha")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"default": "gamma"}, "default model 'gamma' is not listed"),
        ({"models": {"../evil": {"version": "1", "files": {}}}}, "'../evil' is no plain name"),
        (
            {"models": {"beta": {"version": "1", "files": {"../x": {"sha256": "0" * 64, "size_bytes": 1}}}}},
            "'../x' is no plain name",
        ),
        ({"models": {"beta": {"version": "1"}}}, "key 'models.beta.files'"),
        (
            {"models": {"beta": {"version": "1", "files": {"README.md": {"sha256": "0", "size_bytes": 1}}}}},
            r"key 'models.beta.files.README.md.sha256'",
        ),
    ],
)
def test_refuses_a_damaged_index(shipped: Path, change: dict[str, object], message: str) -> None:
    document = {**json.loads((shipped / "index.json").read_text()), **change}
    (shipped / "index.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=message):
        index.find_model("alpha")


def test_says_when_there_is_no_index(shipped: Path) -> None:
    (shipped / "index.json").unlink()
    with pytest.raises(ModelError, match=r"index\.json: cannot be read"):
        index.list_models()


def test_writing_keeps_the_default_while_it_is_there(shipped: Path) -> None:
    assert index.write_index(shipped).default == "beta"
    for path in (shipped / "beta").iterdir():
        path.unlink()
    (shipped / "beta").rmdir()
    assert index.write_index(shipped).default == "alpha"
    assert sorted(path.name for path in shipped.iterdir()) == ["alpha", "index.json"]


def test_writing_refuses_models_that_are_not_whole(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'gamma' is not there"):
        index.write_index(shipped, default="gamma")
    (shipped / "alpha" / "README.md").unlink()
    with pytest.raises(ModelError, match=r"alpha: without README\.md"):
        index.write_index(shipped)
    (shipped / "alpha").rename(shipped / "renamed")
    with pytest.raises(ModelError, match="names the model 'alpha'"):
        index.write_index(shipped)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match="no model directories"):
        index.write_index(empty)


def test_runs_as_a_module(shipped: Path) -> None:
    before = (shipped / "index.json").read_bytes()
    (shipped / "index.json").write_text("{}")
    command = [sys.executable, "-m", "spoofcheck.nets.index", str(shipped)]
    damaged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert damaged.returncode == 2
    assert damaged.stderr.count("\n") == 1
    (shipped / "index.json").write_bytes(before)
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 0
    assert (shipped / "index.json").read_bytes() == before


def test_tracers_are_listed_and_never_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_tracer(tmp_path / "a-tracer")
    with pytest.raises(ModelError, match="the default model must be a detector"):
        index.write_index(tmp_path)
    tiny_bundle(tmp_path / "detector")
    with pytest.raises(ModelError, match="must be a detector, not 'a-tracer'"):
        index.write_index(tmp_path, default="a-tracer")
    assert index.write_index(tmp_path).default == "detector"
    monkeypatch.setattr(index, "models_dir", lambda: tmp_path)
    assert index.list_models() == ("detector", "a-tracer")
    assert index.verify_model("a-tracer") == []
    assert load_tracer(index.find_model("a-tracer")).config.classes == ("A0", "A1", "A2")
    (tmp_path / "a-tracer" / "model.safetensors").write_bytes(b"other")
    assert index.verify_model("a-tracer") != []
    with pytest.raises(ModelError, match="SHA-256"):
        load_tracer(tmp_path / "a-tracer")


def test_the_listing_tells_tracers_from_detectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_tracer(tmp_path / "a-tracer")
    tiny_bundle(tmp_path / "detector")
    index.write_index(tmp_path)
    monkeypatch.setattr(index, "models_dir", lambda: tmp_path)
    monkeypatch.setattr("spoofcheck.resources.models_dir", lambda: tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    assert run(["models", "list"]) == 0
    _, detector, tracer = capsys.readouterr().out.splitlines()
    assert detector.split()[:3] == ["detector", "detector", "1"]
    assert detector.rstrip().endswith("default")
    assert tracer.split()[:3] == ["a-tracer", "tracer", "1"]
    assert "spectral-stem -> pooled-embedding, 64 channels, 3 classes" in tracer
    assert run(["models", "show", str(tmp_path / "a-tracer")]) == 0
    assert capsys.readouterr().out.startswith("# Tiny tracer")
