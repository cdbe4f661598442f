"""Opening recordings: regular files only, one clear error each, and proof that the bytes stayed the same."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from spoofcheck.errors import InputError

_HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What the file system says of a file; two equal ones with equal hashes are the same evidence."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int


def fingerprint(path: Path) -> Fingerprint:
    """The file system's view of a recording, symbolic links followed.

    Raises:
        InputError: there is no such file, or it may not be looked at.
    """
    try:
        entry = os.stat(path)  # noqa: PTH116  Path.stat would do the same, and this reads next to fstat below
    except (OSError, ValueError) as error:
        raise input_error(error) from error
    return _fingerprint(entry)


@contextmanager
def open_recording(path: Path) -> Iterator[BinaryIO]:
    """A recording opened for reading, unbuffered, at its start.

    A pipe, device or socket is never opened: opening alone can block, or act on a device.

    Raises:
        InputError: `not-found`, `permission-denied`, `is-directory`, `not-a-file` or `read-failed`.
    """
    try:
        _require_regular(os.stat(path).st_mode)  # noqa: PTH116
        # O_NONBLOCK: should the file have become a pipe since the line above, open() must not wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise input_error(error) from error
    with os.fdopen(descriptor, "rb", buffering=0) as handle:
        _require_regular(os.fstat(descriptor).st_mode)
        try:
            yield handle
        except OSError as error:
            raise input_error(error) from error


def sha256_of(path: Path, cancelled: Callable[[], bool] = lambda: False) -> str:
    """Hexadecimal SHA-256 of a recording's bytes; of those read so far when `cancelled` says so.

    Raises:
        InputError: as `open_recording`.
    """
    digest = hashlib.sha256()
    with open_recording(path) as handle:
        while (block := handle.read(_HASH_BLOCK_BYTES)) and not cancelled():
            digest.update(block)
    return digest.hexdigest()


def input_error(error: OSError | ValueError) -> InputError:
    """The `InputError` for what the operating system answered."""
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return InputError("not-found", "There is no such file.")
        case PermissionError():
            return InputError("permission-denied", "The file may not be read with the rights of this user.")
        case IsADirectoryError():
            return InputError("is-directory", "This is a folder, not a recording.")
        case OSError(errno=errno.ELOOP):
            return InputError("not-found", "The symbolic link leads in a circle.")
        case OSError(errno=errno.ENAMETOOLONG):
            return InputError("not-found", "There is no such file: the name is longer than a name can be.")
        case OSError():
            return InputError("read-failed", f"The file cannot be read: {error.strerror or error}.")
        case _:
            return InputError("not-found", "There is no such file: no file name holds a NUL.")


def _fingerprint(entry: os.stat_result) -> Fingerprint:
    return Fingerprint(entry.st_dev, entry.st_ino, entry.st_size, entry.st_mtime_ns)


def _require_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise InputError("is-directory", "This is a folder, not a recording.")
    if not stat.S_ISREG(mode):
        raise InputError("not-a-file", "This is a pipe, device or socket; only regular files are read.")
