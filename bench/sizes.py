"""How many bytes an hour of audio and a finding take, and how fast findings can be kept: what `docs/scale.md` rests on.

`python -m bench.all sizes` takes a minute. Sizes are the same everywhere; the rate of the store is of this disk.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from bench.gpufloor import window_reading, write_formats
from bench.measure import Measurement, parser, run, scan_command, show
from bench.speech import SAMPLE_RATE_HZ, human_pool
from spoofcheck.detect.resultstore import ResultStore
from spoofcheck.detect.runidentity import run_identity
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.types import Window

MINUTES = 3
SHORT, LONG = 1, 15
"""Windows of the recordings whose findings are weighed."""
RECORDINGS = {SHORT: 20, LONG: 4}
KEPT = 500


def measure(model: str | None = None) -> list[Measurement]:
    """Audio, then findings, then the store."""
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        folder = Path(name)
        return [*audio_rows(folder), *finding_rows(folder, model), store_row(folder, model)]


def audio_rows(folder: Path) -> list[Measurement]:
    """Bytes of an hour of speech at 16 kHz in mono, and how fast Opus is read; `gpu-floor` has the others."""
    folders = write_formats(folder, MINUTES)
    folders["Opus"] = folder / "opus"
    folders["Opus"].mkdir()
    for path in sorted(folders["WAV"].iterdir()):
        samples = soundfile.read(path, dtype="float32")[0]
        soundfile.write(folders["Opus"] / f"{path.stem}.opus", samples, SAMPLE_RATE_HZ, format="OGG", subtype="OPUS")
    rows = []
    for kind, place in folders.items():
        n_bytes = sum(path.stat().st_size for path in place.iterdir())
        rate = 8 * n_bytes / (60 * MINUTES) / 1e3
        rows.append(Measurement(f"{kind}, an hour", 60 / MINUTES * n_bytes / 1e6, "MB", note=f"{rate:.0f} kbit/s"))
    for vad in (True, False):
        reading, recordings = window_reading(vad), sorted(folders["Opus"].iterdir())
        list(reading(recordings[0]))  # loaded and tuned on first use
        began_s, heard = time.process_time(), 0
        for path in recordings:
            heard += sum(isinstance(item, Window) for item in reading(path))
        assert heard == 15 * MINUTES
        cpu_s = time.process_time() - began_s
        what = "reading with voice activity" if vad else "reading alone"
        rows.append(Measurement(f"Opus, {what}, a core", 60 * MINUTES / cpu_s, "x real time"))
    return rows


def finding_rows(folder: Path, model: str | None) -> list[Measurement]:
    """Bytes of a recording's finding in every form, by its number of windows."""
    pool, rows = human_pool(), []
    for windows, recordings in RECORDINGS.items():
        place = folder / f"of-{windows}"
        place.mkdir()
        length = windows * 4 * SAMPLE_RATE_HZ
        for i in range(recordings):
            samples = np.take(pool, np.arange(i * length, (i + 1) * length), mode="wrap")
            soundfile.write(place / f"recording-{i:02d}.wav", samples, SAMPLE_RATE_HZ, subtype="PCM_16")
        outputs = {form: folder / f"{windows}.{form.lower()}" for form in ("JSON", "JSONL", "CSV")}
        store = folder / f"store-{windows}"
        options = [word for form, path in outputs.items() for word in (f"--{form.lower()}", str(path))]
        run(scan_command([place], model, "--no-controls", *options, store=store))
        weighed = {form: path.stat().st_size for form, path in outputs.items()}
        weighed["store"] = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
        rows += [
            Measurement(
                f"{form}, a recording of {windows} windows", n_bytes / recordings / 1e3, "kB",
                note=f"{recordings} recordings",
            )
            for form, n_bytes in weighed.items()
        ]  # fmt: skip
    return rows


def store_row(folder: Path, model: str | None) -> Measurement:
    """How many findings a second one process puts into a store, each durably."""
    scanner = Scanner(model, ScanOptions(device="cpu"))
    recording = sorted((folder / f"of-{LONG}").iterdir())[0]
    findings = tuple(scanner.findings([recording]))
    problems: list[str] = []
    with ResultStore.opened(folder / "store", run_identity(scanner), warn=problems.append) as store:
        began_s = time.perf_counter()
        for i in range(KEPT):
            digest = hashlib.sha256(str(i).encode()).hexdigest()
            store.keep_content(digest, "wav", tuple(each.model_copy(update={"sha256": digest}) for each in findings))
        spent_s = time.perf_counter() - began_s
        kept = store.contents()
    assert kept is not None
    assert len(kept) == KEPT
    assert not problems, problems
    return Measurement("store, findings kept", KEPT / spent_s, "recordings/s", note=f"{LONG} windows each, one writer")


def main() -> None:
    show(measure(parser(__doc__).parse_args().model))


if __name__ == "__main__":
    main()
