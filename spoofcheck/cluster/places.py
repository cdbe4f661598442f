"""Recordings that do not lie in the file system: addresses of objects, and what is found below a prefix of them.

An address is text and stays text: `pathlib` would make one slash of two. Nothing heavy is imported before something is
looked for, so that the command line can tell an address from a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from spoofcheck.audio.inputs import display_path, find_inputs
from spoofcheck.audio.signatures import AUDIO_EXTENSIONS, HEADERLESS_EXTENSIONS, extension_of
from spoofcheck.cluster.stores import file_system_of, remote_error
from spoofcheck.errors import InputError, UsageError
from spoofcheck.types import Skipped

SCHEMES: Final = ("abfs", "abfss", "az", "file", "gcs", "gs", "http", "https", "s3")
"""Of addresses that are read."""
_WEB: Final = frozenset({"http", "https"})
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_AUTHORITY = re.compile(r"(?<=://)[^/?#]*@")
_QUERY = re.compile(r"[?#].*\Z", re.DOTALL)
_OBJECT_QUERY = re.compile(r"\?[\w.~%-]+=.*\Z", re.DOTALL)
"""In the names of objects `?` and `#` are characters like others; only what is written as a query is taken for one."""


@dataclass(frozen=True, slots=True)
class Remote:
    """An object by its address.

    Attributes:
        uri: as named or found, credentials included.
    """

    uri: str

    @property
    def scheme(self) -> str:
        """What is before `://`, in lower case."""
        return self.uri.partition("://")[0].lower()

    @property
    def shown(self) -> str:
        """The address as results and messages have it, see `without_secrets`."""
        return display_path(without_secrets(self.uri))

    @property
    def extension(self) -> str:
        """Of the object's name, lower case, without the dot; empty when it has none."""
        return extension_of(self.shown.rpartition("/")[2])

    def __str__(self) -> str:
        return self.shown


@dataclass(frozen=True, slots=True)
class RemoteSkipped:
    """A remote input that could not be looked at, and why; as `types.Skipped`."""

    place: Remote
    code: str
    message: str


Place = Path | Remote
Entry = Path | Skipped | Remote | RemoteSkipped


def place_of(entry: Entry) -> Place:
    """Where an input is, or would have been."""
    match entry:
        case RemoteSkipped(place=place):
            return place
        case Skipped(path=path):
            return path
        case _:
            return entry


def shown(place: Place) -> str:
    """A place as results and messages have it."""
    return place.shown if isinstance(place, Remote) else display_path(place)


def is_address(name: str) -> bool:
    """Whether a name is an address rather than a path, of whatever scheme."""
    return _ADDRESS.match(name) is not None


def without_secrets(text: str) -> str:
    """An address without what may be secret: user and password, the query with its signatures, the fragment.

    Other text stays as it is. The container in `abfs://container@account/...` is no secret and stays too.
    """
    if not is_address(text):
        return text

    def authority(match: re.Match[str]) -> str:
        return match[0] if text.lower().startswith("abfs") and ":" not in match[0] else ""

    scheme = text.partition("://")[0].lower()
    query = _QUERY if scheme in _WEB or scheme not in SCHEMES else _OBJECT_QUERY
    bare = text if scheme == "file" else query.sub("", text)
    return _AUTHORITY.sub(authority, bare, count=1)


def find_places(names: Sequence[str], *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Iterator[Entry]:
    """Every recording once, in the order named and sorted below folders and prefixes; see `find_inputs`.

    Below a prefix the rules of folders hold, with one exception: only what has the extension of a recording is taken,
    or what `include` names, since a look at the first bytes would cost a request for every other object.

    Args:
        names: paths and addresses.
        include: as for `find_inputs`.
        exclude: as for `find_inputs`.

    Raises:
        UsageError: an address of another scheme.
    """
    for name in names:
        if is_address(name):
            _check_scheme(name)
    if not any(map(is_address, names)):
        yield from find_inputs(names, include=include, exclude=exclude)
        return
    seen: set[str] = set()
    for name in names:
        found: Iterator[Entry] = (
            _find_remote(Remote(name), _folded(include), _folded(exclude))
            if is_address(name)
            else find_inputs([name], include=include, exclude=exclude)
        )
        for entry in found:
            if isinstance(entry, Path | Remote):
                key = entry.uri if isinstance(entry, Remote) else os.path.realpath(entry)
                if key in seen:
                    continue
                seen.add(key)
            yield entry


def _check_scheme(name: str) -> None:
    scheme = Remote(name).scheme
    if scheme not in SCHEMES:
        raise UsageError(f"{without_secrets(name)}: {scheme}:// is not read; {', '.join(SCHEMES)} are")


def _find_remote(named: Remote, include: tuple[str, ...], exclude: tuple[str, ...]) -> Iterator[Remote | RemoteSkipped]:
    if named.scheme in _WEB:  # has no folders
        yield named
        return
    if named.scheme == "file":
        yield from _find_files(named, include, exclude)
        return
    try:
        files, root = file_system_of(named.uri)
        if files.isfile(root):
            yield named
            return
        objects = files.find(root, detail=True)
    except InputError as error:
        yield RemoteSkipped(named, error.code, error.message)
        return
    except Exception as error:  # every kind of store has its own
        refusal = remote_error(error)
        yield RemoteSkipped(named, refusal.code, refusal.message)
        return
    if not objects:
        yield RemoteSkipped(named, "not-found", "There is no such object, and nothing below it as a prefix.")
        return
    prefix = root.rstrip("/") + "/"
    for relative in _chosen([_below(name, prefix) for name in objects], include, exclude):
        yield Remote(f"{named.uri.rstrip('/')}/{relative}")


def _find_files(named: Remote, include: tuple[str, ...], exclude: tuple[str, ...]) -> Iterator[Remote | RemoteSkipped]:
    """As `find_inputs`: a folder may hold links that lead out of it, pipes and devices, which are never opened."""
    root = Path(named.uri.partition("://")[2]).absolute()
    for entry in find_inputs([root], include=include, exclude=exclude):
        path = entry.path if isinstance(entry, Skipped) else entry
        remote = named if path == root else Remote(f"{named.uri.rstrip('/')}/{path.relative_to(root).as_posix()}")
        yield RemoteSkipped(remote, entry.code, entry.message) if isinstance(entry, Skipped) else remote


def _below(name: str, prefix: str) -> str:
    return name[len(prefix) :] if name.startswith(prefix) else name.rpartition("/")[2]


def _chosen(names: Sequence[str], include: tuple[str, ...], exclude: tuple[str, ...]) -> Iterator[str]:
    """What a search of a folder with these files would take, in its order."""
    for name in sorted(names, key=lambda name: [part.encode("utf-8", "surrogatepass") for part in name.split("/")]):
        parts = name.split("/")
        ways = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        if not parts[-1] or any(part.startswith(".") for part in parts):
            continue
        if any(_matches(exclude, part, way) for part, way in zip(parts, ways, strict=True)):
            continue
        if _matches(include, parts[-1], name) if include else _claims_audio(parts[-1]):
            yield name


def _claims_audio(name: str) -> bool:
    return extension_of(name) in AUDIO_EXTENSIONS | HEADERLESS_EXTENSIONS


def _folded(globs: Sequence[str]) -> tuple[str, ...]:
    return tuple(glob.casefold() for glob in globs)


def _matches(globs: tuple[str, ...], name: str, relative: str) -> bool:
    return any(fnmatchcase((relative if "/" in glob else name).casefold(), glob) for glob in globs)


def modified_at_s(info: dict[str, Any]) -> float | None:
    """POSIX time of an object's last change, as far as its store says."""
    from datetime import datetime

    for key in ("LastModified", "last_modified", "mtime", "updated", "timeModified"):
        match info.get(key):
            case datetime() as when:
                return when.timestamp()
            case bool():
                continue
            case int() | float() as seconds:
                return float(seconds)
            case str() as text:
                try:
                    return datetime.fromisoformat(text).timestamp()
                except ValueError:
                    continue
    return None
