"""What watching a folder of many files costs: `python -m bench.watching [FILES]`.

Prints the CPU time of a list of all files (`spoofcheck watch --rescan`), and the memory that each file and each line of
`--jsonl` keeps.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from spoofcheck.cli.findinglog import _key
from spoofcheck.detect.folderwatch import FolderWatch, WatchOptions
from spoofcheck.detect.watching import Arrivals, look_at

_FOLDERS = 50
_SHA256 = "00" * 32


def main(files: int) -> None:
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as place:
        paths = _made(Path(place), files)
        tracemalloc.start()
        arrivals = Arrivals(0.0, look_at)
        arrivals.listed(paths, 0.0)
        arrivals.settle(1.0)
        for path in arrivals.take(files):
            arrivals.done(path, _SHA256)
        kept_bytes = tracemalloc.get_traced_memory()[0] / files
        tracemalloc.stop()
        watch = FolderWatch([Path(place)], WatchOptions(new_only=True))
        with watch:
            watch.notice()
            watch._next_rescan_s = 0.0
            began_s = time.process_time()
            watch.notice()
            listed_s = time.process_time() - began_s
    print(f"{files:,} files: listed in {listed_s:.2f} s of CPU time, {kept_bytes:,.0f} bytes kept for each")
    tracemalloc.start()
    lines = {_key(_line(number)) for number in range(files)}
    print(f"{len(lines):,} lines: {tracemalloc.get_traced_memory()[0] / files:,.0f} bytes kept for each")


def _made(place: Path, files: int) -> list[Path]:
    paths = []
    for number in range(files):
        folder = place / f"folder-{number % _FOLDERS}"
        folder.mkdir(exist_ok=True)
        paths.append(folder / f"recording-{number:06}.wav")
        paths[-1].write_bytes(b"RIFF")
    return paths


def _line(number: int) -> dict[str, object]:
    names = ("model", "model_version", "weights_sha256", "channel")
    return {**dict.fromkeys(names, ""), "path": f"{number}.wav", "sha256": _SHA256, "reasons": []}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
