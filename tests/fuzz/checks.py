"""What must hold for the findings of any input, however damaged: pure functions that say what does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from spoofcheck.audio.inputs import display_path
from spoofcheck.schema import Finding, Verdict

SCORED = "scored"
NO_SCORE = "judged without a score"
"""It was read, and held no window to score: too little speech."""


def outcome_of(findings: Sequence[Finding]) -> str:
    """`SCORED`, `NO_SCORE`, or the code of the refusal."""
    refused = next((finding for finding in findings if finding.verdict is Verdict.SKIPPED), None)
    if refused is not None:
        return refused.reasons[0].code
    return SCORED if any(finding.raw_score is not None for finding in findings) else NO_SCORE


def problems_of(path: Path, findings: Sequence[Finding]) -> list[str]:
    """Why these cannot be the findings of an input at that path; empty when they can."""
    if not findings:
        return ["no finding"]
    problems = []
    if {finding.path for finding in findings} != {display_path(path)}:
        problems.append("findings of another input")
    channels = [finding.channel for finding in findings]
    if len(channels) > 1 and channels != list(range(len(channels))):
        problems.append(f"channels {channels}")
    for finding in findings:
        problems += _problems_of_one(finding)
        if len(findings) > 1 and finding.verdict is Verdict.SKIPPED:
            problems.append("refused and judged at once")
    return problems


def comparable(findings: Sequence[Finding]) -> list[Finding]:
    """The findings without what a copy of a file has of its own: its path and time."""
    return [
        finding.model_copy(
            update={
                "path": "",
                "media": None if finding.media is None else finding.media.model_copy(update={"modified_at": ""}),
            }
        )
        for finding in findings
    ]


def _problems_of_one(finding: Finding) -> list[str]:
    problems = []
    if not finding.reasons:
        problems.append("no reason")
    for reason in finding.reasons:
        if not reason.code or not reason.code.replace("-", "").isalnum():
            problems.append(f"a reason with the code {reason.code!r}")
        if not reason.message.strip() or not reason.message.isprintable():
            problems.append(f"a reason that is no printable line: {reason.message!r}")
        if reason.code == "internal-error":
            problems.append(f"a bug: {reason.message}")
    numbers = (finding.duration_s, finding.speech_s, finding.spoof_llr, finding.raw_score)
    scores = [number for window in finding.windows for number in (window.raw_score, window.spoof_llr, window.speech_s)]
    if not all(math.isfinite(number) for number in (*numbers, *scores) if number is not None):
        problems.append("numbers that are not finite")
    if Finding.model_validate_json(finding.model_dump_json()) != finding:
        problems.append("not the same after a journey through JSON")
    return problems
