"""XLS-R on a GPU: against the card's own rates, against the CPU's scores, end to end, and in training.

`python -m bench.gpu` measures everything on the visible CUDA card and writes it into `bench/RESULTS.md`; without a card
it says so in one line and ends with 2. `--dry-run` takes every step on the CPU with a tiny network, shows the rows and
keeps nothing.
"""

from __future__ import annotations

import argparse
import copy
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench import gpufloor, training
from bench.gpufloor import TARGET_REAL_TIME, WINDOW_S, WINDOW_SAMPLES, Card
from bench.measure import Measurement, show
from bench.speech import human_pool
from spoofcheck.detect.calibration import to_llr
from spoofcheck.detect.cudarunner import PLANS, CudaPass, Plan, cuda_runner
from spoofcheck.detect.fixedrunner import FixedBatchRunner, PlainPass, forward
from spoofcheck.detect.limits import Isolation
from spoofcheck.detect.programs import HearingProgram
from spoofcheck.detect.runner import Runner, TorchRunner
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.nets.bundle import Bundle, load_bundle, save_bundle
from spoofcheck.nets.config import Nes2NetLaConfig, XlsrConfig
from spoofcheck.nets.detector import build_detector
from spoofcheck.nets.index import find_model
from tests.support.models import tiny_config

MIN_MATMUL_SHARE = 50.0
MIN_BUSY_SHARE = 90.0
SEED = 20261121
NOT_MEASURED = "no CUDA device here: nothing was measured (--dry-run takes every step on the CPU with a tiny network)"

TINY = XlsrConfig(
    hidden_size=64, layers=2, heads=4, feed_forward_size=64, conv_channels=8, position_kernel=8, position_groups=4
)  # fmt: skip


Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured.

    Attributes:
        matmul: side of the square matrices of the card's rate.
        copied_bytes: of the memory's rate.
        batches: passes that are timed.
        sweep: batch sizes.
        compared: windows scored on the CPU as well.
        minutes: of speech that are scored end to end.
        files: one-minute files in a folder; they are scanned over and over for the minutes.
    """

    device: torch.device
    geometry: XlsrConfig
    matmul: int = 8_192
    copied_bytes: int = 4 << 30
    batches: int = 20
    batch: int = gpufloor.BATCH
    sweep: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    compared: int = 64
    minutes: int = 120
    files: int = 40
    recipe: str = "xlsr-nes2net-la"
    training: tuple[training.Plan, ...] = ()

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"


def full(minutes: int = 120) -> Extent:
    """On the current CUDA card."""
    steps = training.plan("cuda", "full", training.RECIPES["xlsr-nes2net-la"])
    plans = tuple(replace(steps, checkpointing=each) for each in (False, True))
    return Extent(torch.device("cuda", torch.cuda.current_device()), XlsrConfig(), minutes=minutes, training=plans)


def tiny() -> Extent:
    """Every step on the CPU, small."""
    step = training.Plan("cpu", 2, 4_000, 1, steps=1, warm_up=0)
    plans = tuple(replace(step, checkpointing=each) for each in (False, True))
    return Extent(
        torch.device("cpu"), TINY, matmul=128, copied_bytes=1 << 20, batches=2, batch=2, sweep=(1, 2), compared=3,
        minutes=1, files=1, training=plans,
    )  # fmt: skip


def measure(extent: Extent, model: str | None = None) -> list[Measurement]:
    """All rows, told as they come."""
    rows: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        folder = Path(name)
        bundle = load_bundle(find_model(model)) if model else seeded(extent.geometry, folder / "seeded")
        windows = speech_windows(max(extent.compared, extent.batch))
        card = measured_card(extent)
        parts: dict[str, Callable[[], list[Measurement]]] = {
            "card": lambda: card_rows(card, extent, bundle),
            "network": lambda: network_rows(extent, bundle, card, windows),
            "scores": lambda: score_rows(extent, bundle, windows),
            "decoded audio": lambda: decoded_rows(extent, bundle, windows),
            "folders": lambda: folder_rows(extent, bundle, folder),
            "training": lambda: training_rows(extent),
        }
        for what, part in parts.items():
            done: list[Measurement] = attempted(what, part, [])
            show(done)
            rows += done
            _release(extent)
    return rows


def attempted(what: str, work: Callable[[], Result], otherwise: Result) -> Result:
    """What came of it; on a card, where a part may fail that could not be tried elsewhere, the others still count."""
    try:
        return work()
    except Exception as error:
        if not torch.cuda.is_available():
            raise
        print(f"{what}: not measured: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return otherwise


def seeded(geometry: XlsrConfig, directory: Path) -> Bundle:
    """XLS-R with Nes2Net-LA of a geometry and seeded weights, written as a model and loaded."""
    back_end = Nes2NetLaConfig(channels=geometry.hidden_size)
    config = tiny_config("seeded-xlsr").model_copy(update={"front_end": geometry, "back_end": back_end})
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(SEED)
        network = build_detector(geometry, back_end)
    save_bundle(directory, config, network, "# Seeded\n\nFresh weights, to measure speed.\n")
    return load_bundle(directory)


def speech_windows(count: int) -> list[NDArray[np.float32]]:
    """Windows of human speech, 4 s, no two alike."""
    pool = human_pool()
    starts = np.arange(count) * 7_919 % (len(pool) - WINDOW_SAMPLES)
    return [pool[start : start + WINDOW_SAMPLES].copy() for start in starts]


def measured_card(extent: Extent) -> Card:
    """The device's own rates: square bf16 products, and copies within its memory."""
    side = extent.matmul
    left, right = (torch.randn(side, side, device=extent.device, dtype=torch.bfloat16) for _ in range(2))
    product_s = _timed(extent, lambda: left @ right, extent.batches)
    source = torch.zeros(extent.copied_bytes // 2, dtype=torch.uint8, device=extent.device)
    target = torch.empty_like(source)
    copy_s = _timed(extent, lambda: target.copy_(source), extent.batches)
    return Card(2.0 * side**3 / product_s, 2.0 * len(source) / copy_s, "measured here")


def card_rows(card: Card, extent: Extent, bundle: Bundle) -> list[Measurement]:
    """The card, and the floor of the network on it."""
    front_end = bundle.config.front_end
    floor = gpufloor.floor_rows(front_end, card, extent.batch) if isinstance(front_end, XlsrConfig) else []
    return [
        Measurement("bf16 products", card.flops_per_s / 1e12, "TFLOP/s", note=f"square, of {extent.matmul}"),
        Measurement("memory", card.bytes_per_s / 1e12, "TB/s", note="read and written by copies"),
        *floor[-3:],
    ]


def network_rows(
    extent: Extent, bundle: Bundle, card: Card, windows: Sequence[NDArray[np.float32]]
) -> list[Measurement]:
    """The network alone: ways to run it, then batch sizes the best way. Staging and copies are in the figures."""
    front_end = bundle.config.front_end
    flops = gpufloor.counted_flops(front_end)[1] if isinstance(front_end, XlsrConfig) else None
    rows = []

    def row(what: str, build: Callable[[], Runner], batch: int, target: float | None) -> None:
        began_s = time.perf_counter()
        runner = build()
        _run(runner, windows, batch, 1)
        ready_s = time.perf_counter() - began_s
        window_s = _run(runner, windows, batch, extent.batches) / (batch * extent.batches)
        peak = f"; {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if extent.is_cuda else ""
        note = f"{WINDOW_S / window_s:,.0f} x real time; ready after {ready_s:.1f} s{peak}"
        if flops is None:
            rows.append(Measurement(what, 1 / window_s, "windows/s", note=note))
        else:
            share = 100 * flops / window_s / card.flops_per_s
            note = f"{flops / window_s / 1e12:.3g} TFLOP/s; {note}"
            rows.append(Measurement(what, share, "% of measured bf16 rate", target, "at least", note))

    ways: list[tuple[str, Callable[[], Runner], int, float | None]] = [
        *((str(plan), partial(_way, extent, bundle, plan), extent.batch, None) for plan in PLANS[:0:-1]),
        (str(PLANS[0]), partial(_way, extent, bundle, PLANS[0]), extent.batch, MIN_MATMUL_SHARE),
        *(("best way", partial(_runner, extent, bundle, batch), batch, None) for batch in extent.sweep),
    ]
    if extent.is_cuda:
        ways.append(("compiled as a whole, autotuned", partial(_whole_compiled, extent, bundle), extent.batch, None))
    for way, build, batch, target in ways:
        what = f"network, {way}, batch {batch}"
        attempted(what, partial(row, what, build, batch, target), None)
        _release(extent)
    return rows


def score_rows(extent: Extent, bundle: Bundle, windows: Sequence[NDArray[np.float32]]) -> list[Measurement]:
    """How far scores lie from float32 on the CPU, and what a window's company does to them."""
    compared = windows[: extent.compared]
    exact = _raw(TorchRunner(HearingProgram(bundle.network), torch.device("cpu"), 1), compared)
    runner = _runner(extent, bundle, extent.batch)
    scores = _raw(runner, compared)
    shifts = np.abs(scores - exact)
    spread = f"{len(compared)} windows; raw scores on the CPU from {exact.min():.3g} to {exact.max():.3g}"
    rows = [
        Measurement("raw score, to float32 on the CPU: largest", float(shifts.max()), "", note=spread),
        Measurement("raw score, to float32 on the CPU: 99th percentile", float(np.percentile(shifts, 99)), ""),
    ]
    calibration = bundle.config.calibration
    if calibration is not None:
        one, other = (
            np.array([to_llr(float(value), calibration.window, calibration.llr_bound) for value in each])
            for each in (scores, exact)
        )
        moved = np.abs(one - other)
        rows += [
            Measurement("LLR, to float32 on the CPU: largest", float(moved.max()), ""),
            Measurement("LLR, to float32 on the CPU: 99th percentile", float(np.percentile(moved, 99)), ""),
        ]
    order = np.random.default_rng(0).permutation(len(compared))
    mixed = np.empty_like(scores)
    mixed[order] = _raw(runner, [compared[index] for index in order])
    alone = np.concatenate([_raw(runner, [window]) for window in compared[:8]])
    return [
        *rows,
        Measurement("raw score, another row and company: largest change", float(np.abs(mixed - scores).max()), ""),
        Measurement(
            "raw score, alone in a batch: largest change", float(np.abs(alone - scores[: len(alone)]).max()), ""
        ),
        Measurement("raw score, again: largest change", float(np.abs(_raw(runner, compared) - scores).max()), ""),
    ]


def decoded_rows(extent: Extent, bundle: Bundle, windows: Sequence[NDArray[np.float32]]) -> list[Measurement]:
    """End to end on decoded 16 kHz audio: windows in memory, through staging, network and back."""
    runner = _runner(extent, bundle, extent.batch)
    _run(runner, windows, extent.batch, 1)
    batches = max(1, round(60 * extent.minutes / WINDOW_S / extent.batch))
    wall_s = _run(runner, windows, extent.batch, batches)
    audio_s = batches * extent.batch * WINDOW_S
    note = f"{audio_s / 3_600:.3g} h in {wall_s:.2f} s"
    return [
        Measurement("decoded audio, end to end", audio_s / wall_s, "x real time", TARGET_REAL_TIME, "at least", note)
    ]


def folder_rows(extent: Extent, bundle: Bundle, folder: Path) -> list[Measurement]:
    """Scans of folders, read by processes and by threads: speed, and how busy the card was."""
    rows = []
    place = folder / "recordings"
    place.mkdir()
    folders = gpufloor.write_formats(place, extent.files)
    times = max(1, extent.minutes // extent.files)
    how: list[tuple[str, Isolation]] = [(kind, "processes") for kind in folders] + [("FLAC", "threads")]
    for kind, isolation in how:
        recordings = sorted(folders[kind].iterdir()) * times
        options = ScanOptions(device=str(extent.device), isolation=isolation, trace=False)
        scanner = Scanner(bundle.directory, options)
        with scanner.processes or nullcontext():
            list(scanner.findings(recordings[: 2 * extent.files]))  # processes started, network prepared
            busy_s, began_s = _busy_s(scanner.scorer.runner), time.perf_counter()
            findings = list(scanner.findings(recordings))
            wall_s = time.perf_counter() - began_s
        skipped = sum(finding.verdict == "skipped" for finding in findings)
        if skipped:
            raise RuntimeError(f"{skipped} recordings of the {kind} folder were skipped")
        audio_s = sum(finding.duration_s or 0.0 for finding in findings)
        note = f"{len(findings)} files of a minute in {wall_s:.1f} s, with voice activity"
        rows.append(Measurement(f"{kind} folder, {isolation}", audio_s / wall_s, "x real time", note=note))
        if extent.is_cuda:
            share = 100 * (_busy_s(scanner.scorer.runner) - busy_s) / wall_s
            target = MIN_BUSY_SHARE if isolation == "processes" else None
            rows.append(
                Measurement(
                    f"{kind} folder, {isolation}: GPU busy", share, "%", target, "at least",
                    "by CUDA events; what is missing, the CPU could not read fast enough (section gpu-floor)",
                )
            )  # fmt: skip
        del scanner
        _release(extent)
    return rows


def training_rows(extent: Extent) -> list[Measurement]:
    """A step of the recipe, with activations kept and computed again."""
    rows = []
    for planned in extent.training:
        what = "activations computed again" if planned.checkpointing else "activations kept"
        rows += training.described(f"training {extent.recipe}, {what}", planned, training.taken(extent.recipe, planned))
    return rows


def remark(rows: Sequence[Measurement]) -> str:  # noqa: ARG001
    """What the results page says above the table."""
    return (
        "On the GPU that the card's rows are of. Weights are seeded, of full size, unless a model is named: speed does "
        "not depend on them; how far scores shift does."
    )


def _way(extent: Extent, bundle: Bundle, plan: Plan) -> Runner:
    if not extent.is_cuda:
        return _runner(extent, bundle, extent.batch)
    return cuda_runner(HearingProgram(bundle.network), [extent.device], extent.batch, torch.bfloat16, [plan])


def _runner(extent: Extent, bundle: Bundle, batch: int) -> Runner:
    """The best way on the device."""
    program = HearingProgram(bundle.network)
    if extent.is_cuda:
        return cuda_runner(program, [extent.device], batch, torch.bfloat16)

    def prepare(batch_windows: int, window_samples: int) -> PlainPass:
        return PlainPass(program, extent.device, torch.bfloat16, batch_windows, window_samples)

    return FixedBatchRunner(prepare, extent.device, torch.bfloat16, batch)


def _whole_compiled(extent: Extent, bundle: Bundle) -> Runner:
    """What compiling everything with autotuned kernels would bring; minutes to prepare, so that no scan does it."""

    class Compiled(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self._call = torch.compile(
                lambda waves: forward(network, waves, torch.bfloat16), mode="max-autotune-no-cudagraphs", dynamic=False
            )
            self.network = network

        def forward(self, waveforms: torch.Tensor) -> dict[str, torch.Tensor]:
            return dict(self._call(waveforms))

    def prepare(batch_windows: int, window_samples: int) -> CudaPass:
        network = copy.deepcopy(HearingProgram(bundle.network)).to(extent.device).eval()
        return CudaPass(Compiled(network), extent.device, torch.float32, batch_windows, window_samples, graph=True)

    return FixedBatchRunner(prepare, extent.device, torch.bfloat16, extent.batch)


def _run(runner: Runner, windows: Sequence[NDArray[np.float32]], batch: int, batches: int) -> float:
    """Seconds of so many full batches, as many on their way as the runner likes."""
    chosen = [windows[index % len(windows)] for index in range(batch)]
    began_s, begun = time.perf_counter(), []
    for _ in range(batches):
        begun.append(runner.submit(chosen))
        if len(begun) >= runner.in_flight:
            begun.pop(0)()
    for pending in begun:
        pending()
    return time.perf_counter() - began_s


def _raw(runner: Runner, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    logits = runner.run(windows)["logits"].double()
    return (logits[:, 0] - logits[:, 1]).numpy()


def _timed(extent: Extent, work: Callable[[], object], times: int) -> float:
    """Seconds of one of many, after a few that are not timed."""
    for _ in range(3):
        work()
    if extent.is_cuda:
        torch.cuda.synchronize()
    began_s = time.perf_counter()
    for _ in range(times):
        work()
    if extent.is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - began_s) / times


def _busy_s(runner: Runner) -> float:
    return runner.busy_s if isinstance(runner, FixedBatchRunner) else 0.0


def _release(extent: Extent) -> None:
    gc.collect()
    if extent.is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--model", help="model name or directory; seeded weights of full size when left out")
    options.add_argument("--minutes", type=int, default=120, help="of speech, end to end (default: 120)")
    options.add_argument(
        "--dry-run", action="store_true", help="every step on the CPU with a tiny network; keeps nothing"
    )
    chosen = options.parse_args()
    if chosen.dry_run:
        measure(tiny(), chosen.model)
        return 0
    if not torch.cuda.is_available():
        print(NOT_MEASURED, file=sys.stderr)
        return 2
    # It imports this module.
    from bench.all import keep

    command = " ".join(["python -m bench.gpu", *sys.argv[1:]])
    keep("gpu", lambda: measure(full(chosen.minutes), chosen.model), chosen.model or "seeded weights", command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
