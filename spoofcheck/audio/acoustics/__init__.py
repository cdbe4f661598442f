"""Measured properties of speech that explain, and do not decide: voice, level, spectrum, rhythm.

`stretches` picks what of a recording is measured, at most a minute; `measures` measures it.
"""

from spoofcheck.audio.acoustics.catalogue import MEASURES, MeasureInfo
from spoofcheck.audio.acoustics.measures import Measured, measure
from spoofcheck.audio.acoustics.stretches import Stretch, StretchCollector, acoustic_stretches, stretches_of

__all__ = [
    "MEASURES",
    "MeasureInfo",
    "Measured",
    "Stretch",
    "StretchCollector",
    "acoustic_stretches",
    "measure",
    "stretches_of",
]
