"""Recipes small enough to be trained in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def detector_recipe(corpus: Path, epochs: int = 4, steps_per_epoch: int = 20) -> dict[str, Any]:
    """A mel CNN on the clips of `tests.support.corpus.write_corpus`."""

    def part(split: str) -> list[dict[str, str]]:
        return [{"kind": "manifest", "path": "manifest.tsv", "split": split}]

    return {
        "name": "tiny",
        "version": "0.1",
        "task": "detector",
        "seed": 1,
        "purpose": "A test.",
        "licence": "none",
        "training_data": "Sounds made by the tests.",
        "model": {
            "front_end": {"kind": "mel-spectrogram", "bands": 64, "fft_samples": 512, "hop_samples": 160},
            "back_end": {"kind": "mel-cnn", "channels": 64, "widths": [16, 32, 64]},
            "window_samples": 16_000,
        },
        "data": {
            "root": str(corpus),
            "train": part("train"),
            "dev": part("dev"),
            "test": part("eval"),
            "window": {"min_speech_s": 0.1},
        },
        "batch": {"kind": "balanced", "bonafide": 8, "synthetic": 8, "steps_per_epoch": steps_per_epoch},
        "augment": {},
        "training": {
            "kind": "gradient", "epochs": epochs, "rate": 3e-3, "warmup_steps": 4, "ema_decay": 0.9,
            "gradient_clip": 5.0, "select_by": "mean_eer",
        },
        "finish": {"min_window_speech_s": 0.0, "min_exhibit_speech_s": 0.0},
    }  # fmt: skip


def tracer_recipe(corpus: Path) -> dict[str, Any]:
    """A mel tracer of the three systems of the same clips."""
    content = detector_recipe(corpus)
    content["task"] = "tracer"
    content["model"]["head"] = {"kind": "pooled-embedding", "channels": 64, "bottleneck": 32, "embedding": 32}
    del content["model"]["back_end"]
    content["batch"] = {"kind": "classes", "size": 12, "steps_per_epoch": 20}
    content["training"] |= {"select_by": "macro_f1", "rate": 1e-2}
    return content
