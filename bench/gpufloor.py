"""What an XLS-R detector must cost: arithmetic and bytes of a window, and how fast CPUs can read for it.

Worked out from the geometry, checked against what torch counts, and set against a card's rates. None of this needs a
GPU: `python -m bench.gpufloor` prints it, `python -m bench.all gpu-floor` keeps it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from bench.measure import Measurement, show
from bench.speech import SAMPLE_RATE_HZ, write_minutes
from spoofcheck.detect.isolation import ReaderProcesses
from spoofcheck.detect.reading import WindowReading
from spoofcheck.nets.config import Nes2NetLaConfig, XlsrConfig
from spoofcheck.nets.detector import build_detector
from spoofcheck.types import Window

WINDOW_SAMPLES = 64_000
WINDOW_S = WINDOW_SAMPLES / SAMPLE_RATE_HZ
BATCH = 128
TARGET_REAL_TIME = 3_000.0
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
FORMATS = {"WAV": ("wav", {"subtype": "PCM_16"}), "FLAC": ("flac", {}), "MP3": ("mp3", {})}

_BF16_BYTES = 2


@dataclass(frozen=True, slots=True)
class Card:
    """Rates of a card.

    Attributes:
        flops_per_s: dense bf16 products.
        bytes_per_s: of its memory.
        source: where they come from.
    """

    flops_per_s: float
    bytes_per_s: float
    source: str


H200 = Card(989e12, 4.8e12, "data sheet of the H200 SXM")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the network.

    Attributes:
        flops: floating-point operations for a window, a product and its sum being two.
        weights: numbers that are read once a batch.
        values: numbers that go in and out for a window when everything between two products is fused with one of them.
    """

    name: str
    flops: float
    weights: float
    values: float

    def floor_s(self, card: Card, batch: int) -> float:
        """Seconds a window cannot go below: arithmetic or traffic, whichever takes longer."""
        moved_bytes = _BF16_BYTES * (self.weights / batch + self.values)
        return max(self.flops / card.flops_per_s, moved_bytes / card.bytes_per_s)


def parts(geometry: XlsrConfig, window_samples: int = WINDOW_SAMPLES) -> list[Part]:
    """XLS-R part by part, one window."""
    width, inner, conv = geometry.hidden_size, geometry.feed_forward_size, geometry.conv_channels
    conv_flops = conv_weights = conv_values = 0.0
    frames, channels = window_samples, 1
    for kernel, stride in zip(KERNELS, STRIDES, strict=True):
        conv_values += frames * channels
        frames = (frames - kernel) // stride + 1
        conv_flops += 2.0 * kernel * channels * conv * frames
        conv_weights += kernel * channels * conv
        conv_values += frames * conv
        channels = conv
    taps, groups = geometry.position_kernel, geometry.position_groups
    positions = frames + (taps % 2 == 0)  # the padding of an even kernel gives one more, which is cut off
    layers, row = geometry.layers, float(frames * width)
    return [
        Part("convolutions", conv_flops, conv_weights, conv_values),
        Part("projection", 2.0 * frames * conv * width, conv * width, frames * (conv + width)),
        Part("position embedding", 2.0 * positions * taps * width**2 / groups, taps * width**2 / groups, 2 * row),
        Part("attention's projections", layers * 8.0 * frames * width**2, layers * 4.0 * width**2, layers * 6 * row),
        Part("attention", layers * 4.0 * frames**2 * width, 0.0, layers * 4 * row),
        Part(
            "feed-forward", layers * 4.0 * frames * width * inner, layers * 2.0 * width * inner,
            layers * (2 * row + 2.0 * frames * inner),
        ),
    ]  # fmt: skip


def counted_flops(geometry: XlsrConfig, window_samples: int = WINDOW_SAMPLES) -> tuple[float, float]:
    """What torch counts for a window: of XLS-R, and of XLS-R with Nes2Net-LA behind it. Nothing is computed."""
    with torch.device("meta"):
        detector = build_detector(geometry, Nes2NetLaConfig(channels=geometry.hidden_size))
    detector.eval().requires_grad_(False)
    window = torch.empty(1, window_samples, device="meta")
    flops = []
    for network in (detector.front_end, detector):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(window)
        flops.append(float(counter.get_total_flops()))
    return flops[0], flops[1]


def floor_rows(geometry: XlsrConfig, card: Card, batch: int = BATCH) -> list[Measurement]:
    """Arithmetic of a window, and what follows from a card's rates."""
    every = parts(geometry)
    total = sum(part.flops for part in every)
    counted, whole = counted_flops(geometry)
    floor_s = sum(part.floor_s(card, batch) for part in every)
    share = f"torch counts {counted / 1e9:.2f}, and {whole / 1e9:.2f} with Nes2Net-LA behind it"
    rows = [Measurement("XLS-R on 4 s, worked out", total / 1e9, "GFLOP", note=share)]
    for part in every:
        moved_mb = _BF16_BYTES * (part.weights / batch + part.values) / 1e6
        bound = "arithmetic" if part.flops / card.flops_per_s >= moved_mb * 1e6 / card.bytes_per_s else "memory"
        note = f"{part.flops / total:.0%}; at least {moved_mb:.1f} MB moved at batch {batch}; bound by {bound}"
        rows.append(Measurement(f"of it: {part.name}", part.flops / 1e9, "GFLOP", note=note))
    needed = TARGET_REAL_TIME / WINDOW_S * whole
    rates = f"{card.flops_per_s / 1e12:,.0f} TFLOP/s and {card.bytes_per_s / 1e12:.1f} TB/s: {card.source}"
    return [
        *rows,
        Measurement("floor of a window", 1e6 * floor_s, "us", note=rates),
        Measurement("ceiling by that floor", WINDOW_S / floor_s, "x real time"),
        Measurement(
            f"needed for {TARGET_REAL_TIME:,.0f} x real time",
            needed / 1e12,
            "TFLOP/s",
            note=f"{needed / card.flops_per_s:.0%} of the card's rate",
        ),
    ]


def decode_rows(minutes: int = 3) -> list[Measurement]:
    """CPU time of reading per format, on one core, with and without voice activity; and what processes add."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name, ExitStack() as stack:
        folders = write_formats(Path(name), minutes)
        for kind, folder in folders.items():
            recordings = sorted(folder.iterdir())
            for vad in (True, False):
                reading = window_reading(vad)
                list(reading(recordings[0]))  # loaded and tuned on first use
                began_s = time.process_time()
                for path in recordings:
                    for _ in reading(path):
                        pass
                cpu_s = time.process_time() - began_s
                rate = 60 * minutes / cpu_s
                what = "reading with voice activity" if vad else "reading alone"
                cores = f"{TARGET_REAL_TIME / rate:.1f} cores for {TARGET_REAL_TIME:,.0f} x real time"
                rows.append(Measurement(f"{kind}, {what}, a core", rate, "x real time", note=cores))
        processes = stack.enter_context(ReaderProcesses())
        recordings = sorted(folders["WAV"].iterdir())
        reading = window_reading(False)
        began_s = time.perf_counter()
        list(processes.read(reading, recordings[0]))
        first_s = time.perf_counter() - began_s
        (pid,) = processes.pids()
        rows.append(
            Measurement(
                "reader process, its start", _cpu_s(pid), "s", note=f"of CPU; {first_s:.2f} s to the first file"
            )
        )
        rows.append(_pipe_row(processes, recordings, reading))
    return rows


def window_reading(vad: bool) -> WindowReading:
    """As a scan reads."""
    return WindowReading(WINDOW_SAMPLES, WINDOW_SAMPLES, "auto", vad, min_window_speech_s=0.5)


def write_formats(folder: Path, minutes: int) -> dict[str, Path]:
    """The same minutes of human speech in folders of WAV, FLAC and MP3 files, 16 kHz mono, a minute each."""
    wavs = folder / "wav"
    wavs.mkdir()
    write_minutes(wavs, minutes)
    folders = {"WAV": wavs}
    for kind, (suffix, how) in FORMATS.items():
        if kind == "WAV":
            continue
        folders[kind] = folder / suffix
        folders[kind].mkdir()
        for path in sorted(wavs.iterdir()):
            samples: NDArray[np.float32] = soundfile.read(path, dtype="float32")[0]
            soundfile.write(folders[kind] / f"{path.stem}.{suffix}", samples, SAMPLE_RATE_HZ, **how)
    return folders


def _pipe_row(processes: ReaderProcesses, recordings: Sequence[Path], reading: WindowReading) -> Measurement:
    """What this process spends on windows from another: the limit of one scanning process."""
    began_s, windows = time.process_time(), 0
    for path in recordings:
        windows += sum(isinstance(item, Window) for item in processes.read(reading, path))
    spent_s = (time.process_time() - began_s) / windows
    return Measurement(
        "windows from a reader process", WINDOW_S / spent_s, "x real time",
        note=f"{1e3 * spent_s:.2f} ms of this process's CPU for each of {windows}",
    )  # fmt: skip


def _cpu_s(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure() -> list[Measurement]:
    """The floor by the data sheet, and the CPU's side."""
    return [*floor_rows(XlsrConfig(), H200), *decode_rows()]


def remark(rows: Sequence[Measurement]) -> str:  # noqa: ARG001
    """What the results page says above the table."""
    return (
        "Worked out, not measured on a card: the floor of XLS-R 300M on windows of 64,000 samples by the data sheet. "
        "Reading is CPU time of one process here, which a busy machine hardly changes."
    )


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
