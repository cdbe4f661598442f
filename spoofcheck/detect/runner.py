"""How a batch of windows goes through a network on a device: what a `Runner` is, and the plain one of torch.

A scorer says what is computed (`detect.programs`) and what it means (`detect.scorer`); a runner says where, in which
precision and how many windows at once. `build_runner` chooses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spoofcheck.detect.devices import DeviceName, pick_devices

Windows = Sequence[NDArray[np.float32]]
"""Windows of one length, each float32 `[window_samples]`."""

Tensors = Mapping[str, Tensor]
"""What a program gives, by name, on the CPU: each `[windows, ...]`, in the order of the windows."""

Pending = Callable[[], Tensors]
"""Waits for what was submitted. To be called once."""

_AUTO_BATCH_WINDOWS = {"mps": 16, "cuda": 128}


class Runner(ABC):
    """Runs a program, an `nn.Module` from waveforms `[B, N]` to tensors by name, over windows.

    Attributes:
        device: where, as results name it.
        dtype: what the network computes in.
        batch_windows: how many windows at a time suit it; any number may be given.
        in_flight: how many submissions may wait for their turn before the first is asked for.
    """

    device: torch.device
    dtype: torch.dtype
    batch_windows: int
    in_flight: int = 1

    @abstractmethod
    def submit(self, windows: Windows) -> Pending:
        """Begin to run at least one window; results are asked for in the order of submission."""

    def run(self, windows: Windows) -> Tensors:
        """Run at least one window."""
        return self.submit(windows)()


class TorchRunner(Runner):
    """Runs the program as it is, one batch after the other.

    Args:
        program: moved to the device.
        device: one.
        batch_windows: windows per forward pass, or None for the device's default. Halved for good on out-of-memory. A
            CPU takes one at a time whatever this says: it rounds differently in other company, by up to 6e-6 of a raw
            score, and single windows stay in its cache, which made them an eighth faster than four at a time.
    """

    def __init__(self, program: nn.Module, device: torch.device, batch_windows: int | None = None) -> None:
        self.device = device
        is_cpu = device.type == "cpu"
        self.batch_windows = 1 if is_cpu else batch_windows or _AUTO_BATCH_WINDOWS[device.type]
        # bf16 halves the time on CUDA; elsewhere float32 keeps scores equal to the reference.
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self._program = program.to(device).eval()

    def submit(self, windows: Windows) -> Pending:
        """Run them here and now."""
        parts: list[Tensors] = []
        done = 0
        while done < len(windows):
            batch = windows[done : done + self.batch_windows]
            try:
                parts.append(self._forward(batch))
            except torch.OutOfMemoryError:
                if self.batch_windows == 1:
                    raise
                self.batch_windows = max(1, self.batch_windows // 2)
                torch.cuda.empty_cache()
            else:
                done += len(batch)
        return lambda: joined(parts)

    @torch.inference_mode()
    def _forward(self, windows: Windows) -> Tensors:
        # A tensor's own memory is always aligned alike, which a CPU's rounding may depend on; an array's is not.
        waveforms = torch.tensor(np.stack(windows)).to(self.device)
        with self._precision():
            outputs: Tensors = self._program(waveforms)
        return {name: value.cpu() for name, value in outputs.items()}

    def _precision(self) -> AbstractContextManager[object]:
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def joined(parts: Iterable[Tensors]) -> Tensors:
    """The results of several batches as those of one."""
    first, *others = parts
    return {name: torch.cat([value, *(part[name] for part in others)]) for name, value in first.items()}


def build_runner(program: nn.Module, device: DeviceName = "auto", batch_windows: int | None = None) -> Runner:
    """The runner for a device.

    Args:
        program: moved to the device.
        device: `"auto"` takes CUDA, then MPS, then the CPU.
        batch_windows: windows per forward pass, or None for what suits the device.

    Raises:
        UsageError: the device asked for is not there.
    """
    return TorchRunner(program, pick_devices(device)[0], batch_windows)
