"""From stretches of a recording to a value of each measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.acoustics.catalogue import MEASURES
from spoofcheck.audio.acoustics.stretches import Stretch
from spoofcheck.types import samples_to_seconds

Measured = Mapping[str, float | None]
"""A value, or None where it could not be measured, for the name of every measure, in the order of a report."""

LEAST_SPEECH_S = 1.0
"""A stretch with less speech is not measured."""

LEAST_PAUSE_S = 0.25
"""Shorter gaps are closures of consonants; Goldman-Eisler (1968), "Psycholinguistics"."""

LEAST_SPAN_S = 3.0
"""Pauses are counted from here on, from the first speech of a stretch to the last."""

_LEAST_RMS = 10 ** (-90 / 20)
"""Digital silence with dither."""
_LEVEL = 0.1


def measure(stretches: Sequence[Stretch]) -> Measured:
    """Measure a recording.

    Every measure is taken in each stretch with a second of speech; the value is the median over the stretches. Pauses
    are those of all stretches together: gaps between speech of at least 0.25 s. All but the level of the speech are
    measured at one level, so that gain changes none of them.

    Args:
        stretches: of one channel.
    """
    measurable = [stretch for stretch in stretches if stretch.speech_s >= LEAST_SPEECH_S and _rms(stretch) > _LEAST_RMS]
    found = [_stretch_measures(stretch) for stretch in measurable]
    pooled = pauses([stretch.speech for stretch in measurable])
    return {info.name: pooled[info.name] if info.name in pooled else _median(info.name, found) for info in MEASURES}


def pauses(speech: Sequence[Sequence[tuple[int, int]]]) -> dict[str, float | None]:
    """`pauses` per minute and `pause-mean` in seconds.

    Pauses are counted between the first and the last speech of each stretch; with under 3 s of that in all there is no
    count, and without a pause no length.

    Args:
        speech: of each stretch, `(start, end)` in samples, ascending.
    """
    gaps_s = [samples_to_seconds(later[0] - earlier[1]) for spoken in speech for earlier, later in pairwise(spoken)]
    pauses_s = [gap_s for gap_s in gaps_s if gap_s >= LEAST_PAUSE_S]
    span_s = sum(samples_to_seconds(spoken[-1][1] - spoken[0][0]) for spoken in speech if spoken)
    return {
        "pauses": 60 * len(pauses_s) / span_s if span_s >= LEAST_SPAN_S else None,
        "pause-mean": sum(pauses_s) / len(pauses_s) if pauses_s and span_s >= LEAST_SPAN_S else None,
    }


def _stretch_measures(stretch: Stretch) -> dict[str, float | None]:
    # Heavy libraries: a program that only lists measures does not wait for them.
    from spoofcheck.audio.acoustics.spectrum import spectrum_measures
    from spoofcheck.audio.acoustics.voice import voice_measures

    rms = _rms(stretch)
    is_speech = _speech_mask(stretch)
    levelled = stretch.samples.astype(np.float64) * (_LEVEL / rms)
    return {
        "rms-level": float(20 * np.log10(rms)),
        **voice_measures(np.where(is_speech, levelled, 0.0), stretch.speech_s),
        **spectrum_measures(levelled, is_speech),
    }


def _rms(stretch: Stretch) -> float:
    speech = stretch.samples[_speech_mask(stretch)].astype(np.float64)
    return float(np.sqrt(np.mean(np.square(speech)))) if speech.size else 0.0


def _speech_mask(stretch: Stretch) -> NDArray[np.bool_]:
    mask = np.zeros(len(stretch.samples), np.bool_)
    for start, end in stretch.speech:
        mask[start:end] = True
    return mask


def _median(name: str, found: Sequence[Mapping[str, float | None]]) -> float | None:
    values = [value for stretch in found if (value := stretch[name]) is not None]
    return float(np.median(values)) if values else None
