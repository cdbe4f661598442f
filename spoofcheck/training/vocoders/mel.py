"""Log-mel spectrograms that vocoders are conditioned on and compared by."""

from __future__ import annotations

from functools import cache
from typing import Any

import librosa
import torch
from torch import Tensor
from torch.nn import functional as F

from spoofcheck.types import SAMPLE_RATE_HZ


def log_mel(wave: Tensor, bands: int, n_fft: int, hop: int, fmax_hz: float) -> Tensor:
    """Waveform `[B, N]` at 16 kHz -> natural log of mels `[B, bands, N // hop]`, frame k beginning at `k * hop`."""
    padded = F.pad(wave[:, None], ((n_fft - hop) // 2, (n_fft - hop) - (n_fft - hop) // 2), mode="reflect")[:, 0]
    window = torch.hann_window(n_fft)
    magnitude = torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True).abs()
    return torch.log(torch.clamp(_filters(bands, n_fft, fmax_hz) @ magnitude, min=1e-5))


@cache
def _filters(bands: int, n_fft: int, fmax_hz: float) -> Tensor:
    made: Any = librosa.filters.mel(sr=SAMPLE_RATE_HZ, n_fft=n_fft, n_mels=bands, fmin=0, fmax=fmax_hz)
    with torch.inference_mode(False):  # a cached tensor must serve training as well, whoever asked first
        return torch.from_numpy(made)
