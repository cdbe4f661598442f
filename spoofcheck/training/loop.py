"""The training loop: warm-up and cosine, two learning rates, weight averaging, resumable at any checkpoint."""

from __future__ import annotations

import copy
import csv
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spoofcheck.nets.detector import Detector
from spoofcheck.training.batches import BONAFIDE, SPOOF, Batch
from spoofcheck.training.recipe import LoopRule

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
LOG = "log.csv"
_LOG_EVERY = 10

Evaluate = Callable[[nn.Module], dict[str, float]]
"""Scores the averaged model on held-out data; lower `"criterion"` is better."""


@dataclass
class Run:
    """Everything a resumed run needs."""

    model: Detector
    average: Detector
    optimiser: torch.optim.Optimizer
    step: int = 0
    best: float = math.inf


def start_run(model: Detector, rule: LoopRule) -> Run:
    """A run at step 0; the averaged model starts as a copy."""
    average = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(
        [
            {"params": list(model.front_end.parameters()), "lr": rule.stem_rate, "peak": rule.stem_rate},
            {"params": list(model.back_end.parameters()), "lr": rule.head_rate, "peak": rule.head_rate},
        ],
        weight_decay=rule.weight_decay,
        fused=True,
    )
    return Run(model, average, optimiser)


def train(
    run: Run,
    batches: Iterable[Batch],
    rule: LoopRule,
    seed: int,
    folder: Path,
    evaluate: Evaluate,
    *,
    bf16: bool,
    deadline: float | None = None,
) -> None:
    """Train from `run.step` to the end, writing `checkpoint.pt`, `best.pt` (averaged weights) and `log.csv`.

    Args:
        run: changed in place.
        batches: those of steps `run.step`, `run.step + 1`, ...
        evaluate: called with the averaged model every `rule.evaluate_every` steps and at the end.
        bf16: bfloat16 autocast on the CPU.
        deadline: `time.time()` after which the schedule's cosine is shortened no further: training stops.
    """
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    sums: dict[str, float] = {}
    for batch in batches:
        if run.step >= rule.steps or (deadline is not None and time.time() > deadline):
            break
        for name, value in train_step(run, batch, rule, seed, bf16=bf16).items():
            sums[name] = sums.get(name, 0.0) + value
        run.step += 1
        if run.step % _LOG_EVERY == 0:
            means = {name: value / _LOG_EVERY for name, value in sums.items()}
            _log(folder / LOG, run.step, time.monotonic() - started, means)
            sums = {}
        if run.step % rule.evaluate_every == 0:
            _checkpoint(run, folder, evaluate)
    if run.step % rule.evaluate_every:
        _checkpoint(run, folder, evaluate)


def train_step(run: Run, batch: Batch, rule: LoopRule, seed: int, *, bf16: bool) -> dict[str, float]:
    """One step; its random numbers (dropout) depend on the seed and the step alone."""
    torch.manual_seed(seed + run.step)
    run.model.train()
    frozen = run.step < rule.stem_frozen_steps
    run.model.front_end.requires_grad_(not frozen)
    for group in run.optimiser.param_groups:
        group["lr"] = group["peak"] * schedule(run.step, rule)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = run.model(batch.waves)
    logits = logits.float()
    loss = detection_loss(logits, batch, rule)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(run.model.parameters(), rule.gradient_clip)
    run.optimiser.step()
    decay = min(rule.ema_decay, (1 + run.step) / (10 + run.step))
    _move_average(run.average, run.model, decay)
    right = (logits.argmax(dim=1) == batch.labels).float()
    spoofed = batch.labels == SPOOF
    return {
        "loss": float(loss.detach()),
        "gradient_norm": float(norm),
        "accuracy_bonafide": float(right[~spoofed].mean()),
        "accuracy_copies": float(right[batch.pairs >= 0].mean()) if bool((batch.pairs >= 0).any()) else 0.0,
        "accuracy_spoof": float(right[spoofed].mean()),
    }


def detection_loss(logits: Tensor, batch: Batch, rule: LoopRule) -> Tensor:
    """Cross-entropy with both classes weighing the same, plus a ranking loss between a copy and its source."""
    each = F.cross_entropy(logits, batch.labels, label_smoothing=rule.label_smoothing, reduction="none")
    spoofed = batch.labels == SPOOF
    loss = 0.5 * (each[spoofed].mean() + each[~spoofed].mean())
    copies = batch.pairs >= 0
    if rule.pair_weight > 0 and bool(copies.any()):
        scores = logits[:, SPOOF] - logits[:, BONAFIDE]
        loss = loss + rule.pair_weight * F.softplus(scores[batch.pairs[copies]] - scores[copies]).mean()
    return loss


def schedule(step: int, rule: LoopRule) -> float:
    """Share of the peak rate: linear warm-up, then a cosine down to 2 %."""
    if step < rule.warmup_steps:
        return (step + 1) / rule.warmup_steps
    done = min(1.0, (step - rule.warmup_steps) / max(1, rule.steps - rule.warmup_steps))
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def save_run(run: Run, path: Path) -> None:
    """Write a checkpoint, complete before it takes the old one's place."""
    beside = path.with_suffix(".tmp")
    state = {
        "model": run.model.state_dict(),
        "average": run.average.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "step": run.step,
        "best": run.best,
    }
    torch.save(state, beside)
    beside.replace(path)


def load_run(run: Run, path: Path) -> None:
    """Bring a run to the state of a checkpoint; strict keys."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    run.model.load_state_dict(state["model"])
    run.average.load_state_dict(state["average"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.step, run.best = state["step"], state["best"]


def _checkpoint(run: Run, folder: Path, evaluate: Evaluate) -> None:
    run.average.eval()
    figures = evaluate(run.average)
    if figures["criterion"] < run.best:
        run.best = figures["criterion"]
        torch.save(run.average.state_dict(), folder / BEST)
    save_run(run, folder / CHECKPOINT)
    text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    logger.info("step %d: %s%s", run.step, text, " (best)" if figures["criterion"] == run.best else "")
    _log(folder / LOG, run.step, float("nan"), figures)


@torch.no_grad()
def _move_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    for kept, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _log(path: Path, step: int, elapsed_s: float, values: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([step, f"{elapsed_s:.1f}", name, f"{value:.5f}"] for name, value in values.items())
