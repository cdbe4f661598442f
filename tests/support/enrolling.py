"""A tiny tracer with prototypes, and clips of invented sources: the same speech through different channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, sosfilt

from spoofcheck.nets.bundle import load_tracer, save_bundle
from spoofcheck.nets.config import (
    CosineCalibration,
    OpenSetConfig,
    SpectralStemConfig,
    StatisticsEmbeddingConfig,
    TracerConfig,
)
from spoofcheck.nets.detector import build_detector
from spoofcheck.nets.embedding import StatisticsEmbedding
from spoofcheck.nets.gate import pool_features
from spoofcheck.nets.tracer import build_tracer
from tests.support.audio import human_speech, write_wav
from tests.support.models import tiny_config

RATE_HZ = 16_000
CLIP_S = 3.0
FIRST_S = 3.5
"""Every clip that begins here or later holds enough speech, whatever its filter."""
STAND_IN_CALIBRATION = CosineCalibration(
    slope=8.0, intercept=-4.0, llr_bound=3.0, data="none: a stand-in for tests", target_trials=40, other_trials=400,
    eer=0.2, cllr=0.7,
)  # fmt: skip
"""An LLR of 0 at a cosine of 0.5."""
FILTERS = {"plain": None, "dull": ("low", 900.0), "thin": ("high", 300.0)}


def embedding_tracer(directory: Path, seed: int = 0) -> Path:
    """Write a loadable tracer with random weights and the prototypes A0, A1 and A2 to `directory` and return it.

    Windows of one second. The features are standardised on speech, so that embeddings spread over the sphere.
    """
    config = TracerConfig(
        name=directory.name,
        version="1",
        front_end=SpectralStemConfig(channels=(4, 4, 8, 8, 8, 16)),
        window_samples=RATE_HZ,
        head=StatisticsEmbeddingConfig(channels=64, embedding=8),
        classes=("A0", "A1", "A2"),
        open_set=OpenSetConfig(method="prototype-cosine", threshold=0.3, data="none: a stand-in for tests"),
        source_calibration=STAND_IN_CALIBRATION,
        link_calibration=STAND_IN_CALIBRATION,
        licence="Apache-2.0",
        training_data="none: random weights",
    )
    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(seed)
        network = build_tracer(config.front_end, config.head, len(config.classes)).eval()
        head = network.head
        assert isinstance(head, StatisticsEmbedding)
        heard = np.concatenate([_filtered(human_speech(), name) for name in FILTERS])
        windows = torch.from_numpy(heard[: len(heard) // RATE_HZ * RATE_HZ].reshape(-1, RATE_HZ))
        pooled = pool_features(network.front_end(windows))
        head.mean.copy_(pooled.mean(dim=0))
        head.spread.copy_(pooled.std(dim=0).clamp(min=1e-3))
    save_bundle(directory, config, network, "# Tiny\n\nRandom weights, for tests.\n")
    return directory


def twin_detector(directory: Path, tracer: Path) -> Path:
    """Write a detector with the very front-end of an `embedding_tracer` to `directory` and return it."""
    config = tiny_config(directory.name).model_copy(update={"window_samples": RATE_HZ})
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = build_detector(config.front_end, config.back_end)
    network.front_end.load_state_dict(load_tracer(tracer).network.front_end.state_dict())
    save_bundle(directory, config, network, "# Tiny\n\nRandom weights, for tests.\n")
    return directory


def clips_of(folder: Path, source: str, count: int = 5, first_s: float = FIRST_S) -> list[Path]:
    """Recordings "made by" a source, a key of `FILTERS`: pieces of speech from `first_s` on, through its filter."""
    folder.mkdir(parents=True, exist_ok=True)
    speech = _filtered(human_speech(), source)
    length = round(CLIP_S * RATE_HZ)
    starts = np.linspace(first_s * RATE_HZ, len(speech) - length, count).astype(int)
    return [
        write_wav(folder / f"{source}-{i}.wav", speech[start : start + length], RATE_HZ)
        for i, start in enumerate(starts)
    ]


def _filtered(samples: np.ndarray, source: str) -> np.ndarray:
    chosen = FILTERS[source]
    if chosen is None:
        return samples
    kind, hz = chosen
    return sosfilt(butter(4, hz, kind, fs=RATE_HZ, output="sos"), samples).astype(np.float32)
