"""The 34 statistics of a voice that detection services in the field compute with librosa, as a front-end."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spoofcheck.audio.compiled import first_call_alone
from spoofcheck.types import SAMPLE_RATE_HZ

_MFCCS = 13
_SOUNDING_SHARE = 0.1
"""Frames with less than this share of the loudest frame's RMS have no pitch worth averaging."""

STATISTICS = (
    *(f"mfcc_{i}_mean" for i in range(1, _MFCCS + 1)),
    *(f"mfcc_{i}_deviation" for i in range(1, _MFCCS + 1)),
    "zero_crossing_rate",
    "rms",
    "centroid_hz",
    "bandwidth_hz",
    "rolloff_hz",
    "contrast_db",
    "pitch_mean_hz",
    "pitch_deviation_hz",
)
"""What each of the 34 channels holds."""


class VoiceStatistics(nn.Module):
    """Statistics over the whole window, one row per waveform.

    Shape: float32 waveform `[B, N]` at 16 kHz -> float32 `[B, 34, 1]`, in the order of `STATISTICS`, on the waveform's
    device. Computed on the CPU, each waveform for itself: a result does not depend on the batch. No gradient, no
    parameters. The waveform enters as it is: `rms` is its level.

    Args:
        fft_samples: frame length of all measurements.
        hop_samples: distance between frames.
        pitch_low_hz: lowest pitch looked for.
        pitch_high_hz: highest.

    Raises:
        ValueError: the pitch range is empty, or a frame holds less than two periods of the lowest pitch.
    """

    stays_on_cpu: ClassVar[bool] = True

    def __init__(
        self,
        fft_samples: int = 2048,
        hop_samples: int = 512,
        pitch_low_hz: float = 65.0,
        pitch_high_hz: float = 500.0,
    ) -> None:
        super().__init__()
        if pitch_low_hz >= pitch_high_hz:
            raise ValueError(f"the pitch range from {pitch_low_hz:g} to {pitch_high_hz:g} Hz is empty")
        if 2 * SAMPLE_RATE_HZ / pitch_low_hz > fft_samples:
            raise ValueError(f"{fft_samples} samples hold less than two periods of {pitch_low_hz:g} Hz")
        self.out_channels = len(STATISTICS)
        self.fft_samples = fft_samples
        self.hop_samples = hop_samples
        self.pitch_low_hz = pitch_low_hz
        self.pitch_high_hz = pitch_high_hz

    def forward(self, waveform: Tensor) -> Tensor:
        """Shape: `[B, N]` -> `[B, 34, 1]`."""
        rows = [
            voice_statistics(
                samples,
                fft_samples=self.fft_samples,
                hop_samples=self.hop_samples,
                pitch_low_hz=self.pitch_low_hz,
                pitch_high_hz=self.pitch_high_hz,
            )
            for samples in waveform.detach().float().cpu().numpy()
        ]
        return torch.from_numpy(np.stack(rows)).unsqueeze(-1).to(waveform.device)


@first_call_alone
def voice_statistics(
    samples: NDArray[np.float32],
    *,
    fft_samples: int = 2048,
    hop_samples: int = 512,
    pitch_low_hz: float = 65.0,
    pitch_high_hz: float = 500.0,
) -> NDArray[np.float32]:
    """The 34 `STATISTICS` of one waveform, always finite; silence has a pitch of 0 Hz.

    Means and deviations are over frames. The contrast is the mean of librosa's seven octave bands; the pitch is YIN's,
    over the frames that sound.

    Shape: float32 `[N]` at 16 kHz -> float32 `[34]`.
    """
    # librosa compiles code when it is imported, and few models need it.
    import librosa

    # librosa refuses what is not finite; a decoder never gives it, a caller of this function might.
    samples = np.nan_to_num(np.asarray(samples, dtype=np.float32), posinf=1.0, neginf=-1.0)
    if len(samples) < fft_samples:
        samples = np.pad(samples, (0, fft_samples - len(samples)))
    rate, frame, hop = SAMPLE_RATE_HZ, fft_samples, hop_samples
    spectrum = np.abs(librosa.stft(samples, n_fft=frame, hop_length=hop))
    mel = librosa.feature.melspectrogram(S=spectrum**2, sr=rate, n_fft=frame)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=_MFCCS)
    rms = librosa.feature.rms(y=samples, frame_length=frame, hop_length=hop)[0]
    pitch_hz = librosa.yin(samples, fmin=pitch_low_hz, fmax=pitch_high_hz, sr=rate, frame_length=frame, hop_length=hop)
    sounding = pitch_hz[(rms > 0) & (rms >= _SOUNDING_SHARE * rms.max())]
    values = [
        *mfcc.mean(axis=1),
        *mfcc.std(axis=1),
        librosa.feature.zero_crossing_rate(samples, frame_length=frame, hop_length=hop).mean(),
        rms.mean(),
        librosa.feature.spectral_centroid(S=spectrum, sr=rate).mean(),
        librosa.feature.spectral_bandwidth(S=spectrum, sr=rate).mean(),
        librosa.feature.spectral_rolloff(S=spectrum, sr=rate).mean(),
        librosa.feature.spectral_contrast(S=spectrum, sr=rate).mean(),
        sounding.mean() if len(sounding) else 0.0,
        sounding.std() if len(sounding) else 0.0,
    ]
    return np.nan_to_num(np.array(values, dtype=np.float32))
