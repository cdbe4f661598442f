from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spoofcheck.errors import UsageError
from spoofcheck.nets.detector import Detector
from spoofcheck.training.augment import AugmentRule
from spoofcheck.training.batches import BONAFIDE, SPOOF, AugmentedBatches, Batch, BatchPlan
from spoofcheck.training.cached import feature_batches, join, shuffled
from spoofcheck.training.corpus import WindowRule, speech_windows
from spoofcheck.training.loop import CHECKPOINT, Run, detection_loss, load_run, schedule, start_run, train
from spoofcheck.training.prepare import copy_jobs
from spoofcheck.training.recipe import BatchRule, LoopRule, read_recipe
from spoofcheck.training.store import StoredWindow, WindowStore, write_store

RULE = LoopRule(
    steps=30, warmup_steps=3, stem_frozen_steps=2, stem_rate=1e-2, head_rate=1e-2, weight_decay=0.0,
    label_smoothing=0.0, ema_decay=0.8, gradient_clip=5.0, pair_weight=0.1, evaluate_every=10, workers=0,
)  # fmt: skip
BATCHES = BatchRule(crop_samples=800, bonafide=4, copies=3, synthetic=2, repo_weights={"a/a": 2.0})


class Energy(nn.Module):
    """A front-end in miniature: log energy of the low and of the high half of the spectrum."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(2))

    def forward(self, waves: Tensor) -> Tensor:
        power = torch.fft.rfft(waves).abs().square()
        half = power.shape[-1] // 2
        return self.gain * torch.stack([power[:, :half].mean(-1), power[:, half:].mean(-1)], dim=1).add(1e-6).log()


def tiny() -> Detector:
    torch.manual_seed(0)
    return Detector(Energy(), nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2)))


def separable(step: int) -> Batch:
    """Human windows are dull, spoofs are bright."""
    rng = np.random.default_rng(step)
    dull = np.cumsum(rng.standard_normal((6, 400)), axis=1) / 10
    bright = rng.standard_normal((6, 400))
    waves = torch.from_numpy(np.concatenate([dull, bright]).astype(np.float32))
    return Batch(waves, torch.tensor([BONAFIDE] * 6 + [SPOOF] * 6), torch.tensor([-1] * 6 + [0, 1, 2, -1, -1, -1]))


def error_rate(model: nn.Module) -> dict[str, float]:
    batch = separable(10_000)
    with torch.inference_mode():
        wrong = (model(batch.waves).argmax(1) != batch.labels).float().mean()
    return {"criterion": float(wrong)}


def run_to(steps: int, folder: Path, run: Run | None = None) -> Run:
    run = run or start_run(tiny(), RULE)
    batches = [separable(step) for step in range(run.step, steps)]
    train(run, batches, RULE, 1, folder, error_rate, bf16=False)
    return run


def test_the_loop_learns_what_is_there(tmp_path: Path) -> None:
    run = run_to(30, tmp_path)
    assert error_rate(tiny().eval())["criterion"] > 0.3
    assert error_rate(run.average)["criterion"] < 0.1
    assert run.best < 0.1
    logged = (tmp_path / "log.csv").read_text()
    assert "loss" in logged
    assert "criterion" in logged


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    unbroken = run_to(20, tmp_path / "a")
    run_to(10, tmp_path / "b")
    resumed = start_run(tiny(), RULE)
    load_run(resumed, tmp_path / "b" / CHECKPOINT)
    assert resumed.step == 10
    run_to(20, tmp_path / "b", resumed)
    for name, value in unbroken.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name


def test_the_stem_is_frozen_first(tmp_path: Path) -> None:
    run = run_to(2, tmp_path)
    assert torch.equal(run.model.front_end.gain, torch.ones(2))  # type: ignore[arg-type]
    run_to(4, tmp_path, run)
    assert not torch.equal(run.model.front_end.gain, torch.ones(2))  # type: ignore[arg-type]


def test_schedule_warms_up_and_falls() -> None:
    rates = [schedule(step, RULE) for step in range(31)]
    assert rates[0] == pytest.approx(1 / 3)
    assert max(rates) == pytest.approx(1.0)
    assert rates[30] == pytest.approx(0.02)
    assert all(later <= earlier for earlier, later in pairwise(rates[3:]))


def test_the_ranking_loss_prefers_copies_above_their_sources() -> None:
    batch = Batch(torch.zeros(4, 1), torch.tensor([BONAFIDE, BONAFIDE, SPOOF, SPOOF]), torch.tensor([-1, -1, 0, 1]))
    alone = replace(RULE, pair_weight=0.0)
    right = torch.tensor([[0.0, 1.0], [2.0, 3.0], [1.0, 0.0], [3.0, 2.0]])
    swapped = right.flip(1)
    extra_right = detection_loss(right, batch, RULE) - detection_loss(right, batch, alone)
    extra_swapped = detection_loss(swapped, batch, RULE) - detection_loss(swapped, batch, alone)
    assert 0 < extra_right < extra_swapped


def stores(folder: Path) -> tuple[WindowStore, WindowStore]:
    rng = np.random.default_rng(0)
    natural = [StoredWindow("a/a", f"{i}", "s", "-", i, 900, 0) for i in range(6)]
    natural += [StoredWindow("b/b", f"{i}", "s", "-", i, 500, 0) for i in range(6, 12)]
    natural += [StoredWindow("c/c", f"{i}", "s", f"tts:{i % 2}", -1, 1000, 1) for i in range(12, 18)]
    copies = [StoredWindow("a/a", f"{i}", "s", "copy:world", i, 900, 0) for i in (1, 3)]
    for name, rows in (("natural", natural), ("copies", copies)):
        waves = [(0.1 * rng.standard_normal(row.samples)).astype(np.float32) for row in rows]
        write_store(folder / name, rows, waves, 1000)
    return WindowStore(folder / "natural", 1000), WindowStore(folder / "copies", 1000)


def test_a_store_gives_back_what_was_written(tmp_path: Path) -> None:
    rows = [StoredWindow("r", "c", "s", "-", 0, 3, 0), StoredWindow("r", "d", "s", "tts:x", -1, 5, 1)]
    write_store(tmp_path / "x", rows, [np.float32([0.5, -1, 0]), np.float32([0, 0.25, 1, 2, -2])], 5)
    store = WindowStore(tmp_path / "x", 5)
    assert store.rows == rows
    assert store.wave(0) == pytest.approx([0.5, -1, 0], abs=1e-4)
    assert store.wave(1) == pytest.approx([0, 0.25, 1, 1, -1], abs=1e-4)
    (tmp_path / "x.pcm").write_bytes(b"\0" * 8)
    with pytest.raises(UsageError, match="4 samples do not make 2 windows"):
        WindowStore(tmp_path / "x", 5)


def test_batches_hold_pairs_and_both_classes(tmp_path: Path) -> None:
    natural, copies = stores(tmp_path)
    plan = BatchPlan(natural.rows, copies.rows, BATCHES, seed=3)
    for step in range(20):
        members = plan.members(step)
        assert members == plan.members(step)
        assert [member.label for member in members] == [BONAFIDE] * 4 + [SPOOF] * 5
        for member in members[4:7]:
            source = members[member.pair]
            assert natural.rows[source.row].pair == copies.rows[member.row].pair
            assert member.seed == source.seed
        assert all(natural.rows[member.row].is_spoof for member in members[7:])
    assert plan.members(0) != plan.members(1)

    batch = AugmentedBatches(natural, copies, np.ones((1, 257), np.float32), plan, AugmentRule())[5]
    assert batch.waves.shape == (9, 800)
    assert batch.waves.dtype == torch.float32
    assert batch.pairs.tolist() == [-1] * 4 + [0, 1, 2] + [-1] * 2


def test_cached_features_join_with_their_pairs() -> None:
    front_end = Energy()
    cached = feature_batches(front_end, [separable(step) for step in range(3)], bf16=False)
    assert cached[0].waves.shape == (12, 2)
    joined = join(cached[:2])
    assert joined.waves.shape == (24, 2)
    assert joined.pairs.tolist() == [-1] * 6 + [0, 1, 2] + [-1] * 9 + [12, 13, 14] + [-1] * 3
    assert len(list(shuffled(cached, 2, 5, seed=0))) == 5


def test_every_repository_is_copied_evenly() -> None:
    rows = [StoredWindow("a/a", f"{i}", "s", "-", i, 64_000, 0) for i in range(50)]
    rows += [StoredWindow("b/b", f"{i}", "s", "-", i, 64_000, 0) for i in range(50, 55)]
    rows += [StoredWindow("b/b", "x", "s", "tts:x", -1, 64_000, 0), StoredWindow("b/b", "y", "s", "-", 56, 100, 0)]
    jobs = copy_jobs(rows, {"world": 10, "melgan": 20}, seed=1)
    assert len(jobs) == len(set(jobs)) == 30
    from_b = [index for index, name in jobs if name == "world" and index >= 50]
    assert len(from_b) == 5
    assert all(index < 55 for index, _ in jobs)


def test_windows_are_cut_to_the_speech() -> None:
    import random

    rng = np.random.default_rng(0)
    wave = np.zeros(16_000 * 12, dtype=np.float32)
    wave[16_000 * 5 : 16_000 * 7] = 0.2 * rng.standard_normal(32_000)
    rule = WindowRule(margin_s=0.0)
    (only,) = speech_windows(wave, rule, 3, random.Random(0))
    assert np.array_equal(only, wave[80_000:112_000])
    assert speech_windows(np.zeros(64_000, np.float32), rule, 3, random.Random(0)) == []
    long = np.tile(wave[80_000:112_000], 5)
    assert {len(part) for part in speech_windows(long, rule, 2, random.Random(0))} == {64_000}
    assert len(speech_windows(long, rule, 2, random.Random(0))) == 2


def test_the_shipped_recipe_reads_and_a_bad_one_says_why(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "train" / "compact-detector" / "config.toml"
    recipe = read_recipe(shipped)
    assert recipe.batch.size == recipe.batch.bonafide + recipe.batch.copies + recipe.batch.synthetic
    assert recipe.batch.copies <= recipe.batch.bonafide
    bad = tmp_path / "bad.toml"
    bad.write_text(shipped.read_text().replace("ema_decay", "emma_decay"))
    with pytest.raises(UsageError, match="emma_decay"):
        read_recipe(bad)
    with pytest.raises(UsageError, match="cannot read"):
        read_recipe(tmp_path / "none.toml")
