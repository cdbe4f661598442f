"""What a report draws of an exhibit's sound: waveform, speech track and spectrogram, ready for a template. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from spoofcheck.schema import Pictures, SpeechStretch

WAVE_COLUMNS = 400
"""At most this many columns are drawn: two pixels each at the page's full width, in half the size of all 800 peaks."""

FULL_SCALE = 127
"""Of a sample; the middle of the waveform's own coordinates."""

TRACK_UNITS = 1_000
"""Width of the speech track's own coordinates."""


@dataclass(frozen=True, slots=True)
class PicturesView:
    """Pictures of one exhibit.

    Attributes:
        wave: path of the waveform, in a box `columns` wide and 254 high.
        columns: width of that box.
        speech: path of the speech track, in a box 1,000 by 1; None without a voice activity detector.
        spectrogram: address of the PNG, a `data:` URI.
        top: highest frequency of the spectrogram, e.g. `"8 kHz"`.
        half: half of it.
        range_db: from its strongest point to white, in words.
    """

    wave: str
    columns: int
    speech: str | None
    spectrogram: str
    top: str
    half: str
    range_db: str


def pictures_view(pictures: Pictures | None, duration_s: float, *, vad: bool) -> PicturesView | None:
    """The view of an exhibit's pictures; None without any.

    Args:
        pictures: of the exhibit.
        duration_s: of the recording; the width of every picture.
        vad: whether speech was looked for.
    """
    if pictures is None or not pictures.peaks:
        return None
    peaks = merged(pictures.peaks, WAVE_COLUMNS)
    low_db, high_db = pictures.spectrogram_db
    return PicturesView(
        wave=wave_path(peaks),
        columns=len(peaks),
        speech=speech_path(pictures.speech, duration_s) if vad else None,
        spectrogram=f"data:image/png;base64,{pictures.spectrogram_png_base64}",
        top=_kilohertz(pictures.spectrogram_hz),
        half=_kilohertz(pictures.spectrogram_hz / 2),
        range_db=f"{abs(high_db - low_db):g} dB",
    )


def merged(peaks: Sequence[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """At most `most` columns, each with the lowest and the highest sample of those it stands for."""
    number = min(most, len(peaks))
    edges = [index * len(peaks) // number for index in range(number + 1)] if number else []
    return [
        (min(low for low, _ in peaks[first:last]), max(high for _, high in peaks[first:last]))
        for first, last in pairwise(edges)
    ]


def wave_path(peaks: Sequence[tuple[int, int]]) -> str:
    """The outline of a waveform, along the upper edge and back along the lower one; y grows downwards."""
    if not peaks:
        return ""
    tops, bottoms = [FULL_SCALE - high for _, high in peaks], [FULL_SCALE - low for low, _ in peaks]
    there = "".join(f" 1{_step(b - a)}" for a, b in pairwise(tops))
    back = "".join(f"-1{_step(b - a)}" for a, b in pairwise(bottoms[::-1]))
    return f"M.5{_step(tops[0])}l0 0{there} 0{_step(bottoms[-1] - tops[-1])}{back}z"


def speech_path(speech: Sequence[SpeechStretch], duration_s: float) -> str:
    """Rectangles of full height, one per stretch of speech."""
    parts = []
    for stretch in speech:
        start, end = (
            min(time, duration_s) / duration_s * TRACK_UNITS if duration_s > 0 else 0.0
            for time in (stretch.start_s, stretch.end_s)
        )
        width = f"{max(0.0, end - start):.4g}"
        parts.append(f"M{start:.5g} 0h{width}v1h-{width}z")
    return "".join(parts)


def _step(value: int) -> str:
    """A coordinate that follows another one: a minus sign separates as well as a blank."""
    return str(value) if value < 0 else f" {value}"


def _kilohertz(frequency_hz: float) -> str:
    return f"{frequency_hz / 1_000:.3g} kHz"
