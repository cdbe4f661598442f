"""How fast the XLS-R recipes train, and in how much memory: real optimisation steps on noise, on a GPU or the CPU.

`python -m bench.training` shows the figures, `python -m bench.all RECIPE...` also keeps them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from bench import ENVIRONMENT
from bench.measure import Measurement, show

ON_GPU, ON_CPU = "on the GPU", "on the CPU"
Device = Literal["cpu", "cuda"]
Size = Literal["full", "reduced"]
SIZES: tuple[Size, ...] = ("full", "reduced")

# The published batch sizes.
RECIPES = {"xlsr-nes2net-la": 48, "xlsr-nes2net-x": 48, "xlsr-aasist": 48, "xlsr-tracer": 128}
CPU_BATCH = 2
REDUCED_BATCH = 8
REDUCED_LAYERS = 2
FULL_ON_CPU_BYTES = 12 << 30
"""Memory that must be free for a full-size step: weights, gradients and two moments are 5 GB, the rest activations."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one recipe is to do.

    Attributes:
        layers: of XLS-R; None keeps the recipe's 24.
        warm_up: of the steps, so many are not timed.
        checkpointing: activations are computed again instead of kept.
    """

    device: Device
    batch: int
    window_samples: int
    layers: int | None
    steps: int
    warm_up: int
    checkpointing: bool = False

    def with_batch(self, batch: int) -> Plan:
        """The same with another batch."""
        return replace(self, batch=batch)


@dataclass(frozen=True, slots=True)
class Steps:
    """What it did.

    Attributes:
        device: in words.
        batch: windows per step; smaller than planned where a GPU had not the memory.
        peak_bytes: allocated on the GPU, or resident in the process on the CPU.
        loss_before, loss_after: of the same batch with the same dropout, before the first and after the last step.
        step_cpu_s: of all threads; what is left of a busy machine does not matter to it.
        load: one-minute load average of the machine at the end.
    """

    device: str
    batch: int
    window_s: float
    precision: str
    parameters: int
    step_s: float
    step_cpu_s: float
    peak_bytes: int
    loss_before: float
    loss_after: float
    load: float


def sizes(device: Device, asked: Sequence[Size], free_bytes: int) -> tuple[list[Size], str]:
    """Which sizes run, and what does not and why (empty when all that was asked for does).

    Without being asked, a GPU runs the full size, a CPU both.
    """
    chosen: list[Size] = list(asked or (SIZES[:1] if device == "cuda" else SIZES))
    if device == "cpu" and "full" in chosen and free_bytes < FULL_ON_CPU_BYTES:
        chosen.remove("full")
        free_gib = free_bytes / (1 << 30)
        return chosen, f"full size not run: it wants {FULL_ON_CPU_BYTES >> 30} GiB of memory, {free_gib:.1f} are free"
    return chosen, ""


def plan(device: Device, size: Size, batch: int) -> Plan:
    """The steps of a recipe whose own batch is `batch`: on a GPU as it trains, on a CPU as little as shows that it can.

    A reduced network has two layers of full width, and windows of a second.
    """
    if size == "reduced":
        return Plan(device, REDUCED_BATCH, 16_000, REDUCED_LAYERS, steps=3, warm_up=1)
    if device == "cuda":
        return Plan(device, batch, 64_000, None, steps=12, warm_up=2)
    return Plan(device, CPU_BATCH, 64_000, None, steps=1, warm_up=0)


def measure(
    recipes: Sequence[str] = tuple(RECIPES),
    device: Device | None = None,
    asked: Sequence[Size] = (),
    tell: Callable[[Sequence[Measurement]], None] = lambda _: None,
) -> list[Measurement]:
    """The recipes in every size, each in a process of its own and told when done; the GPU when `device` is None."""
    device = device or ("cuda" if has_gpu() else "cpu")
    rows = []
    for name in recipes:
        chosen, missing = sizes(device, asked, free_bytes())
        for size in chosen:
            planned = plan(device, size, RECIPES[name])
            rows += described(f"{name}, {size}", planned, taken(name, planned), missing)
            tell(rows[-2:])
        if not chosen:
            print(f"{name}: {missing}", file=sys.stderr, flush=True)
    return rows


def described(what: str, planned: Plan, done: Steps, missing: str = "") -> list[Measurement]:
    """Two rows: seconds per step and peak memory, with all else there is to say."""
    place = ON_GPU if planned.device == "cuda" else ON_CPU
    pace = f"{1 / done.step_s:.2g} steps/s, {done.batch / done.step_s:.3g} windows/s, {done.step_cpu_s:.3g} s of CPU"
    halved = "" if done.batch == planned.batch else f" (halved from {planned.batch}, which did not fit)"
    layers = "" if planned.layers is None else f", {planned.layers} layers"
    setting = (
        f"{done.device}; batch {done.batch}{halved} of {done.window_s:g} s, {done.precision}{layers}, "
        f"{done.parameters / 1e6:.1f} M parameters"
    )
    counted = f"mean of {planned.steps - planned.warm_up}" + (f" after {planned.warm_up}" if planned.warm_up else "")
    learnt = f"loss {done.loss_before:.5f}, then {done.loss_after:.5f}"
    note = f"{setting}; {pace} ({counted}); {learnt}; load {done.load:.1f}"
    memory = "allocated on the GPU" if planned.device == "cuda" else "resident, the whole process"
    return [
        Measurement(f"{what}, {place}: a step", done.step_s, "s", note=note + (f"; {missing}" if missing else "")),
        Measurement(f"{what}, {place}: peak memory", done.peak_bytes / 1e9, "GB", note=memory),
    ]


def remark(rows: Sequence[Measurement]) -> str:
    """What the results page says above the table."""
    text = (
        "Optimisation steps on noise with the recipe's network (fresh weights), loss, optimiser and precision: full is "
        f"its own depth and window, reduced {REDUCED_LAYERS} layers of full width and one second. The loss is of one "
        "batch before and after the steps; at a rate meant for pretrained weights, one step of fresh ones may "
        "overshoot and raise it. Where the load exceeds the cores, times by the clock are of what other work left over."
    )
    if not any(ON_GPU in row.name for row in rows):
        text += (
            " **Not measured on a GPU**: none was there, so pace and memory at the recipe's own batch are unknown; "
            "the same command takes them where there is one."
        )
    return text


def free_bytes() -> int:
    """Memory the system can give to a new process without swapping."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo names no MemAvailable")


def has_gpu() -> bool:
    """Whether torch sees a CUDA device."""
    import torch

    return torch.cuda.is_available()


def taken(name: str, planned: Plan) -> Steps:
    """The steps of a recipe, taken in a process of their own."""
    command = [sys.executable, "-m", "bench.steps", name, json.dumps(asdict(planned))]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr[-2_000:]}")
    return Steps(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(RECIPES)}; all when left out")
    options.add_argument("--full", action="store_true", help="the recipe's own network")
    options.add_argument("--reduced", action="store_true", help=f"{REDUCED_LAYERS} layers, windows of a second")
    options.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    chosen = options.parse_args()
    unknown = set(chosen.recipes) - RECIPES.keys()
    if unknown:
        options.error(f"no such recipe: {', '.join(sorted(unknown))}")
    if chosen.device == "cuda" and not has_gpu():
        options.error("--device cuda: torch sees no CUDA device")
    asked = [size for size in SIZES if getattr(chosen, size)]
    measure(chosen.recipes or tuple(RECIPES), None if chosen.device == "auto" else chosen.device, asked, show)


if __name__ == "__main__":
    main()
