"""Tiny seeded models: they load and run in milliseconds, so that nearly no test needs the shipped weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import nn

from spoofcheck.nets.bundle import save_bundle
from spoofcheck.nets.config import (
    CONFIG_FILE,
    UNCALIBRATED_DECISION,
    CalibrationConfig,
    DecisionConfig,
    GateConfig,
    LogisticMap,
    ModelConfig,
    Nes2NetLaConfig,
    OpenSetConfig,
    PooledEmbeddingConfig,
    SpectralStemConfig,
    TracerConfig,
    ValidatedConfig,
    config_json,
)
from spoofcheck.nets.detector import Detector, build_detector
from spoofcheck.nets.tracer import build_tracer
from spoofcheck.schema import ValidityLimits


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


def tiny_gate_config(shrink_from: float = 1e6, refuse_from: float = 2e6) -> GateConfig:
    """A gate of four directions for `tiny_config`'s 64 channels; the same limits for windows and exhibits."""
    limits = ValidityLimits(shrink_from=shrink_from, refuse_from=refuse_from, share_shrunk=0.05, share_refused=0.005)
    return GateConfig(components=4, features=128, data="none: a stand-in for tests", window=limits, exhibit=limits)


def tiny_bundle(directory: Path, seed: int = 0, gate: GateConfig | None = None) -> Path:
    """Write a loadable model with random weights to `directory` and return it.

    The same seed gives the same weights. Scores differ between recordings (their spread is a few units), and
    say nothing about them. A gate measures to the origin, without a direction that counts for more.
    """
    config = tiny_config(directory.name).model_copy(update={"gate": gate})
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = build_detector(config.front_end, config.back_end, gate)
        _settle(network)
    save_bundle(directory, config, network, "# Tiny\n\nRandom weights, for tests.\n")
    return directory


def tiny_uncalibrated(directory: Path, seed: int = 0) -> Path:
    """The same weights as `tiny_bundle`'s of that seed, without a calibration and under another licence."""
    config = tiny_bundle(directory, seed) / CONFIG_FILE
    changed = json.loads(config.read_bytes()) | {
        "calibration": None,
        "decision": UNCALIBRATED_DECISION.model_dump(),
        "licence": "CC BY-NC 4.0",
    }
    config.write_text(config_json(ModelConfig.model_validate(changed)), encoding="utf-8")
    return directory


def tiny_tracer_config(name: str = "tiny-tracer", classes: Sequence[str] = ("A0", "A1", "A2")) -> TracerConfig:
    """A small stem into a pooled embedding of 8 numbers; half of the largest softmax is needed to be of a class."""
    return TracerConfig(
        name=name,
        version="1",
        front_end=SpectralStemConfig(channels=(4, 4, 8, 8, 8, 16)),
        head=PooledEmbeddingConfig(channels=64, bottleneck=8, embedding=8),
        classes=tuple(classes),
        open_set=OpenSetConfig(threshold=0.5, data="none: a stand-in for tests"),
        licence="Apache-2.0",
        training_data="none: random weights",
        limitations=("a stand-in for tests",),
    )


def tiny_tracer(directory: Path, seed: int = 0, classes: Sequence[str] = ("A0", "A1", "A2")) -> Path:
    """Write a loadable tracer with random weights to `directory` and return it.

    The same seed and number of classes give the same weights. Recordings of noise and of tones get different classes
    and confidences, which say nothing about them.
    """
    config = tiny_tracer_config(directory.name, classes)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = build_tracer(config.front_end, config.head, len(config.classes))
        with torch.no_grad():
            _keep_size(network)
            logits = network.eval()(_waveforms())
            fc = network.head.fc
            scale = 2.0 / (logits - logits.mean(dim=0)).std()
            fc.weight.mul_(scale)
            fc.bias.copy_((fc.bias - logits.mean(dim=0)) * scale)
    save_bundle(directory, config, network, "# Tiny tracer\n\nRandom weights, for tests.\n")
    return directory


@torch.no_grad()
def _settle(network: Detector) -> None:
    """Weights that keep a signal's size from layer to layer; scores of noises and tones spread around 0."""
    _keep_size(network)
    logits = network.eval()(_waveforms())
    fc = cast(nn.Linear, network.back_end.fc)
    scale = 3.0 / (logits[:, 0] - logits[:, 1]).std()
    fc.weight.mul_(scale)
    fc.bias.copy_((fc.bias - logits.mean(dim=0)) * scale)


def _keep_size(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)


def _waveforms() -> torch.Tensor:
    """Tones, noises and mixtures of both."""
    seconds = torch.arange(32_000) / 16_000
    tones = [torch.sin(2 * torch.pi * hz * seconds) for hz in (80, 300, 900, 2_500, 6_000)]
    noises = [torch.randn(32_000) * scale for scale in (0.01, 0.1, 1.0)]
    mixtures = [tone + 0.3 * torch.randn(32_000) for tone in tones]
    return torch.stack([*tones, *noises, *mixtures])
