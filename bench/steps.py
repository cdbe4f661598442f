"""Optimisation steps of one recipe's network on noise, through the training module, as JSON on stdout."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import math
import os
import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch.utils.data import DataLoader

from bench.training import Plan, Steps
from spoofcheck.training.batches import BONAFIDE, SPOOF, Batch
from spoofcheck.training.initial import initial_network
from spoofcheck.training.module import TrainingModule
from spoofcheck.training.objectives import DetectionObjective, Objective, TracingObjective
from spoofcheck.training.recipe import GradientTraining, Recipe, read_recipe
from spoofcheck.training.store import StoredWindow

RECIPES = Path(__file__).resolve().parents[1] / "train"


def read(name: str, plan: Plan) -> Recipe:
    """A shipped recipe with fresh weights, one batch per optimiser step, and what the plan changes."""
    changes = ["model.front_end_weights=none", "training.accumulate=1", f"batch.size={plan.batch}"]
    changes.append(f"model.window_samples={plan.window_samples}")
    if plan.layers is not None:
        changes.append(f"model.front_end.layers={plan.layers}")
    if plan.checkpointing:
        changes.append("training.checkpoint_activations=true")
    return read_recipe(RECIPES / name, changes)


def noise(recipe: Recipe, batch: int) -> Batch:
    """Noise `[batch, window_samples]`, the classes in turn."""
    rng = torch.Generator().manual_seed(recipe.seed)
    waves = 0.1 * torch.randn(batch, recipe.model.window_samples, generator=rng)
    return Batch(waves, torch.arange(batch) % (len(recipe.classes) or 2), torch.full((batch,), -1))


def steps(name: str, plan: Plan) -> Steps:
    """Take the steps of a plan.

    Raises:
        torch.OutOfMemoryError: the batch does not fit the GPU.
        RuntimeError: the loss is not finite, or no step changed it.
    """
    recipe = read(name, plan)
    rule = recipe.training
    assert isinstance(rule, GradientTraining)
    network = initial_network(recipe, len(recipe.classes))
    module = TrainingModule(network, _objective(recipe, rule), rule, plan.steps, recipe.seed, on_features=False)
    watch = _Watch(plan)
    if plan.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    Trainer(
        accelerator=plan.device, devices=1, precision=rule.precision, gradient_clip_val=rule.gradient_clip,
        max_epochs=1, callbacks=[watch], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False, deterministic="warn",
    ).fit(module, datamodule=_Noise(noise(recipe, plan.batch), plan.steps))  # fmt: skip
    before, after = watch.losses
    step_s, step_cpu_s = watch.step_s()
    if not (math.isfinite(before) and math.isfinite(after)) or before == after:
        raise RuntimeError(f"{name}: a loss of {before} became {after}")
    on_gpu = plan.device == "cuda"
    return Steps(
        device=torch.cuda.get_device_name() if on_gpu else f"CPU with torch.num_threads {torch.get_num_threads()}",
        batch=plan.batch,
        window_s=plan.window_samples / 16_000,
        precision=rule.precision,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        step_s=step_s,
        step_cpu_s=step_cpu_s,
        peak_bytes=torch.cuda.max_memory_allocated() if on_gpu else _peak_rss_bytes(),
        loss_before=before,
        loss_after=after,
        load=os.getloadavg()[0],
    )


def first_that_fits(plan: Plan, attempt: Callable[[Plan], Steps]) -> Steps:
    """The steps at the plan's batch, halved as often as a GPU lacks the memory for it."""
    while True:
        try:
            return attempt(plan)
        except torch.OutOfMemoryError:
            if plan.batch < 4:
                raise
        # Behind the handler, where the traceback no longer keeps the network.
        plan = plan.with_batch(plan.batch // 2)
        gc.collect()
        torch.cuda.empty_cache()


class _Watch(Callback):
    """Times the steps, the first ones left out, and takes the loss of the same batch before and after them all."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.losses: list[float] = []
        self._marks: list[tuple[float, float]] = []

    def step_s(self) -> tuple[float, float]:
        """Seconds a step took on average, by the clock and of the CPU."""
        (*_, last), (first, *_) = self._marks, self._marks[self.plan.warm_up :]
        steps = self.plan.steps - self.plan.warm_up
        return (last[0] - first[0]) / steps, (last[1] - first[1]) / steps

    def on_train_batch_start(  # lightning names the arguments
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        batch: Batch,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        if batch_idx == 0:
            self._mark()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._mark()
        if batch_idx == 0:
            self.losses.append(float(outputs["loss"].detach()))
        if batch_idx + 1 == self.plan.steps:
            assert isinstance(pl_module, TrainingModule)
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                pl_module.on_train_batch_start(batch, 0)  # the dropout of the first step
                logits = pl_module(batch.inputs).float()
            self.losses.append(float(pl_module.objective.loss(logits, batch)))

    def _mark(self) -> None:
        if self.plan.device == "cuda":
            torch.cuda.synchronize()
        self._marks.append((time.perf_counter(), time.process_time()))


class _Noise(LightningDataModule):
    """The same batch in every step."""

    def __init__(self, batch: Batch, steps: int) -> None:
        super().__init__()
        self.batch = batch
        self.steps = steps

    def train_dataloader(self) -> DataLoader[Batch]:
        batches: Any = [self.batch] * self.steps
        return DataLoader(batches, batch_size=None)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:  # noqa: ARG002
        return batch.to(device)


def _objective(recipe: Recipe, rule: GradientTraining) -> Objective:
    if recipe.task == "tracer":
        return TracingObjective(rule, [0])
    dev = [StoredWindow("-", "-", "-", "-", int(label == SPOOF), -1, 0, 0) for label in (SPOOF, BONAFIDE)]
    return DetectionObjective(rule, dev)


def _peak_rss_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("recipe")
    options.add_argument("plan", help="a bench.training.Plan as JSON")
    chosen = options.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    plan = Plan(**json.loads(chosen.plan))
    print(json.dumps(asdict(first_that_fits(plan, lambda smaller: steps(chosen.recipe, smaller)))))


if __name__ == "__main__":
    main()
