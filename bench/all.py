"""Run every benchmark and write `bench/RESULTS.md`: the only way a figure gets there."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench import memory, scan, startup
from bench.measure import Measurement, parser, show
from spoofcheck import __version__

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"


def main() -> None:
    model = parser(__doc__).parse_args().model
    started_at = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        saved = Path(name) / "scan.json"
        rows = scan.measure(model, keep_json=saved)
        show(rows)
        for more in (startup.measure(model, saved), memory.measure(model)):
            show(more)
            rows += more
    RESULTS.write_text(page(rows, _machine(), model, started_at), encoding="utf-8")
    missed = [row.name for row in rows if (row.ratio() or 1) < 1]
    print(f"{RESULTS.name} written; " + (f"missed: {', '.join(missed)}" if missed else "every target is met"))


def page(rows: Sequence[Measurement], machine: dict[str, str], model: str | None, at: datetime) -> str:
    """The results as Markdown. A ratio above 1 is better than the target asks."""
    lines = [
        "# Benchmark results",
        "",
        "Written by `make bench` (`python -m bench.all`); never edited by hand. The recordings are made",
        "from the human speech of the example recordings; every figure but those of single stages is of one",
        "whole process, from start to end, on the CPU. A ratio above 1 is better than the target asks.",
        "",
        f"Measured {at:%Y-%m-%d %H:%M} UTC with the model `{model or 'compact-detector'}` on:",
        "",
        *(f"- {name}: {value}" for name, value in machine.items()),
        "",
        "| what | measured | target | ratio | note |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = row.ratio()
        target = "" if row.target is None else f"{row.sense} {row.target:g} {row.unit}"
        ratio_text = "" if ratio is None else f"{ratio:.2f}" + ("" if ratio >= 1 else " (missed)")
        lines.append(f"| {row.name} | {_figure(row.value)} {row.unit} | {target} | {ratio_text} | {row.note} |")
    return "\n".join(lines) + "\n"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _machine() -> dict[str, str]:
    return {
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
        "spoofcheck": __version__,
        **{name: version(name) for name in ("torch", "soundfile", "soxr", "silero-vad")},
        "commit": _commit(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../spoofcheck", "../models")
    return git("rev-parse", "--short", "HEAD") + (" with uncommitted changes" if changed else "")


if __name__ == "__main__":
    main()
