"""The recordings below a folder: one walk, then every look-up is in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from spoofcheck.audio.inputs import display_path
from spoofcheck.audio.signatures import AUDIO_EXTENSIONS, extension_of
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.protocols.lines import Line, quoted

_PREFERRED = ("flac", "wav")
"""Where an utterance is there in several formats, the published one wins, then what it is commonly converted to."""


def walk(root: Path) -> Iterator[str]:
    """Paths of the files below `root`, relative to it: a folder's own by name, then those of its folders by name.

    Hidden files and folders are left out. Symbolic links to folders are followed, each folder being entered once.

    Raises:
        UsageError: `root` is not a folder, or a folder cannot be listed.
    """
    entered: set[tuple[int, int]] = set()
    ahead = [""]
    while ahead:
        below = ahead.pop()
        files, folders = _listing(root / below, entered)
        yield from (below + name for name in files)
        ahead.extend(f"{below}{name}/" for name in reversed(folders))


def walk_audio(root: Path) -> Iterator[str]:
    """Those of `walk` whose extension claims audio."""
    return (name for name in walk(root) if extension_of(name) in AUDIO_EXTENSIONS)


class AudioIndex:
    """Finds the recording of an utterance id anywhere below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: dict[str, list[str]] | None = None

    def find(self, line: Line, utterance: str) -> Path:
        """The file named after the utterance; `ROOT/UTTERANCE.flac` when there is none.

        Raises:
            UsageError: the id is no file name, or several files of one format bear it.
        """
        if "/" in utterance:
            raise line.fault(f"utterance {quoted(utterance)}: is a path, expected a file name without extension")
        fallback = f"{line.path(utterance)}.flac"
        if self._found is None:
            self._found = {}
            for name in walk_audio(self._root):
                self._found.setdefault(PurePosixPath(name).stem, []).append(name)
        found = self._found.get(utterance, [fallback])
        for extension in _PREFERRED:
            if matching := [name for name in found if extension_of(name) == extension]:
                found = matching
                break
        if len(found) > 1:
            examples = " and ".join(quoted(name) for name in found[:2])
            raise line.fault(f"utterance {quoted(utterance)} is there {len(found)} times: {examples}")
        return self._root / found[0]


def _listing(folder: Path, entered: set[tuple[int, int]]) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders directly in a folder; none where it was entered before."""
    try:
        status = os.stat(folder)  # noqa: PTH116  as in audio.files
        if (status.st_dev, status.st_ino) in entered:
            return [], []
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{display_path(folder)}: cannot be read as a folder: {reason}") from error
    files: list[str] = []
    folders: list[str] = []
    for entry in entries:
        if not entry.name.startswith("."):
            (folders if _is_folder(entry) else files).append(entry.name)
    return files, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symbolic link that leads in a circle: whoever opens it will be told
        return False
