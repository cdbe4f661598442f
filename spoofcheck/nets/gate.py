"""The validity gate: how far a window's features lie from the data the model was calibrated on."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """Distance of features to the calibration data; buffers only, fitted by `spoofcheck.training.gate`.

    Features are pooled to mean and deviation over time, standardised, and split into their part along `components`
    principal directions, whitened, and the rest. The distance is the root of the mean of two terms, each 1 on average
    over the calibration data: the mean square of the whitened part, and the square of the rest's norm. It says how
    unusual an input is, not whether the model is right about it.

    Args:
        components: principal directions.
        features: pooled features `D`, twice the front-end's channels.
    """

    mean: Tensor
    spread: Tensor
    basis: Tensor
    scale: Tensor
    rest_scale: Tensor

    def __init__(self, components: int, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.register_buffer("basis", torch.zeros(components, features))
        self.register_buffer("scale", torch.ones(components))
        self.register_buffer("rest_scale", torch.ones(1))

    def forward(self, features: Tensor) -> Tensor:
        """Shape: features `[B, C, T]` -> float64 distances `[B]`, where the features are; on the CPU for MPS."""
        return self.distance(pool_features(features))

    def distance(self, pooled: Tensor) -> Tensor:
        """Shape: pooled features `[B, D]` -> float64 distances `[B]`, where the features are; on the CPU for MPS."""
        # MPS has no float64; the product is a small one.
        home = torch.device("cpu") if pooled.device.type == "mps" else pooled.device

        def exact(value: Tensor) -> Tensor:
            return value.to(home).double()

        rows = (exact(pooled) - exact(self.mean)) / exact(self.spread)
        basis = exact(self.basis)
        along = rows @ basis.T
        rest = rows - along @ basis
        inside = (along / exact(self.scale)).square().mean(dim=1)
        outside = rest.square().sum(dim=1) / exact(self.rest_scale).square()
        return ((inside + outside) / 2).sqrt()

    def check(self) -> None:
        """Make sure that every distance is a number.

        Raises:
            ValueError: a scale that is not positive.
        """
        for name in ("spread", "scale", "rest_scale"):
            if not bool((getattr(self, name) > 0).all()):
                raise ValueError(f"the gate's {name} must be positive")


def pool_features(features: Tensor) -> Tensor:
    """Mean and deviation over time. Shape: `[B, C, T]` -> float32 `[B, 2 C]`, whatever autocast says."""
    with torch.autocast(features.device.type, enabled=False):
        frames = features.float()
        return torch.cat((frames.mean(dim=-1), frames.std(dim=-1, correction=0)), dim=1)
