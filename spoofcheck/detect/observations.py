"""Acoustic measures of an exhibit beside those of reference recordings, human and synthetic.

They explain and do not decide: no verdict rests on them, and no sentence here says what a recording is.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from spoofcheck.audio.acoustics import MEASURES, MeasureInfo, Stretch, measure
from spoofcheck.detect.hashedfile import HashedFile, Kept, Sha256, read_hashed
from spoofcheck.errors import ModelError
from spoofcheck.resources import acoustic_reference
from spoofcheck.schema import AcousticMeasure, AcousticObservations

N_QUANTILES = 101
"""From the smallest value to the largest, one for each percent."""

UNUSUAL_BELOW = 2.0
UNUSUAL_ABOVE = 98.0
MOST_REMARKS = 5


def _ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(later < earlier for earlier, later in pairwise(values)):
        raise ValueError("quantiles must ascend")
    return values


Quantiles = Annotated[
    tuple[float, ...], Field(min_length=N_QUANTILES, max_length=N_QUANTILES), AfterValidator(_ascending)
]


class Spread(Kept):
    """How the values of one measure are spread over one class of recordings."""

    recordings: int = Field(ge=1, description="in which it could be measured")
    quantiles: Quantiles


class MeasureReference(Kept):
    """One measure in both classes; a class is left out where too few recordings could be measured."""

    human: Spread | None
    synthetic: Spread | None


class Population(Kept):
    """The recordings of one class."""

    recordings: int = Field(ge=1)
    speech_s: float = Field(gt=0, description="seconds of speech measured in all of them")
    sources: dict[str, int] = Field(description="recordings of each repository, or of each system that made them")


class ManifestInfo(Kept):
    """A list the recordings were drawn from."""

    name: str
    sha256: Sha256


class AcousticReference(HashedFile):
    """The reference population: what `spoofcheck corpus reference` writes."""

    description: str = Field(min_length=1, description="what the percentiles are of, for readers")
    note: str = Field(description="how the recordings were drawn")
    split: str
    seed: int
    tool_version: str
    libraries: dict[str, str] = Field(description="versions of what measured")
    manifests: tuple[ManifestInfo, ...]
    human: Population
    synthetic: Population
    measures: dict[str, MeasureReference]

    @model_validator(mode="after")
    def _knows_the_measures(self) -> Self:
        names = {info.name for info in MEASURES}
        if self.measures.keys() != names:
            odd = sorted(self.measures.keys() ^ names)
            raise ValueError(f"measures differ from those of this version: {', '.join(odd)}")
        return self


def load_reference(path: Path | None = None) -> AcousticReference:
    """The reference population, by default the bundled one.

    Raises:
        ModelError: there is none, or it was damaged or edited: its own SHA-256 is checked.
    """
    where = acoustic_reference() if path is None else path
    remedy = "install spoofcheck anew" if path is None else "make it anew with `spoofcheck corpus reference`"
    try:
        return read_hashed(where, AcousticReference, "acoustic reference", remedy)
    except FileNotFoundError as error:
        raise ModelError(f"{where}: there is no acoustic reference; {remedy}") from error


def reference_json(reference: AcousticReference) -> str:
    """The text of the file: ASCII, a line for each list of quantiles."""
    document = reference.model_dump(mode="json")
    measures = document.pop("measures")
    lines = []
    for name, spreads in measures.items():
        inner = ",\n".join(f"   {json.dumps(kind)}: {json.dumps(spread)}" for kind, spread in spreads.items())
        lines.append(f"  {json.dumps(name)}: {{\n{inner}\n  }}")
    head = json.dumps(document, indent=1).removesuffix("\n}")
    return head + ',\n "measures": {\n' + ",\n".join(lines) + "\n }\n}\n"


def observe(stretches: Sequence[Stretch], reference: AcousticReference) -> AcousticObservations:
    """Measure an exhibit and place it among the reference recordings.

    Args:
        stretches: of one channel (`audio.acoustics.acoustic_stretches`).
        reference: the population.
    """
    values = measure(stretches)
    percentiles = {
        info.name: (
            _placed(values[info.name], reference.measures[info.name].human),
            _placed(values[info.name], reference.measures[info.name].synthetic),
        )
        for info in MEASURES
    }
    remarks = _remarks(values, reference)
    return AcousticObservations(
        examined_s=sum(stretch.duration_s for stretch in stretches),
        reference=reference.description,
        reference_sha256=reference.sha256,
        human_recordings=reference.human.recordings,
        synthetic_recordings=reference.synthetic.recordings,
        measures=tuple(
            AcousticMeasure(
                name=info.name,
                label=info.label,
                unit=info.unit,
                value=values[info.name],
                human_percentile=percentiles[info.name][0],
                synthetic_percentile=percentiles[info.name][1],
                remark=remarks.get(info.name),
            )
            for info in MEASURES
        ),
    )


def percentile_in(value: float, quantiles: Sequence[float]) -> float:
    """The percentile of a value, 0..100, among quantiles that part the population evenly.

    Between two quantiles it is interpolated; where several are equal to the value it is the middle of theirs.
    """
    first, last = bisect_left(quantiles, value), bisect_right(quantiles, value)
    steps = len(quantiles) - 1
    if first < last:
        rank = (first + last - 1) / 2
    elif first == 0:
        rank = 0.0
    elif first > steps:
        rank = float(steps)
    else:
        below, above = quantiles[first - 1], quantiles[first]
        rank = first - 1 + (value - below) / (above - below)
    return 100 * rank / steps


def remark_on(info: MeasureInfo, value: float, human: Spread) -> str | None:
    """A sentence about a value outside the 2nd to 98th percentile of human recordings; None for any other."""
    percentile = percentile_in(value, human.quantiles)
    if UNUSUAL_BELOW <= percentile <= UNUSUAL_ABOVE:
        return None
    direction = "lower" if percentile < UNUSUAL_BELOW else "higher"
    beyond = 100 - percentile if direction == "lower" else percentile
    all_of_them = value < human.quantiles[0] or value > human.quantiles[-1]
    of = f"all {human.recordings:,}" if all_of_them else f"{math.floor(beyond)} of 100"
    if not all_of_them and beyond == 100:  # as low or as high as the most extreme of them
        of = "99 of 100"
    unit = f" {info.unit}" if info.unit else ""
    return f"{info.label} of {_shown(value)}{unit} is {direction} than in {of} human reference recordings."


def _remarks(values: Mapping[str, float | None], reference: AcousticReference) -> dict[str, str]:
    """The sentences by measure, only of the values that lie farthest outside."""
    found: list[tuple[float, str, str]] = []
    for info in MEASURES:
        value, human = values[info.name], reference.measures[info.name].human
        if value is None or human is None or not info.in_words:
            continue
        sentence = remark_on(info, value, human)
        if sentence is not None:
            found.append((_extremeness(value, human.quantiles), info.name, sentence))
    found.sort(key=lambda entry: -entry[0])
    return {name: sentence for _, name, sentence in found[:MOST_REMARKS]}


def _extremeness(value: float, quantiles: Sequence[float]) -> float:
    """Distance from the median, in steps from there to the 2nd or 98th percentile."""
    median = quantiles[50]
    edge = quantiles[round(UNUSUAL_BELOW)] if value < median else quantiles[round(UNUSUAL_ABOVE)]
    return abs(value - median) / abs(edge - median) if edge != median else math.inf


def _placed(value: float | None, spread: Spread | None) -> float | None:
    return None if value is None or spread is None else percentile_in(value, spread.quantiles)


def _shown(value: float) -> str:
    """Three significant digits, all digits of what is left of the point."""
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"
