from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spoofcheck.detect.scorer import WindowScorer
from spoofcheck.errors import UsageError
from spoofcheck.nets.bundle import load_bundle


@pytest.fixture
def windows() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, level, 64_000).astype(np.float32) for level in (0.01, 0.02, 0.05, 0.1, 0.2)]


def test_the_raw_score_is_spoof_minus_bona_fide(tiny_model: Path, windows: list[np.ndarray]) -> None:
    bundle = load_bundle(tiny_model)
    with torch.inference_mode():
        logits = bundle.network(torch.from_numpy(np.stack(windows)))
    expected = (logits[:, 0] - logits[:, 1]).tolist()
    assert WindowScorer(bundle, "cpu").score(windows) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("batch_windows", [1, 2, 3, 5, 64])
def test_scores_do_not_depend_on_the_batch(tiny_model: Path, windows: list[np.ndarray], batch_windows: int) -> None:
    one_by_one = WindowScorer(load_bundle(tiny_model), "cpu", 1)
    reference = [score for window in windows for score in one_by_one.score([window])]
    scores = WindowScorer(load_bundle(tiny_model), "cpu", batch_windows).score(windows)
    assert scores == pytest.approx(reference, abs=1e-5)


def test_nothing_to_score_is_no_error(tiny_model: Path) -> None:
    assert WindowScorer(load_bundle(tiny_model), "cpu").score([]) == []


def test_out_of_memory_halves_the_batch_and_goes_on(
    tiny_model: Path, windows: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = WindowScorer(load_bundle(tiny_model), "cpu", 4)
    expected = scorer.score(windows)
    forward = scorer._forward
    sizes: list[int] = []

    def small_memory(batch: list[np.ndarray]) -> list[float]:
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.cuda.OutOfMemoryError
        return forward(batch)

    monkeypatch.setattr(scorer, "_forward", small_memory)
    assert scorer.score(windows) == pytest.approx(expected, abs=1e-5)
    assert sizes == [4, 2, 1, 1, 1, 1, 1]
    assert scorer.batch_windows == 1


def test_a_device_that_is_not_there_is_named(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"--device cuda: not available on this machine \(available: cpu"):
        WindowScorer(load_bundle(tiny_model), "cuda")
