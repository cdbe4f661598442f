"""Clips that are made here: written whole, tagged with what they were made from, and found again by a later run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from spoofcheck.evaluation.clips import Clip
from spoofcheck.training.facts import BandwidthMeter, sha1_of
from spoofcheck.training.store import Wave, to_int16

CODEC = "flac/pcm_16"


@dataclass(frozen=True, slots=True)
class Made:
    """A clip that lies there now; `kept` when an earlier run made it."""

    clip: Clip
    kept: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """A clip that could not be made, and why."""

    name: str
    reason: str


def write_flac(path: Path, wave: Wave, sample_rate_hz: int, tag: str) -> None:
    """Write mono 16-bit FLAC, whole or not at all.

    Args:
        path: where to; folders are made.
        wave: float32 `[n]`; beyond full scale it is clipped.
        sample_rate_hz: its rate.
        tag: what it was made from and how; `is_made` looks for it.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".made-", suffix=".flac", dir=path.parent)
    os.close(descriptor)
    beside = Path(name)
    try:
        with soundfile.SoundFile(beside, "w", sample_rate_hz, 1, subtype="PCM_16", format="FLAC") as sound:
            sound.comment = tag
            sound.write(to_int16(wave))
        beside.chmod(0o644)
        beside.replace(path)
    except soundfile.LibsndfileError as error:
        raise OSError(str(error)) from error
    finally:
        beside.unlink(missing_ok=True)


def is_made(path: Path, tag: str) -> bool:
    """Whether a whole clip with this tag lies there."""
    try:
        with soundfile.SoundFile(path) as sound:
            return bool(sound.comment == tag and sound.frames > 0)
    except (OSError, soundfile.LibsndfileError):
        return False


def described(clip: Clip) -> Clip:
    """The clip of a FLAC file of ours with its measured facts.

    Raises:
        InputError: the file vanished.
    """
    samples, sample_rate_hz = soundfile.read(clip.path, dtype="float32")
    meter = BandwidthMeter(sample_rate_hz)
    meter.push(samples)
    return replace(
        clip,
        codec=CODEC,
        sample_rate_hz=sample_rate_hz,
        duration_s=round(samples.size / sample_rate_hz, 6),
        bandwidth_hz=meter.finish(),
        sha1=sha1_of(clip.path),
    )


def is_silent(wave: Wave) -> bool:
    """Whether nothing in it rises above -60 dBFS."""
    return bool(np.abs(wave).max(initial=0.0) < 1e-3)


def clips_of(outcomes: Sequence[Made | Failed]) -> list[Clip]:
    """The clips among outcomes, in their order."""
    return [outcome.clip for outcome in outcomes if isinstance(outcome, Made)]
