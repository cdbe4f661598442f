"""Which findings may be kept for later scans: those that the same bytes will always get from the same run.

What hung on the moment (a folder that could not be read, a decoder that ran out of time or memory, a file that changed)
may be otherwise next time, and is looked at anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from spoofcheck.schema import Finding, Verdict

SKIPS_OF_THE_CONTENT: Final = frozenset(
    {
        "decode-failed",
        "empty-file",
        "no-audio-stream",
        "non-finite-samples",
        "not-audio",
        "unsupported-audio",
        "zero-length",
    }
)
"""Why an input was not examined, where its bytes alone are the reason. No other skipped input is kept."""

SKIPS_OF_THE_MOMENT: Final = {
    "changed-while-reading": "another file may stand still",
    "decode-crashed": "memory that others took can end a decoder",
    "decode-memory": "the limit is an option, and a library may need less next time",
    "decode-timeout": "the machine may have been busy",
    "fetch-failed": "a server or network may come back",
    "internal-error": "nobody foresaw it",
    "is-directory": "of the place, not of a recording",
    "no-channel-test": "this machine lacks a codec",
    "no-decoder": "this machine lacks ffmpeg",
    "no-space": "another machine has room",
    "not-a-file": "of the place, not of a recording",
    "not-found": "of the place, not of a recording",
    "permission-denied": "rights change",
    "read-failed": "a disk or network may come back",
    "redirected": "of the place, not of a recording",
    "score-not-finite": "a device can fail",
    "symlink-outside": "of the place, not of a recording",
    "too-large": "the limit is an option",
    "too-long": "the limit is an option",
    "worker-lost": "another machine may have more memory",
}
"""The other codes, each with the reason why it is not kept."""

GAPS_OF_THE_MOMENT: Final = frozenset({"evidence-missing", "not-read-again", "not-traced"})
"""Reasons in a finding that tells less than it could have told: the next scan tries again."""

_OF_THE_MACHINE: Final = (
    "cannot allocate",
    "input/output error",
    "i/o error",
    "no space left",
    "out of memory",
    "not enough memory",
    "system error",
    "temporarily unavailable",
    "too many open files",
)
"""What decoders say when not the recording is at fault."""


def may_be_kept(findings: Sequence[Finding], content_sha256: str) -> bool:
    """Whether what was found of an input is true of its content, and will be next time.

    Args:
        findings: of one input.
        content_sha256: of the file before it was read.
    """
    return bool(findings) and all(_is_of_content(finding, content_sha256) for finding in findings)


def _is_of_content(finding: Finding, content_sha256: str) -> bool:
    if any(words in reason.message.lower() for reason in finding.reasons for words in _OF_THE_MACHINE):
        return False
    if finding.verdict is Verdict.SKIPPED:
        return all(reason.code in SKIPS_OF_THE_CONTENT for reason in finding.reasons)
    if any(reason.code in GAPS_OF_THE_MOMENT for reason in finding.reasons):
        return False
    return finding.sha256 == content_sha256
