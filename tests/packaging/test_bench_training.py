"""Where and in which size the training benchmark runs, and what its rows say of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import bench.steps
from bench import training
from bench.all import Session, page
from bench.measure import Measurement
from bench.steps import first_that_fits, noise, read
from bench.training import RECIPES, Plan, Steps, described, measure, plan, remark, sizes
from spoofcheck.training.initial import initial_network
from spoofcheck.training.recipe import read_recipe

TRAIN = Path(__file__).parents[2] / "train"
GIB = 1 << 30
DONE = Steps("CPU, 2 threads", 2, 4.0, "bf16-mixed", 316_000_000, 20.0, 35.0, 6 * 10**9, 0.7, 0.69, 5.04)


def test_a_gpu_runs_the_full_size_and_a_cpu_both() -> None:
    assert sizes("cuda", [], 0) == (["full"], "")
    assert sizes("cpu", [], 12 * GIB) == (["full", "reduced"], "")
    assert sizes("cuda", ["reduced"], 0) == (["reduced"], "")
    assert sizes("cpu", ["full"], 12 * GIB) == (["full"], "")


def test_a_cpu_without_the_memory_leaves_the_full_size_out_and_says_so() -> None:
    said = "full size not run: it wants 12 GiB of memory, 8.0 are free"
    assert sizes("cpu", [], 8 * GIB) == (["reduced"], said)
    assert sizes("cpu", ["full"], 8 * GIB) == ([], said)
    assert sizes("cpu", ["reduced"], 8 * GIB) == (["reduced"], "")


@pytest.mark.parametrize("name", RECIPES)
def test_a_gpu_takes_the_recipes_own_network_window_and_batch(name: str) -> None:
    shipped = read_recipe(TRAIN / name)
    planned = read(name, plan("cuda", "full", RECIPES[name]))
    assert planned.batch == shipped.batch
    assert planned.training == shipped.training
    assert planned.model == shipped.model.model_copy(update={"front_end_weights": "none"})
    batch = noise(planned, 6)
    assert batch.inputs.shape == (6, 64_000)
    assert float(batch.inputs.std()) == pytest.approx(0.1, rel=0.01)
    assert batch.labels.tolist() == ([0, 1, 2, 3, 4, 5] if planned.classes else [0, 1, 0, 1, 0, 1])


def test_a_cpu_takes_one_small_full_step_and_some_reduced() -> None:
    full, reduced = (plan("cpu", size, 48) for size in training.SIZES)
    assert full == Plan("cpu", 2, 64_000, None, 1, 0)
    assert (reduced.batch, reduced.window_samples, reduced.layers) == (8, 16_000, 2)
    assert reduced.steps > reduced.warm_up > 0
    front_end = read("xlsr-tracer", reduced).model.front_end
    assert front_end == read("xlsr-tracer", full).model.front_end.model_copy(update={"layers": 2})


def test_the_gpu_is_taken_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "taken", lambda name, planned: DONE)
    monkeypatch.setattr(training, "free_bytes", lambda: 16 * GIB)
    names = {}
    for there in (True, False):
        monkeypatch.setattr(training, "has_gpu", lambda there=there: there)
        names[there] = [row.name for row in measure(["xlsr-aasist"])]
    assert names[True] == ["xlsr-aasist, full, on the GPU: a step", "xlsr-aasist, full, on the GPU: peak memory"]
    assert [name for name in names[False] if name.endswith("step")] == [
        "xlsr-aasist, full, on the CPU: a step", "xlsr-aasist, reduced, on the CPU: a step",
    ]  # fmt: skip
    assert [row.name for row in measure(["xlsr-aasist"], "cpu", ["full"])] == names[False][:2]
    told: list[Measurement] = []
    assert measure(["xlsr-aasist", "xlsr-tracer"], "cpu", ["full"], told.extend) == told
    assert len(told) == 4


def test_the_batch_is_halved_until_it_fits() -> None:
    tried = []

    def attempt(planned: Plan) -> Steps:
        tried.append(planned.batch)
        if planned.batch > fitting:
            raise torch.OutOfMemoryError
        return DONE

    fitting = 40
    assert first_that_fits(plan("cuda", "full", 128), attempt) is DONE
    assert tried == [128, 64, 32]
    fitting = 1
    with pytest.raises(torch.OutOfMemoryError):
        first_that_fits(plan("cuda", "full", 4), attempt)
    assert tried[3:] == [4, 2]  # one window would be one class, and no batch statistics


NARROW = (
    "model.front_end_weights=none", "model.front_end.hidden_size=64", "model.front_end.layers=1",
    "model.front_end.heads=4", "model.front_end.feed_forward_size=64", "model.front_end.conv_channels=16",
    "model.front_end.position_kernel=8", "model.front_end.position_groups=4", "model.back_end.channels=64",
)  # fmt: skip


def narrow(monkeypatch: pytest.MonkeyPatch, rate: float) -> Plan:
    """Stands in for the shipped recipe; one step on two short windows, in full precision."""
    planned = Plan("cpu", 2, 4_000, 1, steps=1, warm_up=0)
    changes = [*NARROW, f"training.rate={rate}", "training.precision=32-true", "batch.size=2"]
    changes.append("model.window_samples=4000")
    recipe = read_recipe(TRAIN / "xlsr-nes2net-la", changes)
    monkeypatch.setattr(bench.steps, "read", lambda name, plan: recipe)
    return planned


def test_steps_are_timed_and_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = narrow(monkeypatch, 1e-5)
    done = bench.steps.steps("narrow", planned)
    assert done.device.startswith("CPU with ")
    assert (done.batch, done.window_s, done.precision) == (2, 0.25, "32-true")
    assert done.step_cpu_s > 0
    assert 0 < done.step_s < 60
    network = initial_network(bench.steps.read("narrow", planned), 0)
    assert done.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert done.peak_bytes > 10**8  # torch alone
    assert 0.3 < done.loss_before < 1.5
    assert done.loss_after < done.loss_before - 0.001


def test_steps_that_change_nothing_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which also shows that dropout and batch are the same in both losses."""
    with pytest.raises(RuntimeError, match=r"narrow: a loss of (\S+) became \1$"):
        bench.steps.steps("narrow", narrow(monkeypatch, 1e-30))


def test_rows_say_what_ran_where() -> None:
    step, memory = described("x, full", plan("cpu", "full", 48), DONE)
    assert (step.value, step.unit, memory.value, memory.unit) == (20.0, "s", 6.0, "GB")
    assert step.note == (
        "CPU, 2 threads; batch 2 of 4 s, bf16-mixed, 316.0 M parameters; 0.05 steps/s, 0.1 windows/s, 35 s of CPU "
        "(mean of 1); loss 0.70000, then 0.69000; load 5.0"
    )
    halved, _ = described("x, full", plan("cuda", "full", 8), DONE, "why")
    assert "batch 2 (halved from 8, which did not fit) of 4 s" in halved.note
    assert halved.note.endswith("(mean of 10 after 2); loss 0.70000, then 0.69000; load 5.0; why")


def test_the_page_says_when_no_gpu_was_measured() -> None:
    on_cpu, on_gpu = (described("x", plan(device, "full", 2), DONE) for device in ("cpu", "cuda"))
    assert "**Not measured on a GPU**" in remark(on_cpu)
    assert "Not measured" not in remark([*on_cpu, *on_gpu])
    text = page({"xlsr-tracer": Session("2026-01-02 03:04 UTC", None, {"CPU": "one"}, on_cpu, "python -m bench.all")})
    assert "Measured 2026-01-02 03:04 UTC by `python -m bench.all` on: CPU one." in text
    assert remark(on_cpu) in text
