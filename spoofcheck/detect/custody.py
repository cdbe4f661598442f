"""Is the file still what was examined, now that the run has ended?"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from spoofcheck.audio.files import sha256_of
from spoofcheck.errors import InputError
from spoofcheck.schema import CustodyCheck, Finding, Reason


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


def with_custody(finding: Finding, check: CustodyCheck) -> Finding:
    """A finding with its check; a file that is not what was examined any more is the last of the reasons."""
    reasons = finding.reasons
    if not check.unchanged:
        found = "it cannot be read any more" if check.sha256 is None else f"its SHA-256 is now {check.sha256}"
        message = f"The file changed after it was examined: when the run had ended, {found}."
        reasons = (*reasons, Reason(code="changed-after-examination", message=message))
    return finding.model_copy(update={"custody": check, "reasons": reasons})
