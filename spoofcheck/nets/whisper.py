"""The Whisper front-end: chosen layers of a Whisper encoder on short windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torchaudio
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

_SAMPLE_RATE_HZ = 16_000
_FFT_SAMPLES = 400
_HOP_SAMPLES = 160
_FRAMES_PER_POSITION = 2


class WhisperFeatures(nn.Module):
    """Hidden states of a Whisper encoder whose position table is cut to the window.

    Shape: float32 waveform `[B, N]` at 16 kHz -> `[B, out_channels, positions]`, one frame per 20 ms, where
    `N` fills exactly `positions` frames (64,000 to 64,159 samples for 200). The encoder is only as deep as
    the highest layer used, and its final normalisation is left out: each layer's output is taken as it is.

    Args:
        width: of the encoder.
        heads: attention heads.
        feed_forward_size: inner width of a layer's feed-forward part.
        mel_bands: of the log-mel spectrogram.
        positions: rows of the position table; a pretrained table is cut to its first rows.
        use_layers: which layers' outputs to take, the first being 1.
        combine: `"mean"` of the chosen layers, or `"concat"` on the channel axis.
        dropout: in training.

    Raises:
        ValueError: layers repeated.
    """

    def __init__(
        self,
        width: int = 512,
        heads: int = 8,
        feed_forward_size: int = 2048,
        mel_bands: int = 80,
        positions: int = 200,
        use_layers: Sequence[int] = (1, 2, 3),
        combine: Literal["mean", "concat"] = "mean",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(set(use_layers)) != len(use_layers):
            raise ValueError(f"use_layers repeats a layer: {list(use_layers)}")
        self.positions = positions
        self.use_layers = tuple(use_layers)
        self.combine = combine
        self.out_channels = width * (len(self.use_layers) if combine == "concat" else 1)
        self.log_mel = LogMel(mel_bands)
        self.encoder = WhisperEncoder(
            WhisperConfig(
                d_model=width,
                encoder_layers=max(self.use_layers),
                encoder_attention_heads=heads,
                encoder_ffn_dim=feed_forward_size,
                num_mel_bins=mel_bands,
                max_source_positions=positions,
                dropout=dropout,
            )
        )
        self.encoder.layer_norm = nn.Identity()  # type: ignore[assignment]

    def forward(self, waveform: Tensor) -> Tensor:
        """Shape: `[B, N]` -> `[B, out_channels, positions]`."""
        frames = waveform.shape[-1] // _HOP_SAMPLES
        if frames != self.positions * _FRAMES_PER_POSITION:
            raise ValueError(
                f"{waveform.shape[-1]} samples do not fill {self.positions} positions of "
                f"{_FRAMES_PER_POSITION * _HOP_SAMPLES} samples"
            )
        states = self.encoder(self.log_mel(waveform), output_hidden_states=True).hidden_states
        chosen = [states[layer] for layer in self.use_layers]
        joined = torch.cat(chosen, dim=-1) if self.combine == "concat" else torch.stack(chosen).mean(dim=0)
        return joined.transpose(1, 2)


class LogMel(nn.Module):
    """Whisper's log-mel spectrogram, with its range taken from the window itself.

    Shape: `[B, N]` -> float32 `[B, mel_bands, N // 160]`. Computed in float32 even under autocast.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, mel_bands: int) -> None:
        super().__init__()
        filters = torchaudio.functional.melscale_fbanks(
            n_freqs=_FFT_SAMPLES // 2 + 1,
            f_min=0.0,
            f_max=_SAMPLE_RATE_HZ / 2,
            n_mels=mel_bands,
            sample_rate=_SAMPLE_RATE_HZ,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("filters", filters.T.contiguous(), persistent=False)
        self.register_buffer("window", torch.hann_window(_FFT_SAMPLES), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Shape: `[B, N]` -> `[B, mel_bands, N // 160]`."""
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = torch.stft(waveform.float(), _FFT_SAMPLES, _HOP_SAMPLES, window=self.window, return_complex=True)
            power = torch.view_as_real(spectrum[..., :-1]).square().sum(dim=-1)
            levels = (self.filters @ power).clamp(min=1e-10).log10()
            loudest = levels.amax(dim=(-2, -1), keepdim=True)
            return (torch.maximum(levels, loudest - 8.0) + 4.0) / 4.0
