"""A detector is a front-end and a back-end."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from spoofcheck.nets.aasist import Aasist
from spoofcheck.nets.config import (
    AasistConfig,
    AnyBackEndConfig,
    AnyFrontEndConfig,
    BoostedTreesConfig,
    GateConfig,
    MelCnnConfig,
    Nes2NetLaConfig,
    StatisticsReadoutConfig,
    VoiceFeaturesConfig,
    VoiceStatisticsConfig,
)
from spoofcheck.nets.frontends import build_front_end
from spoofcheck.nets.gate import Gate, pool_features
from spoofcheck.nets.melcnn import MelCnn
from spoofcheck.nets.nes2net import Nes2Net
from spoofcheck.nets.readout import StatisticsReadout
from spoofcheck.nets.trees import BoostedTrees


class Heard(NamedTuple):
    """What a detector makes of a batch.

    Attributes:
        logits: `[B, 2]`, in the order (spoof, bonafide).
        distances: float64 `[B]`, to the calibration data; None without a gate.
        features: `[B, C, T]`, what the gate and a tracer with the same front-end are given.
        pooled: `[B, 2 C]`, the features' statistics; None where nothing needed them.
    """

    logits: Tensor
    distances: Tensor | None
    features: Tensor
    pooled: Tensor | None = None


class Detector(nn.Module):
    """Shape: float32 waveform `[B, N]` at 16 kHz -> logits `[B, 2]`, in the order (spoof, bonafide).

    A `gate`, where there is one, measures how far the same features lie from the calibration data.
    """

    def __init__(self, front_end: nn.Module, back_end: nn.Module, gate: Gate | None = None) -> None:
        super().__init__()
        self.front_end = front_end
        self.back_end = back_end
        self.gate = gate

    def forward(self, waveform: Tensor) -> Tensor:
        """Shape: `[B, N]` -> `[B, 2]`."""
        return cast(Tensor, self.back_end(self.front_end(waveform)))

    def hear(self, waveform: Tensor) -> Heard:
        """Everything that a scan wants to know, in one pass. Shape: `[B, N]`.

        The back-end computes in float32 even under autocast: it costs little, and bfloat16 would leave a logit of 5 to
        the nearest 1/32.
        """
        features = self.front_end(waveform)
        if not isinstance(self.back_end, StatisticsReadout):
            with torch.autocast(features.device.type, enabled=False):
                logits = self.back_end(features.float())
            return Heard(logits, None if self.gate is None else self.gate(features), features)
        pooled = pool_features(features)
        distances = None if self.gate is None else self.gate.distance(pooled)
        return Heard(self.back_end.judge_pooled(pooled), distances, features, pooled)


def build_detector(
    front_end: AnyFrontEndConfig, back_end: AnyBackEndConfig, gate: GateConfig | None = None
) -> Detector:
    """The detector its configurations describe, with fresh weights, in training mode.

    Raises:
        ValueError: when the arguments contradict each other, the channel counts differ, or boosted trees are to judge
        anything but one row of voice statistics or features.
    """
    in_rows = isinstance(front_end, VoiceStatisticsConfig | VoiceFeaturesConfig)
    if isinstance(back_end, BoostedTreesConfig) and not in_rows:
        raise ValueError(
            f"boosted-trees judge one row of voice-statistics or voice-features, not the frames of {front_end.kind}"
        )
    features = build_front_end(front_end)
    if features.out_channels != back_end.channels:
        raise ValueError(
            f"the front-end gives {features.out_channels} channels, the back-end takes {back_end.channels}"
        )
    if gate is None:
        return Detector(features, build_back_end(back_end))
    if gate.features != 2 * back_end.channels:
        raise ValueError(f"the gate takes {gate.features} features, {back_end.channels} channels give twice as many")
    return Detector(features, build_back_end(back_end), Gate(gate.components, gate.features))


def build_back_end(config: AnyBackEndConfig) -> nn.Module:
    """The back-end a configuration describes, with fresh weights; boosted trees and a statistics readout answer zero.

    Raises:
        ValueError: when the arguments contradict each other.
    """
    arguments = config.model_dump(exclude={"kind"})
    if isinstance(config, AasistConfig):
        return Aasist(**arguments)
    if isinstance(config, MelCnnConfig):
        return MelCnn(**arguments)
    if isinstance(config, StatisticsReadoutConfig):
        return StatisticsReadout(**arguments)
    if isinstance(config, BoostedTreesConfig):
        return BoostedTrees(**arguments)
    return Nes2Net(**arguments, local_attention=isinstance(config, Nes2NetLaConfig))
