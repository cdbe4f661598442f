"""What the exit code of `spoofcheck` says; the only place where it is decided."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spoofcheck.schema import ControlResult, Finding


class ExitStatus(IntEnum):
    """Exit codes; a crash is never FLAGGED."""

    CLEAR = 0
    FLAGGED = 1
    FAILED = 2
    INCOMPLETE = 3
    INTERRUPTED = 130


def status_of(
    findings: Sequence[Finding], controls: Sequence[ControlResult] = (), *, complete: bool = True, part: bool = False
) -> ExitStatus:
    """The exit code a scan deserves.

    FAILED when a control misbehaved, whatever else happened: no result of the run can be relied on. Else INTERRUPTED
    when it was; FLAGGED when anything was; FAILED when no input could even be read; INCOMPLETE when some input (or
    channel) got no score, or no verdict for want of a calibration; else CLEAR.

    Of a part of the inputs (`part`), one that has none is CLEAR, and one in which no input could be read INCOMPLETE:
    that says nothing of the other parts.
    """
    from spoofcheck.schema import FLAGGED, Verdict

    if any(control.as_expected is False for control in controls):
        return ExitStatus.FAILED
    if not complete:
        return ExitStatus.INTERRUPTED
    if any(finding.verdict in FLAGGED for finding in findings):
        return ExitStatus.FLAGGED
    if not part and all(finding.verdict is Verdict.SKIPPED for finding in findings):
        return ExitStatus.FAILED
    if any(finding.raw_score is None or finding.verdict is Verdict.UNCALIBRATED for finding in findings):
        return ExitStatus.INCOMPLETE
    return ExitStatus.CLEAR
