"""From clips to training windows: decode, cut to the speech, cap what is over-represented."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from spoofcheck.errors import UsageError
from spoofcheck.training.manifest import UNKNOWN, Clip
from spoofcheck.training.store import StoredWindow, Wave
from spoofcheck.types import SAMPLE_RATE_HZ

_FRAME = SAMPLE_RATE_HZ // 50


@dataclass(frozen=True, slots=True)
class WindowRule:
    """How clips become windows.

    Attributes:
        window_samples: length of a row of the store.
        min_speech_s: a window with less active speech is not kept.
        margin_s: up to this much of what precedes and follows the speech is kept, a random amount per clip.
        active_db: a 20 ms frame is active when its level is within this range of the clip's loudest frames.
    """

    window_samples: int = 64_000
    min_speech_s: float = 0.5
    margin_s: float = 0.3
    active_db: float = 35.0


def read_mono(clip: Clip) -> Wave:
    """Decode a clip to mono float32 `[n]` at 16 kHz.

    Raises:
        UsageError: libsndfile cannot read it, or it holds no sample.
    """
    try:
        samples, rate_hz = soundfile.read(clip.path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise UsageError(f"{clip.path}: cannot decode: {error}") from error
    if samples.shape[0] == 0 or not np.isfinite(samples).all():
        raise UsageError(f"{clip.path}: no usable samples")
    mono = samples.mean(axis=1)
    if rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    return np.asarray(mono, dtype=np.float32)


def active_frames(wave: Wave, active_db: float) -> np.ndarray:
    """Which 20 ms frames hold speech, by level: boolean `[n // 320]`.

    The reference is the 95th percentile of frame levels, so that one click does not hide the speech.
    """
    frames = wave[: wave.size - wave.size % _FRAME].reshape(-1, _FRAME)
    if frames.size == 0:
        return np.zeros(0, dtype=bool)
    level_db = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-12)
    return np.asarray((level_db > np.percentile(level_db, 95) - active_db) & (level_db > -70))


def speech_windows(wave: Wave, rule: WindowRule, most: int, rng: random.Random) -> list[Wave]:
    """Cut up to `most` windows that hold speech, without overlap unless the last must reach back.

    A wave shorter than a window gives one shorter array: it is repeated to fill only when it is used.
    """
    active = active_frames(wave, rule.active_db)
    if active.sum() * _FRAME < rule.min_speech_s * SAMPLE_RATE_HZ:
        return []
    margin = int(rule.margin_s * SAMPLE_RATE_HZ)
    where = np.flatnonzero(active)
    start = max(0, int(where[0]) * _FRAME - rng.randint(0, margin))
    end = min(wave.size, (int(where[-1]) + 1) * _FRAME + rng.randint(0, margin))
    length = rule.window_samples
    if end - start <= length:
        return [wave[start:end]]
    begins = list(range(start, end - length + 1, length))
    if end - begins[-1] - length > length // 2:
        begins.append(end - length)
    rng.shuffle(begins)
    kept = []
    for begin in begins:
        speech = active[begin // _FRAME : (begin + length) // _FRAME].sum() * _FRAME
        if speech >= rule.min_speech_s * SAMPLE_RATE_HZ:
            kept.append(wave[begin : begin + length])
        if len(kept) == most:
            break
    return kept


def choose_clips(clips: Sequence[Clip], caps: Mapping[str, int], rng: random.Random) -> list[Clip]:
    """Cap every (repository, system) group at `caps[repo]` clips, taking speakers in turn.

    Args:
        caps: most clips of one system (or of human speech) per repository; repositories not named are left whole.
    """
    groups: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.repo, clip.system].append(clip)
    chosen = []
    for (repo, _), members in sorted(groups.items()):
        chosen += _in_turns(members, rng)[: caps.get(repo, len(members))]
    return chosen


def _in_turns(clips: Sequence[Clip], rng: random.Random) -> list[Clip]:
    """Order clips so that every speaker (or folder, where none is known) comes once before any comes twice."""
    by_speaker: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        key = clip.speaker if clip.speaker != UNKNOWN else clip.name.rsplit("/", 1)[0]
        by_speaker[key].append(clip)
    queues = [sorted(members, key=lambda clip: clip.name) for _, members in sorted(by_speaker.items())]
    for queue in queues:
        rng.shuffle(queue)
    order: list[Clip] = []
    while queues:
        rng.shuffle(queues)
        order += [queue.pop() for queue in queues]
        queues = [queue for queue in queues if queue]
    return order


def windows_of(clip: Clip, rule: WindowRule, most: int, seed: int) -> list[tuple[StoredWindow, Wave]]:
    """Windows of one clip with their description; the choice depends on the clip's name and the seed alone."""
    rng = random.Random(f"{seed}/{clip.repo}/{clip.name}")
    lossy = int(clip.codec.startswith(("mp3", "ogg", "opus", "aac", "m4a")))
    return [
        (StoredWindow(clip.repo, clip.name, clip.speaker, clip.system, -1, wave.size, lossy), wave)
        for wave in speech_windows(_peak_limited(read_mono(clip)), rule, most, rng)
    ]


def _peak_limited(wave: Wave) -> Wave:
    peak = float(np.abs(wave).max())
    return wave / peak if peak > 1 else wave
