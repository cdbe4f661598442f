"""The validity gate as a module: what a distance is, and how it lies in a model directory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spoofcheck.errors import ModelError
from spoofcheck.nets.bundle import load_bundle, save_bundle
from spoofcheck.nets.detector import build_detector
from spoofcheck.nets.gate import Gate, pool_features
from tests.support.models import tiny_bundle, tiny_config, tiny_gate_config


def gate_by_hand() -> Gate:
    """Two features, one direction along the first; standardised around (1, 2) with spreads 2 and 1."""
    gate = Gate(components=1, features=2)
    gate.mean.copy_(torch.tensor([1.0, 2.0]))
    gate.spread.copy_(torch.tensor([2.0, 1.0]))
    gate.basis.copy_(torch.tensor([[1.0, 0.0]]))
    gate.scale.fill_(3.0)
    gate.rest_scale.fill_(0.5)
    return gate


def test_the_distance_is_the_root_mean_of_both_terms() -> None:
    rows = torch.tensor([[1.0, 2.0], [7.0, 2.0], [1.0, 2.5], [13.0, 4.0]])
    expected = np.sqrt(np.array([0.0, 1.0, 1.0, 2.0**2 + 4.0**2]) / 2)
    distance = gate_by_hand().distance(rows)
    assert distance.dtype == torch.float64
    assert distance.tolist() == pytest.approx(expected.tolist())


def test_pooling_is_mean_and_deviation_over_time() -> None:
    features = torch.tensor([[[1.0, 3.0], [5.0, 5.0]]])
    assert pool_features(features).tolist() == [[2.0, 5.0, 1.0, 0.0]]
    assert pool_features(features.bfloat16()).dtype == torch.float32
    assert pool_features(features[..., :1]).tolist() == [[1.0, 5.0, 0.0, 0.0]]  # a single frame has no deviation


def test_a_distance_does_not_depend_on_the_batch_to_the_last_bit() -> None:
    torch.manual_seed(0)
    gate = Gate(components=8, features=64)
    gate.basis.copy_(torch.linalg.qr(torch.randn(64, 8)).Q.T)
    features = torch.randn(9, 32, 50)
    whole = gate(features)
    each = torch.cat([gate(features[i : i + 1]) for i in range(9)])
    torch.testing.assert_close(whole, each, rtol=1e-12, atol=0)


def test_a_gate_has_nothing_to_learn() -> None:
    assert list(Gate(2, 4).parameters()) == []


def test_a_model_directory_keeps_its_gate(tmp_path: Path) -> None:
    config = tiny_config("gated").model_copy(update={"gate": tiny_gate_config(1.5, 2.5)})
    torch.manual_seed(0)
    network = build_detector(config.front_end, config.back_end, config.gate)
    assert network.gate is not None
    network.gate.mean.normal_()
    save_bundle(tmp_path / "gated", config, network, "")
    bundle = load_bundle(tmp_path / "gated")
    assert bundle.config == config
    assert bundle.network.gate is not None
    for name, value in network.gate.state_dict().items():
        assert torch.equal(bundle.network.gate.state_dict()[name], value), name


def test_a_directory_from_before_there_were_gates_loads(tmp_path: Path) -> None:
    model = tiny_bundle(tmp_path / "old")
    assert not [name for name in load_file(model / "model.safetensors") if name.startswith("gate")]
    config = json.loads((model / "config.json").read_text())
    assert config.pop("gate") is None
    (model / "config.json").write_text(json.dumps(config))
    bundle = load_bundle(model)
    assert bundle.network.gate is None
    assert bundle.config.gate is None


def test_weights_and_configuration_must_agree_about_the_gate(tmp_path: Path) -> None:
    gated = tiny_bundle(tmp_path / "gated", gate=tiny_gate_config())
    state = load_file(gated / "model.safetensors")
    save_file({k: v for k, v in state.items() if not k.startswith("gate.")}, gated / "model.safetensors")
    with pytest.raises(ModelError, match=r"5 missing keys \(gate\.basis"):
        load_bundle(gated)
    plain = tiny_bundle(tmp_path / "plain")
    save_file(state, plain / "model.safetensors")
    with pytest.raises(ModelError, match=r"5 unexpected keys \(gate\.basis"):
        load_bundle(plain)


@pytest.mark.parametrize("name", ["spread", "scale", "rest_scale"])
def test_a_scale_that_is_not_positive_is_refused(tmp_path: Path, name: str) -> None:
    model = tiny_bundle(tmp_path / "gated", gate=tiny_gate_config())
    state = load_file(model / "model.safetensors")
    state[f"gate.{name}"][0] = 0.0
    save_file(state, model / "model.safetensors")
    with pytest.raises(ModelError, match=f"the gate's {name} must be positive"):
        load_bundle(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": 64}, "the gate takes 64 features, 64 channels give twice as many"),
        ({"exhibit": {"shrink_from": 3, "refuse_from": 2}}, r"key 'gate\.exhibit"),
        ({"components": 0}, r"key 'gate\.components'"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_clear_line(tmp_path: Path, change: dict, message: str) -> None:
    model = tiny_bundle(tmp_path / "gated", gate=tiny_gate_config())
    config = json.loads((model / "config.json").read_text())
    config["gate"] |= change
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message) as error:
        load_bundle(model)
    assert "\n" not in str(error.value)
