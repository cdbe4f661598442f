"""Run the benchmarks and write `bench/RESULTS.md`: the only way a figure gets there.

`python -m bench.all` runs all of them, `python -m bench.all scan memory` only those; the others keep what they measured
last, with its date and commit (`bench/results.json`).
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from bench import (
    budget,
    fuzz,
    gpu,
    gpufloor,
    kills,
    memory,
    precision,
    report,
    scan,
    serve,
    side_by_side,
    sizes,
    soak,
    startup,
    training,
)
from bench.measure import Measurement, parser, show
from spoofcheck import __version__

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
STORE = RESULTS.with_name("results.json")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What is measured, and what its section says above the table.

    Attributes:
        uses_model: whether it is of one model directory.
    """

    measure: Callable[[Namespace], list[Measurement]]
    uses_model: bool = True
    remark: Callable[[Sequence[Measurement]], str] | None = None


def _training(recipe: str, chosen: Namespace) -> list[Measurement]:  # noqa: ARG001
    """A recipe's steps: not of any model directory."""
    return training.measure([recipe])


BENCHMARKS = {
    "scan": Benchmark(lambda chosen: scan.measure(chosen.model)),
    "precision": Benchmark(lambda chosen: precision.measure(chosen.model, chosen.prepared), True, precision.remark),
    "side-by-side": Benchmark(
        lambda chosen: side_by_side.measure(chosen.model, chosen.aasist), True, side_by_side.remark
    ),
    "startup": Benchmark(lambda chosen: startup.measure(chosen.model)),
    "memory": Benchmark(lambda chosen: memory.measure(chosen.model)),
    "soak": Benchmark(lambda chosen: soak.measure(chosen.model), True, soak.remark),
    "kills": Benchmark(lambda chosen: kills.measure(chosen.model)),
    "budget": Benchmark(lambda chosen: budget.measure(chosen.model)),
    "sizes": Benchmark(lambda chosen: sizes.measure(chosen.model)),
    "report": Benchmark(lambda _: report.measure(), False),
    "fuzz": Benchmark(lambda _: fuzz.measure(), False, fuzz.remark),
    "serve": Benchmark(lambda chosen: serve.measure(chosen.model)),
    "gpu-floor": Benchmark(lambda _: gpufloor.measure(), False, gpufloor.remark),
    "gpu": Benchmark(lambda chosen: gpu.measure(gpu.full(), chosen.model), True, gpu.remark),
    **{recipe: Benchmark(partial(_training, recipe), False, training.remark) for recipe in training.RECIPES},
}


@dataclass(frozen=True, slots=True)
class Session:
    """One benchmark as it was measured last.

    Attributes:
        command: what measured it; empty where that was not kept.
    """

    at: str
    model: str | None
    machine: dict[str, str]
    rows: list[Measurement]
    command: str = ""


def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which of {', '.join(BENCHMARKS)}; all when left out"
    )
    options.add_argument("--prepared", type=Path, metavar="DIR", help="for precision: see bench.precision")
    options.add_argument("--aasist", type=Path, metavar="DIR", help="for side-by-side: see bench.side_by_side")
    chosen = options.parse_args()
    unknown = set(chosen.names) - BENCHMARKS.keys()
    if unknown:
        options.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    sessions = read_store(STORE)
    for name in chosen.names or [name for name in BENCHMARKS if name != "gpu" or training.has_gpu()]:
        benchmark = BENCHMARKS[name]
        model = (chosen.model or "compact-detector") if benchmark.uses_model else None
        command = " ".join(["python -m bench.all", *sys.argv[1:]])
        sessions = keep(name, partial(benchmark.measure, chosen), model, command)
        show(sessions[name].rows)
    missed = [row.name for session in sessions.values() for row in session.rows if row.is_missed()]
    print(f"{RESULTS.name} written; " + (f"missed: {', '.join(missed)}" if missed else "every target is met"))


def keep(name: str, measure: Callable[[], list[Measurement]], model: str | None, command: str) -> dict[str, Session]:
    """Measure one benchmark and put it into the results, all of which are returned."""
    at, machine = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", _machine()
    rows = measure()
    # Read only now: the measuring may take long, and another benchmark may have been kept meanwhile.
    sessions = {**read_store(STORE), name: Session(at, model, machine, rows, command)}
    sessions = {name: sessions[name] for name in BENCHMARKS if name in sessions}
    stored = {name: asdict(session) for name, session in sessions.items()}
    STORE.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    RESULTS.write_text(page(sessions), encoding="utf-8")
    return sessions


def read_store(path: Path) -> dict[str, Session]:
    """What was measured last, by benchmark; empty when nothing was."""
    if not path.exists():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Session(**{**facts, "rows": [Measurement(**row) for row in facts["rows"]]})
        for name, facts in stored.items()
    }


def page(sessions: Mapping[str, Session]) -> str:
    """The results as Markdown. A ratio above 1 is better than the target asks."""
    lines = [
        "# Benchmark results",
        "",
        "Written by `make bench` (`python -m bench.all`); never edited by hand. The recordings are made from the human",
        "speech of the example recordings. Every figure but those of single stages, of training and in a browser is of",
        "one whole process, from start to end, on the CPU. A ratio above 1 is better than the target asks.",
        "",
    ]
    for name, session in sessions.items():
        machine = "; ".join(f"{fact} {value}" for fact, value in session.machine.items())
        command = f" by `{session.command}`" if session.command else ""
        with_model = "" if session.model is None else f" with the model `{session.model}`"
        remark = BENCHMARKS[name].remark
        lines += [
            f"## {name}",
            "",
            f"Measured {session.at}{command}{with_model} on: {machine}.",
            "",
            *([] if remark is None else [remark(session.rows), ""]),
            "| what | measured | target | ratio | note |",
            "|---|---|---|---|---|",
            *(_row(row) for row in session.rows),
            "",
        ]
    return "\n".join(lines)


def _row(row: Measurement) -> str:
    ratio = row.ratio()
    target = "" if row.target is None else f"{row.sense} {row.target:g} {row.unit}"
    if ratio is None:
        ratio_text = ""
    elif math.isinf(ratio):
        ratio_text = "met"  # at most so many, and there was none
    else:
        ratio_text = f"{ratio:.2f}" + ("" if ratio >= 1 else " (missed)")
    return f"| {row.name} | {_figure(row.value)} {row.unit} | {target} | {ratio_text} | {row.note} |"


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
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../spoofcheck", "../models", "../train")
    return git("rev-parse", "--short", "HEAD") + (" with uncommitted changes" if changed else "")


if __name__ == "__main__":
    main()
