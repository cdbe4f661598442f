"""What is computed of a batch of windows: one pass through a network, tensors by name.

Every program takes float32 waveforms `[B, N]` at 16 kHz. A runner (`detect.runner`) says where it runs.
"""

from __future__ import annotations

from torch import Tensor, nn

from spoofcheck.nets.detector import Detector
from spoofcheck.nets.embedding import StatisticsEmbedding
from spoofcheck.nets.tracer import Tracer


class HearingProgram(nn.Module):
    """All that a scan wants to know of windows.

    Shape: `[B, N]` -> `logits` `[B, 2]` in the model's label order; `distances` float64 `[B]` with a gate; `embedding`
    `[B, D]` with a tracer's head.

    Args:
        detector: the network.
        tracer_head: of a tracer with the detector's own front-end, which is given the same features.
    """

    def __init__(self, detector: Detector, tracer_head: StatisticsEmbedding | None = None) -> None:
        super().__init__()
        self.detector = detector
        self.tracer_head = tracer_head

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Shape: `[B, N]`."""
        heard = self.detector.hear(waveforms)
        outputs = {"logits": heard.logits}
        if heard.distances is not None:
            outputs["distances"] = heard.distances
        if self.tracer_head is not None:
            outputs["embedding"] = self.tracer_head.embed(heard.features)
        return outputs


class TracingProgram(nn.Module):
    """A tracer's pass. Shape: `[B, N]` -> `embedding` `[B, D]` and `logits` `[B, classes]`."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Shape: `[B, N]`."""
        embedding = self.tracer.embed(waveforms)
        return {"embedding": embedding, "logits": self.tracer.classify(embedding)}
