"""The runner for a CPU: every window alone, on one thread, as many windows at once as there are cores.

Alone, because a CPU rounds differently in other company; on one thread, because it rounds differently on two (by up to
7e-7 of a raw score). So a result depends on neither the batch, the order nor the machine's number of cores. It is also
the fastest: one window's convolutions shared among cores wait for each other, above all while recordings are read.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

from spoofcheck.detect.runner import Pending, Runner, Tensors, Windows, joined
from spoofcheck.nets.precision import Precision, chosen_dtype, has_stem, lowered

Compute = Callable[[Tensor], Tensors]
"""From one waveform `[1, N]` to tensors by name, each `[1, ...]`; called from several threads at once."""

_CPU = torch.device("cpu")
_MAX_THREADS = 32
"""Every thread holds the feature maps of its window, 60 MB with the shipped model."""
_WINDOWS_PER_THREAD = 4
"""In one submission: enough that threads seldom wait for the last one."""


class CpuRunner(Runner):
    """Runs windows in a pool of threads.

    Args:
        compute: what runs for each.
        dtype: what it computes in, for the record.
        threads: None for as many as torch would use, which follows `OMP_NUM_THREADS`; at most 32.
    """

    in_flight = 2

    def __init__(self, compute: Compute, dtype: torch.dtype, threads: int | None = None) -> None:
        self.device = _CPU
        self.dtype = dtype
        n_threads = min(threads or torch.get_num_threads(), _MAX_THREADS)
        self.batch_windows = _WINDOWS_PER_THREAD * n_threads
        self._compute = compute
        # Its threads start with the first window, and end with the runner.
        self._pool = ThreadPoolExecutor(n_threads, "spoofcheck-network", _keep_to_one_core)
        self._begun: WeakSet[Future[Tensors]] = WeakSet()

    def submit(self, windows: Windows) -> Pending:
        """Begin to run them."""
        parts = [self._pool.submit(self._run_one, window) for window in windows]
        self._begun.update(parts)

        def wait() -> Tensors:
            try:
                return joined(part.result() for part in parts)
            except BaseException:
                # Nobody asks for the rest: after Ctrl-C the program must not hear it all before it ends.
                for part in list(self._begun):
                    part.cancel()
                raise

        return wait

    def _run_one(self, window: NDArray[np.float32]) -> Tensors:
        # A tensor's own memory is always aligned alike, which a CPU's rounding may depend on; an array's is not.
        return self._compute(torch.tensor(window).unsqueeze(0))


def torch_runner(program: nn.Module, precision: Precision, threads: int | None = None) -> CpuRunner:
    """A runner of torch itself.

    Args:
        program: left as it is; in bfloat16 a copy of it may run.
        precision: see `chosen_dtype`.
        threads: as for `CpuRunner`.
    """
    dtype = chosen_dtype(precision, _CPU, program)
    is_reduced = dtype is not torch.float32
    is_prepared = is_reduced and has_stem(program)
    network = (lowered(program) if is_prepared else program.to(_CPU)).eval()
    needs_autocast = is_reduced and not is_prepared

    def compute(waveform: Tensor) -> Tensors:
        # Both modes belong to the thread that enters them.
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=needs_autocast):
            outputs: Tensors = network(waveform)
        return outputs

    return CpuRunner(compute, dtype, threads)


def _keep_to_one_core() -> None:
    """Keep what this thread calls to this thread. `torch.set_num_threads` would bind the whole process."""
    torch.get_num_threads()  # torch sets a thread's number when it first needs it: afterwards it stays as set here
    ThreadpoolController().select(user_api="openmp").limit(limits=1)
