"""A plain convolutional network on a log-mel spectrogram: the simple opponent of the larger detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from spoofcheck.nets.nes2net import CLASSES


class MelCnn(nn.Module):
    """3x3 convolutions over bands and frames, each halving both, then the mean over all that is left.

    Shape: `[B, channels, T]` -> logits `[B, 2]`, in the order (spoof, bonafide). Any `T >= 1`. 0.39 M parameters with
    the default arguments.

    Args:
        channels: bands of the spectrogram.
        widths: output channels of each convolution.
        dropout: before the last layer.
    """

    def __init__(self, channels: int = 128, widths: Sequence[int] = (32, 64, 128, 256), dropout: float = 0.2) -> None:
        super().__init__()
        self.channels = channels
        layers: list[nn.Module] = [nn.BatchNorm2d(1)]
        previous = 1
        for width in widths:
            layers += [
                nn.Conv2d(previous, width, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
            previous = width
        self.cnn = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(previous, CLASSES)

    def forward(self, features: Tensor) -> Tensor:
        """Shape: `[B, channels, T]` -> `[B, 2]`."""
        if features.ndim != 3 or features.shape[1] != self.channels:
            raise ValueError(f"expected [B, {self.channels}, T], got {list(features.shape)}")
        maps = self.cnn(features.unsqueeze(1))
        return cast(Tensor, self.fc(self.dropout(maps.mean(dim=(-2, -1)))))
