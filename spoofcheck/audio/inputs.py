"""From what the analyst named to the recordings to read. Nothing is decoded, no audio library is imported.

Files are taken as named. Folders are searched in sorted order, and inside them only what may be audio is
taken: a known extension, or first bytes that look like a recording. A file that claims to be audio and is not
is found out by `audio.probe` and reported; a text file among the recordings is none of our business.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from spoofcheck.audio.files import input_error, open_recording
from spoofcheck.audio.signatures import (
    AUDIO_EXTENSIONS,
    HEAD_BYTES,
    HEADERLESS_EXTENSIONS,
    container_of,
    extension_of,
)
from spoofcheck.errors import InputError, UsageError
from spoofcheck.types import Skipped
from spoofcheck.wholefile import read_whole

_MAX_LIST_BYTES = 1 << 30


def find_inputs(
    paths: Sequence[Path | str], *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Iterator[Path | Skipped]:
    """Yield every recording once, in the order named and sorted inside folders, or why a thing was left out.

    Inside folders: names that begin with a dot are left out silently; symbolic links to files inside the
    folder are taken (once), links to folders inside it are not followed (what they show is found where it
    lies), links out of it are `Skipped`. Pipes, devices and sockets are `Skipped` and never opened.

    Args:
        paths: files and folders.
        include: globs; inside folders only what matches one is taken, whether or not it looks like audio.
        exclude: globs; what matches one is left out, a folder with all that is in it. A glob without `/` is
            compared with the name, one with `/` with the path below the named folder (`*` there also crosses
            `/`). Letter case does not matter: recorders write `.WAV`. Files named themselves are always
            taken.
    """
    seen: set[str] = set()
    for path in map(Path, paths):
        try:
            mode = _mode(path)
        except InputError as error:
            yield Skipped(path, error.code, error.message)
            continue
        if stat.S_ISDIR(mode):
            found = _Folder(path, _globs(include), _globs(exclude)).inputs()
        elif stat.S_ISREG(mode):
            found = iter([path])
        else:
            found = iter([_not_a_file(path)])
        for entry in found:
            if isinstance(entry, Path):
                real_path = os.path.realpath(entry)
                if real_path in seen:
                    continue
                seen.add(real_path)
            yield entry


def find_inside(
    folder: Path, place: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Iterator[Path | Skipped]:
    """What `find_inputs([folder])` takes at one place of it: that file, or all that is in that folder.

    A symbolic link to what is found where it lies yields nothing; others are judged as there. A place that is gone, or
    that a search of the folder would not come to, yields nothing.

    Args:
        folder: that is searched.
        place: below it, or itself.
        include: as for `find_inputs`.
        exclude: as for `find_inputs`.
    """
    yield from _Folder(folder, _globs(include), _globs(exclude)).inputs_at(place)


def read_file_list(source: Path | Literal["-"]) -> list[Path]:
    """As `read_names`, where all names are paths."""
    return [Path(name) for name in read_names(source)]


def read_names(source: Path | Literal["-"]) -> list[str]:
    """The paths or addresses in a list: one a line, or separated by NUL where a NUL is in it (`find -print0`).

    Args:
        source: the list's file, or `"-"` for standard input. Bytes that are not UTF-8 stay what they are,
            empty lines are dropped; where every line ends in CR LF the list came from Windows, and the CR is
            dropped.

    Raises:
        UsageError: the list cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if str(source) == "-" else read_whole(Path(source), _MAX_LIST_BYTES, pipes=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"--files-from {display_path(source)}: {reason}") from error
    return [os.fsdecode(name) for name in _split_list(data) if name]


def display_path(path: Path | str) -> str:
    r"""A path as text: bytes that are not UTF-8 become `\xNN`, all else stays (escape it before printing)."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a str that no file name could decode to, e.g. a lone high surrogate
        return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


class _Folder:
    """One named folder and the rules for what to take from it."""

    def __init__(self, root: Path, include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
        self._root = root
        self._real_root = os.path.realpath(root)
        self._include = include
        self._exclude = exclude

    def inputs(self) -> Iterator[Path | Skipped]:
        yield from self._search(self._root, "")

    def inputs_at(self, place: Path) -> Iterator[Path | Skipped]:
        """What `inputs` finds at a place below the root."""
        relative = place.relative_to(self._root)
        if not relative.parts:
            yield from self.inputs()
            return
        try:
            mode = _own_mode(place)
            above = [_own_mode(self._root / part) for part in relative.parents if part.parts]
        except InputError as error:
            if error.code != "not-found":
                yield Skipped(place, error.code, error.message)
            return
        if self._leaves_out(relative) or not all(map(stat.S_ISDIR, above)):
            return
        if stat.S_ISDIR(mode):
            yield from self._search(place, f"{relative.as_posix()}/")
        elif stat.S_ISLNK(mode) and self._is_found_elsewhere(place):
            return
        elif not self._include or _matches(self._include, place.name, relative.as_posix()):
            yield from self._judge(place)

    def _leaves_out(self, relative: Path) -> bool:
        """Whether a name on the way to a place keeps a search from coming to it."""
        ways = (relative, *relative.parents)
        return any(
            way.name.startswith(".") or _matches(self._exclude, way.name, way.as_posix()) for way in ways if way.parts
        )

    def _is_found_elsewhere(self, link: Path) -> bool:
        real_path = os.path.realpath(link)
        if not self._is_inside(real_path):
            return False
        return not self._leaves_out(Path(os.path.relpath(real_path, self._real_root)))

    def _search(self, folder: Path, below_root: str) -> Iterator[Path | Skipped]:
        """What a folder and all below it hold; without recursion, as folders can be nested deeper than calls."""
        open_folders = [(folder, below_root, _entries(folder))]
        while open_folders:
            folder, below, entries = open_folders[-1]
            entry = next(entries, None)
            if entry is None:
                open_folders.pop()
                continue
            if isinstance(entry, Skipped):
                yield entry
                continue
            relative = f"{below}{entry.name}"
            if entry.name.startswith(".") or _matches(self._exclude, entry.name, relative):
                continue
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                open_folders.append((path, f"{relative}/", _entries(path)))
            elif not self._include or _matches(self._include, entry.name, relative):
                yield from self._judge(path)

    def _judge(self, path: Path) -> Iterator[Path | Skipped]:
        """The path, why it is skipped, or nothing."""
        try:
            if path.is_symlink():
                if not self._is_inside(os.path.realpath(path)):
                    message = "A symbolic link that leads out of the folder; name its target to have it read."
                    yield Skipped(path, "symlink-outside", message)
                    return
                if stat.S_ISDIR(_mode(path)):
                    return
            if not stat.S_ISREG(_mode(path)):
                yield _not_a_file(path)
            elif self._include or claims_audio(path.name) or _looks_like_audio(path):
                yield path
        except InputError as error:
            yield Skipped(path, error.code, error.message)
        except OSError as error:  # of a folder that may be listed but not entered, or a link that may not be read
            reason = input_error(error)
            yield Skipped(path, reason.code, reason.message)

    def _is_inside(self, real_path: str) -> bool:
        return os.path.commonpath([self._real_root, real_path]) == self._real_root


def _entries(folder: Path) -> Iterator[os.DirEntry[str] | Skipped]:
    """The entries of a folder in sorted order, or why they cannot be listed."""
    try:
        with os.scandir(folder) as listing:
            yield from sorted(listing, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        reason = input_error(error)
        message = "The folder may not be read with the rights of this user."
        yield Skipped(folder, reason.code, message if reason.code == "permission-denied" else reason.message)


def _mode(path: Path) -> int:
    try:
        return os.stat(path).st_mode  # noqa: PTH116  as in audio.files
    except (OSError, ValueError) as error:
        raise input_error(error) from error


def _own_mode(path: Path) -> int:
    """Of a symbolic link, not of what it leads to."""
    try:
        return os.lstat(path).st_mode
    except (OSError, ValueError) as error:
        raise input_error(error) from error


def claims_audio(name: str) -> bool:
    """Whether a file's name says that it is a recording."""
    return extension_of(name) in AUDIO_EXTENSIONS | HEADERLESS_EXTENSIONS


def _looks_like_audio(path: Path) -> bool:
    with open_recording(path) as handle:
        return container_of(handle.read(HEAD_BYTES)) is not None


def _not_a_file(path: Path) -> Skipped:
    return Skipped(path, "not-a-file", "This is a pipe, device or socket; only regular files are read.")


def _globs(patterns: Sequence[str]) -> tuple[str, ...]:
    return tuple(pattern.casefold() for pattern in patterns)


def _matches(globs: tuple[str, ...], name: str, relative: str) -> bool:
    return any(fnmatchcase((relative if "/" in glob else name).casefold(), glob) for glob in globs)


def _split_list(data: bytes) -> list[bytes]:
    if b"\0" in data:
        return data.split(b"\0")
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    from_windows = all(line.endswith(b"\r") for line in lines if line)
    return [line.removesuffix(b"\r") for line in lines] if from_windows else lines
