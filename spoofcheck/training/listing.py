"""A manifest from a folder of recordings: labels, systems and speakers from its layout, facts from the files."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from spoofcheck.audio.inputs import display_path, find_inputs
from spoofcheck.errors import InputError, UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip, Label
from spoofcheck.evaluation.protocols.lines import parse_label
from spoofcheck.training.facts import measure
from spoofcheck.training.made import Failed, Made
from spoofcheck.types import Skipped

SPLITS = ("train", "dev", "eval")
UNKNOWN_SYSTEM = "unknown"


@dataclass(frozen=True, slots=True)
class FolderRule:
    """What a folder says of its clips.

    Attributes:
        label: of all clips; None reads it off the folder of each (`bonafide`, `real`, `spoof`, `fake`, ...), the
            folder below a spoofed one naming the system.
        system: of the spoofed clips whose folder names none.
        speaker_from: `"parent"` takes the folder a clip lies in for its speaker.
    """

    label: Label | None
    system: str = UNKNOWN_SYSTEM
    speaker_from: Literal["parent", "none"] = "none"
    split: str = UNKNOWN
    language: str = UNKNOWN
    licence: str = UNKNOWN


def list_folder(folder: Path, rule: FolderRule) -> Iterator[Clip | Failed]:
    """Every recording of a folder as a clip that is not measured yet, sorted; or why it is none.

    Raises:
        UsageError: it is no folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{display_path(folder)}: no such folder")
    for entry in find_inputs([folder]):
        path = entry.path if isinstance(entry, Skipped) else entry
        name = path.relative_to(folder).as_posix()
        if isinstance(entry, Skipped):
            yield Failed(name, entry.message)
        elif not _is_text(name):
            yield Failed(name, "a name with control characters or bytes that are not UTF-8 fits no manifest")
        else:
            yield _clip(folder, name, path, rule)


def measure_clips(clips: Sequence[Clip | Failed], workers: int = 1) -> Generator[Made | Failed]:
    """The clips with their measured facts, in their order, whatever the number of threads."""
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        yield from pool.map(_measured, clips)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def parse_shares(text: str) -> dict[str, float]:
    """Shares of train, dev and eval from `80/10/10` (or `90/10`: no eval).

    Raises:
        UsageError: not two or three numbers from 0 up, or all of them 0.
    """
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    if not 2 <= len(numbers) <= 3 or not all(0 <= number < float("inf") for number in numbers) or sum(numbers) <= 0:
        raise UsageError(f"--split-by-speaker {text!r}, expected shares of train/dev/eval, for instance 80/10/10")
    return {split: number / sum(numbers) for split, number in zip(SPLITS, numbers, strict=False) if number > 0}


def split_by_speaker(clips: Iterable[Clip], shares: Mapping[str, float], seed: int) -> list[Clip]:
    """Give every clip a split, all clips of a speaker the same one, both classes as close to the shares as that allows.

    A clip of no known speaker counts as a speaker of its own. The draw depends on the speakers' names and the seed,
    not on the order of the clips.

    Raises:
        UsageError: fewer speakers than splits.
    """
    clips = list(clips)
    members: dict[str, Counter[Label]] = defaultdict(Counter)
    for clip in clips:
        members[clip.source][clip.label] += 1
    if len(members) < len(shares):
        raise UsageError(f"{len(members)} speakers cannot be divided into {len(shares)} splits")
    totals = Counter(clip.label for clip in clips)
    lacking = {(split, label): share for split, share in shares.items() for label in totals}
    chosen: dict[str, str] = {}
    # Speakers with much to say first: what is left over at the end is small and fills the gaps.
    for speaker in sorted(members, key=lambda name: (-members[name].total().bit_length(), _draw(name, seed))):
        weight = {label: number / totals[label] for label, number in members[speaker].items()}
        empty = [split for split in shares if split not in chosen.values()]
        left = len(members) - len(chosen)
        candidates = empty if empty and left <= len(empty) else list(shares)
        split = max(
            candidates,
            key=lambda name: sum(part * lacking[name, label] / shares[name] for label, part in weight.items()),
        )
        chosen[speaker] = split
        for label, part in weight.items():
            lacking[split, label] -= part
    return [replace(clip, split=chosen[clip.source]) for clip in clips]


def _clip(folder: Path, name: str, path: Path, rule: FolderRule) -> Clip | Failed:
    folders = name.split("/")[:-1]
    label, system = rule.label, rule.system
    if label is None:
        found = [(index, parse_label(part)) for index, part in enumerate(folders) if parse_label(part) is not None]
        if len(found) != 1:
            reason = "no folder above it" if not found else "more than one folder above it"
            return Failed(name, f"{reason} names a class (bonafide, real, human, spoof, fake, ...)")
        index, label = found[0]
        if len(folders) > index + 1:
            system = folders[index + 1]
    speaker = folders[-1] if rule.speaker_from == "parent" and folders else UNKNOWN
    return Clip(
        name=name,
        path=path,
        label="spoof" if label == "spoof" else "bonafide",
        system=system if label == "spoof" else UNKNOWN,
        speaker=speaker,
        language=rule.language,
        split=rule.split,
        repo=folder.resolve().name or UNKNOWN,
        licence=rule.licence,
    )


def _measured(clip: Clip | Failed) -> Made | Failed:
    if isinstance(clip, Failed):
        return clip
    try:
        return Made(measure(clip.path).on(clip), kept=False)
    except InputError as error:
        return Failed(clip.name, error.message)


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return not any(ord(char) < 32 or ord(char) == 127 for char in name)


def _draw(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
