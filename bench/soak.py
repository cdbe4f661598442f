"""A long job: 10,000 small files, two hours of audio, in one scan with reader processes and the result store.

`python -m bench.soak --files 500` tries it small; `python -m bench.all soak` keeps the figures. What is looked for is
what only shows after thousands of files: memory that grows, descriptors, processes and temporary files that stay. The
scan is watched from outside, several times a second. A second scan is then answered from the store.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import soundfile

from bench import ENVIRONMENT
from bench.measure import FINE, Measurement, parser, scan_command, show
from bench.memory import MAX_GROWTH, MAX_RSS_MB
from bench.speech import SAMPLE_RATE_HZ, human_pool

FILES = 10_000
HOURS = 2.0
PIECE_S = (0.30, 0.50, 0.72, 0.90, 1.18)
"""Lengths that take turns; 0.72 s on average, so that 10,000 last two hours."""
BROKEN_EVERY = 100
M4A_EVERY = 50
"""These go through the ffmpeg program, all others through libsndfile."""
SUFFIXES = ("wav", "flac", "mp3", "ogg")
POLL_S = 0.25
MARK = "SPOOFCHECK_BENCH_SOAK"
"""A variable in the environment of everything that the scan starts: what is left is found by it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen of a running scan.

    Attributes:
        at_s: since its start.
        rss_bytes: of the scanning process.
        others_rss_bytes: of the processes that it started, together.
        descriptors: that the scanning process has open.
        others: how many processes it started and still has.
        temporary: entries in the folder for temporary files.
    """

    at_s: float
    rss_bytes: int
    others_rss_bytes: int
    descriptors: int
    others: int
    temporary: int


@dataclass(frozen=True, slots=True)
class Soak:
    """One scan that was watched to its end.

    Attributes:
        samples: in order of time.
        left_processes: that it started and that outlive it.
        left_files: names in its folder for temporary files.
    """

    wall_s: float
    samples: list[Sample]
    left_processes: int
    left_files: tuple[str, ...]

    def steady(self) -> list[Sample]:
        """Without the first fifth, when models are loaded and processes started, and the last twentieth, when outputs
        are written and processes ended."""
        return [each for each in self.samples if 0.2 * self.wall_s <= each.at_s <= 0.95 * self.wall_s]


def measure(model: str | None = None, files: int = FILES) -> list[Measurement]:
    """Two scans of the same files, the second one from the store."""
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        folder = Path(name)
        audio_s = write_pieces(folder / "recordings", files)
        broken = len(list((folder / "recordings").rglob("broken-*")))
        first, second = (watched(folder, model, run) for run in ("first", "second"))
        documents = [json.loads((folder / f"{run}.json").read_bytes()) for run in ("first", "second")]
        assert len(documents[0]["findings"]) == files
        same = documents[0]["findings"] == documents[1]["findings"]
        store_bytes = sum(path.stat().st_size for path in (folder / "store").rglob("*") if path.is_file())
        json_bytes = (folder / "first.json").stat().st_size
    skipped = sum(finding["verdict"] == "skipped" for finding in documents[0]["findings"])
    windows = sum(w["raw_score"] is not None for finding in documents[0]["findings"] for w in finding["windows"])
    note = (
        f"{audio_s / 3600:.2f} h of audio, {windows:,} windows scored, {skipped} files skipped of {broken} broken ones"
    )
    return [
        Measurement("scan", files / first.wall_s, "files/s", note=note),
        Measurement("scan, speed", audio_s / first.wall_s, "x real time"),
        *rows_of(first, files),
        Measurement("second scan, from the store", files / second.wall_s, "files/s"),
        Measurement("second scan against the first", first.wall_s / second.wall_s, "times as fast"),
        Measurement("findings of the two scans that differ", float(not same), "", 0.0, note="0: none, 1: some"),
        Measurement("store, a file", store_bytes / files, "bytes"),
        Measurement("JSON document, a file", json_bytes / files, "bytes"),
    ]


def rows_of(soak: Soak, files: int) -> list[Measurement]:
    """What stays, and what grows."""
    steady = soak.steady()
    if len(steady) < 8:
        raise RuntimeError(f"only {len(steady)} samples: take more files")
    quarter = len(steady) // 4
    early, late = steady[:quarter], steady[-quarter:]
    rate = files / soak.wall_s
    rows = [
        Measurement(
            "scanning process, peak memory", max(s.rss_bytes for s in soak.samples) / 1e6, "MB", MAX_RSS_MB,
            note=f"{len(soak.samples):,} samples in {soak.wall_s:.0f} s",
        )
    ]  # fmt: skip
    for what, field in (("scanning process", "rss_bytes"), ("reader processes", "others_rss_bytes")):
        slope = slope_per_s([s.at_s for s in steady], [getattr(s, field) for s in steady])
        before, after = _median(early, field), _median(late, field)
        rows += [
            Measurement(f"{what}, memory late against early", after / before, "times", MAX_GROWTH,
                        note=f"{before / 1e6:.0f} MB, then {after / 1e6:.0f} MB"),
            Measurement(f"{what}, slope of memory", slope / rate / 1e3, "kB a file",
                        note=f"{3_600 * slope / 1e6:+.0f} MB an hour at this rate"),
        ]  # fmt: skip
    for what, field in (
        ("descriptors of the scanning process", "descriptors"),
        ("processes that it started", "others"),
        ("temporary files", "temporary"),
    ):
        before, after = _median(early, field), _median(late, field)
        most = max(getattr(s, field) for s in soak.samples)
        note = f"{before:.0f} early, {after:.0f} late, {most} at most"
        rows.append(Measurement(f"{what}, more late than early", max(0.0, after - before), "", 0.0, note=note))
    return [
        *rows,
        Measurement("processes left after the end", soak.left_processes, "", 0.0),
        Measurement("temporary files left after the end", len(soak.left_files), "", 0.0),
    ]


def slope_per_s(at_s: Sequence[float], values: Sequence[float]) -> float:
    """Slope of the straight line nearest to the values, by least squares."""
    return float(np.polynomial.Polynomial.fit(at_s, values, 1).convert().coef[1])


def watched(folder: Path, model: str | None, run: str) -> Soak:
    """One scan of `folder / "recordings"` into `folder / "RUN.json"`, watched from outside.

    Raises:
        RuntimeError: it did not do its job.
    """
    temporary = folder / f"tmp-{run}"
    temporary.mkdir()
    mark = f"{run}-{uuid.uuid4().hex}"
    command = scan_command(
        [folder / "recordings"], model, "--isolate", "--reproducible", "--json", str(folder / f"{run}.json"),
        store=folder / "store",
    )  # fmt: skip
    # torch keeps an empty folder for its compiler among the temporary files, one for each user and for good.
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "torch")}
    environment = {**ENVIRONMENT, **cache, "TMPDIR": str(temporary), MARK: mark}
    samples: list[Sample] = []
    began_s = time.monotonic()
    with (folder / f"{run}.log").open("w+b") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env=environment
        )
        while process.poll() is None:
            samples += _sample(process.pid, mark, time.monotonic() - began_s, temporary)
            time.sleep(POLL_S)
        wall_s = time.monotonic() - began_s
        log.seek(0)
        if process.returncode not in FINE:
            raise RuntimeError(f"the scan ended with {process.returncode}: {log.read()[-2_000:].decode()}")
    left = tuple(sorted(path.name for path in temporary.iterdir()))
    return Soak(wall_s, samples, len(list(marked(mark))), left)


def marked(mark: str) -> Iterator[int]:
    """Processes that were started with a mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            with suppress(OSError):
                if wanted in (place / "environ").read_bytes().split(b"\0"):
                    yield int(place.name)


def _sample(pid: int, mark: str, at_s: float, temporary: Path) -> list[Sample]:
    """What is seen now; nothing when the process is just ending."""
    try:
        rss = _rss_bytes(pid)
        descriptors = _entries(Path(f"/proc/{pid}/fd"))
    except OSError:
        return []
    others = [each for each in marked(mark) if each != pid]
    others_rss = 0
    for each in others:
        with suppress(OSError):
            others_rss += _rss_bytes(each)
    return [Sample(at_s, rss, others_rss, descriptors, len(others), _entries(temporary))]


def _entries(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def _rss_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _median(samples: Sequence[Sample], field: str) -> float:
    return float(np.median([getattr(sample, field) for sample in samples]))


def write_pieces(folder: Path, files: int) -> float:
    """Write pieces of human speech in five formats, no two alike, and some broken files; seconds of audio together."""
    pool = human_pool()
    start, audio_s = 0, 0.0
    for i, length_s in zip(range(files), itertools.cycle(PIECE_S), strict=False):
        place = folder / f"{i // 1_000:02d}"
        place.mkdir(parents=True, exist_ok=True)
        if i % BROKEN_EVERY == BROKEN_EVERY - 1:
            _write_broken(place, i)
            continue
        n_samples = round(length_s * SAMPLE_RATE_HZ)
        # The pool is gone round many times: the faint noise keeps a piece from coming twice.
        noise = 1e-4 * np.random.default_rng(i).standard_normal(n_samples).astype(np.float32)
        samples = np.take(pool, np.arange(start, start + n_samples), mode="wrap") + noise
        start += n_samples
        audio_s += length_s
        name = place / f"piece-{i:05d}"
        if i % M4A_EVERY == 0:
            _write_m4a(name.with_suffix(".m4a"), samples)
        else:
            soundfile.write(name.with_suffix(f".{SUFFIXES[i % len(SUFFIXES)]}"), samples, SAMPLE_RATE_HZ)
    return audio_s


def _write_m4a(path: Path, samples: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    raw = ["-f", "f32le", "-ar", str(SAMPLE_RATE_HZ), "-ac", "1", "-i", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *raw, "-c:a", "aac", "-b:a", "32k", str(path)]
    subprocess.run(command, input=samples.astype("<f4").tobytes(), check=True)


def _write_broken(place: Path, number: int) -> None:
    """Empty, text, a header alone, noise with a header."""
    noise = np.random.default_rng(number).bytes(2_000)
    header = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0"
    kinds = {"empty.wav": b"", "text.wav": b"no audio\n", "header.wav": header, "noise.mp3": b"ID3\x04\0\0" + noise}
    name, content = list(kinds.items())[number // BROKEN_EVERY % len(kinds)]
    (place / f"broken-{number:05d}-{name}").write_bytes(content)


def remark(rows: Sequence[Measurement]) -> str:  # noqa: ARG001
    """What the results page says above the table."""
    return (
        "One scan with `--isolate` and `--store`, watched from outside four times a second; early and late are the "
        "first and the last quarter of what lies between a fifth and 95% of its time. A scan keeps every finding until "
        "its document is written, which is the slope of the scanning process. Then the same scan again."
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--files", type=int, default=FILES, metavar="N", help=f"default {FILES:,}")
    chosen = options.parse_args()
    show(measure(chosen.model, chosen.files))


if __name__ == "__main__":
    main()
