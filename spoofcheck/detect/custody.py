"""Is the file still what was examined, now that the run has ended?"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from spoofcheck.audio.files import sha256_of
from spoofcheck.errors import InputError
from spoofcheck.schema import CustodyCheck


def check_again(path: Path, sha256: str) -> CustodyCheck:
    """Hash an exhibit's file once more.

    Args:
        path: of the file.
        sha256: of its bytes when it was examined, hexadecimal.

    Returns:
        What it is now. A file that is gone, or cannot be read any more, is no error: the check says so.
    """
    try:
        found = sha256_of(path)
    except InputError:
        found = None
    return CustodyCheck(
        checked_at=datetime.now(UTC).isoformat(timespec="seconds"), sha256=found, unchanged=found == sha256.lower()
    )
