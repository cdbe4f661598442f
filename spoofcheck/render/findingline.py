"""One line per finding for a terminal or a log: the columns of the scan's table, the name last."""

from __future__ import annotations

from spoofcheck.render import measures
from spoofcheck.render.text import MISSING, format_llr, format_similarity, format_time, isolated, printable
from spoofcheck.render.tracing import decision_words, follows_channel, is_known
from spoofcheck.render.wording import VERDICT_WORDS
from spoofcheck.schema import Finding, Verdict

_ASCII_SIGNS = str.maketrans({"≥": ">=", "≤": "<=", MISSING: "-", "\u200e": ""})


def header(*, is_calibrated: bool) -> str:
    """The names of the columns."""
    score = "LLR" if is_calibrated else "Raw"
    return _row("Verdict", score, "Duration", "Speech", "Spoofed", "File")


def finding_line(finding: Finding, llr_bound: float | None, *, ascii_only: bool = False) -> str:
    """A finding in one line; names and reasons are harmless.

    Args:
        finding: of any verdict.
        llr_bound: of the model's LLRs; None for an uncalibrated model, whose raw score stands in their place.
        ascii_only: leave out signs that are not ASCII; names keep theirs.
    """
    if finding.verdict is Verdict.SKIPPED:
        why = "; ".join(reason.message for reason in finding.reasons)
        line = _row(VERDICT_WORDS[finding.verdict], MISSING, MISSING, MISSING, MISSING, _name(finding)) + f": {why}"
    else:
        score = format_llr(finding.raw_score) if llr_bound is None else format_llr(finding.spoof_llr, llr_bound)
        line = _row(
            VERDICT_WORDS[finding.verdict],
            score,
            format_time(finding.duration_s),
            format_time(finding.speech_s),
            format_time(measures.spoofed_s(finding)) if finding.spans else MISSING,
            _name(finding) + _remarks(finding),
        )
    line = printable(line)
    return line.translate(_ASCII_SIGNS) if ascii_only else isolated(line)


def _row(verdict: str, score: str, duration: str, speech: str, spoofed: str, rest: str) -> str:
    return f"{verdict:<12}  {score:>7}  {duration:>8}  {speech:>8}  {spoofed:>8}  {rest}"


def _name(finding: Finding) -> str:
    return finding.path if finding.channel is None else f"{finding.path} (channel {finding.channel + 1})"


def _remarks(finding: Finding) -> str:
    """What the table has in its last columns."""
    remarks = []
    if finding.trace is not None:
        similarity = f" ({format_similarity(finding.sources[0].similarity)})" if is_known(finding) else ""
        mark = ", channel test failed" if follows_channel(finding) else ""
        remarks.append(f"similar to: {decision_words(finding)}{similarity}{mark}")
    flags = measures.flags(finding)
    if flags:
        remarks.append(f"flags: {', '.join(flags)}")
    return "".join(f"; {remark}" for remark in remarks)
