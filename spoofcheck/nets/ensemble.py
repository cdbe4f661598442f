"""An ensemble: several detectors hear one waveform, and their raw scores become one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from spoofcheck.nets.config import EnsembleConfig
from spoofcheck.nets.detector import Detector, Heard


class Ensemble(Detector):
    """A detector whose raw score is fused with those of others that hear the same waveform.

    Shape: float32 waveform `[B, N]` at 16 kHz -> logits `[B, 2]`, in the order (spoof, bonafide): `(raw / 2,
    -raw / 2)`, where `raw` is the fused score. Front-end, features and validity gate are the first member's.

    Args:
        members: as many as the configuration names, in its order.
        config: fusion, weights and bias.
    """

    stays_on_cpu: ClassVar[bool] = True
    """Scores are fused in float64, which not every device has."""

    def __init__(self, members: Sequence[Detector], config: EnsembleConfig) -> None:
        first, *others = members
        super().__init__(first.front_end, first.back_end, first.gate)
        self.others = nn.ModuleList(others)
        self.config = config

    def forward(self, waveform: Tensor) -> Tensor:
        """Shape: `[B, N]` -> `[B, 2]`."""
        return self.hear(waveform).logits

    def hear(self, waveform: Tensor) -> Heard:
        """Everything that a scan wants to know, in one pass. Shape: `[B, N]`."""
        heard = super().hear(waveform)
        half = fused(torch.stack([raw_scores(heard.logits), *self._others_scores(waveform)], dim=1), self.config) / 2
        return heard._replace(logits=torch.stack((half, -half), dim=1))

    def _others_scores(self, waveform: Tensor) -> list[Tensor]:
        return [raw_scores(member(waveform)) for member in self.others]


def raw_scores(logits: Tensor) -> Tensor:
    """Spoof logit minus bona fide logit. Shape: `[B, 2]` -> float64 `[B]`, on the CPU."""
    # On the CPU because MPS has no float64.
    wide = logits.double().cpu()
    return wide[:, 0] - wide[:, 1]


def fused(scores: Tensor, config: EnsembleConfig) -> Tensor:
    """One raw score from those of the members.

    A weighted mean of probabilities `p = sum w sigmoid(s)` becomes its logit, `log p - log(1 - p)`, from the logarithms
    of both sums: it is finite however sure the members are.

    Shape: float64 `[B, members]` -> float64 `[B]`.
    """
    weights = torch.tensor([member.weight for member in config.members], dtype=torch.float64)
    if config.fusion == "logistic":
        return scores @ weights + config.bias
    spoof = torch.logsumexp(weights.log() + nn.functional.logsigmoid(scores), dim=1)
    return spoof - torch.logsumexp(weights.log() + nn.functional.logsigmoid(-scores), dim=1)
