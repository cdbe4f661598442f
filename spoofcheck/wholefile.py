"""Files that are read as a whole, which must not block, never end, or fill the memory. Standard library only."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_whole(path: Path, most_bytes: int, *, pipes: bool = False) -> bytes:
    """The bytes of a file.

    Args:
        path: of the file; symbolic links are followed.
        most_bytes: what is larger is not read.
        pipes: take a pipe, too, such as a shell's `<(...)`, and wait for who writes to it.

    Raises:
        OSError: it cannot be read, is no regular file (`EINVAL`), or is larger (`EFBIG`).
    """
    wait = 0 if pipes else os.O_NONBLOCK
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | wait)
    with open(descriptor, "rb") as file:  # which refuses folders
        entry = os.fstat(descriptor)
        if not (stat.S_ISREG(entry.st_mode) or (pipes and stat.S_ISFIFO(entry.st_mode))):
            raise OSError(errno.EINVAL, "Not a regular file")
        if entry.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"{entry.st_size:,} bytes; at most {most_bytes:,} are read")
        # Not `most_bytes` for what has a size: so much memory would be reserved at once.
        data = file.read((entry.st_size if stat.S_ISREG(entry.st_mode) else most_bytes) + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"More than {most_bytes:,} bytes")
    return data
