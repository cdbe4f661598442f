"""The complex-spectrum convolutional stem: magnitude and phase, as DistillMOS reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PEAK_FLOOR = 1e-8
_POWER_FLOOR = 1e-24
_KERNEL = 3
LEAK = 0.1
"""Slope of the activations below zero."""


class SpectralStem(nn.Module):
    """Compressed complex spectrogram and a stack of 2-D convolutions.

    Shape: float32 waveform `[B, N]` at 16 kHz -> `[B, out_channels, ceil((N // hop_samples) / 2)]`;
    64,000 samples give `[B, 1024, 200]` with the default arguments.

    Each convolution is 3x3 and padded in time only; all but the first halve the frequency axis and the last
    halves time. Frequency rows that remain are flattened into channels (channel-major), giving
    `out_channels`. Trained weights: DistillMOS (Stahl & Gamper 2025, MIT); see `spoofcheck.nets.pretrained`.

    Args:
        channels: output channels of each convolution.
        fft_samples: STFT length and Hann window.
        hop_samples: STFT hop.
        compression: exponent of the magnitude; the phase is kept.

    Raises:
        ValueError: when a convolution would have no frequency row left.
    """

    window: Tensor

    def __init__(
        self,
        channels: Sequence[int] = (64, 64, 128, 256, 256, 256),
        fft_samples: int = 320,
        hop_samples: int = 160,
        compression: float = 0.3,
    ) -> None:
        super().__init__()
        self.fft_samples = fft_samples
        self.hop_samples = hop_samples
        self.compression = compression
        rows = fft_samples // 2 + 1
        layers: list[nn.Module] = []
        previous = 2
        for index, width in enumerate(channels):
            frequency_stride = 1 if index == 0 else 2
            time_stride = 2 if index == len(channels) - 1 else 1
            if rows < _KERNEL:
                raise ValueError(f"{fft_samples} FFT samples leave no frequency row for convolution {index + 1}")
            rows = (rows - _KERNEL) // frequency_stride + 1
            layers += [
                nn.Conv2d(previous, width, _KERNEL, stride=(frequency_stride, time_stride), padding=(0, 1)),
                nn.LeakyReLU(LEAK, inplace=True),  # a copy of the maps cost an eighth of the time
            ]
            previous = width
        self.cnn = nn.Sequential(*layers)
        self.cnn.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.out_channels = previous * rows
        # Where shapes alone are wanted (`torch.device("meta")`), torch loads 100 MB of symbolic algebra for a window.
        self.register_buffer("window", torch.hann_window(fft_samples, device="cpu"), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Shape: `[B, N]` -> `[B, out_channels, T]`. The spectrum is float32 even under autocast."""
        # Measured on CPU: channels-last convolutions run 1.3 times as fast in float32, 4 times in bfloat16.
        maps = self.cnn(self.spectrum(waveform).contiguous(memory_format=torch.channels_last))
        return cast(Tensor, maps.flatten(1, 2))

    def spectrum(self, waveform: Tensor) -> Tensor:
        """What the first convolution sees, in float32. Shape: `[B, N]` -> `[B, 2, fft_samples / 2 + 1, frames]`."""
        with torch.autocast(waveform.device.type, enabled=False):
            return compressed_spectrum(
                peak_normalise(waveform.float()),
                self.window,
                hop_samples=self.hop_samples,
                compression=self.compression,
            )

    def stages(self) -> list[nn.Module]:
        """The convolutions, from the input upwards."""
        return [layer for layer in self.cnn if isinstance(layer, nn.Conv2d)]


def peak_normalise(waveform: Tensor) -> Tensor:
    """Divide each waveform by its largest magnitude; silence stays silence.

    Shape: `[B, N]` -> `[B, N]`.
    """
    return waveform / (waveform.abs().amax(dim=-1, keepdim=True) + _PEAK_FLOOR)


def compressed_spectrum(waveform: Tensor, window: Tensor, *, hop_samples: int, compression: float) -> Tensor:
    """Short-time spectrum with magnitudes raised to `compression` and phases kept.

    Shape: `[B, N]` -> `[B, 2, fft_samples / 2 + 1, N // hop_samples]`: real and imaginary part, frequency,
    frame. Both ends are padded by reflection with half of what a window extends over its hop.
    """
    pad = (len(window) - hop_samples) // 2
    padded = F.pad(waveform.unsqueeze(1), (pad, pad), mode="reflect").squeeze(1)
    spectrum = torch.stft(padded, len(window), hop_length=hop_samples, window=window, center=False, return_complex=True)
    return scaled_spectrum(torch.view_as_real(spectrum).permute(0, 3, 1, 2), compression)


def scaled_spectrum(parts: Tensor, compression: float) -> Tensor:
    """Magnitudes raised to `compression`, phases kept. Shape: `[B, 2, bins, frames]` to the same.

    The scale `|X|^(c-1)` is taken from a floored power, not from a square root, so that its gradient at an
    empty bin is zero, never NaN.
    """
    power = parts.square().sum(dim=1, keepdim=True).clamp(min=_POWER_FLOOR)
    return parts * power.pow((compression - 1) / 2)
