from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spoofcheck.detect.gallery import embedding_head
from spoofcheck.detect.runner import Tensors, TorchRunner
from spoofcheck.detect.scorer import TracerScorer, WindowScorer
from spoofcheck.errors import UsageError
from spoofcheck.nets.bundle import load_bundle, load_tracer
from tests.support.enrolling import RATE_HZ, embedding_tracer, twin_detector
from tests.support.models import tiny_bundle, tiny_gate_config


@pytest.fixture
def windows() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, level, 64_000).astype(np.float32) for level in (0.01, 0.02, 0.05, 0.1, 0.2)]


def test_the_raw_score_is_spoof_minus_bona_fide(tiny_model: Path, windows: list[np.ndarray]) -> None:
    bundle = load_bundle(tiny_model)
    with torch.inference_mode():
        logits = bundle.network(torch.from_numpy(np.stack(windows)))
    expected = (logits[:, 0] - logits[:, 1]).tolist()
    heard = WindowScorer(bundle, "cpu").score(windows)
    assert [window.raw_score for window in heard] == pytest.approx(expected, abs=1e-5)
    assert {window.validity_distance for window in heard} == {None}


def test_on_a_cpu_neither_batch_nor_order_nor_company_move_a_bit(tmp_path: Path, windows: list[np.ndarray]) -> None:
    tracer = load_tracer(embedding_tracer(tmp_path / "tracer"))
    detector = load_bundle(twin_detector(tmp_path / "detector", tmp_path / "tracer"))
    heard = [window[:RATE_HZ] for window in windows]

    def bits(batch_windows: int | None, order: list[int]) -> dict[int, tuple[float, bytes]]:
        scorer = WindowScorer(detector, "cpu", batch_windows, embedding_head(tracer))
        rows = scorer.score([heard[i] for i in order])
        assert all(row.embedding is not None for row in rows)
        return {i: (row.raw_score, row.embedding.tobytes()) for i, row in zip(order, rows, strict=True)}

    alone = {i: bits(1, [i])[i] for i in range(5)}
    assert len(set(alone.values())) == 5
    for batch_windows in (1, 2, 3, 64, None):
        for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
            assert bits(batch_windows, order) == alone
    traced = TracerScorer(tracer, "cpu", 3).trace(heard)
    assert [row.embedding.tobytes() for row in traced] == [embedding for _, embedding in alone.values()]


@pytest.mark.parametrize("batch_windows", [1, 2, 5])
def test_distances_are_those_of_the_gate_whatever_the_batch(
    tmp_path: Path, windows: list[np.ndarray], batch_windows: int
) -> None:
    bundle = load_bundle(tiny_bundle(tmp_path / "gated", gate=tiny_gate_config()))
    gate = bundle.network.gate
    assert gate is not None
    with torch.inference_mode():
        expected = [gate(bundle.network.front_end(torch.from_numpy(window[None]))).item() for window in windows]
    heard = WindowScorer(bundle, "cpu", batch_windows).score(windows)
    assert [window.validity_distance for window in heard] == pytest.approx(expected, rel=1e-5)
    assert len(set(expected)) == len(windows)


def test_features_are_computed_once_for_score_distance_and_embedding(tmp_path: Path, windows: list[np.ndarray]) -> None:
    bundle = load_bundle(tiny_bundle(tmp_path / "gated", gate=tiny_gate_config()))
    tracer = load_tracer(embedding_tracer(tmp_path / "tracer"))
    calls: list[int] = []
    bundle.network.front_end.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    heard = WindowScorer(bundle, "cpu", 5, embedding_head(tracer)).score(windows)
    assert calls == [1, 1, 1, 1, 1]
    assert all(window.validity_distance is not None and window.embedding is not None for window in heard)


def test_nothing_to_score_is_no_error(tiny_model: Path) -> None:
    assert WindowScorer(load_bundle(tiny_model), "cpu").score([]) == []


def test_out_of_memory_halves_the_batch_and_goes_on(
    tiny_model: Path, windows: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = WindowScorer(load_bundle(tiny_model), "cpu")
    expected = scorer.score(windows)
    runner = scorer.runner
    assert isinstance(runner, TorchRunner)
    runner.batch_windows = 4  # as on a GPU
    forward = runner._forward
    sizes: list[int] = []

    def small_memory(batch: list[np.ndarray]) -> Tensors:
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError
        return forward(batch)

    monkeypatch.setattr(runner, "_forward", small_memory)
    retreated = [window.raw_score for window in scorer.score(windows)]
    assert retreated == [window.raw_score for window in expected]
    assert sizes == [4, 2, 1, 1, 1, 1, 1]
    assert scorer.batch_windows == 1


def test_a_device_that_is_not_there_is_named(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"--device cuda: not available on this machine \(available: cpu"):
        WindowScorer(load_bundle(tiny_model), "cuda")
