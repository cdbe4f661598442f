"""Running spoofcheck as a user does, and what one measurement is."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import ENVIRONMENT

SPOOFCHECK = (sys.executable, "-m", "spoofcheck")
FINE = frozenset({0, 1, 3})
"""Exit codes of a scan that did its job."""


@dataclass(frozen=True, slots=True)
class Run:
    """One finished process."""

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row of the results page.

    Attributes:
        target: what the project asks for, None where nothing is asked.
        sense: whether `target` is a floor or a ceiling.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    sense: Literal["at least", "at most"] = "at most"
    note: str = ""

    def ratio(self) -> float | None:
        """How many times better than asked; below 1 the target is missed."""
        if self.target is None:
            return None
        over, under = (self.value, self.target) if self.sense == "at least" else (self.target, self.value)
        return over / under if under else math.inf

    def is_missed(self) -> bool:
        """Whether there is a target, and the value is on its wrong side."""
        ratio = self.ratio()
        return ratio is not None and ratio < 1

    def line(self) -> str:
        """One line for a terminal."""
        ratio = self.ratio()
        against = f", {self.sense} {self.target:g} wanted: {ratio:.2f} of the target" if ratio is not None else ""
        return f"{self.name}: {self.value:.3g} {self.unit}{against}" + (f" ({self.note})" if self.note else "")


# A bare interpreter starts the process, not this one with its arrays: the kernel counts into a process's peak
# what its parent held when it forked.
_LAUNCHER = """
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
wall_s, cpu_s = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), wall_s, cpu_s, usage.ru_maxrss]))
"""


def run(command: Sequence[str], fine: frozenset[int] = FINE) -> Run:
    """Run a process to its end, its output thrown away.

    Raises:
        RuntimeError: it ended with an exit code that is not in `fine`.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command], capture_output=True, text=True, check=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    code, wall_s, cpu_s, peak_kibibytes = json.loads(done.stdout)
    if code not in fine:
        raise RuntimeError(f"{' '.join(command)} ended with {code}: {done.stderr[-2_000:]}")
    return Run(wall_s, cpu_s, peak_kibibytes * 1024)


def scan_command(paths: Sequence[Path], model: str | None, *more: str, store: Path | None = None) -> list[str]:
    """`spoofcheck scan` on the CPU; without a store, what an earlier one found is not taken from the user's own."""
    chosen = () if model is None else ("--model", model)
    kept = ("--no-store",) if store is None else ("--store", str(store))
    return [*SPOOFCHECK, "scan", *map(str, paths), "--device", "cpu", "--quiet", *kept, *chosen, *more]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    options = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    options.add_argument("--model", help="model name or directory; the shipped default when left out")
    return options


def show(measurements: Sequence[Measurement]) -> None:
    """Print the lines."""
    for measurement in measurements:
        print(measurement.line(), flush=True)
