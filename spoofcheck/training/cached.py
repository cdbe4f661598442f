"""Features of a frozen front-end, computed once and met again every epoch: minutes instead of hours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from spoofcheck.training.batches import Batch


def feature_batches(front_end: nn.Module, batches: Iterable[Batch], *, device: torch.device, bf16: bool) -> list[Batch]:
    """Run a front-end over batches; their inputs become features `[B, C, T]` in bfloat16, to halve the memory."""
    front_end.to(device).eval()
    cached = []
    for batch in batches:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            features = front_end(batch.inputs.to(device)).to("cpu", torch.bfloat16)
        cached.append(Batch(features, batch.labels, batch.pairs))
    return cached


class CachedBatches(Dataset[Batch]):
    """Item `step` is a cached batch: all of them once, in an order of their own, before any comes again."""

    def __init__(self, cached: Sequence[Batch], seed: int) -> None:
        self.cached = cached
        self.seed = seed

    def __getitem__(self, step: int) -> Batch:
        turn, place = divmod(step, len(self.cached))
        order = np.random.default_rng([self.seed, turn]).permutation(len(self.cached))
        batch = self.cached[int(order[place])]
        return Batch(batch.inputs.float(), batch.labels, batch.pairs)
