"""What an hour of audio, a recording, a window and a finding take: what `docs/scale.md` rests on beside `gpu-floor`.

`python -m bench.all sizes` takes two minutes. Sizes and operations are the same everywhere, times are CPU time, and the
rate of the store is of this disk.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.gpufloor import WINDOW_SAMPLES, counted_flops, window_reading, write_formats
from bench.measure import Measurement, parser, run, scan_command, show
from bench.speech import SAMPLE_RATE_HZ, human_pool, write_seconds
from spoofcheck.detect.exhibittracer import shipped_twin
from spoofcheck.detect.gallery import embedding_head
from spoofcheck.detect.programs import HearingProgram
from spoofcheck.detect.resultstore import ResultStore
from spoofcheck.detect.runidentity import run_identity
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.nets.bundle import load_bundle
from spoofcheck.nets.config import XlsrConfig
from spoofcheck.nets.index import find_model
from spoofcheck.types import Window

MINUTES = 3
SHORT, LONG = 1, 15
"""Windows of the recordings whose findings are weighed."""
MORE = {SHORT: 40, LONG: 6}
"""How many recordings one scan has more than another."""
KEPT = 200
FEW, MANY = 100, 300
"""Recordings of a second without speech, whose number is all that two scans differ in."""


def measure(model: str | None = None) -> list[Measurement]:
    """Audio, then findings, then the store."""
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        folder = Path(name)
        return [
            *network_rows(model),
            *audio_rows(folder),
            file_row(folder, model),
            *finding_rows(folder, model),
            store_row(folder, model),
        ]


def network_rows(model: str | None) -> list[Measurement]:
    """Operations of a window as torch counts them, a product and its sum being two."""
    bundle = load_bundle(find_model(model))
    tracer = shipped_twin(bundle)
    program: nn.Module = HearingProgram(bundle.network, None if tracer is None else embedding_head(tracer))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        program.eval()(torch.zeros(1, WINDOW_SAMPLES))
    name = bundle.config.name + (" with its tracer" if tracer is not None else "")
    return [
        Measurement(f"{name}, a window", counter.get_total_flops() / 1e9, "GFLOP"),
        Measurement("XLS-R 300M with Nes2Net-LA, a window", counted_flops(XlsrConfig())[1] / 1e9, "GFLOP"),
    ]


def file_row(folder: Path, model: str | None) -> Measurement:
    """CPU time of a recording that is too short and too quiet to cost anything else."""
    spent_s = []
    for files in (FEW, MANY):
        place = folder / f"quiet-{files}"
        write_seconds(place, files, speech_every=files + 1)
        (place / "00" / "second-00000.wav").unlink()  # the one with speech
        spent_s.append(run(scan_command([place], model, "--no-controls")).cpu_s)
    each = (spent_s[1] - spent_s[0]) / (MANY - FEW)
    return Measurement(
        "a recording of 1 s without speech, CPU time", each, "s", note=f"of {MANY} recordings less that of {FEW}"
    )


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
    """Bytes of a recording's finding in every form, by its number of windows; without what a document has once."""
    (first, short, long) = (
        _weighed(folder / name, counts, model)
        for name, counts in (
            ("first", {SHORT: 1}),
            ("short", {SHORT: 1 + MORE[SHORT]}),
            ("long", {SHORT: 1, LONG: MORE[LONG]}),
        )
    )
    return [
        Measurement(
            f"{form}, a recording of {windows} windows", (weighed[form] - first[form]) / MORE[windows] / 1e3, "kB",
            note=f"{MORE[windows]} recordings more",
        )
        for windows, weighed in ((SHORT, short), (LONG, long))
        for form in first
    ]  # fmt: skip


def _weighed(folder: Path, counts: Mapping[int, int], model: str | None) -> dict[str, int]:
    """Bytes of what a scan of so many recordings by their number of windows writes."""
    recordings = folder / "recordings"
    recordings.mkdir(parents=True)
    pool = human_pool()
    for windows, count in counts.items():
        length = windows * 4 * SAMPLE_RATE_HZ
        for i in range(count):
            samples = np.take(pool, np.arange(i * length, (i + 1) * length), mode="wrap")
            soundfile.write(recordings / f"{windows:02d}-{i:02d}.wav", samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    outputs = {form: folder / f"result.{form.lower()}" for form in ("JSON", "JSONL", "CSV")}
    options = [word for form, path in outputs.items() for word in (f"--{form.lower()}", str(path))]
    store = folder / "store"
    run(scan_command([recordings], model, "--no-controls", *options, store=store))
    weighed = {form: path.stat().st_size for form, path in outputs.items()}
    return {**weighed, "store": sum(path.stat().st_size for path in store.rglob("*") if path.is_file())}


def store_row(folder: Path, model: str | None) -> Measurement:
    """How many findings a second one process puts into a store, each durably."""
    scanner = Scanner(model, ScanOptions(device="cpu"))
    recording = sorted((folder / "long" / "recordings").iterdir())[-1]
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
