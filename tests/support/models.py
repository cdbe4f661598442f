"""A tiny seeded model: loads and runs in milliseconds, so that nearly no test needs the shipped weights."""

from __future__ import annotations

from pathlib import Path

import torch

from spoofcheck.nets.bundle import save_bundle
from spoofcheck.nets.config import (
    CalibrationConfig,
    DecisionConfig,
    LogisticMap,
    ModelConfig,
    Nes2NetLaConfig,
    SpectralStemConfig,
    ValidatedConfig,
)
from spoofcheck.nets.detector import build_detector


def tiny_config(name: str = "tiny") -> ModelConfig:
    """A small stem into Nes2Net-LA with 64 channels, neutral calibration (LLR = raw score), no condition refused."""
    neutral = LogisticMap(slope=1.0, intercept=0.0)
    return ModelConfig(
        name=name,
        version="1",
        front_end=SpectralStemConfig(channels=(4, 4, 8, 8, 8, 16)),
        back_end=Nes2NetLaConfig(channels=64),
        calibration=CalibrationConfig(
            window=neutral,
            exhibit=neutral,
            llr_bound=5.0,
            data="none: a stand-in for tests",
            bonafide_trials=147,
            spoof_trials=147,
        ),
        decision=DecisionConfig(
            spoof_threshold_llr=1.0,
            bonafide_threshold_llr=-1.0,
            window_threshold_llr=1.0,
            partial_min_windows=2,
            partial_threshold_llr=1.0,
            min_window_speech_s=0.5,
            min_exhibit_speech_s=1.0,
        ),
        validated=ValidatedConfig(
            min_sample_rate_hz=8_000, min_bandwidth_hz=0.0, min_snr_db=-100.0, max_clipping_share=1.0
        ),
        licence="Apache-2.0",
        training_data="none: random weights",
        limitations=("a stand-in for tests",),
    )


def tiny_bundle(directory: Path, seed: int = 0) -> Path:
    """Write a loadable model with random weights to `directory` and return it; the same seed, the same weights."""
    config = tiny_config(directory.name)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = build_detector(config.front_end, config.back_end)
    save_bundle(directory, config, network, "# Tiny\n\nRandom weights, for tests.\n")
    return directory
