"""Where results go: standard output or a file that is either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
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
        OutputError: a folder is missing or not writable, or the name is taken by a folder.
    """
    taken: set[Path] = set()
    for target in targets:
        place = target if target == STDOUT else target.absolute()
        if place in taken:
            raise UsageError(f"{target}: two outputs name the same place")
        taken.add(place)
        if target == STDOUT:
            continue
        if target.is_dir():
            raise OutputError(f"{target}: is a folder, not a file to write")
        try:
            descriptor, probe = tempfile.mkstemp(prefix=".spoofcheck-", dir=place.parent)
        except OSError as error:
            raise OutputError(f"{target}: cannot be written ({_why(error)})") from error
        os.close(descriptor)
        Path(probe).unlink()


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


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _why(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the disk"
    return error.strerror or str(error)
