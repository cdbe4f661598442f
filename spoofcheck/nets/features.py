"""The 47 features of a voice that the ensemble's acoustic member judges, as a front-end."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spoofcheck.audio.compiled import first_call_alone
from spoofcheck.types import SAMPLE_RATE_HZ, samples_to_seconds

_MFCCS = 13
_MEL_BANDS = 40
_CONTRAST_BANDS = 5
"""Octaves from 200 Hz: the sixth would end above 8 kHz."""
_FFT = 512
_FRAME = 400
_HOP = 160
_SOUNDING_DB = 35.0
"""Frames this far below the loud ones (their 95th percentile) are pauses."""
_SILENT_DB = -120.0
"""Full scale is 0 dB. Nothing is measured of a window whose loudest frame is below this."""
_LEVEL = 0.1
_HARMONICITY_STEP_S = 0.04
_LEAST_SAMPLES = SAMPLE_RATE_HZ // 4
"""Praat measures intensity in windows of 128 ms."""

FEATURES = (
    *(f"mfcc_{i}_mean" for i in range(1, _MFCCS + 1)),
    *(f"mfcc_{i}_deviation" for i in range(1, _MFCCS + 1)),
    "centroid_hz",
    "centroid_deviation_hz",
    "bandwidth_hz",
    "rolloff_hz",
    "flatness",
    "contrast_db",
    "flux",
    "flux_deviation",
    "phase_coherence",
    "zero_crossing_rate",
    "zero_crossing_deviation",
    "rms_db",
    "rms_variance_db2",
    "sounding_share",
    "pitch_mean_hz",
    "pitch_deviation_semitones",
    "pitch_range_semitones",
    "jitter_percent",
    "shimmer_percent",
    "hnr_db",
    "tempo_per_s",
)
"""What each of the 47 channels holds."""


class VoiceFeatures(nn.Module):
    """Features of the whole window, one row per waveform.

    Shape: float32 waveform `[B, N]` at 16 kHz -> float32 `[B, 47, 1]`, in the order of `FEATURES`, on the waveform's
    device. Computed on the CPU, each waveform for itself: a result does not depend on the batch. No gradient, no
    parameters.
    """

    stays_on_cpu: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.out_channels = len(FEATURES)

    def forward(self, waveform: Tensor) -> Tensor:
        """Shape: `[B, N]` -> `[B, 47, 1]`."""
        rows = [voice_features(samples) for samples in waveform.detach().float().cpu().numpy()]
        return torch.from_numpy(np.stack(rows)).unsqueeze(-1).to(waveform.device)


def voice_features(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The 47 `FEATURES` of one waveform, always finite; what cannot be measured is 0.

    Spectral features are means and deviations over the frames that sound (25 ms every 10 ms, within 35 dB of the loud
    ones), of the waveform without its mean and brought to one level: gain changes `rms_db` alone. They are librosa's:
    13 MFCC of 40 mel bands, centroid, bandwidth, 85 % roll-off, flatness, contrast over octaves, zero crossings per
    sample. `flux` is the distance of the unit spectra of neighbouring frames, `phase_coherence` that of
    `audio.acoustics.spectrum`, `rms_variance_db2` the variance of the frames' level. Pitch mean, deviation and range
    (5th to 95th percentile), local jitter and shimmer, harmonics-to-noise ratio and tempo (syllable nuclei per sounding
    second) are Praat's, as `audio.acoustics.voice` measures them; with less than half a second of voice they are 0.

    Shape: float32 `[N]` at 16 kHz -> float32 `[47]`.
    """
    # librosa compiles code when it is imported, Praat is large, and few models need them.
    from spoofcheck.audio.acoustics.voice import VOICE_MEASURES, voice_measures

    wave = np.clip(np.nan_to_num(np.asarray(samples, dtype=np.float64), posinf=1.0, neginf=-1.0), -1e6, 1e6)
    wave = np.pad(wave, (0, max(0, _LEAST_SAMPLES - len(wave))))
    wave -= wave.mean()
    level_db = _frame_levels_db(wave)
    if level_db.max() < _SILENT_DB:
        return _row({"rms_db": _SILENT_DB})
    sounding = level_db > max(float(np.percentile(level_db, 95)) - _SOUNDING_DB, _SILENT_DB)
    mean_power = float(np.mean(10 ** (level_db[sounding] / 10)))
    levelled = wave * (_LEVEL / np.sqrt(mean_power))
    sounding_s = samples_to_seconds(int(sounding.sum()) * _HOP)
    voice = (
        dict.fromkeys(VOICE_MEASURES) if sounding_s == 0 else voice_measures(levelled, sounding_s, _HARMONICITY_STEP_S)
    )
    return _row(
        _spectral(levelled, sounding)
        | {
            "rms_db": 10 * np.log10(mean_power),
            "rms_variance_db2": float(np.var(level_db[sounding])),
            "sounding_share": float(sounding.mean()),
            "pitch_mean_hz": voice["pitch-mean"],
            "pitch_deviation_semitones": voice["pitch-deviation"],
            "pitch_range_semitones": voice["pitch-range"],
            "jitter_percent": voice["jitter"],
            "shimmer_percent": voice["shimmer"],
            "hnr_db": voice["hnr"],
            "tempo_per_s": voice["tempo"],
        }
    )


@first_call_alone
def _spectral(wave: NDArray[np.float64], sounding: NDArray[np.bool_]) -> dict[str, float | None]:
    import librosa

    from spoofcheck.audio.acoustics.spectrum import phase_coherence

    rate = SAMPLE_RATE_HZ
    stft = librosa.stft(wave, n_fft=_FFT, win_length=_FRAME, hop_length=_HOP)
    magnitude = np.abs(stft)
    heard = magnitude[:, sounding]
    mel = librosa.feature.melspectrogram(S=np.square(heard), sr=rate, n_mels=_MEL_BANDS)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=_MFCCS)
    centroid = librosa.feature.spectral_centroid(S=heard, sr=rate)[0]
    crossings = librosa.feature.zero_crossing_rate(wave, frame_length=_FRAME, hop_length=_HOP)[0][sounding]
    unit = magnitude / np.maximum(np.linalg.norm(magnitude, axis=0), np.finfo(np.float64).tiny)
    pairs = sounding[:-1] & sounding[1:]
    flux = np.linalg.norm(np.diff(unit, axis=1)[:, pairs], axis=0)
    return {
        **{f"mfcc_{i}_mean": float(value) for i, value in enumerate(mfcc.mean(axis=1), 1)},
        **{f"mfcc_{i}_deviation": float(value) for i, value in enumerate(mfcc.std(axis=1), 1)},
        "centroid_hz": float(centroid.mean()),
        "centroid_deviation_hz": float(centroid.std()),
        "bandwidth_hz": float(librosa.feature.spectral_bandwidth(S=heard, sr=rate, centroid=centroid[None]).mean()),
        "rolloff_hz": float(librosa.feature.spectral_rolloff(S=heard, sr=rate).mean()),
        "flatness": float(librosa.feature.spectral_flatness(S=heard).mean()),
        "contrast_db": float(librosa.feature.spectral_contrast(S=heard, sr=rate, n_bands=_CONTRAST_BANDS).mean()),
        "flux": float(flux.mean()) if flux.size else None,
        "flux_deviation": float(flux.std()) if flux.size else None,
        "phase_coherence": phase_coherence(stft, sounding),
        "zero_crossing_rate": float(crossings.mean()),
        "zero_crossing_deviation": float(crossings.std()),
    }


def _frame_levels_db(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Level of every frame, around the same middles as the STFT's."""
    padded = np.pad(wave, _FRAME // 2)
    starts = np.arange(0, len(wave) + 1, _HOP)
    energy = np.concatenate(([0.0], np.cumsum(np.square(padded))))
    power = (energy[starts + _FRAME] - energy[starts]) / _FRAME
    # A difference of sums is not exact, and may fall below zero where nothing sounds.
    return np.asarray(10 * np.log10(np.maximum(power, 1e-30)))


def _row(values: dict[str, float | None]) -> NDArray[np.float32]:
    row = np.array([values.get(name) or 0.0 for name in FEATURES], dtype=np.float32)
    return np.nan_to_num(row, posinf=0.0, neginf=0.0)
