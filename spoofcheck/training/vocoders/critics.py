"""Discriminators and spectral losses that generators are trained against."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from spoofcheck.training.vocoders.generators import SLOPE

_RESOLUTIONS = ((1024, 256), (512, 128), (256, 64))
_PERIODS = (2, 3, 5, 7)


class Critics(nn.Module):
    """Small multi-period discriminators (HiFi-GAN) and one over the whole waveform (MelGAN).

    Shape: `[B, N]` -> for every discriminator the maps of its layers, the last one being its verdict.
    """

    def __init__(self) -> None:
        super().__init__()
        self.periods = nn.ModuleList([_PeriodCritic() for _ in _PERIODS])
        self.scale = nn.ModuleList(
            [
                weight_norm(nn.Conv1d(1, 16, 15, 2, padding=7)),
                weight_norm(nn.Conv1d(16, 32, 21, 4, padding=10, groups=4)),
                weight_norm(nn.Conv1d(32, 64, 21, 4, padding=10, groups=8)),
                weight_norm(nn.Conv1d(64, 1, 5, padding=2)),
            ]
        )

    def forward(self, wave: Tensor) -> list[list[Tensor]]:
        """Shape: see the class."""
        found = [critic(wave, period) for critic, period in zip(self.periods, _PERIODS, strict=True)]
        return [*found, _through(self.scale, wave[:, None])]


class _PeriodCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = (1, 12, 24, 48)
        self.layers = nn.ModuleList(
            [weight_norm(nn.Conv2d(i, o, (5, 1), (3, 1), padding=(2, 0))) for i, o in pairwise(widths)]
            + [weight_norm(nn.Conv2d(48, 1, (3, 1), padding=(1, 0)))]
        )

    def forward(self, wave: Tensor, period: int) -> list[Tensor]:
        whole = wave[:, : wave.shape[1] // period * period]
        return _through(self.layers, whole.reshape(len(wave), 1, -1, period))


def _through(layers: nn.ModuleList, hidden: Tensor) -> list[Tensor]:
    maps = []
    for index, layer in enumerate(layers):
        hidden = layer(hidden)
        if index < len(layers) - 1:
            hidden = F.leaky_relu(hidden, SLOPE)
        maps.append(hidden)
    return maps


def critics_loss(real: list[list[Tensor]], made: list[list[Tensor]]) -> Tensor:
    """Least-squares loss of the discriminators."""
    return torch.stack(
        [((r[-1] - 1) ** 2).mean() + (m[-1] ** 2).mean() for r, m in zip(real, made, strict=True)]
    ).mean()


def fooling_loss(real: list[list[Tensor]], made: list[list[Tensor]]) -> Tensor:
    """Least-squares loss of a generator, with the distance of the discriminators' inner maps at weight 2."""
    fooled = torch.stack([((m[-1] - 1) ** 2).mean() for m in made]).mean()
    matched = torch.stack(
        [F.l1_loss(b, a.detach()) for r, m in zip(real, made, strict=True) for a, b in zip(r[:-1], m[:-1], strict=True)]
    ).mean()
    return fooled + 2 * matched


def spectral_loss(real: Tensor, made: Tensor) -> Tensor:
    """Spectral convergence and log-magnitude distance at three resolutions (Yamamoto et al. 2020)."""
    total = real.new_zeros(())
    for n_fft, hop in _RESOLUTIONS:
        window = torch.hann_window(n_fft)
        a, b = (
            torch.stft(w, n_fft, hop, window=window, return_complex=True).abs().clamp_min(1e-5) for w in (real, made)
        )
        total = total + torch.linalg.norm(a - b) / torch.linalg.norm(a) + F.l1_loss(b.log(), a.log())
    return total / len(_RESOLUTIONS)
