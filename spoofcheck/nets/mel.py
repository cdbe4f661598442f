"""The log-mel front-end: one channel per mel band."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn

from spoofcheck.nets.stem import peak_normalise
from spoofcheck.types import SAMPLE_RATE_HZ

_POWER_FLOOR = 1e-6


class MelSpectrogram(nn.Module):
    """Natural-log mel power of the peak-normalised waveform.

    Shape: float32 waveform `[B, N]` at 16 kHz -> float32 `[B, bands, N // hop_samples]`; 64,000 samples give
    `[B, 128, 250]` with the default arguments. Computed in float32 even under autocast; no parameters.

    Args:
        bands: mel bands (Slaney's scale and normalisation) from 0 to 8 kHz, and output channels.
        fft_samples: STFT length and Hann window.
        hop_samples: STFT hop.

    Raises:
        ValueError: the hop is longer than the window, or a band so narrow that no frequency bin falls into it.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, bands: int = 128, fft_samples: int = 1024, hop_samples: int = 256) -> None:
        super().__init__()
        if hop_samples > fft_samples:
            raise ValueError(f"a hop of {hop_samples} samples is longer than the window of {fft_samples}")
        self.out_channels = bands
        self.fft_samples = fft_samples
        self.hop_samples = hop_samples
        # Explicit: torchaudio reads values of what it makes, which a module built on the meta device hasn't got.
        with torch.device("cpu"):
            filters = torchaudio.functional.melscale_fbanks(
                n_freqs=fft_samples // 2 + 1,
                f_min=0.0,
                f_max=SAMPLE_RATE_HZ / 2,
                n_mels=bands,
                sample_rate=SAMPLE_RATE_HZ,
                norm="slaney",
                mel_scale="slaney",
            )
        if not filters.any(dim=0).all():
            raise ValueError(f"{fft_samples} FFT samples are too few for {bands} mel bands: some hold no frequency bin")
        self.register_buffer("filters", filters.T.contiguous(), persistent=False)
        self.register_buffer("window", torch.hann_window(fft_samples), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Shape: `[B, N]` -> `[B, bands, N // hop_samples]`."""
        pad = self.fft_samples - self.hop_samples
        with torch.autocast(waveform.device.type, enabled=False):
            level = peak_normalise(waveform.float()).unsqueeze(1)
            padded = F.pad(level, (pad // 2, pad - pad // 2), mode="reflect").squeeze(1)
            spectrum = torch.stft(
                padded, self.fft_samples, self.hop_samples, window=self.window, center=False, return_complex=True
            )
            power = torch.view_as_real(spectrum).square().sum(dim=-1)
            return (self.filters @ power).clamp(min=_POWER_FLOOR).log()
