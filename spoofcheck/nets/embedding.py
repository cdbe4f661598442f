"""A tracer's head that places a recording on a sphere: sources are unit vectors, likeness is the cosine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from spoofcheck.nets.gate import pool_features

_UNIT_TOLERANCE = 1e-3


class StatisticsEmbedding(nn.Module):
    """Mean and deviation over time of every channel, standardised, projected and normalised to unit length.

    A class is a unit prototype among the embeddings, so that another source is added by its prototype alone. Fitted by
    `spoofcheck.training.embedding`; fresh, projection and prototypes are random.

    Shape: `[B, channels, T]` -> logits `[B, classes]`, the cosines to the prototypes times the scale. Any `T >= 1`.

    Args:
        channels: of the front-end, C.
        embedding: size D of the embedding.
        scale: what a cosine is multiplied by to become a logit.
        classes: systems told apart.
    """

    mean: Tensor
    spread: Tensor
    prototypes: Tensor

    def __init__(self, channels: int = 1024, embedding: int = 64, scale: float = 16.0, *, classes: int) -> None:
        super().__init__()
        self.channels = channels
        self.scale = scale
        self.register_buffer("mean", torch.zeros(2 * channels))
        self.register_buffer("spread", torch.ones(2 * channels))
        self.projection = nn.Linear(2 * channels, embedding)
        prototypes = torch.empty(classes, embedding)
        if not prototypes.is_meta:  # a sketch has no values, and random ones would load 100 MB of symbolic algebra
            prototypes = functional.normalize(prototypes.normal_(), dim=1)
        self.register_buffer("prototypes", prototypes)

    def forward(self, features: Tensor) -> Tensor:
        """Shape: `[B, channels, T]` -> `[B, classes]`."""
        return self.classify(self.embed(features))

    def embed(self, features: Tensor) -> Tensor:
        """Shape: `[B, channels, T]` -> unit rows `[B, embedding]`. Computed in float32 even under autocast."""
        if features.ndim != 3 or features.shape[1] != self.channels:
            raise ValueError(f"expected [B, {self.channels}, T], got {list(features.shape)}")
        return self.embed_pooled(pool_features(features))

    def embed_pooled(self, pooled: Tensor) -> Tensor:
        """Shape: what `pool_features` gives, `[B, 2 channels]` -> unit rows `[B, embedding]`."""
        with torch.autocast(pooled.device.type, enabled=False):
            return functional.normalize(self.projection((pooled.float() - self.mean) / self.spread), dim=1)

    def classify(self, embedding: Tensor) -> Tensor:
        """Shape: unit rows `[B, embedding]` -> `[B, classes]`."""
        with torch.autocast(embedding.device.type, enabled=False):
            return self.scale * embedding.float() @ self.prototypes.T

    def check(self) -> None:
        """Make sure that finite features give finite embeddings and that logits are cosines times the scale.

        Raises:
            ValueError: a spread that is not a positive number, or a prototype that has not unit length.
        """
        if not bool((self.spread.isfinite() & (self.spread > 0)).all()):
            raise ValueError("the embedding's spread must be positive")
        if not bool(((self.prototypes.norm(dim=1) - 1).abs() < _UNIT_TOLERANCE).all()):
            raise ValueError("the embedding's prototypes must have unit length")
