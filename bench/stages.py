"""Where the time of a scan goes: each stage alone, one after the other, as JSON (seconds) on stdout."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.exhibittracer import shipped_twin
from spoofcheck.detect.gallery import embedding_head
from spoofcheck.detect.programs import HearingProgram
from spoofcheck.detect.runner import Runtime, TorchRunner
from spoofcheck.detect.scorer import WindowScorer
from spoofcheck.errors import UsageError
from spoofcheck.nets.bundle import Bundle, load_bundle
from spoofcheck.nets.embedding import StatisticsEmbedding
from spoofcheck.nets.index import find_model
from spoofcheck.nets.precision import Precision
from spoofcheck.types import Window

COMPARED_WINDOWS = 120
"""Of the runners that a scan does not take."""


def stages(folder: Path, model: str | None) -> dict[str, float]:
    """Seconds for reading, for reading with voice activity detection minus reading, and for the network.

    The network as a scan runs it hears every window; other ways to run it hear the first 120, and their seconds are
    scaled to all.
    """
    bundle = load_bundle(find_model(model))
    tracer = shipped_twin(bundle)
    head = None if tracer is None else embedding_head(tracer)
    scorer = WindowScorer(bundle, "cpu", None, head)
    recordings = sorted(folder.iterdir())

    def read(vad: bool, paths: Sequence[Path]) -> list[NDArray[np.float32]]:
        items = (
            item
            for path in paths
            for item in read_windows(
                path,
                window_samples=bundle.config.window_samples,
                hop_samples=bundle.config.window_samples,
                channels="auto",
                vad=vad,
                min_window_speech_s=bundle.config.decision.min_window_speech_s,
            )
        )
        return [item.samples for item in items if isinstance(item, Window) and item.samples is not None]

    scorer.score(read(True, recordings[:1]))  # networks are loaded and tuned on first use
    times_s = []
    windows: list[NDArray[np.float32]] = []
    for vad in (False, True):
        started = time.perf_counter()
        windows = read(vad, recordings)
        times_s.append(time.perf_counter() - started)
    started = time.perf_counter()
    scorer.score(windows)
    network_s = time.perf_counter() - started
    found = {
        "reading, hashing, resampling, quality": times_s[0],
        "voice activity": times_s[1] - times_s[0],
        "network with tracer": network_s,
    }
    compared = windows[:COMPARED_WINDOWS]
    for name, other in _others(bundle, head):
        other.score(compared[:4])
        started = time.perf_counter()
        other.score(compared)
        found[f"network with tracer, {name}"] = (time.perf_counter() - started) * len(windows) / len(compared)
    return found


def _others(bundle: Bundle, head: StatisticsEmbedding | None) -> Iterator[tuple[str, WindowScorer]]:
    """Other ways to run the network, those that this machine has."""
    chosen: list[tuple[str, Precision, Runtime]] = [
        ("bf16", "bf16", "torch"), ("float32", "float32", "torch"), ("float32 in ONNX Runtime", "float32", "onnx"),
    ]  # fmt: skip
    for name, precision, runtime in chosen:
        try:
            yield name, WindowScorer(bundle, "cpu", None, head, precision, runtime)
        except UsageError:
            continue
    shared = WindowScorer(bundle, "cpu", None, head, "float32")
    shared.runner = TorchRunner(HearingProgram(bundle.network, head), torch.device("cpu"), 1)
    yield "float32, one window on all cores", shared


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--model")
    chosen = options.parse_args()
    print(json.dumps(stages(chosen.folder, chosen.model)))


if __name__ == "__main__":
    main()
