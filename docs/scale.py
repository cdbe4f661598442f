"""Rewrite the tables of docs/scale.md from what was measured: `python -m docs.scale`.

Measured rates and sizes are read from `bench/results.json`; what a card would do is worked out from the arithmetic of
the networks at a stated share of a card's rate. `python -m docs.scale --show --gpus 8 --cores-per-gpu 24` prints the
same tables for other numbers, and with prices of your own; nothing is written then.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent / "scale.md"
RESULTS = PAGE.parent.parent / "bench" / "results.json"
WINDOW_S = 4.0
WINDOW_BYTES = 64_000 * 4
"""Of float32 samples, as a reader hands them to a network."""
CARD_TFLOPS = 989.0
"""Dense bf16 of an H200 by its data sheet, as in `bench/gpufloor.py`."""
FORMATS = ("WAV", "FLAC", "MP3", "Opus")


@dataclass(frozen=True, slots=True)
class Job:
    """What the reader chooses.

    Attributes:
        hours: of audio, all of it speech: every window is heard.
        gpus: numbers of cards.
        cores_per_gpu: CPU cores that read for a card.
        shares: of the card's rate that the network is assumed to reach.
        format: of the recordings.
        gpu_price: of a GPU-hour with nothing else, in any currency; None to leave it a letter.
        core_price: of a core-hour.
    """

    hours: float = 1e6
    gpus: tuple[int, ...] = (8, 64)
    cores_per_gpu: int = 16
    shares: tuple[float, ...] = (0.1, 0.25, 0.5)
    format: str = "FLAC"
    gpu_price: float | None = None
    core_price: float | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured, and the arithmetic of the networks.

    Attributes:
        read: hours of audio that one core reads in an hour, with voice activity, by format.
        decode: the same without voice activity.
        megabytes: of an hour of speech at 16 kHz in mono, by format.
        gflop: of one window, by network.
        scan: times real time of a whole scan on the CPU of the benchmark.
        scan_cores: how many cores that CPU has.
        file_s: core-seconds that a recording costs beside its audio.
        finding_bytes: memory of the scanning process for one finding.
        result_kb: `(a recording, every window of it)` by form.
        kept_per_s: findings that one writer puts into a store in a second.
        window_cpu_s: CPU time of the scanning process for a window that another process read.
    """

    read: Mapping[str, float]
    decode: Mapping[str, float]
    megabytes: Mapping[str, float]
    gflop: Mapping[str, float]
    scan: float
    scan_cores: int
    file_s: float
    finding_bytes: float
    result_kb: Mapping[str, tuple[float, float]]
    kept_per_s: float
    window_cpu_s: float

    def ceiling(self, network: str, share: float) -> float:
        """Times real time of one card that computes at a share of its rate. Worked out, never measured."""
        return WINDOW_S * share * CARD_TFLOPS * 1e3 / self.gflop[network]


def measured(path: Path = RESULTS) -> Rates:
    """Rates and sizes of the last benchmarks.

    Raises:
        KeyError: a benchmark or one of its rows is missing.
    """
    sessions: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    values = {name: {row["name"]: float(row["value"]) for row in session["rows"]} for name, session in sessions.items()}
    floor, sizes, memory = values["gpu-floor"], values["sizes"], values["memory"]
    readings = {**floor, **sizes}
    cores = int(sessions["scan"]["machine"]["CPU"].rpartition(", ")[2].split()[0])
    many, few = (memory[f"{n} files of 1 s, peak memory"] for n in ("10,000", "100"))
    return Rates(
        read={kind: readings[f"{kind}, reading with voice activity, a core"] for kind in FORMATS},
        decode={kind: readings[f"{kind}, reading alone, a core"] for kind in FORMATS},
        megabytes={kind: sizes[f"{kind}, an hour"] for kind in FORMATS},
        gflop={
            "compact-detector with compact-tracer": sizes["compact-detector with its tracer, a window"],
            "XLS-R 300M with Nes2Net-LA": sizes["XLS-R 300M with Nes2Net-LA, a window"],
        },
        scan=values["scan"]["scan, end to end"],
        scan_cores=cores,
        file_s=sizes["a recording of 1 s without speech, CPU time"],
        finding_bytes=(many - few) * 1e6 / 9_900,
        result_kb={form: _line(sizes, form) for form in ("JSONL", "JSON", "CSV", "store")},
        kept_per_s=sizes["store, findings kept"],
        window_cpu_s=WINDOW_S / floor["windows from a reader process"],
    )


def _line(sizes: Mapping[str, float], form: str) -> tuple[float, float]:
    """What a recording takes, and each of its windows, from recordings of 1 and of 15 windows; both in kB."""
    one, fifteen = (sizes[f"{form}, a recording of {n} windows"] for n in (1, 15))
    window = max(0.0, (fifteen - one) / 14)
    return one - window, window


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job takes on a number of cards.

    Attributes:
        rate: hours of audio in an hour.
        hours: by the clock.
        limit: what the others wait for.
        cores_wanted: for each card, so that it never waits.
    """

    rate: float
    hours: float
    limit: str
    cores_wanted: int


def outcome(job: Job, rates: Rates, network: str, share: float, gpus: int) -> Outcome:
    """The slower of cards and readers, each working all the time."""
    card, core = rates.ceiling(network, share), rates.read[job.format]
    readers = job.cores_per_gpu * core
    rate = gpus * min(card, readers)
    return Outcome(rate, job.hours / rate, "GPU" if card <= readers else "reading", math.ceil(card / core))


def cost(job: Job, found: Outcome, gpus: int) -> str:
    """GPU-hours and core-hours of a job, priced where prices are known; machines are paid while they wait, too."""
    gpu_hours, core_hours = gpus * found.hours, gpus * job.cores_per_gpu * found.hours
    if job.gpu_price is None or job.core_price is None:
        return f"{_n(gpu_hours)} g + {_n(core_hours)} c"
    return _n(gpu_hours * job.gpu_price + core_hours * job.core_price)


def time_table(job: Job, rates: Rates) -> Iterator[str]:
    """Time and cost by network, share and number of cards."""
    yield "| network | share of the card's rate | a card | GPUs | by the clock | limit | cores a card wants | cost |"
    yield "|---|---|---|---|---|---|---|---|"
    for network in rates.gflop:
        for share in job.shares:
            for gpus in job.gpus:
                found = outcome(job, rates, network, share, gpus)
                yield (
                    f"| {network} | {share:.0%} | {_n(rates.ceiling(network, share))} x | {gpus} | {_n(found.hours)} h "
                    f"| {found.limit} | {found.cores_wanted} | {cost(job, found, gpus)} |"
                )


def cpu_table(job: Job, rates: Rates) -> Iterator[str]:
    """Without any card."""
    per_core = rates.scan / rates.scan_cores
    core_hours = job.hours / per_core
    yield "| cores | by the clock | core-hours |"
    yield "|---|---|---|"
    for cores in (64, 512, 4_096):
        yield f"| {cores:,} | {_n(core_hours / cores)} h | {_n(core_hours)} |"


def reading_table(job: Job, rates: Rates) -> Iterator[str]:
    """What decoding costs, and what the network between store and readers carries."""
    yield (
        "| format | decoding, a core | with voice activity | core-hours for the job | MB an hour of audio "
        "| all of it | at 1,000 h/h | at 50,000 h/h |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for kind in FORMATS:
        size = rates.megabytes[kind]
        yield (
            f"| {kind} | {_n(rates.decode[kind])} x | {_n(rates.read[kind])} x | {_n(job.hours / rates.read[kind])} "
            f"| {_n(size)} | {_n(job.hours * size / 1e6)} TB | {_n(_gigabits(size, 1e3))} Gbit/s "
            f"| {_n(_gigabits(size, 5e4))} Gbit/s |"
        )


def _gigabits(megabytes: float, hours_an_hour: float) -> float:
    return 8 * megabytes * hours_an_hour / 3_600 / 1e3


def files_table(job: Job, rates: Rates) -> Iterator[str]:
    """What grows with the number of recordings instead of the hours."""
    yield (
        "| a recording lasts | recordings | GETs a second in 24 h | core-hours beside the audio "
        "| memory of one scanning process | JSONL | CSV | store |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for length_s, told in ((4.0, "4 s"), (60.0, "1 min"), (600.0, "10 min"), (3_600.0, "1 h")):
        files, windows = job.hours * 3_600 / length_s, length_s / WINDOW_S
        sizes = {form: files * (each + windows * more) / 1e9 for form, (each, more) in rates.result_kb.items()}
        memory_gb = files * rates.finding_bytes * sizes["JSON"] / _at_one_window(files, rates) / 1e9
        yield (
            f"| {told} | {_n(files)} | {_n(files / 86_400)} | {_n(files * rates.file_s / 3_600)} | {_n(memory_gb)} GB "
            f"| {_n(sizes['JSONL'])} TB | {_n(sizes['CSV'])} TB | {_n(sizes['store'])} TB |"
        )


def _at_one_window(files: float, rates: Rates) -> float:
    """TB of JSON when every recording had one window, of which the memory of a finding was measured."""
    each, more = rates.result_kb["JSON"]
    return files * (each + more) / 1e9


def results_table(_: Job, rates: Rates) -> Iterator[str]:
    """What findings take, by form."""
    yield "| form | a recording | and each window of it |"
    yield "|---|---|---|"
    for form, (each, more) in rates.result_kb.items():
        yield f"| {form} | {1e3 * each:,.0f} bytes | {1e3 * more:,.0f} bytes |"


def limits_table(job: Job, rates: Rates) -> Iterator[str]:
    """Limits of single places that all work passes through."""
    process = WINDOW_S / rates.window_cpu_s
    actor = job.cores_per_gpu * rates.read[job.format]
    carried = actor / WINDOW_S * WINDOW_BYTES
    yield "| place | limit | where it comes from |"
    yield "|---|---|---|"
    yield (
        f"| scanning process of the local engine | {_n(process)} x real time, all its cards together "
        f"| {1e3 * rates.window_cpu_s:.2f} ms of its CPU for a window that a reader process sends (measured) |"
    )
    yield (
        f"| result store, one writer | {_n(rates.kept_per_s)} recordings/s "
        "| every finding durable before the next (measured, on the benchmark's disk) |"
    )
    yield (
        f"| Ray's object store, for a card with {job.cores_per_gpu} readers | {_n(carried / 1e6)} MB/s "
        f"| {WINDOW_BYTES / 1e3:.0f} kB of samples for a window of {WINDOW_S:g} s (worked out) |"
    )


def _n(value: float) -> str:
    """A number with what matters of it: two digits, and all of a whole part below a million."""
    if value >= 999_500:
        return f"{value / 1e6:,.0f} million" if value >= 99.5e6 else f"{value / 1e6:.2g} million"
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.2g}"


TABLES = {
    "time": time_table,
    "cpu": cpu_table,
    "reading": reading_table,
    "files": files_table,
    "results": results_table,
    "limits": limits_table,
}


def page(text: str, job: Job, rates: Rates) -> str:
    """The page with its tables made anew.

    Raises:
        ValueError: the marks around a table are missing.
    """
    for name, table in TABLES.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        made = "\n".join(table(job, rates))
        text, n = re.subn(f"{start}.*?{end}", f"{start}{made}\n\n{end}", text, flags=re.DOTALL)
        if n != 1:
            raise ValueError(f"{PAGE.name} has no marks for {name}, or several")
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Rewrite the page, or print the tables for other numbers."""
    default = Job()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--show", action="store_true", help="print the tables instead of writing the page")
    parser.add_argument("--hours", type=float, default=default.hours)
    parser.add_argument("--gpus", type=int, nargs="+", default=default.gpus)
    parser.add_argument("--cores-per-gpu", type=int, default=default.cores_per_gpu)
    parser.add_argument("--shares", type=float, nargs="+", default=default.shares, help="of the card's rate, 0 to 1")
    parser.add_argument("--format", choices=FORMATS, default=default.format)
    parser.add_argument("--gpu-price", type=float, help="of a GPU-hour, its cores not included")
    parser.add_argument("--core-price", type=float, help="of a core-hour")
    chosen = vars(parser.parse_args(arguments))
    shown = chosen.pop("show")
    job = Job(**{name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()})
    if shown:
        for table in TABLES.values():
            print("\n".join(table(job, measured())), end="\n\n")
    elif job != default:
        parser.error("the page is for the numbers it states: use --show with others")
    else:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), job, measured()), encoding="utf-8")


if __name__ == "__main__":
    main()
