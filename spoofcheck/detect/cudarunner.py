"""CUDA: bfloat16, one recorded graph per batch shape, copies beside the computing, every card with its share.

What is prepared, best first: XLS-R's layers compiled and the whole pass recorded as a CUDA graph; the graph alone;
kernel after kernel. What fails on a machine (no compiler, an operation that cannot be recorded) is said once, in one
line, and left out. The choice depends on machine and network alone, never on how much there is to do, so that numbers
do not.

A window's result depends on the size of the batch, which chooses kernels, but not on the windows beside it, as far as
cuBLAS and cuDNN compute rows alike; `python -m bench.gpu` measures what is left. The size is the same on every card.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from spoofcheck.detect.fixedrunner import Claim, FixedBatchRunner, FixedPass, ShardedRunner, fill, forward
from spoofcheck.detect.runner import Pending, Runner, Tensors, Windows
from spoofcheck.nets.placement import has_part_on_cpu

LARGEST_BATCH = 128
_PROBE_WINDOWS = 8
_PROBE_SAMPLES = 64_000
_MEMORY_SHARE = 0.6
"""Of the free memory, for a batch: its copies, the graph's own pool and the compiler's choice take the rest."""
_SLOTS = 3
"""Batches between staging and reading: one is computed, one waits behind it, one is being filled."""
_WARM_UP_PASSES = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a pass is prepared.

    Attributes:
        compiled: XLS-R's convolutions and layers go through torch's compiler.
        graph: the whole pass is recorded once and replayed.
    """

    compiled: bool
    graph: bool

    def __str__(self) -> str:
        parts = [*(["compiled layers"] if self.compiled else []), *(["CUDA graph"] if self.graph else [])]
        return " and ".join(parts) or "kernel by kernel"


PLANS = (Plan(True, True), Plan(False, True), Plan(False, False))
"""Best first."""


def cuda_runner(
    program: nn.Module,
    devices: Sequence[torch.device],
    batch_windows: int | None,
    dtype: torch.dtype,
    plans: Sequence[Plan] = PLANS,
) -> Runner:
    """A runner of all the given cards.

    Args:
        program: stays as and where it is; every card has a copy.
        devices: CUDA devices.
        batch_windows: windows per card and pass; None for what fits, at most 128.
        dtype: what it computes in.
        plans: those that may be tried, best first.
    """
    cards = [_Card(program, device, dtype, fitting_plans(program, plans)) for device in devices]
    size = batch_windows or min(card.auto_batch() for card in cards)
    runners = [FixedBatchRunner(card.prepare, torch.device("cuda"), dtype, size) for card in cards]
    return runners[0] if len(runners) == 1 else ShardedRunner(runners)


def fitting_plans(program: nn.Module, plans: Sequence[Plan] = PLANS) -> list[Plan]:
    """The plans that a network allows, best first: layers to compile, and a pass that never leaves the card."""
    may_compile, may_record = bool(_preparable(program)), not has_part_on_cpu(program)
    allowed = [Plan(plan.compiled and may_compile, plan.graph and may_record) for plan in plans]
    return list(dict.fromkeys(allowed))


def batch_that_fits(free_bytes: float, window_bytes: float, largest: int = LARGEST_BATCH) -> int:
    """The largest power of two of windows, at most `largest`, that takes no more than its share of free memory."""
    batch = largest
    while batch > 1 and batch * window_bytes > _MEMORY_SHARE * free_bytes:
        batch //= 2
    return batch


class _Card:
    """One card and its copy of the network, as good as the machine can prepare it."""

    def __init__(self, program: nn.Module, device: torch.device, dtype: torch.dtype, plans: Sequence[Plan]) -> None:
        self._program = program
        self._device = device
        self._dtype = dtype
        self._plans = list(plans)
        self._network: tuple[bool, nn.Module] | None = None

    def auto_batch(self) -> int:
        """From what a few windows take on the card, without compiler and graph."""
        with torch.cuda.device(self._device), torch.inference_mode():
            network = self._copy(False)
            torch.cuda.reset_peak_memory_stats()
            before_bytes = torch.cuda.memory_allocated()
            try:
                forward(network, torch.zeros(_PROBE_WINDOWS, _PROBE_SAMPLES, device=self._device), self._dtype)
            except torch.OutOfMemoryError:
                return 1
            taken_bytes = torch.cuda.max_memory_allocated() - before_bytes
            torch.cuda.empty_cache()
            return batch_that_fits(torch.cuda.mem_get_info()[0], taken_bytes / _PROBE_WINDOWS)

    def prepare(self, batch_windows: int, window_samples: int) -> FixedPass:
        """A pass after the best plan that works here; one that does not is forgotten for good."""
        while True:
            plan, *others = self._plans
            try:
                network = self._copy(plan.compiled)
                return CudaPass(network, self._device, self._dtype, batch_windows, window_samples, plan.graph)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                raise
            except Exception as error:
                if not others:
                    raise
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                _log.warning("%s: no %s on this machine (%s); going on with %s", self._device, plan, reason, others[0])
                self._plans = others

    def _copy(self, compiled: bool) -> nn.Module:
        """The network on the card, with or without compiled layers; only one of them is kept."""
        if self._network is None or self._network[0] != compiled:
            self._network = None
            network = copy.deepcopy(self._program).eval().requires_grad_(False)
            for part in _preparable(network):
                part.prepare_weights(self._dtype)
            network.to(self._device)
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            for part in _preparable(network) if compiled else ():
                part.compile_blocks()
            self._network = (compiled, network)
        return self._network[1]


class CudaPass:
    """Batches of one size on one card: staged in pinned memory, copied beside the computing, read when asked for.

    Args:
        network: on the card, in eval mode.
        device: the card.
        dtype: autocast's, float32 for none.
        batch_windows: every batch is filled up to.
        window_samples: length of every window.
        graph: record the pass and replay it.

    Attributes:
        busy_s: time that the card computed, of the batches that were asked for.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        batch_windows: int,
        window_samples: int,
        graph: bool,
    ) -> None:
        self.busy_s = 0.0
        self._network = network
        self._device = device
        self._dtype = dtype
        self._graph: torch.cuda.CUDAGraph | None = None
        with torch.cuda.device(device), torch.inference_mode():
            self._copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._computing = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._input = torch.zeros(batch_windows, window_samples, device=device)
            self._computing.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._computing):
                for _ in range(_WARM_UP_PASSES):
                    self._outputs = self._forward()
            self._computing.synchronize()
            if graph:
                self._graph = self._recorded()
            self._slots = [_Slot(self._input, self._outputs) for _ in range(_SLOTS)]
        self._turn = 0

    def begin(self, windows: Windows) -> Pending:
        """Begin a batch; the oldest that nobody asked for yet is read first when all buffers are taken."""
        slot = self._slots[self._turn]
        self._turn = (self._turn + 1) % _SLOTS
        if slot.claim is not None:
            slot.claim()
        fill(slot.staged.numpy(), windows)
        with torch.cuda.device(self._device), torch.inference_mode():
            with torch.cuda.stream(self._copying):
                slot.arrived.copy_(slot.staged, non_blocking=True)
                slot.copied.record()
            with torch.cuda.stream(self._computing):
                self._computing.wait_event(slot.copied)
                slot.started.record()
                self._input.copy_(slot.arrived)
                if self._graph is None:
                    self._outputs = self._forward()
                else:
                    self._graph.replay()
                for name, value in self._outputs.items():
                    slot.results[name].copy_(value, non_blocking=True)
                slot.finished.record()
        slot.claim = Claim(lambda: self._fetch(slot, len(windows)))
        return slot.claim

    def _fetch(self, slot: _Slot, windows: int) -> Tensors:
        slot.finished.synchronize()
        slot.claim = None
        self.busy_s += slot.started.elapsed_time(slot.finished) / 1_000
        return {name: value[:windows].clone() for name, value in slot.results.items()}

    def _forward(self) -> Mapping[str, Tensor]:
        return forward(self._network, self._input, self._dtype)

    def _recorded(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        # Other threads may talk to the card meanwhile.
        with torch.cuda.graph(graph, stream=self._computing, capture_error_mode="thread_local"):
            self._outputs = self._forward()
        return graph


class _Slot:
    """Buffers and marks of one batch on its way."""

    def __init__(self, batch: Tensor, outputs: Mapping[str, Tensor]) -> None:
        self.staged = _pinned(batch)
        self.arrived = torch.empty_like(batch)
        self.results = {name: _pinned(value) for name, value in outputs.items()}
        self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.started = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        # It sleeps: readers need the CPU while we wait.
        self.finished = torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
        self.claim: Claim | None = None


def _pinned(like: Tensor) -> Tensor:
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=like.device.type == "cuda")


@runtime_checkable
class _Preparable(Protocol):
    """A part of a network that knows how to be made ready: `nets.xlsr.Xlsr`, which is slow to import for a look."""

    def prepare_weights(self, dtype: torch.dtype) -> None: ...

    def compile_blocks(self) -> None: ...


def _preparable(network: nn.Module) -> list[_Preparable]:
    return [module for module in network.modules() if isinstance(module, _Preparable)]
