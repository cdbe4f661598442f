"""Back-ends learnt from the cached features of a frozen front-end, with steps fixed beforehand: no dev data choose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spoofcheck.training.batches import Batch
from spoofcheck.training.cached import CachedBatches
from spoofcheck.training.module import share_of_peak
from spoofcheck.training.objectives import detection_loss
from spoofcheck.training.progress import Steps
from spoofcheck.training.recipe import FoldsTraining


def fit_head(
    back_end: nn.Module, cached: Sequence[Batch], rule: FoldsTraining, seed: int, steps: Steps, description: str
) -> nn.Module:
    """Train a back-end on cached features and return its moving average, in eval mode.

    Args:
        back_end: logits `[B, 2]` of features `[B, C, T]`; it is trained in place.
        cached: batches, each met `rule.passes` times in an order of its own.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    batches = CachedBatches(cached, seed)
    total = rule.passes * len(cached)
    optimiser = torch.optim.AdamW(back_end.parameters(), lr=rule.rate, weight_decay=rule.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: share_of_peak(step, rule.warmup_steps, total))
    average = AveragedModel(back_end, multi_avg_fn=get_ema_multi_avg_fn(rule.ema_decay))  # type: ignore[no-untyped-call]
    back_end.train()
    bf16 = rule.precision == "bf16-mixed"
    for step in steps.over(range(total), description, total):
        batch = mixed_up(batches[step], rule.mixup, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = back_end(batch.inputs)
        loss = detection_loss(logits.float(), batch, rule.label_smoothing, rule.pair_weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(back_end.parameters(), rule.gradient_clip)
        optimiser.step()
        schedule.step()
        average.update_parameters(back_end)
    trained: nn.Module = average.module
    return trained.eval()


def mixed_up(batch: Batch, alpha: float, rng: np.random.Generator) -> Batch:
    """Blend every window's features with another's of its class (mixup within class, Zhang et al. 2018).

    Args:
        alpha: of the Beta distribution the share is drawn from; 0 blends nothing.
    """
    if alpha == 0:
        return batch
    partner = torch.arange(len(batch.labels))
    for label in (0, 1):
        members = torch.nonzero(batch.labels == label)[:, 0]
        partner[members] = members[torch.from_numpy(rng.permutation(len(members)))]
    shares = rng.beta(alpha, alpha, len(batch.labels)).astype(np.float32)
    share = torch.from_numpy(np.maximum(shares, 1 - shares))[:, None, None]
    inputs: Tensor = batch.inputs * share + batch.inputs[partner] * (1 - share)
    return Batch(inputs, batch.labels, batch.pairs)
