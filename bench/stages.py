"""Where the time of a scan goes: each stage alone, one after the other, as JSON (seconds) on stdout."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.scorer import WindowScorer
from spoofcheck.nets.bundle import load_bundle
from spoofcheck.nets.index import find_model
from spoofcheck.types import Window


def stages(folder: Path, model: str | None) -> dict[str, float]:
    """Seconds for reading, for reading with voice activity detection minus reading, and for the network."""
    bundle = load_bundle(find_model(model))
    scorer = WindowScorer(bundle, "cpu")
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
    return {
        "reading, hashing, resampling, quality": times_s[0],
        "voice activity": times_s[1] - times_s[0],
        "network": network_s,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--model")
    chosen = options.parse_args()
    print(json.dumps(stages(chosen.folder, chosen.model)))


if __name__ == "__main__":
    main()
