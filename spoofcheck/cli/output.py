"""Where results go: standard output or a file that is either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from spoofcheck.errors import OutputError, UsageError

STDOUT = Path("-")


def check_outputs(targets: Iterable[Path]) -> None:
    """Find out before the work whether its results can be written.

    Raises:
        UsageError: two outputs name the same place.
        OutputError: a folder is missing or not writable, or the name is taken by a folder, device, pipe or socket.
    """
    taken: set[Path] = set()
    for target in targets:
        place = target if target == STDOUT else target.absolute()
        if place in taken:
            raise UsageError(f"{target}: two outputs name the same place")
        taken.add(place)
        if target == STDOUT:
            continue
        try:
            _require_file(target)
            descriptor, probe = tempfile.mkstemp(prefix=".spoofcheck-", dir=place.parent)
        except OSError as error:
            raise OutputError(f"{target}: cannot be written ({_why(error)})") from error
        os.close(descriptor)
        Path(probe).unlink()


def check_spared(targets: Iterable[Path], kept: Iterable[Path]) -> None:
    """Refuse outputs that would take the place of what is read: evidence above all is never overwritten.

    Args:
        targets: where outputs go.
        kept: files that must stay as they are; those that are not there are left out.

    Raises:
        UsageError: a target is one of them, under this name or another.
    """
    places = {identity: target for target in targets if (identity := _identity(target)) is not None}
    if not places:
        return
    for path in kept:
        target = places.get(_identity(path) or (0, 0))
        if target is not None:
            raise UsageError(f"{target}: is an input; it would be overwritten")


def write_output(target: Path, text: str) -> None:
    """Write text (UTF-8) to standard output or, all or nothing, to a file.

    The file appears under its name only once it is complete on disk: written beside, then renamed.

    Raises:
        OutputError: the disk is full, the folder vanished, ...; nothing is left behind.
    """
    if target == STDOUT:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    write_bytes(target, text.encode("utf-8"))


def write_bytes(target: Path, data: bytes) -> None:
    """Write a file, all or nothing; errors as for `write_output`."""
    beside: Path | None = None
    try:
        _require_file(target)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:40]}-", dir=target.absolute().parent)
        beside = Path(name)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's files are private; a result follows the user's umask like any other file.
        beside.chmod(0o666 & ~_umask())
        beside.replace(target)
    except OSError as error:
        if beside is not None:
            with contextlib.suppress(OSError):
                beside.unlink()
        raise OutputError(f"{target}: cannot be written ({_why(error)})") from error


def _identity(path: Path) -> tuple[int, int] | None:
    """The same for all names of one file; None where there is no file."""
    try:
        entry = path.stat()
    except (OSError, ValueError):
        return None
    return entry.st_dev, entry.st_ino


def _require_file(target: Path) -> None:
    """Refuse a place where there is something else than a file: a new file would take the place of a device.

    Raises:
        OutputError: there is.
        OSError: there can be no such file.
    """
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise OutputError(f"{target}: is a folder, not a file to write")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{target}: is a device, pipe or socket, not a file to write; standard output is -")


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _why(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the disk"
    return error.strerror or str(error)
