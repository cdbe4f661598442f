"""Whether the files of a manifest are what it says: there, unchanged, of the stated codec, rate and length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from spoofcheck.audio.probe import probe
from spoofcheck.errors import InputError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.training.facts import sha1_of
from spoofcheck.types import AudioFile

_TOLERANCE_S = 0.1
_TOLERANCE_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Checked:
    """A clip, the SHA-1 its file has (None where it cannot be read) and what is wrong with it."""

    clip: Clip
    sha1: str | None
    problems: tuple[str, ...]


def check_clips(clips: Sequence[Clip], workers: int = 1) -> Generator[Checked]:
    """Check files against their rows, in the order of the rows."""
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        yield from pool.map(_check, clips)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def repeated(checked: Sequence[Checked]) -> list[Checked]:
    """Clips whose very file is there again with another label or in another split; one entry a later clip."""
    first: dict[str, Clip] = {}
    found = []
    for item in checked:
        if item.sha1 is None:
            continue
        earlier = first.setdefault(item.sha1, item.clip)
        if (earlier.label, earlier.split) != (item.clip.label, item.clip.split):
            was = f"{earlier.repo}/{earlier.name}, {earlier.label} in {earlier.split}"
            problem = f"the same file as {was}; here {item.clip.label} in {item.clip.split}"
            found.append(Checked(item.clip, item.sha1, (problem,)))
    return found


def speakers_across(clips: Sequence[Clip]) -> dict[str, list[str]]:
    """Speakers (of one repository) that are in more than one split, with their splits."""
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.speaker != UNKNOWN and clip.split != UNKNOWN:
            splits[f"{clip.repo}/{clip.speaker}"].add(clip.split)
    return {speaker: sorted(found) for speaker, found in sorted(splits.items()) if len(found) > 1}


def _check(clip: Clip) -> Checked:
    try:
        sha1 = sha1_of(clip.path)
        file = probe(clip.path)
    except InputError as error:
        return Checked(clip, None, (error.message,))
    problems = []
    if clip.sha1 is not None and sha1 != clip.sha1:
        problems.append(f"SHA-1 {sha1}, the manifest says {clip.sha1}")
    problems += _header_problems(clip, file)
    return Checked(clip, sha1, tuple(problems))


def _header_problems(clip: Clip, file: AudioFile) -> Iterator[str]:
    if clip.sample_rate_hz is not None and file.sample_rate_hz != clip.sample_rate_hz:
        yield f"{file.sample_rate_hz} Hz, the manifest says {clip.sample_rate_hz} Hz"
    if clip.duration_s is None or file.header_duration_s is None:
        return
    if abs(file.header_duration_s - clip.duration_s) > _TOLERANCE_S + _TOLERANCE_SHARE * clip.duration_s:
        yield f"{file.header_duration_s:.2f} s, the manifest says {clip.duration_s:.2f} s"
