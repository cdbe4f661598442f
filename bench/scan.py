"""How fast `spoofcheck scan` is on the CPU, from start to end: an hour of 16 kHz speech in 60 files."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from bench import ENVIRONMENT
from bench.measure import Measurement, parser, run, scan_command, show
from bench.speech import write_minutes

MIN_REAL_TIME_FACTOR = 60.0
STRETCH_REAL_TIME_FACTOR = 100.0
ONNX = ("--runtime", "onnx")
OTHER_WAYS = (("--precision", "float32"), ONNX)


def measure(model: str | None = None, files: int = 60) -> list[Measurement]:
    """Scan `files` minutes, also in other ways than by default, then time the stages one by one."""
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        folder = Path(name) / "recordings"
        folder.mkdir()
        result = Path(name) / "scan.json"
        audio_s = write_minutes(folder, files)
        whole = run(scan_command([folder], model, "--json", str(result)))
        document = json.loads(result.read_text(encoding="utf-8"))
        others = {
            options: run(scan_command([folder], model, *options)).wall_s
            for options in OTHER_WAYS
            if options != ONNX or find_spec("onnxruntime")
        }
        stages = _stages(folder, model)
    findings = document["findings"]
    speech_s = sum(finding["speech_s"] for finding in findings)
    windows = sum(window["spoof_llr"] is not None for finding in findings for window in finding["windows"])
    factor = audio_s / whole.wall_s
    note = (
        f"{len(findings)} files of 60 s, {speech_s / audio_s:.0%} speech, {windows} windows scored in "
        f"{document['options']['dtype']}; {factor / STRETCH_REAL_TIME_FACTOR:.2f} of {STRETCH_REAL_TIME_FACTOR:g} x, "
        "the stretch"
    )
    return [
        Measurement("scan, end to end", factor, "x real time", MIN_REAL_TIME_FACTOR, "at least", note),
        Measurement("scan, files", len(findings) / whole.wall_s, "files/s"),
        Measurement("scan, wall time", whole.wall_s, "s", note=f"{whole.cpu_s:.1f} s of CPU"),
        Measurement("scan, peak memory", whole.peak_rss_bytes / 1e6, "MB"),
        *(
            Measurement(f"scan {' '.join(options)}", audio_s / wall_s, "x real time")
            for options, wall_s in others.items()
        ),
        *(Measurement(f"alone: {stage}", audio_s / wall_s, "x real time") for stage, wall_s in stages.items()),
    ]


def _stages(folder: Path, model: str | None) -> dict[str, float]:
    """Seconds that each stage takes alone in a process of its own, one after the other."""
    command = [
        sys.executable,
        "-m",
        "bench.stages",
        str(folder),
        *([] if model is None else ["--model", model]),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    return dict(json.loads(done.stdout))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--files", type=int, default=60, help="how many one-minute files (default: 60)")
    chosen = options.parse_args()
    show(measure(chosen.model, chosen.files))


if __name__ == "__main__":
    main()
