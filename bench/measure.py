"""Running spoofcheck as a user does, and what one measurement is."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
        return self.value / self.target if self.sense == "at least" else self.target / self.value

    def line(self) -> str:
        """One line for a terminal."""
        ratio = self.ratio()
        against = (
            f", {self.sense} {self.target:g} wanted: {ratio:.2f} of the target" if ratio is not None else ""
        )
        return f"{self.name}: {self.value:.3g} {self.unit}{against}" + (
            f" ({self.note})" if self.note else ""
        )


def run(command: Sequence[str], fine: frozenset[int] = FINE) -> Run:
    """Run a process to its end, its output thrown away.

    The peak is that of the process alone: the kernel's `ru_maxrss`, which also counts what this process held
    when it started the other. Keep the benchmark itself small.

    Raises:
        RuntimeError: it ended with an exit code that is not in `fine`.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in fine:
        tail = errors.decode(errors="replace")[-2_000:]
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {tail}")
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def scan_command(paths: Sequence[Path], model: str | None, *more: str) -> list[str]:
    """`spoofcheck scan` on the CPU."""
    chosen = () if model is None else ("--model", model)
    return [*SPOOFCHECK, "scan", *map(str, paths), "--device", "cpu", "--quiet", *chosen, *more]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    options = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    options.add_argument("--model", help="model name or directory; the shipped default when left out")
    return options


def show(measurements: Sequence[Measurement]) -> None:
    """Print the lines."""
    for measurement in measurements:
        print(measurement.line(), flush=True)
