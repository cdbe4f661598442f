"""Drives lightning: devices, precision, averaging, checkpoints, logs. What is learnt is `module`'s affair."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping
from lightning.pytorch.callbacks.weight_averaging import WeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from spoofcheck.errors import UsageError
from spoofcheck.nets.detector import Detector
from spoofcheck.nets.tracer import Tracer
from spoofcheck.training.batches import check_world
from spoofcheck.training.datamodule import TrainingData
from spoofcheck.training.metrics import DEV_METRICS, DevMetric
from spoofcheck.training.module import TrainingModule, optimiser_steps
from spoofcheck.training.objectives import Objective
from spoofcheck.training.progress import Steps
from spoofcheck.training.recipe import GradientTraining, Recipe

CHECKPOINTS = "checkpoints"
LOGS = "logs"
LAST = "last.ckpt"

Accelerator = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a run takes place. Nothing here belongs to the recipe.

    Attributes:
        devices: per node.
        nodes: more than one expects torchrun's or SLURM's environment on each.
    """

    accelerator: Accelerator = "auto"
    devices: int = 1
    nodes: int = 1

    @property
    def world(self) -> int:
        """Processes of the whole run."""
        return self.devices * self.nodes


@dataclass(frozen=True, slots=True)
class Trained:
    """What came out of a fit.

    Attributes:
        epochs: finished, those of earlier parts of a resumed run included.
        best_epoch: counted from 1, chosen by `metric` on dev.
        weights: of the network at that epoch (averaged, where the recipe averages).
        is_main: whether this process is the one that goes on to write the model.
    """

    epochs: int
    best_epoch: int
    metric: str
    best: float
    weights: dict[str, Tensor]
    is_main: bool


def fit(
    recipe: Recipe,
    rule: GradientTraining,
    network: Detector | Tracer,
    objective: Objective,
    data: TrainingData,
    folder: Path,
    machine: Machine,
    steps: Steps,
    *,
    resume: bool,
    bar: bool,
) -> Trained:
    """Train a network; the folder gets `checkpoints/` and `logs/`.

    Args:
        steps: told of every epoch.
        resume: go on from the last checkpoint, if there is one.
        bar: draw lightning's progress bar on standard error.

    Raises:
        UsageError: devices that are not there or cannot do what the recipe asks.
    """
    _quieten()
    seed_everything(recipe.seed, workers=True, verbose=False)
    metric = DEV_METRICS[rule.select_by]
    monitor = f"dev_{metric.name}"
    module = TrainingModule(
        network, objective, rule, optimiser_steps(rule, data.plan.steps_per_epoch), recipe.seed,
        on_features=rule.cached_batches is not None,
    )  # fmt: skip
    best = _KeepBest(
        folder / CHECKPOINTS, "best-{epoch}", monitor=monitor, mode=metric.direction, save_top_k=1,
        save_on_train_epoch_end=False,
    )  # fmt: skip
    # A run that goes on begins a new part: lightning's CSV log would replace the old one.
    part = f"part-{len(list((folder / LOGS).glob('part-*'))) + 1}"
    logs: list[Any] = [CSVLogger(folder, LOGS, version=part), TensorBoardLogger(folder, LOGS, version=part)]
    keep = [best, _KeepLast(folder / CHECKPOINTS / LAST), *([] if bar else [_TellEpochs(steps, metric)])]
    trainer = _trainer(rule, machine, logs, _callbacks(rule, keep, monitor, bar), bar)
    last = folder / CHECKPOINTS / LAST
    try:
        trainer.fit(module, datamodule=data, ckpt_path=last if resume and last.is_file() else None, weights_only=True)
    except SystemExit as stop:  # lightning's answer to Ctrl-C; its code 1 would read as "spoof found"
        raise KeyboardInterrupt from stop
    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    weights = {
        name.removeprefix("network."): value
        for name, value in state["state_dict"].items()
        if name.startswith("network.")
    }
    assert best.best_model_score is not None
    return Trained(
        epochs=trainer.current_epoch, best_epoch=int(state["epoch"]) + 1, metric=metric.name,
        best=float(best.best_model_score), weights=weights, is_main=trainer.is_global_zero,
    )  # fmt: skip


def check_machine(recipe: Recipe, machine: Machine) -> None:
    """Refuse what this machine cannot do before anything is prepared.

    Raises:
        UsageError: names the key or option and what can be had.
    """
    check_world(recipe.batch, machine.world)
    rule = recipe.training
    if machine.accelerator == "cuda" and torch.cuda.device_count() < machine.devices:
        raise UsageError(f"--accelerator cuda: {machine.devices} devices asked for, {torch.cuda.device_count()} there")
    if not isinstance(rule, GradientTraining):
        if machine.world > 1:
            raise UsageError("training.kind boosting runs on one device")
        return
    if rule.precision == "16-mixed" and (machine.accelerator == "cpu" or not torch.cuda.is_available()):
        raise UsageError("key 'training.precision': 16-mixed needs CUDA; take bf16-mixed or 32-true")


def is_main_process() -> bool:
    """Whether this process is the first of its run, before lightning has started."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def _trainer(
    rule: GradientTraining, machine: Machine, logs: list[Any], callbacks: list[Callback], bar: bool
) -> Trainer:
    # A front-end that is frozen for some epochs gives no gradients then, which DDP must be told.
    thaws = rule.frozen_epochs not in (0, "all")
    strategy: Any = DDPStrategy(find_unused_parameters=thaws) if machine.world > 1 else "auto"
    try:
        return Trainer(
            accelerator=machine.accelerator,
            devices=machine.devices,
            num_nodes=machine.nodes,
            strategy=strategy,
            precision=rule.precision,
            max_epochs=rule.epochs,
            accumulate_grad_batches=rule.accumulate,
            gradient_clip_val=rule.gradient_clip,
            logger=logs,
            callbacks=callbacks,
            deterministic="warn",
            benchmark=False,
            use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            enable_model_summary=False,
            enable_progress_bar=bar,
        )
    except (RuntimeError, ValueError, ImportError) as error:
        raise UsageError(f"cannot train on {machine.devices} {machine.accelerator} devices: {error}") from error


def _callbacks(rule: GradientTraining, checkpoints: Sequence[Callback], monitor: str, bar: bool) -> list[Callback]:
    callbacks: list[Callback] = [LearningRateMonitor("epoch")]
    if bar:
        callbacks.append(_Bar(leave=True, console_kwargs={"stderr": True}))
    if rule.ema_decay is not None:
        callbacks.append(_WeightAverage(rule.ema_decay))
    if rule.early_stopping is not None:
        callbacks.append(
            LightningEarlyStopping(
                monitor, min_delta=rule.early_stopping.min_delta, patience=rule.early_stopping.patience,
                mode=DEV_METRICS[rule.select_by].direction,
            )
        )  # fmt: skip
    return [*callbacks, *checkpoints]


class _WeightAverage(WeightAveraging):
    """Exponential moving average that starts short, so that early evaluations are not of the random start."""

    def __init__(self, decay: float) -> None:
        def move(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
            share = min(decay, (1 + int(updates)) / (10 + int(updates)))
            return average * share + current * (1 - share)

        super().__init__(avg_fn=move)


class _KeepBest(ModelCheckpoint):
    """The best epoch so far, also of a run whose folder was moved: lightning would forget it and take the next one."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what was best, at its place in this folder."""
        assert self.dirpath is not None
        folder = Path(self.dirpath)

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        moved = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        models = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | moved | {"dirpath": self.dirpath, "best_k_models": models})


class _KeepLast(Checkpoint):
    """Where a killed run goes on: the end of its last epoch, complete before it takes the old one's place."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save everything."""
        beside = self.path.with_suffix(".tmp")
        trainer.save_checkpoint(beside)
        if trainer.is_global_zero:
            beside.replace(self.path)


class _Bar(RichProgressBar):
    """Lightning's bar, with epochs counted from 1 as everywhere else here, and without the number of the log."""

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What is shown beside the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in metrics.items() if name != "v_num"}

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1} of {self.trainer.max_epochs}"


class _TellEpochs(Callback):
    """One line an epoch, where no bar is drawn."""

    def __init__(self, steps: Steps, metric: DevMetric) -> None:
        self._steps = steps
        self._metric = metric

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the first process's user."""
        if trainer.is_global_zero:
            figures = trainer.callback_metrics
            self._steps.note(
                f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: loss {figures['loss']:.4f}, "
                f"dev {self._metric.name} {figures[f'dev_{self._metric.name}']:.4f}"
            )


def _quieten() -> None:
    """Lightning's banners and tips are not what a user of this program asked for."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*The number of training batches.*", ".*isinstance.*LeafSpec.*",
                 ".*Checkpoint directory .* exists.*", ".*Experiment logs directory.*", ".*no.*deterministic.*",
                 ".*in eval mode at the start of training.*", ".*on epoch level in distributed setting.*"):  # fmt: skip
        warnings.filterwarnings("ignore", message=text)
