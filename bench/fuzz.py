"""Ten thousand damaged recordings and their readers: counts of what came of them, by outcome and by format.

Nothing is timed. `python -m tests.fuzz.campaign` does the work, in a process of its own; `python -m bench.all fuzz`
runs it and keeps the counts. See `docs/fuzzing.md`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import ENVIRONMENT
from bench.measure import Measurement, parser, show
from tests.fuzz.campaign import CONTAINED, GROWTH_BYTES, Report
from tests.fuzz.checks import SCORED

MUTANTS = 10_000
SEED = 10
_MEBIBYTE = 1 << 20


def measure(mutants: int = MUTANTS, seed: int = SEED) -> list[Measurement]:
    """Run a campaign.

    Raises:
        RuntimeError: it ended before it had anything to say.
    """
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as folder:
        out = Path(folder) / "report.json"
        command = [sys.executable, "-m", "tests.fuzz.campaign", "--inputs", str(mutants), "--seed", str(seed)]
        done = subprocess.run(
            [*command, "--out", str(out)], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, check=False
        )
        print(done.stdout, flush=True)
        # 1: it found something, which its report says.
        if done.returncode not in (0, 1) or not out.exists():
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}")
        return rows(Report(**json.loads(out.read_text(encoding="utf-8"))))


def rows(report: Report) -> list[Measurement]:
    """What came of a campaign."""
    totals = report.totals()
    grown = (report.peak_rss_bytes - report.first_peak_rss_bytes) / _MEBIBYTE
    return [
        Measurement(
            "mutants through the whole scan", report.mutants, "files", MUTANTS, "at least", f"seed {report.seed}"
        ),
        Measurement("broken rules", len(report.problems), "", 0, note="; ".join(map(ascii, report.problems[:5]))),
        Measurement(
            "good files among them, scored as when alone",
            report.good - report.good_lost,
            "files",
            report.good,
            "at least",
        ),
        Measurement("crash, time or memory of a reader contained", sum(totals[code] for code in CONTAINED), "files"),
        Measurement("growth of the tool's peak memory after the first batch", grown, "MiB", GROWTH_BYTES / _MEBIBYTE),
        Measurement("largest reader or decoder process", report.readers_peak_rss_bytes / _MEBIBYTE, "MiB"),
        *(Measurement(f"outcome: {outcome}", count, "files") for outcome, count in totals.most_common()),
        *(
            Measurement(f"format: {name}", sum(counts.values()), "files", note=_in_words(counts))
            for name, counts in report.counts.items()
        ),
    ]


def remark(_: Sequence[Measurement]) -> str:
    """What stands above the table."""
    return (
        "Recordings of every format, damaged on purpose, good ones among them, through the whole scan with readers in "
        "processes. A rule is broken when the tool ends, an input has not exactly its own findings, a refusal has no "
        "code or line, a good file has other findings than alone, or anything is left behind."
    )


def _in_words(counts: dict[str, int]) -> str:
    scored = counts.get(SCORED, 0)
    rest = sorted((outcome for outcome in counts if outcome != SCORED), key=lambda outcome: -counts[outcome])
    return ", ".join([f"{scored} {SCORED}", *(f"{counts[outcome]} {outcome}" for outcome in rest)])


if __name__ == "__main__":
    parser(__doc__).parse_args()
    show(measure())
