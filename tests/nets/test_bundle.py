from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from spoofcheck.errors import ModelError
from spoofcheck.nets import index
from spoofcheck.nets.bundle import load_bundle, save_bundle
from spoofcheck.nets.config import Nes2NetLaConfig
from spoofcheck.nets.detector import build_detector
from tests.support.models import tiny_bundle, tiny_config


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "tiny")


def rewrite(model: Path, change: dict[str, torch.Tensor | None]) -> None:
    """Set tensors of the weights file; None removes one."""
    state = {**load_file(model / "model.safetensors"), **change}
    save_file({k: v for k, v in state.items() if v is not None}, model / "model.safetensors")


def test_gives_back_what_was_saved(tmp_path: Path) -> None:
    config = tiny_config("mine")
    torch.manual_seed(3)
    network = build_detector(config.front_end, config.back_end)
    save_bundle(tmp_path / "models" / "mine", config, network.double(), "# Mine\n")
    bundle = load_bundle(tmp_path / "models" / "mine")
    assert bundle.config == config
    assert (bundle.directory / "README.md").read_text() == "# Mine\n"
    for name, value in bundle.network.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name].to(value.dtype))
    assert not bundle.network.training
    assert {p.dtype for p in bundle.network.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in bundle.network.parameters())
    assert sorted(path.name for path in bundle.directory.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert [path.name for path in bundle.directory.parent.iterdir()] == ["mine"]


def test_same_seed_same_weights_and_no_trace_in_the_random_state(tmp_path: Path) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, again, other = (
        load_bundle(tiny_bundle(tmp_path / name, seed)).weights_sha256 for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)


def test_tiny_model_tells_recordings_apart_in_any_batch(model: Path) -> None:
    network = load_bundle(model).network
    waves = torch.randn(4, 64_000, generator=torch.Generator().manual_seed(0)) * 0.1
    waves[1] = torch.sin(torch.arange(64_000) * 0.1)
    waves[2] = 0
    with torch.inference_mode():
        together = network(waves)
        alone = torch.cat([network(wave[None]) for wave in waves])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    scores = together[:, 0] - together[:, 1]
    assert scores.max() - scores.min() > 1
    assert scores.abs().max() < 30


def test_hashes_are_of_the_files(model: Path) -> None:
    bundle = load_bundle(model)
    for name, actual in (("model.safetensors", bundle.weights_sha256), ("config.json", bundle.config_sha256)):
        assert actual == hashlib.sha256((model / name).read_bytes()).hexdigest()
    assert load_bundle(model, expected_sha256=bundle.weights_sha256).weights_sha256 == bundle.weights_sha256


def test_refuses_another_hash_before_reading_the_weights(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(ModelError, match=r"model\.safetensors: SHA-256 is \w{64}, expected 0000"):
        load_bundle(model, expected_sha256="0" * 64)


@pytest.mark.parametrize("damage", [b"", b"\x00" * 7, b"text, not tensors", b"\xff" * 64])
def test_refuses_weights_that_are_no_safetensors_file(model: Path, damage: bytes) -> None:
    (model / "model.safetensors").write_bytes(damage)
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_bundle(model)


def test_refuses_truncated_weights(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_bundle(model)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_names_the_missing_file(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(ModelError, match=f"{name}: cannot be read"):
        load_bundle(model)


def test_names_the_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere: no such model directory"):
        load_bundle(tmp_path / "nowhere")


def test_lists_missing_and_unexpected_keys(model: Path) -> None:
    rewrite(model, {"back_end.fc.bias": None, "back_end.global_attn.in_proj_bias": torch.zeros(3)})
    with pytest.raises(ModelError) as caught:
        load_bundle(model)
    assert "1 missing keys (back_end.fc.bias)" in str(caught.value)
    assert "1 unexpected keys (back_end.global_attn.in_proj_bias)" in str(caught.value)


def test_lists_the_first_of_many_missing_keys(model: Path) -> None:
    rewrite(model, {f"front_end.cnn.{i}.{kind}": None for i in (0, 2, 4, 6) for kind in ("weight", "bias")})
    with pytest.raises(ModelError, match=r"8 missing keys \(front_end\.cnn\.0\.bias, .*, and 3 more\)"):
        load_bundle(model)


def test_names_the_tensor_of_another_shape(model: Path) -> None:
    rewrite(model, {"back_end.fc.weight": torch.zeros(3, 64)})
    with pytest.raises(ModelError, match=r"'back_end\.fc\.weight' has shape \[3, 64\].*asks for \[2, 64\]"):
        load_bundle(model)


def test_refuses_weights_that_are_not_finite(model: Path) -> None:
    rewrite(model, {"back_end.fc.bias": torch.tensor([0.0, float("nan")])})
    with pytest.raises(ModelError, match=r"'back_end\.fc\.bias' holds values that are not finite"):
        load_bundle(model)


def test_refuses_an_architecture_that_contradicts_itself(model: Path) -> None:
    document = json.loads((model / "config.json").read_text())
    document["back_end"]["channels"] = 128
    (model / "config.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=r"config\.json: the front-end gives 64 channels"):
        load_bundle(model)


def test_saving_another_network_than_configured_leaves_the_old_model(model: Path) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    config = tiny_config("tiny")
    other = build_detector(config.front_end, Nes2NetLaConfig(channels=64, pooling="astp"))
    with pytest.raises(ModelError, match="unexpected keys"):
        save_bundle(model, config, other, "# Other\n")
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    assert [path.name for path in model.parent.iterdir()] == ["tiny"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_shipped_model_must_match_the_index(model: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "models_dir", lambda: model.parent)
    index.write_index(model.parent)
    load_bundle(model)
    if name == "config.json":
        changed = (model / name).read_text().replace('"spoof_threshold_llr": 1.0', '"spoof_threshold_llr": 9.0')
        assert changed != (model / name).read_text()
        (model / name).write_text(changed)
    else:
        rewrite(model, {"back_end.fc.bias": torch.tensor([9.0, 0.0])})
    with pytest.raises(ModelError, match=f"{name}: SHA-256"):
        load_bundle(model)


def test_a_model_among_the_shipped_ones_must_be_listed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "models_dir", lambda: model.parent)
    index.write_index(model.parent)
    stray = tiny_bundle(model.parent / "stray")
    with pytest.raises(ModelError, match=r"stray: not listed in index\.json"):
        load_bundle(stray)


def test_loading_what_is_shipped_needs_no_symbolic_algebra() -> None:
    program = (
        "import sys; from spoofcheck.nets.bundle import load_bundle, load_tracer; from spoofcheck.nets.index import *; "
        "load_bundle(find_model(None)); load_tracer(find_model('compact-tracer')); sys.exit('sympy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
