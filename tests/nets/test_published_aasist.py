"""The converted AASIST against a second implementation in the published layout, biases and all, in float64 numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from spoofcheck.nets.aasist import Aasist
from spoofcheck.nets.published_aasist import converted_aasist, published_aasist_keys
from tests.support.fairseq import drawn

Array = NDArray[np.float64]
GEOMETRY = {"channels": 16, "width": 24, "filters": (4, 4, 8, 8), "graph_channels": 8, "stack_channels": 6}


class Published:
    """AASIST behind self-supervised features, step by step, from weights under their published names."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.w = {name: value.double().numpy() for name, value in state.items()}

    def __call__(self, features: Array) -> Array:
        image = self.linear("LL", features.swapaxes(1, 2)).swapaxes(1, 2)[:, None]
        maps = selu(self.norm("first_bn", pooled(image, 3)))
        block = 0
        while f"encoder.{block}.0.conv1.weight" in self.w:
            maps = self.residual(f"encoder.{block}.0", maps)
            block += 1
        maps = selu(self.norm("first_bn1", maps))
        weights = selu(self.pointwise("attention.0", maps))
        weights = self.pointwise("attention.3", self.norm("attention.2", weights))
        rows = (maps * softmax(weights, -1)).sum(axis=-1).swapaxes(1, 2) + self.w["pos_S"]
        columns = (maps * softmax(weights, -2)).sum(axis=-2).swapaxes(1, 2)
        spectral = self.pool("pool_S", self.graph("GAT_layer_S", rows))
        temporal = self.pool("pool_T", self.graph("GAT_layer_T", columns))
        branches = [self.branch(number, temporal, spectral) for number in (1, 2)]
        temporal, spectral, master = (np.maximum(a, b) for a, b in zip(*branches, strict=True))
        read = [np.abs(temporal).max(axis=1), temporal.mean(axis=1)]
        read += [np.abs(spectral).max(axis=1), spectral.mean(axis=1), master[:, 0]]
        return self.linear("out_layer", np.concatenate(read, axis=1))

    def branch(self, number: int, temporal: Array, spectral: Array) -> tuple[Array, Array, Array]:
        master = np.repeat(self.w[f"master{number}"], len(temporal), axis=0)
        first = self.stack(f"HtrgGAT_layer_ST{number}1", temporal, spectral, master)
        temporal, spectral = self.pool(f"pool_hT{number}", first[0]), self.pool(f"pool_hS{number}", first[1])
        second = self.stack(f"HtrgGAT_layer_ST{number}2", temporal, spectral, first[2])
        return temporal + second[0], spectral + second[1], first[2] + second[2]

    def residual(self, name: str, maps: Array) -> Array:
        before = selu(self.norm(f"{name}.bn1", maps)) if f"{name}.bn1.weight" in self.w else maps
        inner = selu(self.norm(f"{name}.bn2", self.conv(f"{name}.conv1", before, rows=1)))
        beside = self.conv(f"{name}.conv_downsample", maps) if f"{name}.conv_downsample.weight" in self.w else maps
        return self.conv(f"{name}.conv2", inner) + beside

    def graph(self, name: str, nodes: Array) -> Array:
        pairs = np.tanh(self.linear(f"{name}.att_proj", nodes[:, :, None] * nodes[:, None]))
        attention = softmax((pairs @ self.w[f"{name}.att_weight"])[..., 0] / 2.0, -1)
        return self.updated(name, nodes, attention)

    def stack(self, name: str, temporal: Array, spectral: Array, master: Array) -> tuple[Array, Array, Array]:
        first, second = self.linear(f"{name}.proj_type1", temporal), self.linear(f"{name}.proj_type2", spectral)
        nodes, split = np.concatenate([first, second], axis=1), temporal.shape[1]
        pairs = np.tanh(self.linear(f"{name}.att_proj", nodes[:, :, None] * nodes[:, None]))
        board = np.empty(pairs.shape[:3])
        kinds = {(True, True): "11", (False, False): "22", (True, False): "12", (False, True): "12"}
        for i in range(nodes.shape[1]):
            for j in range(nodes.shape[1]):
                column = self.w[f"{name}.att_weight{kinds[i < split, j < split]}"]
                board[:, i, j] = pairs[:, i, j] @ column[:, 0]
        calls = np.tanh(self.linear(f"{name}.att_projM", nodes * master)) @ self.w[f"{name}.att_weightM"]
        gathered = softmax(calls[..., 0] / 100.0, -1)[:, None] @ nodes
        new_master = self.linear(f"{name}.proj_with_attM", gathered) + self.linear(f"{name}.proj_without_attM", master)
        updated = self.updated(name, nodes, softmax(board / 100.0, -1))
        return updated[:, :split], updated[:, split:], new_master

    def updated(self, name: str, nodes: Array, attention: Array) -> Array:
        mixed = self.linear(f"{name}.proj_with_att", attention @ nodes) + self.linear(f"{name}.proj_without_att", nodes)
        return selu(self.norm(f"{name}.bn", mixed.swapaxes(1, 2)).swapaxes(1, 2))

    def pool(self, name: str, nodes: Array) -> Array:
        gates = 1 / (1 + np.exp(-self.linear(f"{name}.proj", nodes)))
        kept = max(1, int(nodes.shape[1] * 0.5))
        best = np.argsort(-gates, axis=1, kind="stable")[:, :kept]
        return np.take_along_axis(nodes * gates, best, axis=1)

    def linear(self, name: str, x: Array) -> Array:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def pointwise(self, name: str, x: Array) -> Array:
        weight = self.w[f"{name}.weight"][:, :, 0, 0]
        return np.einsum("oi,bihw->bohw", weight, x) + self.w[f"{name}.bias"][:, None, None]

    def conv(self, name: str, x: Array, rows: int = 0) -> Array:
        """Cross-correlation with one column of zeros on both sides, and `rows` rows above and below."""
        weight = self.w[f"{name}.weight"]
        padded = np.pad(x, ((0, 0), (0, 0), (rows, rows), (1, 1)))
        height, width = padded.shape[2] - weight.shape[2] + 1, x.shape[3]
        out = np.zeros((len(x), len(weight), height, width)) + self.w[f"{name}.bias"][:, None, None]
        for i in range(weight.shape[2]):
            for j in range(weight.shape[3]):
                out += np.einsum("oc,bchw->bohw", weight[:, :, i, j], padded[:, :, i : i + height, j : j + width])
        return out

    def norm(self, name: str, x: Array) -> Array:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        w = {
            part: self.w[f"{name}.{part}"].reshape(shape) for part in ("running_mean", "running_var", "weight", "bias")
        }
        return (x - w["running_mean"]) / np.sqrt(w["running_var"] + 1e-5) * w["weight"] + w["bias"]


def pooled(x: Array, size: int) -> Array:
    height, width = x.shape[2] // size, x.shape[3] // size
    cut = x[:, :, : height * size, : width * size]
    return cut.reshape(*x.shape[:2], height, size, width, size).max(axis=(3, 5))


def softmax(x: Array, axis: int) -> Array:
    shares = np.exp(x - x.max(axis=axis, keepdims=True))
    return shares / shares.sum(axis=axis, keepdims=True)


def selu(x: Array) -> Array:
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))


@pytest.mark.parametrize("frames", [6, 7, 20, 49])
def test_the_converted_network_answers_as_the_published_one(frames: int) -> None:
    network = Aasist(**GEOMETRY, maps_norm=True).eval()  # type: ignore[arg-type]
    ours = network.state_dict()
    state = {
        key.name: drawn(key, torch.Generator().manual_seed(n)) for n, key in enumerate(published_aasist_keys(ours))
    }
    network.load_state_dict(converted_aasist(state, ours), strict=True)
    features = torch.randn(3, 16, frames, generator=torch.Generator().manual_seed(frames))
    with torch.inference_mode():
        logits = network(features)
    expected = Published(state)(features.double().numpy())
    assert expected.std() > 0.01
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-4)


def test_no_published_weight_is_without_effect_but_those_a_softmax_cancels() -> None:
    network = Aasist(**GEOMETRY, maps_norm=True).eval()  # type: ignore[arg-type]
    ours = network.state_dict()
    keys = published_aasist_keys(ours)
    state = {key.name: drawn(key, torch.Generator().manual_seed(n)) for n, key in enumerate(keys)}
    before = converted_aasist(state, ours)
    idle = set()
    for key in keys:
        changed = converted_aasist(state | {key.name: state[key.name] + 1}, ours)
        if all(torch.equal(value, before[name]) for name, value in changed.items()):
            idle.add(key.name)
    assert idle == {"attention.2.bias", "attention.3.bias"}


def test_the_published_geometry_has_the_published_names() -> None:
    """A few that differ from ours most, and how many values: counted by hand from the published program's layers."""
    with torch.device("meta"):
        keys = {key.name: key.shape for key in published_aasist_keys(Aasist(maps_norm=True).state_dict())}
    assert keys["pos_S"] == (1, 42, 64)
    assert keys["GAT_layer_S.att_weight"] == (64, 1)
    assert keys["HtrgGAT_layer_ST21.att_weight12"] == (32, 1)
    assert keys["HtrgGAT_layer_ST12.proj_without_attM.bias"] == (32,)
    assert keys["encoder.2.0.conv_downsample.bias"] == (64,)
    assert keys["first_bn1.running_var"] == (64,)
    assert "encoder.0.0.bn1.weight" not in keys
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    values = sum(torch.Size(shape).numel() for name, shape in keys.items() if not name.endswith(statistics))
    assert values == 447_242
