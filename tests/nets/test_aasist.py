from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from spoofcheck.nets.aasist import Aasist, GraphPool, NodeUpdate, StackLayer

TINY = {"channels": 12, "width": 12, "filters": (4, 4, 6), "graph_channels": 6, "stack_channels": 5}


def tiny(**changes: object) -> Aasist:
    torch.manual_seed(0)
    return Aasist(**{**TINY, **changes})  # type: ignore[arg-type]


def features(frames: int, batch: int = 3, channels: int = 12) -> torch.Tensor:
    return torch.randn(batch, channels, frames, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("frames", [3, 4, 5, 6, 50, 199])
def test_takes_any_number_of_frames_from_three(frames: int) -> None:
    with torch.inference_mode():
        logits = tiny().eval()(features(frames))
    assert logits.shape == (3, 2)
    assert logits.isfinite().all()


def test_refuses_what_it_cannot_read() -> None:
    with pytest.raises(ValueError, match="at least 3 frames, got 2"):
        tiny()(features(2))
    with pytest.raises(ValueError, match=r"expected \[B, 12, T\]"):
        tiny()(features(9, channels=13))


def test_default_geometry_has_the_published_size() -> None:
    with torch.device("meta"):
        network = Aasist()
    # 447,527 published behind XLS-R; biases that a normalisation cancels are left out here, projections added.
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(447_527, rel=0.01)
    assert network.row_position.shape == (1, 42, 64)


def test_gradient_reaches_every_parameter() -> None:
    network = tiny(dropout=0.0, readout_dropout=0.0, stack_temperature=1.0)
    network(features(40)).square().sum().backward()
    largest = {name: float(p.grad.abs().max()) for name, p in network.named_parameters() if p.grad is not None}
    assert largest.keys() == dict(network.named_parameters()).keys()
    # What is only rounding error stays far below: nothing is cancelled by what comes after it.
    assert min(largest.values()) > 1e-6, min(largest, key=lambda name: largest[name])


def test_same_seed_same_network_other_seed_another() -> None:
    wave = features(20)
    assert torch.equal(tiny().eval()(wave), tiny().eval()(wave))
    torch.manual_seed(1)
    assert not torch.allclose(Aasist(**TINY).eval()(wave), tiny().eval()(wave))  # type: ignore[arg-type]


def test_one_clip_alone_scores_as_in_a_batch() -> None:
    network = tiny().eval()
    batch = features(61, batch=5)
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(clip[None]) for clip in batch])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)
    assert together.std() > 1e-4


def test_stack_layer_scores_pairs_by_the_graphs_they_join() -> None:
    """Against loops in float64: three kinds of pairs, then the master node."""
    torch.manual_seed(3)
    layer = StackLayer(inputs=4, outputs=3, temperature=2.0, dropout=0.1).double().eval()
    first, second, master = torch.randn(1, 2, 4), torch.randn(1, 3, 4), torch.randn(1, 1, 4)
    with torch.inference_mode():
        got = layer(first.double(), second.double(), master.double())
    weight = {k: v.numpy().astype(float) for k, v in layer.state_dict().items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return weight[f"{name}.weight"] @ x + weight.get(f"{name}.bias", 0.0)

    nodes = [linear("temporal_in", x) for x in first[0].double().numpy()]
    nodes += [linear("spectral_in", x) for x in second[0].double().numpy()]
    kind = [0, 0, 1, 1, 1]
    updated = []
    for i, node in enumerate(nodes):
        scores = []
        for j, other in enumerate(nodes):
            row = 2 if kind[i] != kind[j] else kind[i]
            scores.append(weight["score.weight"][row] @ np.tanh(linear("pair", node * other)) / 2.0)
        share = np.exp(scores) / np.exp(scores).sum()
        heeded = sum(s * n for s, n in zip(share, nodes, strict=True))
        mixed = linear("update.heeded", heeded) + linear("update.own", node)
        mixed = mixed / np.sqrt(1 + layer.update.norm.eps)
        updated.append(np.where(mixed > 0, mixed, 1.6732632423543772 * np.expm1(mixed)) * 1.0507009873554805)
    old = master[0, 0].double().numpy()
    calls = [float((linear("master_score", np.tanh(linear("master_pair", n * old))) / 2.0)[0]) for n in nodes]
    share = np.exp(calls) / np.exp(calls).sum()
    gathered = sum(s * n for s, n in zip(share, nodes, strict=True))
    new_master = linear("master_heeded", gathered) + linear("master_own", old)
    np.testing.assert_allclose(got[0][0].numpy(), updated[:2], atol=1e-12)
    np.testing.assert_allclose(got[1][0].numpy(), updated[2:], atol=1e-12)
    np.testing.assert_allclose(got[2][0, 0].numpy(), new_master, atol=1e-12)


def test_graph_pool_keeps_the_best_scaled_by_their_gate() -> None:
    pool = GraphPool(channels=1, keep_share=0.5)
    nn.init.ones_(pool.gate.weight)
    nn.init.zeros_(pool.gate.bias)
    kept = pool(torch.tensor([[[1.0], [4.0], [-2.0], [3.0], [0.0]]]))
    gates = 1 / (1 + np.exp(-np.array([4.0, 3.0])))
    np.testing.assert_allclose(kept[0, :, 0].detach().numpy(), gates * [4.0, 3.0], rtol=1e-6)
    assert pool(torch.ones(2, 1, 1)).shape == (2, 1, 1)


def test_nodes_have_no_order() -> None:
    torch.manual_seed(0)
    update = NodeUpdate(3, 4).eval()
    nodes, attention = torch.randn(1, 5, 3), torch.rand(1, 5, 5)
    order = torch.tensor([3, 1, 4, 0, 2])
    shuffled = update(nodes[:, order], attention[:, order][:, :, order])
    torch.testing.assert_close(shuffled, update(nodes, attention)[:, order])
