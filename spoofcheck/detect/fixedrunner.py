"""Runners whose batches all have one size: the last one is filled up with repeats, whose results are dropped.

A device that is given the same shapes for ever can have everything prepared: memory, kernels, a recorded graph of them.
And a window's company does not choose the kernels that round its result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spoofcheck.detect.runner import Pending, Runner, Tensors, Windows, joined


class FixedPass(Protocol):
    """A network made ready for batches of one size and windows of one length, on one device.

    Attributes:
        busy_s: time that the device computed, of the batches that were asked for.
    """

    busy_s: float

    def begin(self, windows: Windows) -> Pending:
        """Begin a batch of at most that many windows; results are asked for in any order."""


Prepare = Callable[[int, int], FixedPass]
"""Makes a network ready for so many windows of so many samples; `torch.OutOfMemoryError` when they do not fit."""


class FixedBatchRunner(Runner):
    """Runs batches of one size on one device.

    Args:
        prepare: makes the network ready, at the first windows and again whenever their length or the batch changes.
        device: as results name it.
        dtype: what the network computes in.
        batch_windows: halved for good on out-of-memory.
    """

    in_flight = 2

    def __init__(self, prepare: Prepare, device: torch.device, dtype: torch.dtype, batch_windows: int) -> None:
        self.device = device
        self.dtype = dtype
        self.batch_windows = batch_windows
        self._prepare = prepare
        self._ready: tuple[tuple[int, int], FixedPass] | None = None
        self._busy_before_s = 0.0

    @property
    def busy_s(self) -> float:
        """Time that the device computed, of the batches that were asked for."""
        return self._busy_before_s + (0.0 if self._ready is None else self._ready[1].busy_s)

    def submit(self, windows: Windows) -> Pending:
        """Begin as many batches as it takes."""
        begun: list[Pending] = []
        done = 0
        while done < len(windows):
            try:
                batch = windows[done : done + self.batch_windows]
                begun.append(self._pass(len(windows[0])).begin(batch))
            except torch.OutOfMemoryError:
                if self.batch_windows == 1:
                    raise
                self.batch_windows //= 2
                self._forget()
            else:
                done += len(batch)
        return lambda: joined([pending() for pending in begun])

    def _pass(self, window_samples: int) -> FixedPass:
        shape = (self.batch_windows, window_samples)
        if self._ready is None or self._ready[0] != shape:
            self._forget()  # what it holds must be free before the next is made
            self._ready = (shape, self._prepare(*shape))
        return self._ready[1]

    def _forget(self) -> None:
        self._busy_before_s, self._ready = self.busy_s, None


class ShardedRunner(Runner):
    """Deals batches out to runners of the same kind, one after the other; results stay in order.

    Each device is given batches of the size that it would have alone, so that the number of devices rounds nothing.

    Args:
        runners: one per device.
    """

    def __init__(self, runners: Sequence[Runner]) -> None:
        self._runners = runners
        self._turn = 0
        self.device = runners[0].device
        self.dtype = runners[0].dtype
        self.batch_windows = sum(runner.batch_windows for runner in runners)
        self.in_flight = runners[0].in_flight

    def submit(self, windows: Windows) -> Pending:
        """Begin every batch on the device whose turn it is."""
        begun: list[Pending] = []
        done = 0
        while done < len(windows):
            runner = self._runners[self._turn]
            self._turn = (self._turn + 1) % len(self._runners)
            batch = windows[done : done + runner.batch_windows]
            begun.append(runner.submit(batch))
            done += len(batch)
        return lambda: joined([pending() for pending in begun])


class PlainPass:
    """A batch at once, wherever torch runs; what there is without CUDA.

    Args:
        network: on the device already, in eval mode.
        device: of the network.
        dtype: autocast's, float32 for none.
        batch_windows: every batch is filled up to.
        window_samples: length of every window.

    Attributes:
        busy_s: see `FixedPass`.
    """

    def __init__(
        self, network: nn.Module, device: torch.device, dtype: torch.dtype, batch_windows: int, window_samples: int
    ) -> None:
        self.busy_s = 0.0
        self._network = network
        self._device = device
        self._dtype = dtype
        self._host = torch.zeros(batch_windows, window_samples)

    @torch.inference_mode()
    def begin(self, windows: Windows) -> Pending:
        """Run them here and now."""
        began_s = time.perf_counter()
        fill(self._host.numpy(), windows)
        outputs = forward(self._network, self._host.to(self._device), self._dtype)
        kept = {name: value[: len(windows)].cpu().clone() for name, value in outputs.items()}
        self.busy_s += time.perf_counter() - began_s
        return lambda: kept


def fill(rows: NDArray[np.float32], windows: Windows) -> None:
    """Write windows into the rows of a batch, `[batch, samples]`, over and over until it is full."""
    for index, row in enumerate(rows):
        row[:] = windows[index % len(windows)]


def forward(network: nn.Module, waveforms: Tensor, dtype: torch.dtype) -> Mapping[str, Tensor]:
    """One pass of a program in a precision. Shape: `[B, N]`."""
    with torch.autocast(waveforms.device.type, dtype=dtype, enabled=dtype is not torch.float32):
        outputs: Tensors = network(waveforms)
    return outputs


class Claim:
    """The results of a batch that is still on its way.

    Args:
        fetch: waits and copies them out of the buffers; called once, before these are used again.
    """

    def __init__(self, fetch: Callable[[], Tensors]) -> None:
        self._fetch: Callable[[], Tensors] | None = fetch
        self._results: Tensors = {}

    def __call__(self) -> Tensors:
        """The results."""
        if self._fetch is not None:
            self._results, self._fetch = self._fetch(), None
        return self._results
