"""Send mutated recordings through the whole scan, good ones among them, and check that nothing gives way.

    python -m tests.fuzz.campaign --inputs 10000

Recordings are read in reader processes, which a mutant may end: that is counted, not a failure. The tool itself must
not end, every input must have its findings, every refusal a code and a line, every good file the score it has alone,
and nothing may be left behind. See `docs/fuzzing.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from spoofcheck.detect.limits import ReadLimits
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.schema import Finding
from tests.fuzz.checks import NO_SCORE, SCORED, comparable, outcome_of, problems_of
from tests.fuzz.held import MARK, Held, held, peak_rss_bytes, peak_rss_of_children_bytes
from tests.fuzz.mutate import Mutant, mutant
from tests.fuzz.seeds import Seed, formats, make_seeds
from tests.support.models import tiny_bundle

GOOD_EVERY = 20
BATCH_INPUTS = 400
READERS = 4
"""As many processes that read: what one of them costs when it ends, the others hardly notice."""
GROWTH_BYTES = 256 << 20
"""How much the peak of the tool's memory may grow after the first batch."""
CONTAINED = ("decode-crashed", "decode-timeout", "decode-memory")
"""Refusals of what took its reader or decoder along, or would have."""
KEPT = ("decode-crashed", "decode-timeout")
"""Those worth a look; a decoder that refuses a claim of gigabytes says `decode-memory`."""
LIMITS = ReadLimits(stall_s=30.0, base_s=60.0, memory_bytes=1 << 30)


@dataclass(slots=True)
class Report:
    """What came of a campaign.

    Attributes:
        good_lost: good files with other findings than when they are alone, or none.
        counts: mutants by format and outcome: `SCORED`, `NO_SCORE`, or the code of a refusal.
        problems: what must not be; empty when all is well.
        kept: file names of mutants to look at: those with an outcome of `KEPT`, and those with a problem.
        readers_peak_rss_bytes: of the largest process that was started for reading.
    """

    seed: int
    mutants: int = 0
    good: int = 0
    good_lost: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    peak_rss_bytes: int = 0
    first_peak_rss_bytes: int = 0
    readers_peak_rss_bytes: int = 0
    elapsed_s: float = 0.0

    def totals(self) -> Counter[str]:
        """Mutants by outcome."""
        total: Counter[str] = Counter()
        for counts in self.counts.values():
            total.update(counts)
        return total


@dataclass(frozen=True, slots=True)
class _Good:
    """A recording that nobody touched, and what is found in it when it is alone."""

    seed: Seed
    alone: list[Finding]


def run_campaign(
    work: Path,
    seed: int,
    inputs: int,
    names: Sequence[str] = (),
    keep: Path | None = None,
    limits: ReadLimits = LIMITS,
    readers: int = READERS,
    batches: Callable[[Sequence[range]], Iterator[range]] = iter,
    told: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Make and scan mutants.

    Args:
        work: an empty folder.
        seed: of the mutants.
        inputs: how many of them.
        names: of the formats; all when empty.
        keep: where mutants to look at are copied to.
        limits: on each recording.
        readers: processes that read.
        batches: wraps the batches, to show how far it is.
        told: what is known after each batch.

    Raises:
        RuntimeError: a good recording is not scored even when it is alone.
    """
    report, started = Report(seed), time.monotonic()
    with _marked(work) as look:
        scanner = Scanner(
            tiny_bundle(work / "tiny"),
            ScanOptions(device="cpu", trace=False, isolation="processes", workers=readers, limits=limits),
        )
        if scanner.processes is None:
            raise AssertionError("processes were asked for")
        seeds = make_seeds(work, names)
        _scan_alone(scanner, seeds[0], work)  # what is loaded once is there now
        before = look()
        with scanner.processes:
            good = [_Good(each, _scan_alone(scanner, each, work)) for each in seeds if each.is_whole]
            unscored = [each.seed.name for each in good if outcome_of(each.alone) != SCORED]
            if unscored:
                raise RuntimeError(f"not scored, though nobody touched them: {', '.join(unscored)}")
            for numbers in batches([range(i, min(inputs, i + BATCH_INPUTS)) for i in range(0, inputs, BATCH_INPUTS)]):
                mutants = [mutant(seed, number, seeds) for number in numbers]
                _scan_batch(scanner, mutants, good, work / "batch", report, keep)
                report.first_peak_rss_bytes = report.first_peak_rss_bytes or peak_rss_bytes()
                report.elapsed_s = time.monotonic() - started
                told(report)
        report.problems += look().more_than(before)
    report.peak_rss_bytes = peak_rss_bytes()
    report.readers_peak_rss_bytes = peak_rss_of_children_bytes()
    if report.peak_rss_bytes - report.first_peak_rss_bytes > GROWTH_BYTES:
        report.problems.append(f"memory grew from {report.first_peak_rss_bytes:,} to {report.peak_rss_bytes:,} bytes")
    report.elapsed_s = time.monotonic() - started
    return report


def _scan_alone(scanner: Scanner, seed: Seed, work: Path) -> list[Finding]:
    path = work / f"alone.{seed.extension}"
    path.write_bytes(seed.data)
    found = comparable(list(scanner.findings([path])))
    path.unlink()
    return found


def _scan_batch(
    scanner: Scanner, mutants: Sequence[Mutant], good: Sequence[_Good], folder: Path, report: Report, keep: Path | None
) -> None:
    folder.mkdir()
    inputs: dict[Path, Mutant | _Good] = {}
    for made in mutants:
        path = folder / made.file_name
        path.write_bytes(made.data)
        inputs[path] = made
        if made.number % GOOD_EVERY == 0:
            untouched = good[made.number // GOOD_EVERY % len(good)]
            path = folder / f"{made.number:06d}-good.{untouched.seed.extension}"
            path.write_bytes(untouched.seed.data)
            inputs[path] = untouched
    wanted = iter(inputs.items())
    try:
        for path, findings in scanner.examined_inputs(list(inputs)):
            asked, source = next(wanted, (None, None))
            if asked != path or source is None:
                report.problems.append(f"{path.name}: answered out of order")
                continue
            problems = problems_of(path, findings)
            if isinstance(source, Mutant):
                _count(source, findings, bool(problems), report, keep)
            else:
                report.good += 1
                if comparable(findings) != source.alone:
                    report.good_lost += 1
                    problems.append(f"a good file with other findings than alone: {outcome_of(findings)}")
            report.problems += [f"{path.name}: {problem}" for problem in problems]
    except Exception as error:
        report.problems.append(f"the scan ended: {type(error).__name__}: {error}")
    for path, source in wanted:
        report.problems.append(f"{path.name}: lost")
        report.good_lost += isinstance(source, _Good)
    shutil.rmtree(folder)


def _count(source: Mutant, findings: Sequence[Finding], is_odd: bool, report: Report, keep: Path | None) -> None:
    outcome = outcome_of(findings) if findings else "lost"
    counts = report.counts.setdefault(source.seed.name, {})
    counts[outcome] = counts.get(outcome, 0) + 1
    report.mutants += 1
    if is_odd or outcome in KEPT:
        report.kept.append(f"{source.file_name}: {outcome}")
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{outcome}-{source.file_name}").write_bytes(source.data)


@contextmanager
def _marked(work: Path) -> Iterator[Callable[[], Held]]:
    """What is started within bears a mark, and writes its temporary files where they are seen."""
    mark, temporary = uuid.uuid4().hex, work / "temporary"
    temporary.mkdir()
    saved = {name: os.environ.get(name) for name in (MARK, "TMPDIR")}, tempfile.tempdir
    os.environ.update({MARK: mark, "TMPDIR": str(temporary)})
    tempfile.tempdir = str(temporary)
    try:
        yield lambda: held(mark, temporary)
    finally:
        environment, tempfile.tempdir = saved
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def summary(report: Report) -> Table:
    """Mutants by format and outcome."""
    totals = report.totals()
    refusals = sorted(totals.keys() - {SCORED, NO_SCORE}, key=lambda code: (-totals[code], code))
    columns = [SCORED, NO_SCORE, *refusals]
    table = Table(
        "format", "mutants", *columns, title=f"{report.mutants:,} mutants, seed {report.seed}", header_style=""
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, counts in report.counts.items():
        table.add_row(name, f"{sum(counts.values()):,}", *(f"{counts[c]:,}" if c in counts else "" for c in columns))
    table.add_section()
    table.add_row("all", f"{report.mutants:,}", *(f"{totals[column]:,}" for column in columns))
    return table


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--inputs", type=int, default=10_000, metavar="N", help="mutants to scan (10000)")
    options.add_argument("--seed", type=int, default=9, metavar="N", help="of the mutants (9)")
    options.add_argument("--formats", nargs="+", default=[], choices=formats(), metavar="NAME", help="only of these")
    options.add_argument("--out", type=Path, metavar="FILE", help="write what came of it as JSON")
    options.add_argument("--keep", type=Path, metavar="DIR", help="copy mutants to look at here")
    options.add_argument("--write", type=int, metavar="N", help="scan nothing, write mutant N into the current folder")
    chosen = options.parse_args()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="spoofcheck-fuzz-") as folder:
        if chosen.write is not None:
            made = mutant(chosen.seed, chosen.write, make_seeds(Path(folder), chosen.formats))
            Path(made.file_name).write_bytes(made.data)
            print(f"{made.file_name}: {len(made.data)} bytes, {', '.join(made.how)}")
            return 0

        def shown(batches: Sequence[range]) -> Iterator[range]:
            return iter(track(batches, f"batches of {BATCH_INPUTS}", console=console))

        def kept(report: Report) -> None:
            if chosen.out is not None:
                chosen.out.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")

        arguments = (chosen.seed, chosen.inputs, chosen.formats, chosen.keep)
        report = run_campaign(Path(folder), *arguments, batches=shown, told=kept)
        kept(report)
    Console(width=None if sys.stdout.isatty() else 200).print(summary(report))
    print(f"{report.good} good files among them, {report.good_lost} lost; {report.elapsed_s / 60:.1f} minutes;")
    print(f"peak memory: tool {report.peak_rss_bytes >> 20} MiB, readers {report.readers_peak_rss_bytes >> 20} MiB")
    for line in (*report.kept, *report.problems):
        print(ascii(line)[1:-1])
    print(f"{len(report.problems)} problems")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
