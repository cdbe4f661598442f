"""Training the back-end alone on features the front-end gave once: minutes instead of hours, and a safe start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from spoofcheck.training.batches import Batch


def feature_batches(front_end: nn.Module, batches: Iterable[Batch], *, bf16: bool) -> list[Batch]:
    """Run the front-end over batches; their `waves` become features `[B, C, T]` in bfloat16, to halve the memory."""
    front_end.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        features = [Batch(front_end(batch.waves).to(torch.bfloat16), batch.labels, batch.pairs) for batch in batches]
    # Tensors made in inference mode cannot enter autograd.
    return [Batch(batch.waves.clone(), batch.labels, batch.pairs) for batch in features]


def shuffled(cached: Sequence[Batch], together: int, steps: int, seed: int) -> Iterator[Batch]:
    """`steps` batches, each `together` cached ones joined, in a new order every epoch."""
    given, epoch = 0, 0
    while given < steps:
        order = np.random.default_rng([seed, epoch]).permutation(len(cached))
        for start in range(0, len(order) - together + 1, together):
            yield join([cached[index] for index in order[start : start + together]])
            given += 1
            if given == steps:
                return
        epoch += 1


def join(parts: Sequence[Batch]) -> Batch:
    """One batch of several; pairs keep pointing at their sources."""
    pairs, offset = [], 0
    for part in parts:
        pairs.append(torch.where(part.pairs >= 0, part.pairs + offset, part.pairs))
        offset += len(part.labels)
    return Batch(
        torch.cat([part.waves for part in parts]).float(), torch.cat([part.labels for part in parts]), torch.cat(pairs)
    )
