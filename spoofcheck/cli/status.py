"""What the exit code of `spoofcheck` says; the only place where it is decided."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spoofcheck.schema import Finding


class ExitStatus(IntEnum):
    """Exit codes; a crash is never FLAGGED."""

    CLEAR = 0
    FLAGGED = 1
    FAILED = 2
    INCOMPLETE = 3
    INTERRUPTED = 130


def status_of(findings: Sequence[Finding]) -> ExitStatus:
    """The exit code a finished scan deserves.

    FLAGGED when anything was; else FAILED when no input could even be read; else INCOMPLETE when some input (or
    channel) got no score; else CLEAR.
    """
    from spoofcheck.schema import FLAGGED, Verdict

    if any(finding.verdict in FLAGGED for finding in findings):
        return ExitStatus.FLAGGED
    if all(finding.verdict is Verdict.SKIPPED for finding in findings):
        return ExitStatus.FAILED
    if any(finding.raw_score is None for finding in findings):
        return ExitStatus.INCOMPLETE
    return ExitStatus.CLEAR
