"""Peak memory of a scan of one ten-hour recording, read by libsndfile (WAV) and through ffmpeg (M4A)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.measure import Measurement, parser, run, scan_command, show
from bench.speech import write_hours, write_hours_m4a

MAX_RSS_MB = 1_500.0
HOURS = 10
WRITERS: dict[str, Callable[[Path, int], float]] = {"wav": write_hours, "m4a": write_hours_m4a}


def measure(model: str | None = None, hours: int = HOURS) -> list[Measurement]:
    """One scan per container; most of the recording is a quiet room, as in a long-running recorder."""
    rows = []
    for container, write in WRITERS.items():
        with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
            path, result = Path(name) / f"long.{container}", Path(name) / "scan.json"
            audio_s = write(path, hours)
            whole = run(scan_command([path], model, "--json", str(result)))
            (finding,) = json.loads(result.read_text(encoding="utf-8"))["findings"]
        assert abs(finding["duration_s"] - audio_s) < 60, finding["duration_s"]
        note = f"{finding['speech_s'] / 3600:.1f} h of it speech, {audio_s / whole.wall_s:.0f} x real time"
        rows.append(
            Measurement(
                f"{hours} h {container}, peak memory",
                whole.peak_rss_bytes / 1e6,
                "MB",
                MAX_RSS_MB,
                "at most",
                note,
            )
        )
    return rows


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--hours", type=int, default=HOURS, help=f"length of the recording (default: {HOURS})")
    chosen = options.parse_args()
    show(measure(chosen.model, chosen.hours))


if __name__ == "__main__":
    main()
