"""What Praat measures of a voice: pitch, jitter, shimmer, harmonics-to-noise ratio, and syllable nuclei.

Praat's own settings for voice reports are kept. Boersma (1993), "Accurate short-term analysis of the fundamental
frequency and the harmonics-to-noise ratio of a sampled sound", IFA Proceedings 17.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import parselmouth
from numpy.typing import NDArray
from parselmouth.praat import call
from scipy.signal import find_peaks

from spoofcheck.types import SAMPLE_RATE_HZ

PITCH_FLOOR_HZ = 75.0
PITCH_CEILING_HZ = 600.0
LEAST_VOICED_S = 0.5
"""With less voiced sound nothing is said of a voice."""

_STEP_S = 0.01
_PERIODS = (0.0, 0.0, 0.0001, 0.02, 1.3)
"""Praat: from, to (all), shortest and longest period, largest factor between neighbours."""
_MOST_AMPLITUDE_FACTOR = 1.6
_SILENCE_THRESHOLD = 0.1
_PERIODS_PER_WINDOW = 1.0
_UNVOICED_DB = -200.0

_NUCLEUS_BELOW_LOUDEST_DB = 25.0
_NUCLEUS_DIP_DB = 2.0
_INTENSITY_FLOOR_HZ = 50.0

VOICE_MEASURES = ("jitter", "shimmer", "hnr", "pitch-mean", "pitch-deviation", "pitch-range", "tempo")


def voice_measures(
    speech: NDArray[np.float64], speech_s: float, harmonicity_step_s: float = _STEP_S
) -> dict[str, float | None]:
    """The measures of `VOICE_MEASURES`, each None where Praat finds too little to measure.

    Tempo is syllable nuclei per second of speech after de Jong and Wempe (2009), "Praat script to detect syllable
    nuclei and measure speech rate automatically", Behavior Research Methods 41: peaks of intensity within 25 dB of the
    loudest (the 99th percentile) that rise 2 dB above the dips beside them and are voiced.

    Args:
        speech: `[n]` at 16 kHz, zero where nobody speaks.
        speech_s: seconds that are speech.
        harmonicity_step_s: distance of the frames that the harmonics-to-noise ratio is the mean over; they take more
            than half of the time.
    """
    sound = parselmouth.Sound(speech, sampling_frequency=SAMPLE_RATE_HZ)
    pitch = sound.to_pitch_ac(time_step=_STEP_S, pitch_floor=PITCH_FLOOR_HZ, pitch_ceiling=PITCH_CEILING_HZ)
    hz = np.asarray(pitch.selected_array["frequency"], np.float64)
    voiced_hz = hz[hz > 0]
    if voiced_hz.size * _STEP_S < LEAST_VOICED_S:
        return dict.fromkeys(VOICE_MEASURES)
    semitones = 12 * np.log2(voiced_hz / voiced_hz.mean())
    low, high = np.percentile(semitones, [5, 95])
    pulses = call(sound, "To PointProcess (periodic, cc)", PITCH_FLOOR_HZ, PITCH_CEILING_HZ)
    nuclei = _syllable_nuclei(sound, pitch)
    return _finite(
        {
            "jitter": 100 * call(pulses, "Get jitter (local)", *_PERIODS),
            "shimmer": 100 * call([sound, pulses], "Get shimmer (local)", *_PERIODS, _MOST_AMPLITUDE_FACTOR),
            "hnr": _hnr_db(sound, harmonicity_step_s),
            "pitch-mean": float(voiced_hz.mean()),
            "pitch-deviation": float(semitones.std()),
            "pitch-range": float(high - low),
            "tempo": nuclei / speech_s if speech_s > 0 else None,
        }
    )


def _hnr_db(sound: Any, step_s: float) -> float | None:
    harmonicity = sound.to_harmonicity_cc(step_s, PITCH_FLOOR_HZ, _SILENCE_THRESHOLD, _PERIODS_PER_WINDOW)
    values = np.asarray(harmonicity.values, np.float64).ravel()
    periodic = values[values > _UNVOICED_DB]
    return float(periodic.mean()) if periodic.size else None


def _syllable_nuclei(sound: Any, pitch: Any) -> int:
    intensity = sound.to_intensity(minimum_pitch=_INTENSITY_FLOOR_HZ)
    levels = np.asarray(intensity.values, np.float64).ravel()
    threshold = float(np.quantile(levels, 0.99)) - _NUCLEUS_BELOW_LOUDEST_DB
    peaks, _ = find_peaks(levels, height=threshold, prominence=_NUCLEUS_DIP_DB)
    times_s = np.asarray(intensity.xs(), np.float64)[peaks]
    return sum(not math.isnan(pitch.get_value_at_time(time_s)) for time_s in times_s)


def _finite(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Praat says NaN where it cannot measure."""
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}
