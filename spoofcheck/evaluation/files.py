"""Writing a file so that a reader, or a run that was killed, finds the old one or the new one and nothing between."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from spoofcheck.audio.inputs import display_path
from spoofcheck.errors import OutputError


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, then move it there; a symbolic link at `path` stays and its target is replaced.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        target = path.resolve()
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".spoofcheck-", delete=False) as handle:
            beside = Path(handle.name)
            try:
                handle.write(data)
                handle.flush()
                # Temporary files are private; the result follows the user's umask like any other file.
                beside.chmod(0o666 & ~_umask())
                beside.replace(target)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OutputError(f"{display_path(path)}: cannot be written: {reason}") from error


def _umask() -> int:
    """The process's file mode mask; the only way to ask is to set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
