"""What a network computes in, and what of it is prepared for that.

bfloat16 halves the time of the convolutional stem on a CPU that has instructions for it, and hardly moves a result
(docs/speed.md). There, all else stays in float32: the spectrum, and whatever is behind the stem. A network without the
stem runs under torch's autocast.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from spoofcheck.errors import UsageError
from spoofcheck.nets.placement import has_part_on_cpu
from spoofcheck.nets.stem import LEAK, SpectralStem

Precision = Literal["auto", "float32", "bf16"]

_CPU_FACTS = Path("/proc/cpuinfo")
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


def chosen_dtype(precision: Precision, device: torch.device, network: nn.Module) -> torch.dtype:
    """What a network is to compute in.

    `"auto"` is bfloat16 on CUDA, and on a CPU that has instructions for it where the network has the convolutional
    stem, whose shift was measured there. Otherwise float32; also on CUDA where a part of the network stays on the CPU,
    as in an ensemble: no such network was measured there.

    Raises:
        UsageError: bf16 on MPS, or on a CPU that has no instructions for it.
    """
    if precision == "float32":
        return torch.float32
    if device.type == "cuda":
        return torch.float32 if precision == "auto" and has_part_on_cpu(network) else torch.bfloat16
    if precision == "bf16":
        if device.type == "mps":
            raise UsageError("--precision bf16: not on MPS; take float32, or --device cpu")
        if not has_native_bf16():
            raise UsageError("--precision bf16: this CPU has no instructions for it, and would be slower; take float32")
        return torch.bfloat16
    return torch.bfloat16 if device.type == "cpu" and has_stem(network) and has_native_bf16() else torch.float32


@cache
def has_native_bf16() -> bool:
    """Whether this machine's CPU multiplies bfloat16 itself, and torch knows; emulation takes longer than float32."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        facts = _CPU_FACTS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return flags_have_bf16(facts)


def flags_have_bf16(facts: str) -> bool:
    """The same, of the text of `/proc/cpuinfo` on x86."""
    for line in facts.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return not _BF16_FLAGS.isdisjoint(value.split())
    return False


def lowered(network: nn.Module) -> nn.Module:
    """A copy for inference on a CPU, with the convolutions of its stems in bfloat16."""
    return with_stems(network, _Bf16Stem)


def with_stems(network: nn.Module, replaced: Callable[[SpectralStem], nn.Module]) -> nn.Module:
    """A copy of a network with other stems; all weights are those of the network itself, not copies."""
    weights = [*network.parameters(), *network.buffers()]
    prepared = copy.deepcopy(network, {id(weight): weight for weight in weights})
    for module in list(prepared.modules()):
        for name, child in module.named_children():
            if isinstance(child, SpectralStem):
                setattr(module, name, replaced(child))
    return prepared


class _Bf16Stem(nn.Module):
    """`SpectralStem` with convolutions in bfloat16, for inference. Shape: as `SpectralStem`.

    Weights and the maps between convolutions are bfloat16; sums, biases and the LeakyReLU are float32. Biases rounded
    as well, as autocast would have it, moved all scores one way, by more than everything else together.
    """

    def __init__(self, stem: SpectralStem) -> None:
        super().__init__()
        self.stem = stem
        self._stages = cast("list[nn.Conv2d]", stem.stages())
        self._weights = [
            stage.weight.detach().to(torch.bfloat16, memory_format=torch.channels_last) for stage in self._stages
        ]

    def forward(self, waveform: Tensor) -> Tensor:
        maps = self.stem.spectrum(waveform).to(torch.bfloat16, memory_format=torch.channels_last)
        for stage, weight in zip(self._stages, self._weights, strict=True):
            # What `torch.compile` makes of a convolution and its activation, here without a compiler: the only way to
            # oneDNN's float32 bias. It has no public name; the pin on torch and a test stand guard.
            maps = torch.ops.mkldnn._convolution_pointwise(
                maps, weight, stage.bias, stage.padding, stage.stride, stage.dilation, stage.groups,
                "leaky_relu", [LEAK], "",
            )  # fmt: skip
        return maps.float().flatten(1, 2)


def has_stem(network: nn.Module) -> bool:
    """Whether a network has the convolutional stem anywhere."""
    return any(isinstance(module, SpectralStem) for module in network.modules())
