"""A tracer is a front-end and a head: which of the systems it knows made a recording?"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from spoofcheck.nets.config import (
    AnyFrontEndConfig,
    AnyHeadConfig,
    LayerAttentionConfig,
    PooledEmbeddingConfig,
)
from spoofcheck.nets.embedding import StatisticsEmbedding
from spoofcheck.nets.frontends import build_front_end
from spoofcheck.nets.nes2net import AttentiveStatisticsPooling


class Tracer(nn.Module):
    """Shape: float32 waveform `[B, N]` at 16 kHz -> logits `[B, classes]`, in the order of the configuration."""

    def __init__(self, front_end: nn.Module, head: Head) -> None:
        super().__init__()
        self.front_end = front_end
        self.head = head

    def forward(self, waveform: Tensor) -> Tensor:
        """Shape: `[B, N]` -> `[B, classes]`."""
        return self.classify(self.embed(waveform))

    def embed(self, waveform: Tensor) -> Tensor:
        """What the last layer sees, for maps and metric learning. Shape: `[B, N]` -> `[B, D]`."""
        return self.head.embed(self.front_end(waveform))

    def classify(self, embedding: Tensor) -> Tensor:
        """Shape: `[B, D]` -> `[B, classes]`."""
        return self.head.classify(embedding)


class LayerAttention(nn.Module):
    """The published tracer's head ("MultiAPI Spoof", arXiv 2512.07352, as its code has it).

    Self-attention over all positions, their mean, two linear layers, SELU after each (the logits included).

    Shape: `[B, channels, T]` -> logits `[B, classes]`, where the positions are those of all layers, one after another.

    Args:
        channels: of the front-end.
        heads: of the attention.
        hidden: size D of the embedding.
        classes: systems told apart.

    Raises:
        ValueError: when the heads do not divide the channels.
    """

    def __init__(self, channels: int = 1024, heads: int = 4, hidden: int = 128, *, classes: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels do not divide among {heads} attention heads")
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.hidden = nn.Linear(channels, hidden)
        self.fc = nn.Linear(hidden, classes)
        self.activation = nn.SELU()

    def forward(self, features: Tensor) -> Tensor:
        """Shape: `[B, channels, T]` -> `[B, classes]`."""
        return self.classify(self.embed(features))

    def embed(self, features: Tensor) -> Tensor:
        """Shape: `[B, channels, T]` -> `[B, hidden]`."""
        positions = features.transpose(1, 2)
        # Without weights: they are quadratic in the 24 * 199 positions of the published geometry.
        attended, _ = self.attention(positions, positions, positions, need_weights=False)
        return cast(Tensor, self.activation(self.hidden(attended.mean(dim=1))))

    def classify(self, embedding: Tensor) -> Tensor:
        """Shape: `[B, hidden]` -> `[B, classes]`."""
        return cast(Tensor, self.activation(self.fc(embedding)))


class PooledEmbedding(nn.Module):
    """Attentive statistics over time, a linear embedding, a linear classifier.

    Shape: `[B, channels, T]` -> logits `[B, classes]`. Any `T >= 1`.

    Args:
        channels: of the front-end.
        bottleneck: inner width of the pooling's attention.
        embedding: size D of the embedding.
        dropout: between embedding and classifier.
        classes: systems told apart.
    """

    def __init__(
        self,
        channels: int = 1024,
        bottleneck: int = 128,
        embedding: int = 128,
        dropout: float = 0.2,
        *,
        classes: int,
    ) -> None:
        super().__init__()
        self.pooling = AttentiveStatisticsPooling(channels, bottleneck)
        self.embedding = nn.Linear(2 * channels, embedding)
        self.activation = nn.SELU()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(embedding, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Shape: `[B, channels, T]` -> `[B, classes]`."""
        return self.classify(self.embed(features))

    def embed(self, features: Tensor) -> Tensor:
        """Shape: `[B, channels, T]` -> `[B, embedding]`, before the dropout."""
        return cast(Tensor, self.activation(self.embedding(self.pooling(features))))

    def classify(self, embedding: Tensor) -> Tensor:
        """Shape: `[B, embedding]` -> `[B, classes]`."""
        return cast(Tensor, self.fc(self.dropout(embedding)))


Head = LayerAttention | PooledEmbedding | StatisticsEmbedding


def build_tracer(front_end: AnyFrontEndConfig, head: AnyHeadConfig, classes: int) -> Tracer:
    """The tracer two configurations describe, with fresh weights, in training mode.

    Raises:
        ValueError: when the arguments contradict each other or the channel counts differ.
    """
    features = build_front_end(front_end)
    if features.out_channels != head.channels:
        raise ValueError(f"the front-end gives {features.out_channels} channels, the head takes {head.channels}")
    return Tracer(features, build_head(head, classes))


def build_head(config: AnyHeadConfig, classes: int) -> Head:
    """The head a configuration describes, with fresh weights.

    Raises:
        ValueError: when the arguments contradict each other.
    """
    arguments = config.model_dump(exclude={"kind"})
    if isinstance(config, LayerAttentionConfig):
        return LayerAttention(**arguments, classes=classes)
    if isinstance(config, PooledEmbeddingConfig):
        return PooledEmbedding(**arguments, classes=classes)
    return StatisticsEmbedding(**arguments, classes=classes)
