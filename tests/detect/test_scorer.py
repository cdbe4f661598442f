from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spoofcheck.detect.scorer import HeardWindow, WindowScorer
from spoofcheck.errors import UsageError
from spoofcheck.nets.bundle import load_bundle
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


@pytest.mark.parametrize("batch_windows", [1, 2, 3, 5, 64])
def test_scores_do_not_depend_on_the_batch(tiny_model: Path, windows: list[np.ndarray], batch_windows: int) -> None:
    one_by_one = WindowScorer(load_bundle(tiny_model), "cpu", 1)
    reference = [score for window in windows for score in one_by_one.score([window])]
    scores = WindowScorer(load_bundle(tiny_model), "cpu", batch_windows).score(windows)
    assert [window.raw_score for window in scores] == pytest.approx([one.raw_score for one in reference], abs=1e-5)


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


def test_features_are_computed_once_for_score_and_distance(tmp_path: Path, windows: list[np.ndarray]) -> None:
    bundle = load_bundle(tiny_bundle(tmp_path / "gated", gate=tiny_gate_config()))
    calls: list[int] = []
    bundle.network.front_end.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    WindowScorer(bundle, "cpu", 5).score(windows)
    assert calls == [5]


def test_nothing_to_score_is_no_error(tiny_model: Path) -> None:
    assert WindowScorer(load_bundle(tiny_model), "cpu").score([]) == []


def test_out_of_memory_halves_the_batch_and_goes_on(
    tiny_model: Path, windows: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = WindowScorer(load_bundle(tiny_model), "cpu", 4)
    expected = scorer.score(windows)
    forward = scorer._forward
    sizes: list[int] = []

    def small_memory(batch: list[np.ndarray]) -> list[HeardWindow]:
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.cuda.OutOfMemoryError
        return forward(batch)

    monkeypatch.setattr(scorer, "_forward", small_memory)
    retreated = [window.raw_score for window in scorer.score(windows)]
    assert retreated == pytest.approx([window.raw_score for window in expected], abs=1e-5)
    assert sizes == [4, 2, 1, 1, 1, 1, 1]
    assert scorer.batch_windows == 1


def test_a_device_that_is_not_there_is_named(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"--device cuda: not available on this machine \(available: cpu"):
        WindowScorer(load_bundle(tiny_model), "cuda")
