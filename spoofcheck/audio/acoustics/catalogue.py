"""Which measures there are, what they are called and in what they are counted. No audio library is imported."""

from __future__ import annotations

from dataclasses import dataclass

N_MFCC = 13


@dataclass(frozen=True, slots=True)
class MeasureInfo:
    """A measure.

    Attributes:
        name: stable kebab-case identifier.
        label: for readers.
        unit: of the value; empty for ratios.
        in_words: whether a sentence about an unusual value tells a reader anything (one about an MFCC does not).
    """

    name: str
    label: str
    unit: str
    in_words: bool = True


MEASURES = (
    MeasureInfo("jitter", "Jitter (local)", "%"),
    MeasureInfo("shimmer", "Shimmer (local)", "%"),
    MeasureInfo("hnr", "Harmonics-to-noise ratio", "dB"),
    MeasureInfo("pitch-mean", "Mean pitch", "Hz"),
    MeasureInfo("pitch-deviation", "Standard deviation of pitch", "semitones"),
    MeasureInfo("pitch-range", "Range of pitch (5th to 95th percentile)", "semitones"),
    MeasureInfo("rms-level", "RMS level of speech", "dBFS"),
    MeasureInfo("rms-variance", "Variance of the level of speech", "dB²"),
    MeasureInfo("spectral-centroid", "Spectral centroid", "Hz"),
    MeasureInfo("spectral-bandwidth", "Spectral bandwidth", "Hz"),
    MeasureInfo("spectral-rolloff", "Spectral roll-off (85 %)", "Hz"),
    MeasureInfo("spectral-flatness", "Spectral flatness", ""),
    MeasureInfo("spectral-contrast", "Spectral contrast", "dB"),
    MeasureInfo("spectral-flux", "Spectral flux", ""),
    MeasureInfo("zero-crossings", "Zero crossings", "per second"),
    *(MeasureInfo(f"mfcc-{number}", f"MFCC {number}", "", in_words=False) for number in range(1, N_MFCC + 1)),
    MeasureInfo("phase-coherence", "Phase coherence", ""),
    MeasureInfo("tempo", "Speaking tempo", "syllables per second"),
    MeasureInfo("pauses", "Pauses", "per minute"),
    MeasureInfo("pause-mean", "Mean length of a pause", "s"),
)
"""In the order of a report."""
