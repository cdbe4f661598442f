"""A tiny seeded model: loads and runs in milliseconds, so that nearly no test needs the shipped weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

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
from spoofcheck.nets.detector import Detector, build_detector


def tiny_config(name: str = "tiny") -> ModelConfig:
    """A small stem into Nes2Net-LA with 64 channels; the LLR is the raw score, no condition is refused."""
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
    """Write a loadable model with random weights to `directory` and return it.

    The same seed gives the same weights. Scores differ between recordings (their spread is a few units), and
    say nothing about them.
    """
    config = tiny_config(directory.name)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = build_detector(config.front_end, config.back_end)
        _settle(network)
    save_bundle(directory, config, network, "# Tiny\n\nRandom weights, for tests.\n")
    return directory


@torch.no_grad()
def _settle(network: Detector) -> None:
    """Weights that keep a signal's size from layer to layer; scores of noises and tones spread around 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    seconds = torch.arange(32_000) / 16_000
    tones = [torch.sin(2 * torch.pi * hz * seconds) for hz in (80, 300, 900, 2_500, 6_000)]
    noises = [torch.randn(32_000) * scale for scale in (0.01, 0.1, 1.0)]
    mixtures = [tone + 0.3 * torch.randn(32_000) for tone in tones]
    waveforms = torch.stack([*tones, *noises, *mixtures])
    logits = network.eval()(waveforms)
    fc = network.back_end.fc
    scale = 3.0 / (logits[:, 0] - logits[:, 1]).std()
    fc.weight.mul_(scale)
    fc.bias.copy_((fc.bias - logits.mean(dim=0)) * scale)
