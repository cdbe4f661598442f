"""What is wrong with a set of clips before hours are spent on it: files that can't be read, parts that overlap."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import TypeVar

import soundfile

from spoofcheck.audio.files import fingerprint, open_recording, sha256_of
from spoofcheck.audio.inputs import display_path
from spoofcheck.audio.probe import MAX_CHANNELS, MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ, probe
from spoofcheck.audio.signatures import HEAD_BYTES, container_of
from spoofcheck.errors import InputError, UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.files import replace_file

Progress = Callable[[int, int], None]
"""Told (files done, files in all), from the calling thread."""

_SHOWN = 3
"""How many examples a message names."""
_CHUNK = 1_024
_CACHE_FORMAT = "spoofcheck-hashes-1"
_QUICK_CONTAINERS = frozenset({"flac", "mp3", "ogg"})
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Problem:
    """One file that training or evaluation would stumble over.

    Attributes:
        code: as `errors.InputError`: `"not-found"`, `"empty-file"`, `"not-audio"`, ...
        message: one sentence, without the path.
    """

    path: Path
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class SplitReport:
    """How far the parts of a data set are independent of each other; each entry is one line.

    Attributes:
        refused: what makes a result on these parts worthless: recordings that are in two of them.
        warnings: what makes it look better than it is: speakers or systems that are in two of them.
    """

    refused: tuple[str, ...]
    warnings: tuple[str, ...]


def check_files(clips: Sequence[Clip], progress: Progress | None = None) -> list[Problem]:
    """All the files that are missing or whose header cannot be read, in the order of the clips, each once.

    Headers only: a recording that breaks off in the middle is found when it is decoded.
    """
    paths = list(dict.fromkeys(clip.path for clip in clips))
    problems = []
    for done, problem in enumerate(_parallel(_problem, paths), start=1):
        if problem is not None:
            problems.append(problem)
        if progress is not None:
            progress(done, len(paths))
    return problems


def check_splits(
    parts: Mapping[str, Sequence[Clip]], hash_files: bool = True, cache: Path | None = None
) -> SplitReport:
    """Look for what the parts of a data set share: recordings, speakers of one repository, systems.

    Args:
        parts: name (`train`, `dev`, `test`) -> clips.
        hash_files: compare recordings by SHA-256 of their content. Only files of a size that is in two parts are
            read. Otherwise by their place on the disk and by the `sha1` their source claims.
        cache: file that keeps hashes between runs, by path, size and time of change; a damaged one is made anew.

    Raises:
        UsageError: a file that is to be hashed cannot be read.
        OutputError: the cache cannot be written.
    """
    keys = _contents(parts, cache) if hash_files else {name: _claims(clips) for name, clips in parts.items()}
    refused, warnings = [], []
    for first, second in combinations(parts, 2):
        if shared := _shared_recordings(keys[first], keys[second]):
            refused.append(_recordings_message(first, second, shared))
        for what, of in (("speaker", _speaker), ("system", _system)):
            there = {key for clip in parts[first] if (key := of(clip)) is not None}
            here = [key for clip in parts[second] if (key := of(clip)) in there and key is not None]
            if here:
                warnings.append(_shared_message(first, second, what, here, len(parts[second])))
    return SplitReport(tuple(refused), tuple(warnings))


def manifest_sha256(clips: Iterable[Clip], cache: Path | None = None) -> str:
    """Identity of a data set: SHA-256 over its clips' repositories, names, labels, systems and content hashes.

    Neither the order of the clips nor the place of their files on the disk matters.

    Args:
        clips: the data set.
        cache: as `check_splits`.

    Raises:
        UsageError: a file cannot be read.
        OutputError: the cache cannot be written.
    """
    listed = list(clips)
    hashes = _hashes([clip.path for clip in listed], cache)
    rows = [[clip.repo, clip.name, clip.label, clip.system, hashes[clip.path]] for clip in listed]
    return hashlib.sha256("\n".join(sorted(map(json.dumps, rows))).encode("ascii")).hexdigest()


def seen_systems(train_clips: Iterable[Clip]) -> frozenset[str]:
    """The systems a model trained on these clips has met."""
    return frozenset(system for clip in train_clips if (system := _system(clip)) is not None)


def _problem(path: Path) -> Problem | None:
    try:
        if not _opens_quickly(path):
            probe(path)
    except InputError as error:
        return Problem(path, error.code, error.message)
    return None


def _opens_quickly(path: Path) -> bool:
    """Whether libsndfile reads the header; what it won't read is for `probe` to judge.

    `probe` asks ffmpeg about FLAC, MP3 and Ogg, in a process of its own: 19 ms a file against 0.1 ms here, three and a
    half hours against a minute for the evaluation set of ASVspoof 5.
    """
    with open_recording(path) as handle:
        if container_of(handle.read(HEAD_BYTES)) not in _QUICK_CONTAINERS:
            return False
        handle.seek(0)
        try:
            with soundfile.SoundFile(handle.fileno(), closefd=False) as sound:
                return bool(
                    sound.frames > 0
                    and MIN_SAMPLE_RATE_HZ <= sound.samplerate <= MAX_SAMPLE_RATE_HZ
                    and sound.channels <= MAX_CHANNELS
                )
        except soundfile.LibsndfileError:
            return False


def _contents(parts: Mapping[str, Sequence[Clip]], cache: Path | None) -> dict[str, dict[str, Clip]]:
    """Per part, content hash -> first clip with it; only of files that could be in two parts."""
    sizes: dict[str, list[tuple[int, Clip]]] = {}
    parts_of_size: defaultdict[int, set[str]] = defaultdict(set)
    for name, clips in parts.items():
        sizes[name] = list(zip(_parallel(_size, [clip.path for clip in clips]), clips, strict=True))
        for size, _ in sizes[name]:
            parts_of_size[size].add(name)
    candidates = {
        name: [clip for size, clip in entries if len(parts_of_size[size]) > 1] for name, entries in sizes.items()
    }
    hashes = _hashes([clip.path for clips in candidates.values() for clip in clips], cache)
    return {name: {hashes[clip.path]: clip for clip in reversed(clips)} for name, clips in candidates.items()}


def _claims(clips: Sequence[Clip]) -> dict[str, Clip]:
    """Place on the disk and claimed SHA-1 -> first clip with it."""
    found: dict[str, Clip] = {}
    for clip in reversed(clips):
        found[os.path.realpath(clip.path)] = clip
        if clip.sha1 is not None:
            found[f"sha1:{clip.sha1}"] = clip
    return found


def _shared_recordings(first: Mapping[str, Clip], second: Mapping[str, Clip]) -> list[tuple[Clip, Clip]]:
    """Pairs of clips that are one recording, by the order of the first part, each recording of the second once."""
    pairs = {id(second[key]): (clip, second[key]) for key, clip in first.items() if key in second}
    return sorted(pairs.values(), key=lambda pair: (pair[0].repo, pair[0].name, pair[1].repo, pair[1].name))


def _recordings_message(first: str, second: str, shared: Sequence[tuple[Clip, Clip]]) -> str:
    pairs = (
        display_path(a.path) if a.path == b.path else f"{display_path(a.path)} = {display_path(b.path)}"
        for a, b in shared
    )
    return f"{first} and {second} share {_count(len(shared), 'recording')}: {_listing(list(pairs))}"


def _shared_message(first: str, second: str, what: str, here: Sequence[str], clips_in_second: int) -> str:
    distinct = list(dict.fromkeys(here))
    share = f"{len(here):,} of the {_count(clips_in_second, 'clip')} in {second}"
    return f"{first} and {second} share {_count(len(distinct), what)} ({share}): {_listing(distinct)}"


def _listing(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _speaker(clip: Clip) -> str | None:
    """The speaker within the repository: two repositories may both have a speaker `1`."""
    if clip.speaker == UNKNOWN:
        return None
    return clip.speaker if clip.repo == UNKNOWN else f"{clip.speaker} of {clip.repo}"


def _system(clip: Clip) -> str | None:
    return clip.system if clip.is_spoof and clip.system != UNKNOWN else None


def _size(path: Path) -> int:
    try:
        return fingerprint(path).size_bytes
    except InputError as error:
        raise UsageError(f"{display_path(path)}: {error.message}") from error


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except InputError as error:
        raise UsageError(f"{display_path(path)}: {error.message}") from error


def _hashes(paths: Iterable[Path], cache: Path | None) -> dict[Path, str]:
    """Path -> SHA-256 of the file's content, read by several threads unless the cache knows it."""
    distinct = list(dict.fromkeys(paths))
    known = _load(cache) if cache is not None else {}
    states = {path: _state(path) for path in distinct} if known or cache is not None else {}
    found = {path: entry[2] for path in distinct if (entry := known.get(_key(path))) and entry[:2] == states.get(path)}
    missing = [path for path in distinct if path not in found]
    try:
        for path, digest in zip(missing, _parallel(_hash, missing), strict=True):
            found[path] = digest
    finally:  # what an interrupted run has hashed it need not hash again
        if cache is not None and missing:
            fresh = {_key(path): (*states[path], found[path]) for path in missing if path in found}
            _store(cache, {**known, **fresh})
    return found


def _state(path: Path) -> tuple[int, int]:
    try:
        seen = fingerprint(path)
    except InputError as error:
        raise UsageError(f"{display_path(path)}: {error.message}") from error
    return seen.size_bytes, seen.modified_ns


def _key(path: Path) -> str:
    return str(path.absolute())


def _load(cache: Path) -> dict[str, tuple[int, int, str]]:
    try:
        document = json.loads(cache.read_text(encoding="ascii"))
        if document["format"] != _CACHE_FORMAT:
            return {}
        return {
            path: (int(size), int(time_ns), str(digest)) for path, (size, time_ns, digest) in document["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _store(cache: Path, files: Mapping[str, tuple[int, int, str]]) -> None:
    replace_file(cache, json.dumps({"format": _CACHE_FORMAT, "files": files}).encode("ascii"))


def _parallel(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    """`map` over threads, in order; hands out a chunk at a time so that a million items are no million futures."""
    workers = min(32, 4 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(workers, "audit") as pool:
        remaining = iter(items)
        while chunk := list(islice(remaining, _CHUNK)):
            yield from pool.map(work, chunk)
