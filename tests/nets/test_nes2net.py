"""The back-end against a second, slow implementation written from the description, in float64 numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spoofcheck.nets.nes2net import Nes2Net

Array = NDArray[np.float64]


class Reference:
    """Nes2Net-LA and Nes2Net-X step by step, with the growing trailing axis of the published form."""

    def __init__(self, network: Nes2Net, *, blocks: int, scale: int, dilation: int, batch_statistics: bool) -> None:
        self.state = {k: v.detach().double().numpy() for k, v in network.state_dict().items()}
        self.blocks, self.scale, self.dilation = blocks, scale, dilation
        self.batch_statistics = batch_statistics

    def __call__(self, x: Array) -> Array:
        parts = np.split(x, self.blocks, axis=1)
        outputs: list[Array] = []
        for i in range(self.blocks - 1):
            s = parts[i] if i == 0 else outputs[i - 1] + parts[i]
            s = np.maximum(self.cell(f"Build_in_Res2Nets.{i}", s), 0)
            outputs.append(self.norm(f"bns.{i}", s))
        outputs.append(parts[-1])
        if any(key.startswith("local_block_attn") for key in self.state):
            outputs = self.attention(outputs)
        out = np.maximum(self.norm("bn", np.concatenate(outputs, axis=1)), 0)
        return self.pool(out) @ self.state["fc.weight"].T + self.state["fc.bias"]

    def cell(self, name: str, x: Array) -> Array:
        out = np.maximum(self.pointwise(f"{name}.conv1", x), 0)
        out = self.norm(f"{name}.bn1", out)[..., None]
        bands = np.split(out, self.scale, axis=1)
        p, collected = bands[-1], []
        for i in range(self.scale - 1):
            p = np.concatenate([p, bands[i]], axis=-1)
            p = np.maximum(self.three_taps(f"{name}.convs.{i}", p), 0)
            p = self.norm(f"{name}.bns.{i}", p)
            weights = self.state[f"{name}.weighted_sum.{i}"]
            assert weights.shape == (1, 1, 1, i + 2)
            collected.append((p * weights).sum(axis=-1))
        collected.append(bands[-1][..., 0])
        out = np.maximum(self.pointwise(f"{name}.conv3", np.concatenate(collected, axis=1)), 0)
        out = self.norm(f"{name}.bn3", out)
        gate = np.maximum(self.pointwise(f"{name}.se.se.1", out.mean(axis=-1, keepdims=True)), 0)
        gate = 1 / (1 + np.exp(-self.pointwise(f"{name}.se.se.3", gate)))
        return out * gate + x

    def attention(self, outputs: list[Array]) -> list[Array]:
        tokens = [h.mean(axis=-1) for h in outputs]
        weight = {k: self.state[f"local_block_attn.proj_{k}.weight"] for k in ("q", "k", "v", "out")}
        position = self.state["local_block_attn.pos_emb"]
        last = self.blocks - 1
        mixed = []
        for j in range(self.blocks):
            around = [max(j - 1, 0), j, min(j + 1, last)]
            for_each = []
            for b in range(tokens[0].shape[0]):
                query = weight["q"] @ tokens[j][b] + position[j]
                keys = [weight["k"] @ tokens[n][b] + position[n] for n in around]
                values = [weight["v"] @ tokens[n][b] + position[n] for n in around]
                scores = np.array([query @ key for key in keys]) / np.sqrt(len(query))
                shares = np.exp(scores - scores.max())
                shares /= shares.sum()
                context = sum(share * value for share, value in zip(shares, values, strict=True))
                for_each.append(weight["out"] @ context)
            mixed.append(outputs[j] + np.stack(for_each)[:, :, None])
        return mixed

    def pool(self, x: Array) -> Array:
        if "pooling.linear1.weight" not in self.state:
            return x.mean(axis=-1)
        scores = self.pointwise("pooling.linear2", np.tanh(self.pointwise("pooling.linear1", x)))
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        mean = (shares * x).sum(axis=-1)
        variance = (shares * (x - mean[..., None]) ** 2).sum(axis=-1)
        return np.concatenate([mean, np.sqrt(variance)], axis=1)

    def pointwise(self, name: str, x: Array) -> Array:
        weight, bias = self.state[f"{name}.weight"][:, :, 0], self.state[f"{name}.bias"]
        return np.einsum("oi,bit->bot", weight, x) + bias[None, :, None]

    def three_taps(self, name: str, x: Array) -> Array:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        frames = x.shape[2]
        out = np.zeros_like(x) + bias[None, :, None, None]
        for t in range(frames):
            for tap in range(3):
                source = t + (tap - 1) * self.dilation
                if 0 <= source < frames:
                    out[:, :, t] += np.einsum("oi,bik->bok", weight[:, :, tap, 0], x[:, :, source])
        return out

    def norm(self, name: str, x: Array) -> Array:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        if self.batch_statistics:
            axes = (0, *range(2, x.ndim))
            mean, variance = x.mean(axis=axes), x.var(axis=axes)
        else:
            mean, variance = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        standard = (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + 1e-5)
        return standard * self.state[f"{name}.weight"].reshape(shape) + self.state[f"{name}.bias"].reshape(shape)


def seeded(**arguments: object) -> Nes2Net:
    """A network in which no parameter or statistic keeps its neutral initial value."""
    torch.manual_seed(0)
    network = Nes2Net(**arguments)  # type: ignore[arg-type]
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var") or (name.endswith(("weight",)) and value.ndim == 1):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point() and not name.endswith(("weight",)):
                value.add_(0.1 * torch.randn_like(value))
    return network


@pytest.mark.parametrize("batch_statistics", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {"channels": 64},
        {"channels": 128, "local_attention": False},
        {"channels": 64, "pooling": "astp"},
        {"channels": 48, "blocks": 4, "scale": 6, "dilation": 3, "se_ratio": 2},
    ],
)
def test_equals_the_slow_reference(arguments: dict[str, object], batch_statistics: bool) -> None:
    network = seeded(**arguments, dropout=0.0, attention_dropout=0.0).train(batch_statistics)
    reference = Reference(
        network,
        blocks=int(arguments.get("blocks", 8)),  # type: ignore[call-overload]
        scale=int(arguments.get("scale", 8)),  # type: ignore[call-overload]
        dilation=int(arguments.get("dilation", 2)),  # type: ignore[call-overload]
        batch_statistics=batch_statistics,
    )
    features = torch.randn(3, network.channels, 11, generator=torch.Generator().manual_seed(1))
    expected = reference(features.double().numpy())
    actual = network(features).detach().numpy()
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_local_attention_changes_the_result_and_nothing_else_of_the_state() -> None:
    with_attention, without = Nes2Net(channels=64), Nes2Net(channels=64, local_attention=False)
    extra = with_attention.state_dict().keys() - without.state_dict().keys()
    assert extra == {
        "local_block_attn.proj_q.weight",
        "local_block_attn.proj_k.weight",
        "local_block_attn.proj_v.weight",
        "local_block_attn.proj_out.weight",
        "local_block_attn.pos_emb",
    }
    assert not without.state_dict().keys() - with_attention.state_dict().keys()


def published_shapes(*, astp: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published checkpoint's `Nested_Res2Net_TDNN.*`, without `global_attn.*`."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add_norm(name: str, channels: int) -> None:
        for key in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{key}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    def add_pointwise(name: str, inputs: int, outputs: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs, 1), (outputs,)

    for i in range(7):
        cell = f"Build_in_Res2Nets.{i}"
        for layer in ("conv1", "conv3", "se.se.1", "se.se.3"):
            add_pointwise(f"{cell}.{layer}", 128, 128)
        add_norm(f"{cell}.bn1", 128)
        add_norm(f"{cell}.bn3", 128)
        for k in range(7):
            shapes[f"{cell}.convs.{k}.weight"], shapes[f"{cell}.convs.{k}.bias"] = (16, 16, 3, 1), (16,)
            shapes[f"{cell}.weighted_sum.{k}"] = (1, 1, 1, k + 2)
            add_norm(f"{cell}.bns.{k}", 16)
        add_norm(f"bns.{i}", 128)
    add_norm("bn", 1024)
    for part in ("q", "k", "v", "out"):
        shapes[f"local_block_attn.proj_{part}.weight"] = (128, 128)
    shapes["local_block_attn.pos_emb"] = (8, 128)
    if astp:
        add_pointwise("pooling.linear1", 1024, 128)
        add_pointwise("pooling.linear2", 128, 1024)
    shapes["fc.weight"], shapes["fc.bias"] = (2, 2048 if astp else 1024), (2,)
    return shapes


@pytest.mark.parametrize("astp", [False, True])
def test_state_has_the_published_names_and_shapes(astp: bool) -> None:
    state = Nes2Net(pooling="astp" if astp else "mean").state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == published_shapes(astp=astp)


def test_has_about_half_a_million_parameters() -> None:
    assert sum(p.numel() for p in Nes2Net().parameters()) == 578_599


def test_weighted_sums_start_as_means() -> None:
    cell = Nes2Net(channels=64).Build_in_Res2Nets[0]
    for maps, weights in enumerate(cell.weighted_sum, start=2):
        assert weights.flatten().tolist() == pytest.approx([1 / maps] * maps)


def test_a_window_scores_the_same_in_any_batch() -> None:
    network = seeded(channels=64).eval()
    features = torch.randn(5, 64, 20, generator=torch.Generator().manual_seed(2))
    together = network(features)
    alone = torch.cat([network(one[None]) for one in features])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(network(features.flip(0)), together.flip(0), atol=1e-5, rtol=0)


def test_every_parameter_gets_a_gradient() -> None:
    network = seeded(channels=64)
    features = torch.randn(4, 64, 20, generator=torch.Generator().manual_seed(3))
    torch.nn.functional.cross_entropy(network(features), torch.tensor([0, 1, 0, 1])).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not torch.count_nonzero(p.grad)]
    assert without == []


def test_one_frame_is_enough() -> None:
    assert seeded(channels=64).eval()(torch.zeros(1, 64, 1)).shape == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 1000}, "1000 channels do not split"),
        ({"channels": 72}, "a multiple of 64 is needed"),
        ({"channels": 64, "blocks": 1}, "at least 2"),
        ({"channels": 64, "se_ratio": 3}, "se_ratio 3"),
        ({"channels": 64, "pooling": "max"}, "'max'"),
    ],
)
def test_refuses_what_does_not_divide(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Nes2Net(**arguments)  # type: ignore[arg-type]


def test_refuses_another_channel_count() -> None:
    with pytest.raises(ValueError, match=r"expected \[B, 64, T\], got \[1, 128, 5\]"):
        Nes2Net(channels=64)(torch.zeros(1, 128, 5))
