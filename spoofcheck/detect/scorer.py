"""Runs networks over windows: device, precision, batch size, out-of-memory retreat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spoofcheck.errors import UsageError
from spoofcheck.nets.bundle import Bundle, TracerBundle
from spoofcheck.nets.embedding import StatisticsEmbedding

DeviceName = Literal["auto", "cpu", "cuda", "mps"]

_AUTO_BATCH_WINDOWS = {"mps": 16, "cuda": 128}

Row = TypeVar("Row")


class BatchedNetwork(ABC, Generic[Row]):
    """Runs a network over windows in batches; subclasses say what a window's row of the output is.

    Args:
        network: moved to the device.
        device: `"auto"` takes CUDA, then MPS, then the CPU.
        batch_windows: windows per forward pass, or None for the device's default. Halved for good on out-of-memory. A
            CPU takes one at a time whatever this says: it rounds differently in other company, by up to 6e-6 of a raw
            score, and single windows stay in its cache, which made them an eighth faster than four at a time.

    Raises:
        UsageError: the device asked for is not there.
    """

    def __init__(self, network: nn.Module, device: DeviceName = "auto", batch_windows: int | None = None) -> None:
        self.device = _pick_device(device)
        is_cpu = self.device.type == "cpu"
        self.batch_windows = 1 if is_cpu else batch_windows or _AUTO_BATCH_WINDOWS[self.device.type]
        # bf16 halves the time on CUDA; elsewhere float32 keeps scores equal to the reference.
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        network.to(self.device).eval()

    def rows(self, windows: Sequence[NDArray[np.float32]]) -> list[Row]:
        """What the network says of each window, float32 `[window_samples]`."""
        rows: list[Row] = []
        while len(rows) < len(windows):
            batch = windows[len(rows) : len(rows) + self.batch_windows]
            try:
                rows += self._forward(batch)
            except torch.cuda.OutOfMemoryError:
                if self.batch_windows == 1:
                    raise
                self.batch_windows = max(1, self.batch_windows // 2)
                torch.cuda.empty_cache()
        return rows

    @abstractmethod
    def _forward(self, windows: Sequence[NDArray[np.float32]]) -> list[Row]:
        """One forward pass."""

    def _on_device(self, windows: Sequence[NDArray[np.float32]]) -> Tensor:
        # A tensor's own memory is always aligned alike, which a CPU's rounding may depend on; an array's is not.
        return torch.tensor(np.stack(windows)).to(self.device)

    def _precision(self) -> AbstractContextManager[object]:
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


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
    """Scores windows with a loaded detector; other arguments and errors as for `BatchedNetwork`.

    Args:
        tracer_head: of a tracer with the detector's own front-end, which is given the same features.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: DeviceName = "auto",
        batch_windows: int | None = None,
        tracer_head: StatisticsEmbedding | None = None,
    ) -> None:
        super().__init__(bundle.network, device, batch_windows)
        self._network = bundle.network
        self._tracer_head = None if tracer_head is None else tracer_head.to(self.device).eval()
        self._label_index = {label: i for i, label in enumerate(bundle.config.label_order)}

    def score(self, windows: Sequence[NDArray[np.float32]]) -> list[HeardWindow]:
        """Raw scores, distances and embeddings of windows, each float32 `[window_samples]`."""
        return self.rows(windows)

    @torch.inference_mode()
    def _forward(self, windows: Sequence[NDArray[np.float32]]) -> list[HeardWindow]:
        with self._precision():
            heard = self._network.hear(self._on_device(windows))
            placed = None if self._tracer_head is None else self._tracer_head.embed(heard.features)
        logits = heard.logits.double().cpu()
        spoof, bonafide = self._label_index["spoof"], self._label_index["bonafide"]
        scores: list[float] = (logits[:, spoof] - logits[:, bonafide]).tolist()
        distances: list[float | None] = [None] * len(scores) if heard.distances is None else heard.distances.tolist()
        embeddings = [None] * len(scores) if placed is None else list(placed.float().cpu().numpy())
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
    """Runs a loaded tracer over windows; arguments and errors as for `BatchedNetwork`."""

    def __init__(self, bundle: TracerBundle, device: DeviceName = "auto", batch_windows: int | None = None) -> None:
        super().__init__(bundle.network, device, batch_windows)
        self.bundle = bundle
        self._network = bundle.network

    def trace(self, windows: Sequence[NDArray[np.float32]]) -> list[TracedWindow]:
        """Similarities and embeddings of windows, each float32 `[window_samples]`."""
        return self.rows(windows)

    @torch.inference_mode()
    def _forward(self, windows: Sequence[NDArray[np.float32]]) -> list[TracedWindow]:
        with self._precision():
            embeddings = self._network.embed(self._on_device(windows))
            logits = self._network.classify(embeddings)
        probabilities = logits.double().cpu().softmax(dim=1).numpy()
        rows = zip(probabilities, embeddings.float().cpu().numpy(), strict=True)
        return [TracedWindow(probability, embedding) for probability, embedding in rows]


def fitted(samples: NDArray[np.float32], window_samples: int) -> NDArray[np.float32]:
    """A window of another length, `[N]`, cut at its end or repeated to `[window_samples]`."""
    return samples if len(samples) == window_samples else np.resize(samples, window_samples)


def _pick_device(name: DeviceName) -> torch.device:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(d for d in ("cuda", "mps", "cpu") if there[d]))
    if not there[name]:
        available = ", ".join(d for d, ok in there.items() if ok)
        raise UsageError(f"--device {name}: not available on this machine (available: {available})")
    return torch.device(name)
