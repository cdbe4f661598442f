"""From clips to training windows: decode, cut to the speech, cap what is over-represented."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from spoofcheck.errors import InputError, UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.training.facts import read_16k
from spoofcheck.training.recipe import WindowRule
from spoofcheck.training.store import StoredWindow, Wave
from spoofcheck.types import SAMPLE_RATE_HZ

_FRAME = SAMPLE_RATE_HZ // 50
_LOSSY = ("mp3", "ogg", "opus", "vorbis", "aac", "m4a", "amr", "g722")


def read_mono(clip: Clip) -> Wave:
    """Decode a clip to mono float32 `[n]` at 16 kHz.

    Raises:
        UsageError: it cannot be read, or holds no sample.
    """
    try:
        return read_16k(clip.path)
    except InputError as error:
        raise UsageError(f"{clip.path}: {error.message}") from error


def active_frames(wave: Wave, active_db: float) -> np.ndarray:
    """Which 20 ms frames hold speech, by level: boolean `[n // 320]`.

    The reference is the 95th percentile of frame levels, so that one click does not hide the speech.
    """
    frames = wave[: wave.size - wave.size % _FRAME].reshape(-1, _FRAME)
    if frames.size == 0:
        return np.zeros(0, dtype=bool)
    level_db = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-12)
    return np.asarray((level_db > np.percentile(level_db, 95) - active_db) & (level_db > -70))


def speech_windows(wave: Wave, rule: WindowRule, window_samples: int, most: int, rng: random.Random) -> list[Wave]:
    """Cut up to `most` windows that hold speech, without overlap unless the last must reach back.

    A wave shorter than a window gives one shorter array: it is repeated to fill only when it is used.
    """
    active = active_frames(wave, rule.active_db)
    if active.sum() * _FRAME < rule.min_speech_s * SAMPLE_RATE_HZ:
        return []
    start, end, length = 0, wave.size, window_samples
    if rule.to_speech:
        margin = int(rule.margin_s * SAMPLE_RATE_HZ)
        where = np.flatnonzero(active)
        start = max(0, int(where[0]) * _FRAME - rng.randint(0, margin))
        end = min(wave.size, (int(where[-1]) + 1) * _FRAME + rng.randint(0, margin))
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


def windows_of(
    clip: Clip, rule: WindowRule, window_samples: int, most: int, seed: int
) -> list[tuple[StoredWindow, Wave]]:
    """Windows of one clip with their description; the choice depends on the clip's name and the seed alone."""
    rng = random.Random(f"{seed}/{clip.repo}/{clip.name}")
    wave = _peak_limited(read_mono(clip))
    return [(describe(clip, cut.size), cut) for cut in speech_windows(wave, rule, window_samples, most, rng)]


def describe(clip: Clip, samples: int) -> StoredWindow:
    """The row of a window of a clip; it has no pair yet."""
    return StoredWindow(
        clip.repo, clip.name, clip.speaker, clip.system, int(clip.is_spoof), -1, samples, is_lossy(clip)
    )


def is_lossy(clip: Clip) -> int:
    """1 when the source file went through a lossy codec, by its codec or its name."""
    return int(clip.codec.lower().startswith(_LOSSY) or clip.path.suffix.lower().lstrip(".") in _LOSSY)


def _peak_limited(wave: Wave) -> Wave:
    peak = float(np.abs(wave).max())
    return wave / peak if peak > 1 else wave
