"""spoofcheck beside what users would pick instead, over the same recordings on the CPU: whole processes, in one run.

AASIST is run as its public repository has it; name its checkout with `--aasist`. It is given pieces of the 64,600
samples that it hears, cut beforehand. The other is the librosa feature classifier of `train/features-gbm`: only speed
is compared, so its trees are fitted on a few windows.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import soundfile

from bench.measure import FINE, Measurement, Run, parser, run, scan_command, show
from bench.speech import write_minutes

AASIST_SAMPLES = 64_600
FILES = 10
NAMES = {"aasist": "AASIST from its repository", "features": "librosa features and boosted trees"}


def measure(model: str | None = None, aasist: Path | None = None, files: int = FILES) -> list[Measurement]:
    """Ours, then the others, and how many times as fast ours is."""
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        folder = Path(name) / "recordings"
        folder.mkdir()
        audio_s = write_minutes(folder, files)
        _cut(folder, Path(name) / "flac")
        ours = run(scan_command([folder], model))
        others = {"features": _opponent("features", str(folder))}
        if aasist is not None:
            others["aasist"] = _opponent("aasist", str(aasist), name)
    rows = [Measurement("spoofcheck scan", audio_s / ours.wall_s, "x real time", note=_note(ours, files))]
    for kind, other in others.items():
        rows.append(Measurement(NAMES[kind], audio_s / other.wall_s, "x real time", note=_note(other, files)))
        ratio = other.wall_s / ours.wall_s
        rows.append(Measurement(f"spoofcheck against {NAMES[kind]}", ratio, "times as fast", 1.0, "at least"))
    return rows


def remark(rows: Sequence[Measurement]) -> str:
    """What was left out, if anything was."""
    text = "Whole processes, one after the other, with all that they do: imports, reading, voice activity, tracing."
    if any(row.name == NAMES["aasist"] for row in rows):
        return text
    return f"{text} **AASIST was not measured**: no checkout of its repository was named with `--aasist`."


def _cut(folder: Path, pieces: Path) -> None:
    """Every recording as pieces of the length that AASIST hears; it would hear only the first of each file."""
    pieces.mkdir()
    for path in sorted(folder.iterdir()):
        samples, rate_hz = soundfile.read(path, dtype="int16")
        for start in range(0, len(samples), AASIST_SAMPLES):
            piece = pieces / f"{path.stem}-{start // AASIST_SAMPLES:03d}.flac"
            soundfile.write(piece, samples[start : start + AASIST_SAMPLES], rate_hz, subtype="PCM_16")


def _opponent(*arguments: str) -> Run:
    return run([sys.executable, "-m", "bench.opponents", *arguments], FINE)


def _note(whole: Run, files: int) -> str:
    return f"{files} files of 60 s in {whole.wall_s:.1f} s, {whole.cpu_s:.1f} s of CPU"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--aasist", type=Path, metavar="DIR", help="checkout of AASIST's public repository")
    options.add_argument("--files", type=int, default=FILES, help=f"how many one-minute files (default: {FILES})")
    chosen = options.parse_args()
    rows = measure(chosen.model, chosen.aasist, chosen.files)
    show(rows)
    print(remark(rows))


if __name__ == "__main__":
    main()
