"""A linear readout of a feature map's statistics: the smallest back-end, and the hardest to fool itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spoofcheck.nets.gate import pool_features


class StatisticsReadout(nn.Module):
    """Mean and deviation over time of every channel, standardised, and a weight for each.

    Shape: `[B, channels, T]` -> logits `[B, 2]`, in the order (spoof, bonafide): `(raw / 2, -raw / 2)`, where `raw` is
    the weighted sum. Any `T >= 1`. Fitted by `spoofcheck.training.readout`; fresh, it answers zero.

    Args:
        channels: feature channels of the front-end.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, channels: int = 1024) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("mean", torch.zeros(2 * channels))
        self.register_buffer("spread", torch.ones(2 * channels))
        self.weight = nn.Parameter(torch.zeros(2 * channels))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """Shape: `[B, channels, T]` -> `[B, 2]`. Computed in float32 even under autocast."""
        if features.ndim != 3 or features.shape[1] != self.channels:
            raise ValueError(f"expected [B, {self.channels}, T], got {list(features.shape)}")
        return self.judge_pooled(pool_features(features))

    def judge_pooled(self, pooled: Tensor) -> Tensor:
        """Shape: what `pool_features` gives, `[B, 2 channels]` -> `[B, 2]`."""
        with torch.autocast(pooled.device.type, enabled=False):
            rows = (pooled.float() - self.mean) / self.spread
            half = (rows @ self.weight + self.bias) / 2
        return torch.stack((half, -half), dim=1)

    def check(self) -> None:
        """Make sure that finite features give finite logits.

        Raises:
            ValueError: a spread that is not positive.
        """
        if not bool((self.spread > 0).all()):
            raise ValueError("the readout's spread must be positive")
