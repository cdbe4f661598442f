"""The population that acoustic observations are compared with: recordings drawn evenly from a split, and measured."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from spoofcheck import __version__
from spoofcheck.audio.acoustics import MEASURES, Measured, measure, stretches_of
from spoofcheck.detect.hashedfile import sealed
from spoofcheck.detect.observations import N_QUANTILES, AcousticReference
from spoofcheck.errors import InputError, UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.training.facts import read_16k
from spoofcheck.training.progress import NoSteps, Steps

LEAST_SPEECH_S = 2.0
LEAST_DURATION_S = 3.0
"""Shorter recordings have no rhythm to measure; a manifest's word on the duration is taken."""

MOST_S = 60.0
LEAST_RECORDINGS = 20
"""Quantiles of fewer are not written, and a class with fewer is none."""

_DIGITS = 5
_LIBRARIES = ("librosa", "numpy", "praat-parselmouth", "scipy", "silero-vad", "soxr")


@dataclass(frozen=True, slots=True)
class MeasuredClip:
    """A clip and its measures."""

    clip: Clip
    speech_s: float
    values: Measured


@dataclass(frozen=True, slots=True)
class Drawn:
    """What became of a class: the clips measured and how many were passed over, for want of speech or unreadable."""

    measured: tuple[MeasuredClip, ...]
    passed_over: int


def source_of(clip: Clip) -> str:
    """What a class is balanced over: the system that made a synthetic clip, the repository of a human one."""
    return clip.system if clip.is_spoof else clip.repo


def in_turns(clips: Sequence[Clip], seed: int) -> list[Clip]:
    """All clips, so that sources take turns, and within a source its speakers; by a hash of their names otherwise."""
    by_source: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_source[source_of(clip)].append(clip)
    return _alternating([_by_speaker(members, seed) for _, members in sorted(by_source.items())])


def draw(
    clips: Sequence[Clip],
    most: int,
    per_speaker: int,
    seed: int,
    steps: Steps | None = None,
    what: str = "measure",
) -> Drawn:
    """Measure clips of one class, in turns of their sources, until `most` were measured.

    Args:
        clips: of one class; what is known to be under 3 s long is left out.
        most: how many to measure.
        per_speaker: how many of one speaker of a repository; clips of unknown speakers are not counted.
        seed: of the order.
        steps: watches.
        what: the work in words.
    """
    order = in_turns([clip for clip in clips if clip.duration_s is None or clip.duration_s >= LEAST_DURATION_S], seed)
    passed_over: list[Clip] = []

    def measured() -> Iterator[MeasuredClip]:
        left, heard = most, Counter[str]()
        for clip in order:
            if left == 0:
                return
            if heard[clip.source] >= per_speaker:
                continue
            found = measure_clip(clip)
            if found is None:
                passed_over.append(clip)
                continue
            left -= 1
            heard[clip.source] += 1
            yield found

    done = tuple((steps or NoSteps()).over(measured(), what, min(most, len(order))))
    return Drawn(done, len(passed_over))


def measure_clip(clip: Clip) -> MeasuredClip | None:
    """The measures of a clip's first minute; None with under 2 s of speech, or when it cannot be read."""
    try:
        stretches = stretches_of(read_16k(clip.path, MOST_S))
    except InputError:
        return None
    speech_s = sum(stretch.speech_s for stretch in stretches)
    values = measure(stretches)
    if speech_s < LEAST_SPEECH_S or values["rms-level"] is None:
        return None
    return MeasuredClip(clip, speech_s, values)


def build_reference(
    human: Drawn, synthetic: Drawn, *, split: str, seed: int, manifests: Sequence[tuple[str, str]], note: str
) -> AcousticReference:
    """The reference population of measured clips.

    Args:
        human: measured human clips.
        synthetic: measured synthetic ones.
        split: they are of.
        seed: of their draw.
        manifests: name and SHA-256 of the lists they were drawn from.
        note: how they were drawn.

    Raises:
        UsageError: fewer than 20 of a class.
    """
    for name, drawn in (("human", human), ("synthetic", synthetic)):
        if len(drawn.measured) < LEAST_RECORDINGS:
            raise UsageError(
                f"{len(drawn.measured)} {name} recordings with {LEAST_SPEECH_S:g} s of speech in split {split}; at "
                f"least {LEAST_RECORDINGS} needed"
            )
    counts = f"{len(human.measured):,} human and {len(synthetic.measured):,} synthetic recordings"
    return sealed(
        AcousticReference,
        {
            "description": f"{counts} of the split {split!r} of the corpus that the models learnt from, at 16 kHz",
            "note": note,
            "split": split,
            "seed": seed,
            "tool_version": __version__,
            "libraries": {name: version(name) for name in _LIBRARIES},
            "manifests": [{"name": name, "sha256": sha256} for name, sha256 in manifests],
            "human": _population(human),
            "synthetic": _population(synthetic),
            "measures": {
                info.name: {"human": _spread(human, info.name), "synthetic": _spread(synthetic, info.name)}
                for info in MEASURES
            },
        },
    )


def _population(drawn: Drawn) -> dict[str, object]:
    sources = Counter(source_of(item.clip) for item in drawn.measured)
    return {
        "recordings": len(drawn.measured),
        "speech_s": round(sum(item.speech_s for item in drawn.measured), 1),
        "sources": dict(sorted(sources.items())),
    }


def _spread(drawn: Drawn, name: str) -> dict[str, object] | None:
    values = [value for item in drawn.measured if (value := item.values[name]) is not None]
    if len(values) < LEAST_RECORDINGS:
        return None
    quantiles = np.quantile(values, np.linspace(0, 1, N_QUANTILES))
    return {"recordings": len(values), "quantiles": [_rounded(float(value)) for value in quantiles]}


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}") + 0.0  # no negative zeros


def _by_speaker(clips: Sequence[Clip], seed: int) -> list[Clip]:
    by_speaker: dict[str, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: _place(clip, seed)):
        by_speaker[clip.speaker if clip.speaker != UNKNOWN else clip.name.rpartition("/")[0]].append(clip)
    # In the order of their first clips, not of their names, which may tell sex or language.
    return _alternating(list(by_speaker.values()))


def _alternating(queues: Sequence[Sequence[Clip]]) -> list[Clip]:
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


def _place(clip: Clip, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{clip.repo}/{clip.name}".encode("utf-8", "surrogateescape")).hexdigest()
