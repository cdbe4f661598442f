"""What librosa measures of a spectrum, and how evenly its phases advance: means over the frames of speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.acoustics.catalogue import N_MFCC
from spoofcheck.audio.compiled import first_call_alone
from spoofcheck.types import SAMPLE_RATE_HZ

N_FFT = 512
WINDOW = 400
HOP = 160
"""Samples: frames of 25 ms, every 10 ms."""

ROLLOFF_SHARE = 0.85
LEAST_FRAMES = 50
"""With less than half a second of frames nothing is said of a spectrum."""

_FRAME_BELOW_SPEECH_DB = 60.0
_N_MELS = 40
_CONTRAST_BANDS = 5
"""Octaves from 200 Hz: the sixth would end above 8 kHz."""

SPECTRUM_MEASURES = (
    "rms-variance",
    "spectral-centroid",
    "spectral-bandwidth",
    "spectral-rolloff",
    "spectral-flatness",
    "spectral-contrast",
    "spectral-flux",
    "zero-crossings",
    *(f"mfcc-{number}" for number in range(1, N_MFCC + 1)),
    "phase-coherence",
)


def spectrum_measures(samples: NDArray[np.float64], is_speech: NDArray[np.bool_]) -> dict[str, float | None]:
    """The measures of `SPECTRUM_MEASURES`, each None with too few frames of speech.

    Frames are of speech when their middle is; those 60 dB below the mean power of the speech are left out. Spectral
    flatness is the mean over frames: 0 for a tone, about 0.56 (`exp(-0.577)`) for white noise, whose single frames are
    not flat. Spectral flux is the mean distance of the magnitude spectra, each at unit length, of neighbouring frames:
    0 for a steady sound, at most 1.41. Zero crossings are counted after the mean is taken off.

    Args:
        samples: `[n]` at 16 kHz, the mean power of the speech in it brought to a fixed level (MFCC 1 depends on it).
        is_speech: `[n]`.
    """
    power = np.mean(np.square(_frames(samples)), axis=0)
    count = min(1 + samples.size // HOP, power.size)
    middles = np.minimum(np.arange(count) * HOP, samples.size - 1)
    floor = np.mean(np.square(samples[is_speech])) * 10 ** (-_FRAME_BELOW_SPEECH_DB / 10) if is_speech.any() else 0.0
    used = is_speech[middles] & (power[:count] > floor)
    if np.count_nonzero(used) < LEAST_FRAMES:
        return dict.fromkeys(SPECTRUM_MEASURES)
    return _measures_of(samples, power[:count], used)


@first_call_alone
def _measures_of(
    samples: NDArray[np.float64], power: NDArray[np.float64], used: NDArray[np.bool_]
) -> dict[str, float | None]:
    """All measures; power and whether a frame is used `[frames]`."""
    import librosa

    count = power.size
    stft = librosa.stft(samples, n_fft=N_FFT, win_length=WINDOW, hop_length=HOP)[:, :count]
    magnitude = np.abs(stft)
    heard = magnitude[:, used]
    mel = librosa.feature.melspectrogram(S=np.square(heard), sr=SAMPLE_RATE_HZ, n_mels=_N_MELS)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=N_MFCC).mean(axis=1)
    crossings = librosa.feature.zero_crossing_rate(samples - samples.mean(), frame_length=WINDOW, hop_length=HOP)
    return {
        "rms-variance": float(np.var(10 * np.log10(power[used]))),
        "spectral-centroid": float(librosa.feature.spectral_centroid(S=heard, sr=SAMPLE_RATE_HZ).mean()),
        "spectral-bandwidth": float(librosa.feature.spectral_bandwidth(S=heard, sr=SAMPLE_RATE_HZ).mean()),
        "spectral-rolloff": float(
            librosa.feature.spectral_rolloff(S=heard, sr=SAMPLE_RATE_HZ, roll_percent=ROLLOFF_SHARE).mean()
        ),
        "spectral-flatness": float(librosa.feature.spectral_flatness(S=heard).mean()),
        "spectral-contrast": float(
            librosa.feature.spectral_contrast(S=heard, sr=SAMPLE_RATE_HZ, n_bands=_CONTRAST_BANDS).mean()
        ),
        "spectral-flux": _flux(magnitude, used),
        "zero-crossings": float(crossings[0, :count][used].mean() * SAMPLE_RATE_HZ),
        **{f"mfcc-{number}": float(value) for number, value in enumerate(mfcc, 1)},
        "phase-coherence": phase_coherence(stft, used),
    }


def phase_coherence(stft: NDArray[np.complex128], used: NDArray[np.bool_]) -> float | None:
    r"""How evenly phases advance from frame to frame: 1 for steady tones, near 0 where phases are random.

    In bin `k` the phase advances from frame `t - 1` to `t` and from `t` to `t + 1`; `d[k, t]` is the second advance
    less the first, so that any steady frequency gives 0. The measure is the mean resultant length of these deviations
    over all bins and all frames whose neighbours are used, too, weighted by `w[k, t] = |X[k, t]| sqrt(|X[k, t - 1]|
    |X[k, t + 1]|)`, the energy there::

        | sum w exp(i d) | / sum w,   with   w exp(i d) = z / sqrt(|z|),   z = X[k, t + 1] conj(X[k, t])^2 X[k, t - 1]

    It does not depend on level, nor, but for chance, on duration. White noise gives what the overlap of its frames
    leaves of random phases: about 0.17 for frames of 25 ms every 10 ms.

    Args:
        stft: `[bins, frames]`.
        used: `[frames]`.

    Returns:
        None where no three frames in a row are used, or they are silent.
    """
    inner = used[:-2] & used[1:-1] & used[2:]
    z = (stft[:, 2:] * np.conj(stft[:, 1:-1]) ** 2 * stft[:, :-2])[:, inner]
    root = np.sqrt(np.abs(z))
    total = float(root.sum())
    if total == 0:
        return None
    unit = np.divide(z, root, out=np.zeros_like(z), where=root > 0)
    return float(abs(unit.sum()) / total)


def _flux(magnitude: NDArray[np.float64], used: NDArray[np.bool_]) -> float | None:
    pairs = used[:-1] & used[1:]
    if not pairs.any():
        return None
    unit = magnitude / np.maximum(np.linalg.norm(magnitude, axis=0), np.finfo(np.float64).tiny)
    return float(np.linalg.norm(np.diff(unit, axis=1)[:, pairs], axis=0).mean())


def _frames(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[WINDOW, frames]` around the same middles as the STFT's."""
    padded = np.pad(samples, WINDOW // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP].T
