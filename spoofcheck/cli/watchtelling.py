"""What `spoofcheck watch` says: a line per finding, a line for what is no finding, and a summary; and its exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from spoofcheck.cli.status import ExitStatus

if TYPE_CHECKING:
    from rich.console import Console

    from spoofcheck.schema import Finding, ScanDocument, Verdict


@dataclass(slots=True)
class Tally:
    """Counts of what was found; it grows with nothing."""

    recordings: int = 0
    audio_s: float = 0.0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    undecided: int = 0
    """Findings without a score, or without a verdict for want of a calibration."""

    def add(self, findings: Sequence[Finding]) -> None:
        """Count the findings of one input."""
        from spoofcheck.schema import Verdict

        self.recordings += any(finding.verdict is not Verdict.SKIPPED for finding in findings)
        self.audio_s += findings[0].duration_s or 0.0
        self.verdicts.update(finding.verdict for finding in findings)
        self.undecided += sum(
            finding.raw_score is None or finding.verdict is Verdict.UNCALIBRATED for finding in findings
        )

    def status(self, *, unexamined: int) -> ExitStatus:
        """The exit code: as for a scan of all that arrived, interrupted when some of it was not examined."""
        from spoofcheck.schema import FLAGGED

        if unexamined:
            return ExitStatus.INTERRUPTED
        if any(self.verdicts[verdict] for verdict in FLAGGED):
            return ExitStatus.FLAGGED
        return ExitStatus.INCOMPLETE if self.undecided else ExitStatus.CLEAR


class Teller:
    """Says on standard output what was found, and on standard error all else.

    Args:
        origin: the document of the run, without findings.
        quiet: say only what must be seen.
    """

    def __init__(self, origin: ScanDocument, *, quiet: bool) -> None:
        from rich.console import Console

        from spoofcheck.render.measures import llr_bound

        self._origin = origin
        self._quiet = quiet
        self._bound = llr_bound(origin)
        self._out = Console()
        self._err = Console(stderr=True)

    def begin(self, folders: Sequence[Path]) -> None:
        """What is watched with which model, and the names of the columns."""
        from spoofcheck.audio.inputs import display_path
        from spoofcheck.render.findingline import header

        if self._quiet:
            return
        names = ", ".join(map(display_path, folders))
        self.notice(f"Watching {names} with the model {self._origin.model.name}; Ctrl-C ends it.")
        _print(self._out, header(is_calibrated=self._bound is not None), "bold")

    def tell(self, findings: Sequence[Finding]) -> None:
        """A line for each finding."""
        from spoofcheck.render.findingline import finding_line
        from spoofcheck.schema import FLAGGED

        if self._quiet:
            return
        for finding in findings:
            line = finding_line(finding, self._bound, ascii_only=not self._out.encoding.lower().startswith("utf"))
            _print(self._out, line, "bold red" if finding.verdict in FLAGGED else "")

    def notice(self, text: str) -> None:
        """A line on what is no finding."""
        from spoofcheck.render.text import printable

        _print(self._err, printable(text), "")

    def end(self, tally: Tally, vanished: int, unexamined: int) -> None:
        """The summary."""
        if not self._quiet:
            for line in summary_lines(tally, vanished, unexamined):
                _print(self._err, line, "")


def summary_lines(tally: Tally, vanished: int, unexamined: int) -> list[str]:
    """What a watch ends with.

    Args:
        tally: of all findings.
        vanished: recordings that were deleted before they were read.
        unexamined: files that arrived and were not examined.
    """
    from spoofcheck.render.text import count, format_time
    from spoofcheck.render.wording import VERDICT_ORDER, VERDICT_WORDS
    from spoofcheck.schema import Verdict

    exhibits = sum(number for verdict, number in tally.verdicts.items() if verdict is not Verdict.SKIPPED)
    lines = [
        f"Examined {count(tally.recordings, 'recording')} ({count(exhibits, 'exhibit')}), "
        f"{format_time(tally.audio_s)} of audio"
    ]
    shown = [f"{tally.verdicts[each]:,} {VERDICT_WORDS[each]}" for each in VERDICT_ORDER if tally.verdicts[each]]
    if shown:
        lines.append(f"Verdicts: {', '.join(shown)}")
    if vanished:
        lines.append(f"Deleted before they were read: {count(vanished, 'recording')}")
    if unexamined:
        lines.append(
            f"INTERRUPTED: {count(unexamined, 'file')} not examined yet; the next start examines what is there."
        )
    return lines


def _print(console: Console, line: str, style: str) -> None:
    from rich.text import Text

    text = line.encode(console.encoding, "backslashreplace").decode(console.encoding)
    console.print(Text(text, style=style), soft_wrap=True)
