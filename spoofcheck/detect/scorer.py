"""What networks say of windows: rows of plain values, from whatever runner computes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from spoofcheck.detect.devices import DeviceName
from spoofcheck.detect.programs import HearingProgram, TracingProgram
from spoofcheck.detect.runner import Runner, Tensors, build_runner
from spoofcheck.nets.bundle import Bundle, TracerBundle
from spoofcheck.nets.embedding import StatisticsEmbedding

__all__ = ["DeviceName", "HeardWindow", "TracedWindow", "TracerScorer", "WindowScorer", "fitted"]

Row = TypeVar("Row")


class BatchedNetwork(ABC, Generic[Row]):
    """Runs a network over windows; subclasses say what a window's row of the output is.

    Args:
        runner: has the network.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.runner.device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.runner.dtype

    @property
    def batch_windows(self) -> int:
        """How many windows at a time suit it."""
        return self.runner.batch_windows

    def rows(self, windows: Sequence[NDArray[np.float32]]) -> list[Row]:
        """What the network says of each window, float32 `[window_samples]`."""
        return self.begin(windows)()

    def begin(self, windows: Sequence[NDArray[np.float32]]) -> Callable[[], list[Row]]:
        """As `rows`, but only begun: what is returned waits for the rows, in the order of the calls."""
        if not windows:
            return list
        pending = self.runner.submit(windows)
        return lambda: self._rows(pending())

    @abstractmethod
    def _rows(self, outputs: Tensors) -> list[Row]:
        """A row per window."""


@dataclass(frozen=True, slots=True, eq=False)
class HeardWindow:
    """What a detector says of a window.

    Attributes:
        raw_score: spoof logit minus bona fide logit.
        validity_distance: of its features to the calibration data; None without a gate.
        embedding: float32 `[D]`, unit length, where a tracer places the same features; None without one.
    """

    raw_score: float
    validity_distance: float | None
    embedding: NDArray[np.float32] | None = None


class WindowScorer(BatchedNetwork[HeardWindow]):
    """Scores windows with a loaded detector.

    Args:
        bundle: the detector.
        device: see `build_runner`, also for `batch_windows` and errors.
        tracer_head: of a tracer with the detector's own front-end, which is given the same features.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: DeviceName = "auto",
        batch_windows: int | None = None,
        tracer_head: StatisticsEmbedding | None = None,
    ) -> None:
        super().__init__(build_runner(HearingProgram(bundle.network, tracer_head), device, batch_windows))
        self._label_index = {label: i for i, label in enumerate(bundle.config.label_order)}

    def score(self, windows: Sequence[NDArray[np.float32]]) -> list[HeardWindow]:
        """Raw scores, distances and embeddings of windows, each float32 `[window_samples]`."""
        return self.rows(windows)

    def _rows(self, outputs: Tensors) -> list[HeardWindow]:
        logits = outputs["logits"].double()
        spoof, bonafide = self._label_index["spoof"], self._label_index["bonafide"]
        scores: list[float] = (logits[:, spoof] - logits[:, bonafide]).tolist()
        unknown: list[None] = [None] * len(scores)
        distances = outputs["distances"].tolist() if "distances" in outputs else unknown
        embeddings = list(outputs["embedding"].float().numpy()) if "embedding" in outputs else unknown
        return [HeardWindow(*row) for row in zip(scores, distances, embeddings, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class TracedWindow:
    """A tracer's output for one window.

    Attributes:
        probabilities: float64 `[classes]`, softmax.
        embedding: float32 `[D]`, what the last layer sees.
    """

    probabilities: NDArray[np.float64]
    embedding: NDArray[np.float32]


class TracerScorer(BatchedNetwork[TracedWindow]):
    """Runs a loaded tracer over windows; other arguments and errors as for `build_runner`."""

    def __init__(self, bundle: TracerBundle, device: DeviceName = "auto", batch_windows: int | None = None) -> None:
        super().__init__(build_runner(TracingProgram(bundle.network), device, batch_windows))
        self.bundle = bundle

    def trace(self, windows: Sequence[NDArray[np.float32]]) -> list[TracedWindow]:
        """Similarities and embeddings of windows, each float32 `[window_samples]`."""
        return self.rows(windows)

    def _rows(self, outputs: Tensors) -> list[TracedWindow]:
        probabilities = outputs["logits"].double().softmax(dim=1).numpy()
        rows = zip(probabilities, outputs["embedding"].float().numpy(), strict=True)
        return [TracedWindow(probability, embedding) for probability, embedding in rows]


def fitted(samples: NDArray[np.float32], window_samples: int) -> NDArray[np.float32]:
    """A window of another length, `[N]`, cut at its end or repeated to `[window_samples]`."""
    return samples if len(samples) == window_samples else np.resize(samples, window_samples)
