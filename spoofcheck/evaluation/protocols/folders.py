"""Data sets whose labels are folder names: FoR, WaveFake, and any folder per class."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from spoofcheck.audio.inputs import display_path
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.protocols.lines import LABELS, SPLITS, parse_label
from spoofcheck.evaluation.protocols.walk import walk_audio

_WAVEFAKE_REAL = re.compile(r"(?P<source>ljspeech|jsut)([-_ ]?v?(er)?[-_]?\d+(\.\d+)*)?", re.IGNORECASE)
_WAVEFAKE_SOURCES = MappingProxyType({"ljspeech": ("LJ", "en"), "jsut": ("JSUT", "ja")})
"""Prefix of a vocoder's folder -> (speaker, language) of the human recordings it copied."""


def read_folders(path: Path, root: Path | None = None) -> list[Clip]:
    """Read a folder per class: `[SPLIT/]CLASS/[SYSTEM/]...`; the first folder named like a label is the class.

    A folder below the spoofed class is the system. Names are relative to `path`.

    Raises:
        UsageError: a recording in no folder of a class, or see `protocols.read_protocol`.
    """
    _require_no_root(path, root)
    return [_classified(path, name, UNKNOWN) for name in walk_audio(path)]


def read_for(path: Path, root: Path | None = None) -> list[Clip]:
    """Read Fake-or-Real: `training|validation|testing/real|fake/x.wav`, of one version or several below `path`.

    Raises:
        UsageError: a recording outside those folders, or see `protocols.read_protocol`.
    """
    _require_no_root(path, root)
    clips = [_classified(path, name, "FoR") for name in walk_audio(path)]
    for clip in clips:
        if clip.split == UNKNOWN:
            raise UsageError(f"{display_path(clip.path)}: in no folder named training, validation or testing")
    # Folders below `fake` are no systems here: the data set does not say what made a clip.
    return [Clip(clip.name, clip.path, clip.label, split=clip.split, repo="FoR") for clip in clips]


def read_wavefake(path: Path, root: Path | None = None) -> list[Clip]:
    """Read WaveFake: a folder per vocoder, all spoofed, beside the human LJSpeech and JSUT folders.

    A vocoder's folder is `SOURCE_VOCODER`, e.g. `ljspeech_full_band_melgan`; its system is `full_band_melgan`, whose
    copies of LJSpeech and of JSUT are one system. Human recordings are in folders named like the data set they are
    (`LJSpeech-1.1`, `jsut_ver1.1`) or like the class (`real`).

    Raises:
        UsageError: a recording in no folder, or see `protocols.read_protocol`.
    """
    _require_no_root(path, root)
    return [_wavefake(path, name) for name in walk_audio(path)]


def _wavefake(root: Path, name: str) -> Clip:
    folders = [part for part in PurePosixPath(name).parts[:-1] if part.casefold() != "generated_audio"]
    if not folders:
        raise UsageError(f"{display_path(root / name)}: in no folder of a vocoder or of human speech")
    for folder in folders:
        real = _WAVEFAKE_REAL.fullmatch(folder)
        if real or parse_label(folder) == "bonafide":
            speaker, language = _WAVEFAKE_SOURCES[real["source"].casefold()] if real else (UNKNOWN, UNKNOWN)
            return Clip(name, root / name, "bonafide", speaker=speaker, language=language, repo="WaveFake")
    vocoder = next((folder for folder in folders if parse_label(folder) is None), UNKNOWN)
    source, _, rest = vocoder.partition("_")
    if rest and source.casefold() in _WAVEFAKE_SOURCES:
        speaker, language = _WAVEFAKE_SOURCES[source.casefold()]
        return Clip(name, root / name, "spoof", rest, speaker, language, repo="WaveFake")
    return Clip(name, root / name, "spoof", vocoder, repo="WaveFake")


def _classified(root: Path, name: str, repo: str) -> Clip:
    folders = PurePosixPath(name).parts[:-1]
    labels = [parse_label(folder) for folder in folders]
    at, label = next(((at, label) for at, label in enumerate(labels) if label is not None), (0, None))
    if label is None:
        expected = ", ".join(LABELS)
        raise UsageError(f"{display_path(root / name)}: in no folder named after a class, one of {expected}")
    splits = [split for folder in folders[:at] if (split := SPLITS.get(folder.casefold()))]
    system = folders[at + 1] if label == "spoof" and len(folders) > at + 1 else UNKNOWN
    return Clip(name, root / name, label, system, split=splits[-1] if splits else UNKNOWN, repo=repo)


def _require_no_root(path: Path, root: Path | None) -> None:
    if root is not None:
        raise UsageError(f"{display_path(path)}: audio is read from this folder itself, a root does not apply")
