"""Readers of the field's label files: each gives `Clip`s, and an error with a line number for what it can't read.

A protocol file is untrusted: a path in it that is absolute or climbs out of the root with `..` is an error. Symbolic
links are followed: they were made on this machine, and data sets are commonly linked together from several disks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from spoofcheck.audio.inputs import display_path
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.protocols import asvspoof, folders, lists, manifest, tables

__all__ = ["ProtocolKind", "read_protocol"]


class ProtocolKind(StrEnum):
    """The layouts of label files and folders that are read."""

    MANIFEST = "manifest"
    MULTIAPI = "multiapi"
    ASVSPOOF2019_LA = "asvspoof2019-la"
    ASVSPOOF2021_LA = "asvspoof2021-la"
    ASVSPOOF2021_DF = "asvspoof2021-df"
    ASVSPOOF5 = "asvspoof5"
    IN_THE_WILD = "in-the-wild"
    MLAAD = "mlaad"
    FOR = "for"
    WAVEFAKE = "wavefake"
    LABELS = "labels"
    FOLDERS = "folders"


_READERS: Mapping[ProtocolKind, Callable[[Path, Path | None], list[Clip]]] = MappingProxyType(
    {
        ProtocolKind.MANIFEST: manifest.read_manifest,
        ProtocolKind.MULTIAPI: lists.read_multiapi,
        ProtocolKind.ASVSPOOF2019_LA: asvspoof.read_2019_la,
        ProtocolKind.ASVSPOOF2021_LA: asvspoof.read_2021_la,
        ProtocolKind.ASVSPOOF2021_DF: asvspoof.read_2021_df,
        ProtocolKind.ASVSPOOF5: asvspoof.read_asvspoof5,
        ProtocolKind.IN_THE_WILD: tables.read_in_the_wild,
        ProtocolKind.MLAAD: tables.read_mlaad,
        ProtocolKind.FOR: folders.read_for,
        ProtocolKind.WAVEFAKE: folders.read_wavefake,
        ProtocolKind.LABELS: lists.read_labels,
        ProtocolKind.FOLDERS: folders.read_folders,
    }
)


def read_protocol(
    kind: str | ProtocolKind, path: Path, *, root: Path | None = None, split: str | None = None
) -> list[Clip]:
    """Read the clips a protocol names, in its order; whether their audio is there is `audit.check_files`'s business.

    Args:
        kind: the layout, one of `ProtocolKind`.
        path: the protocol file; a folder for `for`, `wavefake` and `folders`; either for `in-the-wild` and `mlaad`.
        root: folder the audio lies below; the folder of the protocol file unless given. Where the paths start with
            the name of a folder the protocol lies in (`corpus/manifest.tsv` naming `corpus/a.wav`), they are taken
            from beside that folder.
        split: keep the clips of this part alone; the lines of the others are checked all the same.

    Raises:
        UsageError: an unknown kind, a file that cannot be read, a line that does not make sense (with its number),
            or no clip at all.
    """
    try:
        known = ProtocolKind(kind)
    except ValueError:
        raise UsageError(f"protocol kind {str(kind)!r}, expected one of {', '.join(ProtocolKind)}") from None
    clips = _READERS[known](path, root)
    if not clips:
        raise UsageError(f"{display_path(path)}: names no clips")
    if split is None:
        return clips
    kept = [clip for clip in clips if clip.split == split]
    if not kept:
        counts = Counter(clip.split for clip in clips if clip.split != UNKNOWN)
        there = ", ".join(f"{name} ({count:,})" for name, count in sorted(counts.items()))
        raise UsageError(
            f"{display_path(path)}: no clips in split {split!r}, "
            + (f"the splits are {there}" if there else "this protocol names no splits")
        )
    return kept
