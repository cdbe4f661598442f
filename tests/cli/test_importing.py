"""Published checkpoints by name, against a stand-in hub: what is pulled, what is refused, what is left behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import docs.models
from spoofcheck.cli import run
from spoofcheck.nets import index, published
from spoofcheck.nets.bundle import load_bundle, load_tracer
from spoofcheck.nets.config import ModelConfig, TracerConfig, read_any_config
from spoofcheck.nets.index import PublishedEntry, find_model, read_origin, verify_model
from tests.support.fairseq import TINY, published_state, with_unused, write_checkpoint
from tests.support.hub import COMMIT, StandIn, serving

NAME = "xlsr-nes2net-la"
FULL_SIZE = published.ARCHITECTURES
REPOSITORY = "XuepingZhang/XLSR-Nes2Net-LA"
FILE = "epoch_9_9.999.pth"


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny networks in place of the published ones, and folders of the test's own; returns the models folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(published, "ARCHITECTURES", TINY)
    monkeypatch.setenv("COLUMNS", "250")
    return tmp_path / "data" / "spoofcheck" / "models"


@pytest.fixture
def full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "ARCHITECTURES", FULL_SIZE)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("checkpoint") / "c.pth"
    return write_checkpoint(path, with_unused(published_state(TINY[NAME].layout()))).read_bytes()


@pytest.fixture
def hub(checkpoint: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    files = {"README.md": b"# card", FILE: checkpoint, "optimizer.pt": b"not weights"}
    with serving(StandIn(REPOSITORY, files)) as stand_in:
        monkeypatch.setenv("HF_ENDPOINT", stand_in.url)
        yield stand_in


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pull(*options: str) -> int:
    return run(["models", "pull", NAME, "--accept-license", *options])


def left(folder: Path) -> list[str]:
    """Files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_pulled_with_pins_is_found_by_name_and_says_where_it_came_from(
    hub: StandIn, checkpoint: bytes, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull("--revision", COMMIT, "--sha256", sha256(checkpoint)) == 0
    said = capsys.readouterr()
    assert f"{REPOSITORY} at {COMMIT}: {FILE}, {len(checkpoint) / 1e6:,.1f} MB\n" in said.err
    assert said.err.index("CC BY-NC 4.0") < said.err.index(COMMIT)  # the licence before the download
    assert "loaded     634 tensors (convolutions 28, feature projection 4, position 3" in said.out
    assert "dropped    12 tensors (mask_emb 1, quantizer 3, project_q 2, final_proj 2, global_attn 4)" in said.out
    assert "uncalibrated" in said.out

    directory = find_model(NAME)
    assert directory == own_folders / NAME
    assert left(own_folders) == sorted(
        [
            "published.json",
            *(f"{NAME}/{name}" for name in ("README.md", "config.json", "model.safetensors", "origin.json")),
        ]
    )
    bundle = load_bundle(directory)
    assert (bundle.config.version, bundle.config.window_samples) == (COMMIT[:12], 64_600)
    assert bundle.config.calibration is None
    assert bundle.config.waveform == "as-decoded"
    assert "CC BY-NC 4.0" in bundle.config.licence
    record = read_origin(directory)
    assert record is not None
    assert record.origin is not None
    assert (record.origin.repository, record.origin.revision, record.origin.file) == (REPOSITORY, COMMIT, FILE)
    assert record.origin.sha256 == sha256(checkpoint)

    assert run(["models", "show", NAME]) == 0
    assert "CC BY-NC 4.0" in capsys.readouterr().out
    assert run(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert "yours, uncalibrated" in listed
    assert f"yours: in {own_folders}\n" in listed
    assert run(["models", "verify", NAME]) == 0
    assert capsys.readouterr().out == f"{NAME}: intact\n"


def test_the_same_pull_again_changes_and_downloads_nothing(
    hub: StandIn, checkpoint: bytes, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull("--trust-first-use") == 0
    requests = len(hub.requests)
    assert run(["models", "pull", NAME]) == 0
    assert capsys.readouterr().out.endswith(f"{NAME}: already in {own_folders / NAME}, intact\n")
    assert len(hub.requests) == requests
    (own_folders / NAME / "config.json").write_text("{}")
    assert verify_model(NAME)[0].startswith("config.json: 2 bytes, expected")
    assert pull() == 2
    assert "there is something already; remove it" in capsys.readouterr().err


def test_without_pins_and_without_trust_nothing_is_asked_of_the_hub(
    hub: StandIn, checkpoint: bytes, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ([], ["--revision", COMMIT], ["--sha256", sha256(checkpoint)]):
        assert pull(*options) == 2
        assert "knows no revision and no SHA-256" in capsys.readouterr().err
    assert pull("--revision", "main", "--sha256", sha256(checkpoint)) == 2
    assert "a pin is a commit, 40 hexadecimal digits" in capsys.readouterr().err
    assert pull("--sha256", "abc") == 2
    assert "64 hexadecimal digits" in capsys.readouterr().err
    assert run(["models", "pull", "no-such-model"]) == 2
    assert f"no published model of this name is known ({NAME})" in capsys.readouterr().err
    assert hub.requests == []
    assert not own_folders.exists()


def test_a_licence_that_nobody_accepted_ends_the_pull_before_any_request(
    hub: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal
    assert run(["models", "pull", NAME, "--trust-first-use"]) == 2
    said = capsys.readouterr().err
    assert "licence: CC BY-NC 4.0" in said
    assert "say --accept-license" in said
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert run(["models", "pull", NAME, "--trust-first-use"]) == 2
    assert "its licence was not accepted" in capsys.readouterr().err
    assert hub.requests == []
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    assert run(["models", "pull", NAME, "--trust-first-use"]) == 0


def test_what_was_trusted_at_first_use_is_insisted_on_ever_after(
    hub: StandIn, checkpoint: bytes, own_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull("--trust-first-use") == 0
    pins = {"revision": COMMIT, "file": FILE, "sha256": sha256(checkpoint)}
    assert json.loads((own_folders / "published.json").read_text()) == {"published": {NAME: pins}}
    other = "f" * 64
    assert pull("--trust-first-use", "--sha256", other, "--out", str(tmp_path / "x")) == 2
    assert f"is pinned to {pins['sha256']} by {own_folders / 'published.json'}" in capsys.readouterr().err

    hub.files[FILE] = checkpoint + b"another"
    assert pull("--trust-first-use", "--out", str(tmp_path / "x")) == 2
    assert "nothing was downloaded" in capsys.readouterr().err
    hub.lfs = False  # a hub that states no hash, so that it has to be downloaded to be found wrong
    assert pull("--trust-first-use", "--out", str(tmp_path / "x")) == 2
    assert f"expected {pins['sha256']}: damaged, or not the same file" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert left(own_folders / ".downloads") == []
    assert verify_model(NAME) == []


def test_a_wrong_hash_leaves_no_model_no_pin_and_no_file(
    hub: StandIn, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.lfs = False
    assert pull("--revision", COMMIT, "--sha256", "e" * 64) == 2
    assert f"expected {'e' * 64}" in capsys.readouterr().err
    assert left(own_folders) == []
    assert pull("--revision", "f" * 40, "--sha256", "e" * 64) == 2
    assert "the hub answers with" in capsys.readouterr().err


def test_an_interrupted_download_goes_on_where_it_stopped(
    hub: StandIn,
    checkpoint: bytes,
    own_folders: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 16)  # it writes whole chunks only
    hub.cut_after = 3 << 16
    assert len(checkpoint) > hub.cut_after
    assert pull("--trust-first-use") == 2
    assert "the download stopped; the same command goes on from there" in capsys.readouterr().err
    (partial,) = left(own_folders)
    assert partial.endswith(".incomplete")
    assert (own_folders / partial).stat().st_size == hub.cut_after
    assert not (own_folders / "published.json").exists()

    hub.cut_after = None
    hub.requests.clear()
    assert pull("--trust-first-use") == 0
    assert hub.ranges() == [f"bytes={3 << 16}-"]
    record = read_origin(own_folders / NAME)
    assert record is not None
    assert record.origin is not None
    assert record.origin.sha256 == sha256(checkpoint)


def test_a_repository_with_several_checkpoints_asks_which(
    hub: StandIn, checkpoint: bytes, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.files["old/swa.safetensors"] = b"x"
    assert pull("--trust-first-use") == 2
    assert f"Name one with --file; candidates: {FILE}, old/swa.safetensors" in capsys.readouterr().err
    assert pull("--trust-first-use", "--file", "new.pth") == 2
    assert f"holds no new.pth; checkpoints there: {FILE}, old/swa.safetensors" in capsys.readouterr().err
    del hub.files[FILE], hub.files["old/swa.safetensors"]
    assert pull("--trust-first-use") == 2
    assert "candidates: none" in capsys.readouterr().err
    assert left(own_folders) == []
    hub.files.update({"a.pth": b"x", "b/c.pth": checkpoint})
    assert pull("--trust-first-use", "--file", "b/c.pth") == 0
    assert json.loads((own_folders / "published.json").read_text())["published"][NAME]["file"] == "b/c.pth"


class _Code:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("/tmp/spoofcheck-ran-code",)


def test_a_pickle_with_code_is_refused_unrun(
    hub: StandIn, own_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"module.x": _Code()}, tmp_path / "evil.pth")
    hub.files[FILE] = (tmp_path / "evil.pth").read_bytes()
    assert pull("--trust-first-use") == 2
    assert "it asks for posix.mkdir, and to load more than tensors could run code" in capsys.readouterr().err
    assert left(own_folders) == []
    assert not Path("/tmp/spoofcheck-ran-code").exists()


def test_a_cache_that_was_brought_along_serves_an_offline_machine(
    checkpoint: bytes,
    own_folders: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    pins = ("--revision", COMMIT, "--sha256", sha256(checkpoint))
    assert pull(*pins) == 2
    assert "not in the cache, and HF_HUB_OFFLINE forbids" in capsys.readouterr().err
    snapshot = tmp_path / "cache" / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / FILE).write_bytes(checkpoint + b"spoilt")
    assert pull(*pins) == 2
    assert "HF_HUB_OFFLINE forbids to download it" in capsys.readouterr().err
    (snapshot / FILE).write_bytes(checkpoint)
    assert pull(*pins) == 0
    assert (snapshot / FILE).exists()
    assert verify_model(NAME) == []


def test_a_local_file_may_take_the_place_of_the_download(
    checkpoint: bytes, own_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "local.pth").write_bytes(checkpoint)
    here = ("--from", str(tmp_path / "local.pth"))
    assert pull(*here, "--sha256", "0" * 64) == 2
    assert "expected 000" in capsys.readouterr().err
    assert pull(*here) == 2
    assert "knows no revision" in capsys.readouterr().err
    assert pull(*here, "--sha256", sha256(checkpoint)) == 0
    assert (tmp_path / "local.pth").exists()
    record = read_origin(own_folders / NAME)
    assert record is not None
    assert record.origin is not None
    assert record.origin.repository is None  # nobody said which commit it is of
    assert record.origin.file == "local.pth"
    kept = json.loads((own_folders / "published.json").read_text())["published"][NAME]
    assert kept == {"revision": None, "file": None, "sha256": sha256(checkpoint)}


def test_pins_in_the_index_leave_nothing_to_trust(
    hub: StandIn,
    checkpoint: bytes,
    own_folders: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = index.read_index()
    pinned = real.published[NAME].model_copy(update={"revision": COMMIT, "file": FILE, "sha256": sha256(checkpoint)})
    with_pins = real.model_copy(update={"published": {NAME: pinned}})
    monkeypatch.setattr("spoofcheck.nets.pulling.read_index", lambda: with_pins)
    assert pull("--sha256", "a" * 64) == 2
    assert "is pinned to" in capsys.readouterr().err
    assert pull() == 0
    assert not (own_folders / "published.json").exists()


def test_the_shipped_index_claims_no_pins_that_nobody_measured() -> None:
    entry = index.read_index().published[NAME]
    assert isinstance(entry, PublishedEntry)
    assert entry.repository == REPOSITORY
    assert (entry.revision is None) == (entry.sha256 is None)


@pytest.mark.parametrize("arch", [name for name in TINY if name != "xlsr-tracer"])
def test_detectors_are_imported_from_a_file(
    arch: str, tmp_path: Path, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = published_state(TINY[arch].layout())
    path = write_checkpoint(tmp_path / "c.pt", state)
    assert run(["models", "import", str(path), "--arch", arch, "--licence", "lab use only"]) == 0
    assert "licence    lab use only\n" in capsys.readouterr().out
    bundle = load_bundle(find_model(arch))
    assert isinstance(bundle.config, ModelConfig)
    assert bundle.config.licence == "lab use only"
    assert bundle.config.version == f"sha256-{sha256(path.read_bytes())[:12]}"
    assert bundle.config.calibration is None


def test_the_tracer_gets_its_classes_and_its_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = with_unused(published_state(TINY["xlsr-tracer"].layout()), global_attention=False)
    state |= {f"first_bn.{name}": torch.ones(1) for name in ("weight", "bias", "running_mean", "running_var")}
    path = write_checkpoint(tmp_path / "t.pth", state)
    out = tmp_path / "mine"
    assert run(["models", "import", str(path), "--arch", "xlsr-tracer", "--name", "apis", "--out", str(out)]) == 0
    assert "first_bn 4" in capsys.readouterr().out
    config = load_tracer(out).config
    assert isinstance(config, TracerConfig)
    assert config.name == "apis"
    assert config.classes == tuple(f"A{number}" for number in range(21))
    assert (config.open_set.method, config.open_set.threshold) == ("max-softmax", 0.5)
    assert config.window_samples == 64_600
    assert config.licence == "not stated by whoever imported the weights"


def test_an_import_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_checkpoint(tmp_path / "c.pth", published_state(TINY[NAME].layout()))
    as_other = ["models", "import", str(path), "--arch"]
    for options, message in (
        (["xlsr-nes2net-x"], "5 unknown (Nested_Res2Net_TDNN.local_block_attn"),
        ([NAME, "--name", "compact-detector"], "is the name of a shipped model"),
        ([NAME, "--name", "../x"], "lower case letters"),
        ([NAME, "--sha256", "0" * 64], "damaged, or not the same file"),
        ([NAME, "--out", str(tmp_path)], "there is something already"),
    ):
        assert run([*as_other, *options]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert run(["models", "import", str(tmp_path / "none.pth"), "--arch", NAME]) == 2
    assert "none.pth: cannot be read (No such file or directory)" in capsys.readouterr().err
    assert left(own_folders) == []
    (tmp_path / "file").write_text("in the way")
    assert run([*as_other, NAME, "--out", str(tmp_path / "file" / "x")]) == 2
    assert "cannot be written (File exists)" in capsys.readouterr().err


def test_a_models_folder_of_the_users_own_holds_what_it_holds(
    tmp_path: Path, own_folders: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trained model may be put there by hand; a damaged one does not hide the others."""
    for name in ("mine", "compact-detector", "broken"):
        (own_folders / name).mkdir(parents=True)
        for path in tiny_model.iterdir():
            (own_folders / name / path.name).write_bytes(path.read_bytes())
    (own_folders / "broken" / "config.json").write_text("{")
    assert index.list_user_models() == ("broken", "mine")
    assert find_model("mine") == own_folders / "mine"
    assert find_model("compact-detector") != own_folders / "compact-detector"
    assert read_any_config(find_model("mine")).name == "tiny"
    assert run(["models", "list"]) == 0
    assert "damaged" in capsys.readouterr().out
    assert run(["models", "verify", "mine"]) == 2
    assert capsys.readouterr().out == "mine: no origin.json to compare its files with\n"


@pytest.mark.usefixtures("full_size")
def test_the_page_says_which_weights_become_which_as_the_code_has_it() -> None:
    text = docs.models.PAGE.read_text(encoding="utf-8")
    assert text == docs.models.page(text), "run 'python -m docs.models'"
