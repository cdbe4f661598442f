"""Where parts of a network compute: some stay on the CPU wherever the rest is."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class StaysOnCpu(Protocol):
    """A module that computes something on the CPU, and says so by a class attribute `stays_on_cpu`."""

    stays_on_cpu: ClassVar[bool]


def has_part_on_cpu(network: nn.Module) -> bool:
    """Whether a pass of a network leaves its device, so that no CUDA graph can be recorded of it."""
    return any(isinstance(module, StaysOnCpu) and module.stays_on_cpu for module in network.modules())
