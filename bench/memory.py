"""Peak memory of a scan: of one ten-hour recording against ten minutes, and of 10,000 small files against 100.

The long recording is read by libsndfile (WAV) and through ffmpeg (M4A). To keep the run short, most of it is a quiet
room, as in a long-running recorder, and of the small files (one second each) only every twentieth holds speech: windows
without speech take every step but the network.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import Measurement, Run, parser, run, scan_command, show
from bench.speech import write_hours, write_hours_m4a, write_seconds

MAX_RSS_MB = 1_500.0
MAX_GROWTH = 1.25
HOURS = 10
FILES = 10_000
FEW_FILES = 100
WRITERS: dict[str, Callable[[Path, float], float]] = {"wav": write_hours, "m4a": write_hours_m4a}


def measure(model: str | None = None, hours: int = HOURS, files: int = FILES) -> list[Measurement]:
    """Long recordings, then many files."""
    return [*_long(model, hours), *_many(model, files)]


def _long(model: str | None, hours: int) -> list[Measurement]:
    """One scan per container and length."""
    rows = []
    for container, write in WRITERS.items():
        peaks = []
        for length_h in (1 / 6, hours):
            with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
                path = Path(name) / f"long.{container}"
                audio_s = write(path, length_h)
                whole, document = _scan(path, model)
            (finding,) = document["findings"]
            assert abs(finding["duration_s"] - audio_s) < 60, finding["duration_s"]
            peaks.append(whole.peak_rss_bytes / 1e6)
            length = f"{hours} h" if length_h == hours else "10 minutes"
            speech = finding["speech_s"]
            note = f"{speech / 3600:.1f} h of it speech" if length_h == hours else f"{speech / 60:.1f} minutes speech"
            note += f", {audio_s / whole.wall_s:.0f} x real time"
            rows.append(_peak(f"{length} {container}", peaks[-1], note))
        rows.append(_growth(f"{hours} h {container} against 10 minutes", peaks))
    return rows


def _many(model: str | None, files: int) -> list[Measurement]:
    """Two scans of folders."""
    rows, peaks = [], []
    for n_files in (FEW_FILES, files):
        with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
            folder = Path(name) / "recordings"
            write_seconds(folder, n_files)
            whole, document = _scan(folder, model)
        assert len(document["findings"]) == n_files
        windows = sum(w["raw_score"] is not None for finding in document["findings"] for w in finding["windows"])
        peaks.append(whole.peak_rss_bytes / 1e6)
        note = f"{windows} windows scored, {n_files / whole.wall_s:.0f} files/s"
        rows.append(_peak(f"{n_files:,} files of 1 s", peaks[-1], note))
    return [*rows, _growth(f"{files:,} files against {FEW_FILES}", peaks)]


def _scan(path: Path, model: str | None) -> tuple[Run, Any]:
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        result = Path(name) / "scan.json"
        whole = run(scan_command([path], model, "--json", str(result)))
        return whole, json.loads(result.read_text(encoding="utf-8"))


def _peak(what: str, peak_mb: float, note: str) -> Measurement:
    return Measurement(f"{what}, peak memory", peak_mb, "MB", MAX_RSS_MB, "at most", note)


def _growth(what: str, peaks: list[float]) -> Measurement:
    return Measurement(f"{what}, peak memory", peaks[-1] / peaks[0], "times", MAX_GROWTH, "at most")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--hours", type=int, default=HOURS, help=f"length of the recording (default: {HOURS})")
    options.add_argument("--files", type=int, default=FILES, help=f"how many small files (default: {FILES})")
    chosen = options.parse_args()
    show(measure(chosen.model, chosen.hours, chosen.files))


if __name__ == "__main__":
    main()
