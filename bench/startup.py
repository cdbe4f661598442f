"""How long an analyst waits for `--help`, and for a report from a saved result (both without torch)."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.measure import FINE, SPOOFCHECK, Measurement, parser, run, scan_command, show
from bench.speech import write_minutes

MAX_HELP_S = 0.5
MAX_REPORT_S = 1.0
RUNS = 10


def measure(model: str | None = None) -> list[Measurement]:
    """Best and median of ten runs each; the report is that of a scan of 60 files."""
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        work = Path(name)
        saved = work / "scan.json"
        _save_result(work, saved, model)
        html = work / "report.html"
        helps = _walls([*SPOOFCHECK, "--help"])
        reports = _walls([*SPOOFCHECK, "report", str(saved), "--html", str(html)])
        kilobytes = html.stat().st_size / 1e3
    return [
        Measurement("--help, best of 10", min(helps), "s", MAX_HELP_S),
        Measurement("--help, median of 10", statistics.median(helps), "s", MAX_HELP_S),
        Measurement(
            "report, best of 10",
            min(reports),
            "s",
            MAX_REPORT_S,
            note=f"60 files, {kilobytes:.0f} kB of HTML",
        ),
        Measurement("report, median of 10", statistics.median(reports), "s", MAX_REPORT_S),
    ]


def _save_result(work: Path, saved: Path, model: str | None) -> None:
    """A result of 60 findings of a minute each: four files are scanned, their findings repeated."""
    recordings = work / "recordings"
    recordings.mkdir()
    write_minutes(recordings, 4)
    run(scan_command([recordings], model, "--json", str(saved)))
    document = json.loads(saved.read_text(encoding="utf-8"))
    document["findings"] = [
        {**finding, "path": f"{i:02d}-{finding['path']}"} for i in range(15) for finding in document["findings"]
    ]
    saved.write_text(json.dumps(document), encoding="utf-8")


def _walls(command: Sequence[str]) -> list[float]:
    run(command, frozenset({0}))  # the first run compiles and fills the page cache
    return [run(command, FINE - {1, 3}).wall_s for _ in range(RUNS)]


def main() -> None:
    show(measure(parser(__doc__).parse_args().model))


if __name__ == "__main__":
    main()
