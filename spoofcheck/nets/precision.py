"""What a network computes in, and what of it is prepared for that.

bfloat16 halves the time of the convolutional stem on a CPU that has instructions for it, and moves its results far
less than what a report prints (docs/speed.md). Spectrum, statistics, gate, readout and tracer stay in float32.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from spoofcheck.errors import UsageError
from spoofcheck.nets.stem import SpectralStem

Precision = Literal["auto", "float32", "bf16"]

REDUCED_TOLERANCE = 0.1
"""bfloat16 moves a raw score by less: 0.05 of a window's LLR with the shipped model's calibration."""

_CPU_FACTS = Path("/proc/cpuinfo")
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def chosen_dtype(precision: Precision, device: torch.device, network: nn.Module) -> torch.dtype:
    """What a network is to compute in.

    `"auto"` is bfloat16 on CUDA, and on a CPU that has instructions for it where the front-end is the convolutional
    stem: the only one whose shift was measured there. Otherwise float32.

    Raises:
        UsageError: bf16 on MPS.
    """
    if precision == "float32":
        return torch.float32
    if precision == "bf16":
        if device.type == "mps":
            raise UsageError("--precision bf16: not on MPS; take float32, or --device cpu")
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16
    is_measured = any(isinstance(module, SpectralStem) for module in network.modules())
    return torch.bfloat16 if device.type == "cpu" and is_measured and has_native_bf16() else torch.float32


@cache
def has_native_bf16() -> bool:
    """Whether this machine's CPU multiplies bfloat16 itself; emulation takes longer than float32."""
    try:
        facts = _CPU_FACTS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return cpu_flags_have_bf16(facts)


def cpu_flags_have_bf16(facts: str) -> bool:
    """The same, of the text of `/proc/cpuinfo`: x86 lists `flags`, ARM lists `Features`."""
    for line in facts.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return not _BF16_FLAGS.isdisjoint(value.split())
    return False


def lowered(network: nn.Module) -> nn.Module:
    """A copy for CPU inference under bfloat16 autocast: the stem's weights are rounded once, not at every window."""
    prepared = copy.deepcopy(network)
    for module in prepared.modules():
        if isinstance(module, SpectralStem):
            module.cnn.to(torch.bfloat16)
    return prepared
