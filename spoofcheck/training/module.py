"""One training run as lightning sees it: network, objective, optimiser, and what is gathered for the dev figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from spoofcheck.errors import ModelError, UsageError
from spoofcheck.nets.detector import Detector
from spoofcheck.nets.parameters import parameter_depth_groups
from spoofcheck.nets.tracer import Tracer
from spoofcheck.training.batches import Batch
from spoofcheck.training.objectives import Objective
from spoofcheck.training.recipe import GradientTraining

if TYPE_CHECKING:  # slow to import, and few recipes need it
    from spoofcheck.nets.xlsr import Xlsr

DevBatch = tuple[Tensor, Tensor]
"""Inputs `[B, ...]` and the numbers of the dev windows they are, int64 `[B]`."""


class TrainingModule(LightningModule):
    """A detector or tracer in training.

    Args:
        network: what is trained.
        objective: what for.
        rule: how.
        total_steps: optimiser steps of the whole run; the schedule ends there.
        seed: dropout of a step depends on it, the step and the rank alone, so that a resumed run goes on alike.
        on_features: whether batches hold the features of a frozen front-end instead of waveforms.

    Raises:
        UsageError: activations are to be computed again in a front-end that cannot.
    """

    def __init__(
        self,
        network: Detector | Tracer,
        objective: Objective,
        rule: GradientTraining,
        total_steps: int,
        seed: int,
        on_features: bool,
    ) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.rule = rule
        self.total_steps = total_steps
        self.seed = seed
        self.on_features = on_features
        self._train_sums = torch.zeros(3, dtype=torch.float64)
        self._dev_logits: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        if rule.checkpoint_activations:
            _checkpoint_activations(network.front_end)
        if rule.frozen_epochs == "all":
            network.front_end.requires_grad_(False)
        for layer in parameter_depth_groups(network.front_end)[: rule.frozen_layers]:
            for parameter in layer:
                parameter.requires_grad_(False)

    @property
    def _front_end_is_frozen(self) -> bool:
        frozen = self.rule.frozen_epochs
        return frozen == "all" or self.current_epoch < frozen

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape: `[B, N]` or `[B, C, T]` -> logits `[B, K]`."""
        head: nn.Module = self.network.back_end if isinstance(self.network, Detector) else self.network.head
        if self.on_features:
            logits: Tensor = head(inputs)
        elif self._front_end_is_frozen:
            with torch.no_grad():
                features = self.network.front_end(inputs)
            logits = head(features)
        else:
            logits = self.network(inputs)
        return logits

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make this step's dropout a function of seed, step and rank."""
        mixed = np.random.SeedSequence([self.seed, self.current_epoch, batch_idx, self.global_rank])
        torch.manual_seed(int(mixed.generate_state(1)[0]))
        # Lightning leaves modes as it finds them: what was frozen must be told to train again.
        self.network.front_end.train(not self._front_end_is_frozen)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        logits = self(batch.inputs).float()
        loss = self.objective.loss(logits, batch)
        right = (logits.argmax(dim=1) == batch.labels).double().cpu()
        self.log("step_loss", loss.detach(), prog_bar=True, on_step=True, on_epoch=False, batch_size=len(logits))
        self._train_sums += torch.tensor([float(loss.detach()) * len(right), float(right.sum()), len(right)])
        return loss

    def validation_step(self, batch: DevBatch, batch_idx: int) -> None:
        """Keep the logits of a batch of dev windows."""
        inputs, numbers = batch
        logits = self(inputs.float()).double()
        self._dev_logits.append((numbers.cpu().numpy(), logits.cpu().numpy()))

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's loss and accuracy and the dev figures, over the windows of all processes.

        They are put together here: lightning's own reduction would be asked for by the progress bar, which only the
        first process has, and wait for the others for ever.

        Raises:
            ModelError: outputs that are not finite.
        """
        kept, self._dev_logits = self._dev_logits, []
        sums, self._train_sums = self._train_sums, torch.zeros(3, dtype=torch.float64)
        if self.trainer.world_size > 1:
            parts: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(parts, (kept, sums))
            kept = [batch for part, _ in parts for batch in part]
            sums = torch.stack([part for _, part in parts]).sum(dim=0)
        self.log("loss", float(sums[0] / sums[2]))
        self.log("accuracy", float(sums[1] / sums[2]))
        numbers = np.concatenate([part for part, _ in kept])
        logits = np.concatenate([part for _, part in kept])[np.argsort(numbers, kind="stable")]
        if not np.isfinite(logits).all():
            raise ModelError(
                f"the network gives no finite numbers after epoch {self.current_epoch + 1}: it has run away; lower "
                "training.rate, lengthen training.warmup_steps or set training.gradient_clip"
            )
        for name, value in self.objective.figures(logits).items():
            self.log(f"dev_{name}", value, prog_bar=name == self.rule.select_by)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam or AdamW with a rate per layer of the front-end, and the schedule."""
        rule = self.rule
        head = [
            parameter
            for name, parameter in self.network.named_parameters()
            if not name.startswith("front_end.") and parameter.requires_grad
        ]
        groups: list[dict[str, Any]] = [{"params": head, "lr": rule.rate, "name": "head"}]
        layers = parameter_depth_groups(self.network.front_end)
        peak = rule.rate if rule.front_end_rate is None else rule.front_end_rate
        for depth, layer in enumerate(reversed(layers)):
            trained = [parameter for parameter in layer if parameter.requires_grad]
            if trained:
                name = f"front_end_{len(layers) - 1 - depth}"
                groups.append({"params": trained, "lr": peak * rule.layer_decay**depth, "name": name})
        optimiser: torch.optim.Optimizer
        if rule.optimiser == "adam":
            optimiser = torch.optim.Adam(groups, lr=rule.rate, weight_decay=rule.weight_decay)
        else:
            optimiser = torch.optim.AdamW(groups, lr=rule.rate, weight_decay=rule.weight_decay)
        final_share = 1.0 if rule.schedule == "constant" else rule.final_share
        schedule = LambdaLR(
            optimiser, lambda step: share_of_peak(step, rule.warmup_steps, self.total_steps, final_share)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _checkpoint_activations(front_end: nn.Module) -> None:
    parts = [part for part in front_end.modules() if hasattr(part, "checkpoint_activations")]
    if not parts:
        raise UsageError("key 'training.checkpoint_activations': only an xlsr front-end has layers to compute again")
    for part in parts:
        cast("Xlsr", part).checkpoint_activations()


def optimiser_steps(rule: GradientTraining, batches_per_epoch: int) -> int:
    """Optimiser steps of a whole run; lightning takes one at the end of every epoch, however few batches are left."""
    return rule.epochs * -(-batches_per_epoch // rule.accumulate)


def share_of_peak(step: int, warmup_steps: int, total_steps: int, final_share: float = 0.02) -> float:
    """Share of the peak rate at a step: linear warm-up, then a cosine down to `final_share` (1 stays at the peak)."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * done))
