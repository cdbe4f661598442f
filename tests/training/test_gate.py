"""The validity gate as it is fitted: what counts as far, whose weight, which limits, and what the card says of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spoofcheck.detect.validity import validity_weight
from spoofcheck.errors import ModelError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.nets.bundle import load_bundle
from spoofcheck.schema import ValidityLimits
from spoofcheck.training.conditions import ORIGINAL
from spoofcheck.training.exhibits import LONG, Exhibit, Recording
from spoofcheck.training.gate import (
    PooledWindows,
    choose_limits,
    drawn,
    fit_gate,
    fit_gates,
    gate_config,
    gate_figures,
    group_weights,
    open_gate,
)
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.recipe import FinishRule
from tests.support.audio import human_speech, write_wav
from tests.support.exhibits import decision, exhibit, neutral_calibration, normal

FEATURES = 40


def gaussian(count: int, seed: int) -> PooledWindows:
    """Features that vary along six directions and a little everywhere; two classes of two repositories each."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(6, FEATURES)) * 3
    rows = 50 + rng.normal(size=(count, 6)) @ mixing + rng.normal(size=(count, FEATURES))
    groups = tuple((i % 2 == 1, "ab"[i // 2 % 2]) for i in range(count))
    return PooledWindows(rows.astype(np.float32), groups)


def distances(gate: torch.nn.Module, rows: np.ndarray) -> np.ndarray:
    return gate.distance(torch.from_numpy(rows.astype(np.float32))).numpy()  # type: ignore[operator]


def test_near_data_keep_their_weight_and_far_data_are_refused() -> None:
    train, near = gaussian(800, 0), gaussian(400, 1).features
    gate = fit_gate(train, 6)
    own = distances(gate, train.features)
    limits = choose_limits(own.tolist())
    assert np.sqrt(np.mean(own**2)) == pytest.approx(1.0, abs=0.03)
    here = distances(gate, near)
    assert np.median(here) == pytest.approx(1.0, abs=0.15)
    weights = [validity_weight(one, limits) for one in here]
    assert np.mean(np.array(weights) == 1.0) > 0.9
    assert weights.count(0.0) <= 8
    rng = np.random.default_rng(2)
    inside_span, outside_span = near + 8 * (near - 50), near + rng.normal(size=near.shape) * 12
    for far in (inside_span, outside_span):
        assert np.mean([validity_weight(one, limits) == 0.0 for one in distances(gate, far)]) > 0.95


def test_a_gate_is_the_same_every_time() -> None:
    first, again = (fit_gate(gaussian(300, 0), 6).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_classes_weigh_alike_and_their_repositories_do() -> None:
    groups = [(False, "a")] * 6 + [(False, "b")] * 2 + [(True, "a")] * 4
    weights = group_weights(groups)
    assert weights.sum() == pytest.approx(1.0)
    assert weights.tolist() == pytest.approx([1 / 24] * 6 + [1 / 8] * 2 + [1 / 8] * 4)
    rows = np.array([0.0, 1, 0, 1, 0, 1, 10, 12, 4, 5, 4, 5]).repeat(3).reshape(12, 3)
    gate = fit_gate(PooledWindows((rows * [1, 2, 3]).astype(np.float32), tuple(groups)), 1)
    middle = (0.5 * (0.5 + 11) + 4.5) / 2
    assert gate.mean.tolist() == pytest.approx([middle, 2 * middle, 3 * middle], rel=1e-5)


def test_a_feature_that_never_varied_does_not_decide_alone() -> None:
    data = gaussian(400, 0)
    rows = data.features.copy()
    rows[:, 0] = 7.0
    gate = fit_gate(PooledWindows(rows, data.groups), 6)
    moved = rows[:50].copy()
    moved[:, 0] += 1e-4
    np.testing.assert_allclose(distances(gate, moved), distances(gate, rows[:50]), rtol=0.01)


@pytest.mark.parametrize("rows", [np.ones((50, 4)), np.eye(4)])
def test_too_little_to_fit_on_is_refused(rows: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"do not vary|too few"):
        fit_gate(PooledWindows(rows.astype(np.float32), ((False, "a"),) * len(rows)), 4)


def test_limits_are_quantiles_and_never_closer_than_a_quarter() -> None:
    spread = choose_limits([0.001 * i for i in range(1, 1001)] + [3.0] * 8)
    assert spread.shrink_from == pytest.approx(0.96)
    assert spread.refuse_from == pytest.approx(3.0)
    assert (spread.share_shrunk, spread.share_refused) == (round(48 / 1008, 4), round(8 / 1008, 4))
    narrow = choose_limits([1.0] * 100)
    assert narrow == ValidityLimits(shrink_from=1.0, refuse_from=1.25, share_shrunk=0.0, share_refused=0.0)


def recordings(counts: dict[tuple[str, str, str], int]) -> list[Recording]:
    made = []
    for (system, repo, condition), count in counts.items():
        label = "bonafide" if system == "-" else "spoof"
        for i in range(count):
            one = Clip(f"{system}{i}", Path(f"{i}.wav"), label, system=system, repo=repo)  # type: ignore[arg-type]
            made.append(Recording("dev", condition, one, (one,)))
    return made


def test_the_draw_takes_turns() -> None:
    every = recordings(
        {("-", "a", ORIGINAL): 90, ("x", "a", ORIGINAL): 9, ("x", "b", "8khz"): 5, ("-", "b", "8khz"): 1}
    )
    chosen = drawn(every, 20)
    assert Counter((one.clip.system, one.clip.repo) for one in chosen) == {
        ("-", "a"): 7, ("x", "a"): 7, ("x", "b"): 5, ("-", "b"): 1
    }  # fmt: skip
    assert chosen == drawn(every, 20)
    assert len(drawn(every, 1000)) == len(every)


def test_gates_of_parts_do_without_them(tmp_path: Path, tiny_model: Path) -> None:
    speech = human_speech()
    front_end = load_bundle(tiny_model).network.front_end
    parts = []
    for part in range(2):
        made = []
        for i in range(4):
            start = 20_000 * (i + 4 * part)
            path = write_wav(tmp_path / f"{part}-{i}.wav", np.resize(speech[start:], 64_000), 16_000)
            one = Clip(path.name, path, "spoof" if i % 2 else "bonafide", repo=f"r{part}")
            made += [Recording("dev", condition, one, (one,)) for condition in (ORIGINAL, "8khz")]
        parts.append(made)
    test = [replace(parts[0][0], split="test")]
    broken = Clip("none", tmp_path / "none.wav", "spoof", repo="r0")
    parts[0] += [Recording("dev", ORIGINAL, broken, (broken,)), Recording("dev", LONG, parts[0][0].clip, ())]
    rule = FinishRule(gate_components=2)
    gates = fit_gates(front_end, [*parts, test], rule, 64_000, 2, NoSteps())
    alone = [fit_gates(front_end, [part], rule, 64_000, 1, NoSteps()) for part in parts]
    assert gates.by_part[2] is gates.final
    for number, other in ((0, 1), (1, 0)):
        mine, theirs = gates.by_part[number].state_dict(), alone[other].final.state_dict()
        for name in mine:
            torch.testing.assert_close(mine[name], theirs[name])
    assert not torch.allclose(gates.final.mean, gates.by_part[0].mean)
    assert alone[0].by_part == (alone[0].final,)
    with pytest.raises(ModelError, match="too few for 99 components"):
        fit_gates(front_end, [parts[0]], FinishRule(gate_components=99), 64_000, 1, NoSteps())
    with pytest.raises(ModelError, match="no dev recording"):
        fit_gates(front_end, [test], rule, 64_000, 1, NoSteps())


def measured(raw_score: float, system: str, distance: float, **more: object) -> Exhibit:
    made = exhibit(raw_score, system, **more)  # type: ignore[arg-type]
    return replace(made, distance=distance, window_distances=(distance,) * len(made.windows))


def some_exhibits() -> list[Exhibit]:
    """Human and synthetic recordings that the detector separates; one spoof in ten of test lies far and errs."""
    made = []
    for split in ("dev", "test"):
        for system, mean in (("-", -2.0), ("x", 2.0)):
            for i, raw in enumerate(normal(40, mean)):
                lost = split == "test" and system == "x" and i % 10 == 0
                made.append(measured(-3.0 if lost else raw, system, 9.0 if lost else 0.5 + i / 40, split=split))  # type: ignore[arg-type]
    made += [measured(1.0, "x", 5.0, condition="8khz"), measured(-1.0, "-", 5.0, condition="8khz")]
    return [*made, measured(9.0, "-", 99.0, condition=LONG), exhibit(0.0)]


def test_limits_of_a_model_come_from_dev_alone() -> None:
    gate = fit_gate(gaussian(300, 0), 6)
    config = gate_config(gate, some_exhibits(), FinishRule(conditions=("8khz",), gate_components=6))
    assert (config.components, config.features) == (6, FEATURES)
    assert config.data == "dev split: recordings as they are, 8khz"
    assert config.exhibit.refuse_from == pytest.approx(5.0)
    assert config.exhibit == config.window
    folded = [replace(one, fold="a") for one in some_exhibits()]
    assert "unknown to the gate" in gate_config(gate, folded, FinishRule()).data
    with pytest.raises(ModelError, match="no dev recording"):
        gate_config(gate, [exhibit(1.0)], FinishRule())


def test_the_trade_off_says_what_is_refused_and_what_errs_among_the_rest() -> None:
    limits = ValidityLimits(shrink_from=2.0, refuse_from=5.0, share_shrunk=0.0, share_refused=0.0)
    config = open_gate(fit_gate(gaussian(300, 0), 6)).model_copy(update={"window": limits, "exhibit": limits})
    figures = gate_figures(some_exhibits(), config, neutral_calibration(), decision())
    rows = {(row["split"], row["refuse_from"]): row for row in figures["trade_off"]}
    assert [row["refuse_from"] for row in figures["trade_off"] if row["chosen"]] == [5.0, 5.0]
    chosen, without = rows["test", 5.0], rows["test", None]
    assert (chosen["bonafide_refused"], chosen["spoof_refused"]) == (0.0, pytest.approx(0.1))
    assert (without["bonafide_refused"], without["spoof_refused"]) == (0.0, 0.0)
    assert chosen["eer"] < without["eer"]
    assert chosen["misses"] < without["misses"]
    assert chosen["false_alarms"] == without["false_alarms"]
    assert chosen["spoof_beyond_shrink"] == 0.1
    limits_tried = sorted(limit for split, limit in rows if split == "dev" and limit is not None)
    refused = [rows["dev", limit]["bonafide_refused"] for limit in limits_tried]
    assert refused == sorted(refused, reverse=True)
    assert refused[0] > 0.1
    conditions = {(row["split"], row["condition"]): row for row in figures["conditions"]}
    assert set(conditions) == {("dev", ORIGINAL), ("test", ORIGINAL), ("dev", "8khz")}
    assert conditions["dev", "8khz"]["spoof_refused"] == conditions["dev", "8khz"]["bonafide_refused"] == 1.0
    assert conditions["dev", "8khz"]["eer"] is None
    given = {row["split"]: row for row in figures["given"]}
    assert given["dev"]["cllr_given"] == given["dev"]["cllr_raw"]
    assert given["test"]["cllr_given"] < given["test"]["cllr_raw"]  # LLRs that misled count for nothing now
