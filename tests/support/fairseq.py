"""Published checkpoints as stand-ins: seeded random weights under the published names."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from spoofcheck.nets.config import AasistConfig, LayerAttentionConfig, Nes2NetLaConfig, Nes2NetXConfig, XlsrConfig
from spoofcheck.nets.fairseq import FRONT_END, Layout
from spoofcheck.nets.published import Architecture
from spoofcheck.nets.published_aasist import PublishedKey

TINY_XLSR = XlsrConfig(
    hidden_size=64, layers=2, heads=2, feed_forward_size=96, conv_channels=16, position_kernel=8, position_groups=4
)
TINY = {
    "xlsr-nes2net-la": Architecture(TINY_XLSR, Nes2NetLaConfig(channels=64)),
    "xlsr-nes2net-x": Architecture(TINY_XLSR, Nes2NetXConfig(channels=64)),
    "xlsr-aasist": Architecture(
        TINY_XLSR,
        AasistConfig(channels=64, width=24, filters=(4, 4, 8, 8), graph_channels=8, stack_channels=6, maps_norm=True),
    ),
    "xlsr-tracer": Architecture(
        TINY_XLSR.model_copy(update={"output": "all-layers"}), head=LayerAttentionConfig(channels=64, hidden=16)
    ),
}
"""The published architectures in miniature: they load and run in milliseconds."""

PRETRAINING = {
    "mask_emb": (64,),
    "quantizer.vars": (1, 32, 8),
    "quantizer.weight_proj.weight": (32, 16),
    "quantizer.weight_proj.bias": (32,),
    "project_q.weight": (16, 16),
    "project_q.bias": (16,),
    "final_proj.weight": (16, 64),
    "final_proj.bias": (16,),
}
"""What fairseq's pretraining leaves in a checkpoint, with made-up sizes."""


def published_state(layout: Layout, seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the published names: signals keep their size, and every tensor differs from every other."""
    draw = torch.Generator().manual_seed(seed)
    return {key.name: drawn(key, draw) for key in layout.keys}


def with_unused(state: dict[str, Tensor], global_attention: bool = True) -> dict[str, Tensor]:
    """The state with all that published checkpoints hold in vain."""
    draw = torch.Generator().manual_seed(99)
    more = {FRONT_END + name: torch.randn(shape, generator=draw) for name, shape in PRETRAINING.items()}
    if global_attention:
        for name, shape in {
            "in_proj_weight": (192, 64),
            "in_proj_bias": (192,),
            "out_proj.weight": (64, 64),
            "out_proj.bias": (64,),
        }.items():
            more[f"Nested_Res2Net_TDNN.global_attn.{name}"] = torch.randn(shape, generator=draw)
    return state | more


def write_checkpoint(path: Path, state: dict[str, Tensor]) -> Path:
    """As DistributedDataParallel's `state_dict` is saved."""
    torch.save({f"module.{name}": value for name, value in state.items()}, path)
    return path


def drawn(key: PublishedKey, draw: torch.Generator) -> Tensor:
    """A random value of one tensor."""
    name, shape = key.name, key.shape
    if not key.floating:
        return torch.tensor(len(name))
    noise = torch.randn(shape, generator=draw)
    last = name.rsplit(".", 1)[-1]
    if last == "running_var":
        return 1 + noise.square()
    if last in ("bias", "running_mean", "in_proj_bias"):
        return noise / 10
    if last == "weight_g" or len(shape) < 2:  # magnitudes, and the scales of normalisations
        return 1 + noise / 10
    return noise / math.sqrt(max(1, math.prod(shape[1:])))
