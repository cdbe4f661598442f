"""AASIST: graph attention over frequency and time, from front-end features to two logits.

Jung et al., "AASIST: Audio anti-spoofing using integrated spectro-temporal graph attention networks" (ICASSP 2022,
arXiv 2110.01200), on self-supervised features as in Tak et al., "Automatic speaker verification spoofing and deepfake
detection using wav2vec 2.0 and data augmentation" (Odyssey 2022, arXiv 2202.12233). Written from the papers;
`nets.published_aasist` turns the weights of published checkpoints into these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spoofcheck.nets.nes2net import CLASSES

_POOL = 3
"""Features and frames are pooled 3x3 before the convolutions."""


class Aasist(nn.Module):
    """AASIST behind a linear projection of the front-end's channels.

    Shape: `[B, channels, T]` -> logits `[B, 2]`, in the order (spoof, bonafide). Any `T >= 3`.

    The projection, pooled by 3, is read as an image of `width // 3` rows (the "spectral" axis) and `T // 3` columns.
    Residual convolutions keep its size; an attention map sums it over columns to a spectral graph and over rows to a
    temporal graph. Each graph passes one attention layer and is pooled to its best nodes. Two branches of two
    heterogeneous layers let both graphs and a master node attend to each other; the branches' element-wise maximum is
    read out.

    Args:
        channels: of the front-end.
        width: after the projection.
        filters: output channels of each residual block.
        graph_channels: of the spectral and the temporal graph.
        stack_channels: of the heterogeneous layers and the master nodes.
        keep_share: share of nodes that each graph pooling keeps.
        graph_temperature: divides the attention scores of the two graphs before their softmax.
        stack_temperature: likewise in the heterogeneous layers.
        dropout: on the nodes that enter graph layers and the branches' results.
        readout_dropout: before the last layer.
        maps_norm: normalise and activate what the convolutions give, as the published program does.
    """

    def __init__(
        self,
        channels: int = 1024,
        width: int = 128,
        filters: Sequence[int] = (32, 32, 64, 64, 64, 64),
        graph_channels: int = 64,
        stack_channels: int = 32,
        keep_share: float = 0.5,
        graph_temperature: float = 2.0,
        stack_temperature: float = 100.0,
        dropout: float = 0.2,
        readout_dropout: float = 0.5,
        maps_norm: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.projection = nn.Linear(channels, width)
        self.input_norm = nn.BatchNorm2d(1)
        blocks: list[nn.Module] = []
        previous = 1
        for count in filters:
            blocks.append(ResidualBlock(previous, count, activate_first=bool(blocks)))
            previous = count
        self.encoder = nn.Sequential(*blocks)
        self.maps_norm = nn.BatchNorm2d(previous) if maps_norm else None
        # Here and below no bias where a normalisation or a softmax further on would cancel it.
        self.attention = nn.Sequential(
            nn.Conv2d(previous, 2 * previous, kernel_size=1),
            nn.SELU(),
            nn.BatchNorm2d(2 * previous, affine=False),
            nn.Conv2d(2 * previous, previous, kernel_size=1, bias=False),
        )
        self.row_position = nn.Parameter(torch.randn(1, width // _POOL, previous))
        self.spectral = GraphAttention(previous, graph_channels, graph_temperature, dropout)
        self.temporal = GraphAttention(previous, graph_channels, graph_temperature, dropout)
        self.spectral_pool = GraphPool(graph_channels, keep_share)
        self.temporal_pool = GraphPool(graph_channels, keep_share)
        self.branches = nn.ModuleList(
            StackBranch(graph_channels, stack_channels, keep_share, stack_temperature, dropout) for _ in range(2)
        )
        self.readout_dropout = nn.Dropout(readout_dropout)
        self.fc = nn.Linear(5 * stack_channels, CLASSES)

    def forward(self, features: Tensor) -> Tensor:
        """Shape: `[B, channels, T]` -> `[B, 2]`."""
        if features.ndim != 3 or features.shape[1] != self.channels:
            raise ValueError(f"expected [B, {self.channels}, T], got {list(features.shape)}")
        if features.shape[2] < _POOL:
            raise ValueError(f"expected at least {_POOL} frames, got {features.shape[2]}")
        image = self.projection(features.transpose(1, 2)).transpose(1, 2).unsqueeze(1)
        maps = self.encoder(F.selu(self.input_norm(F.max_pool2d(image, _POOL))))
        if self.maps_norm is not None:
            maps = F.selu(self.maps_norm(maps))
        weights = self.attention(maps)
        rows = (maps * weights.softmax(dim=-1)).sum(dim=-1).transpose(1, 2) + self.row_position
        columns = (maps * weights.softmax(dim=-2)).sum(dim=-2).transpose(1, 2)
        spectral = self.spectral_pool(self.spectral(rows))
        temporal = self.temporal_pool(self.temporal(columns))
        results = [branch(temporal, spectral) for branch in self.branches]
        temporal, spectral, master = (torch.maximum(a, b) for a, b in zip(*results, strict=True))
        read = torch.cat(
            (
                temporal.abs().amax(dim=1),
                temporal.mean(dim=1),
                spectral.abs().amax(dim=1),
                spectral.mean(dim=1),
                master.squeeze(1),
            ),
            dim=1,
        )
        return cast(Tensor, self.fc(self.readout_dropout(read)))


class ResidualBlock(nn.Module):
    """Two 2x3 convolutions (rows x columns) and a shortcut; the size stays.

    Shape: `[B, inputs, H, W]` -> `[B, outputs, H, W]`.

    Args:
        inputs: channels.
        outputs: channels.
        activate_first: normalise and activate before the first convolution; not where that was just done.
    """

    def __init__(self, inputs: int, outputs: int, activate_first: bool) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(inputs), nn.SELU()) if activate_first else nn.Identity()
        self.convolutions = nn.Sequential(
            # The first adds a row, the second takes it away again.
            nn.Conv2d(inputs, outputs, kernel_size=(2, 3), padding=(1, 1), bias=False),
            nn.BatchNorm2d(outputs),
            nn.SELU(),
            nn.Conv2d(outputs, outputs, kernel_size=(2, 3), padding=(0, 1)),
        )
        self.shortcut = (
            nn.Identity()
            if inputs == outputs
            else nn.Conv2d(inputs, outputs, kernel_size=(1, 3), padding=(0, 1), bias=False)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Shape: `[B, inputs, H, W]` -> `[B, outputs, H, W]`."""
        return cast(Tensor, self.convolutions(self.before(maps)) + self.shortcut(maps))


class GraphAttention(nn.Module):
    """One attention layer over a complete graph.

    Shape: nodes `[B, n, inputs]` -> `[B, n, outputs]`. How much a node heeds another depends on their element-wise
    product.
    """

    def __init__(self, inputs: int, outputs: int, temperature: float, dropout: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.dropout = nn.Dropout(dropout)
        self.pair = nn.Linear(inputs, outputs)
        self.score = nn.Linear(outputs, 1, bias=False)
        self.update = NodeUpdate(inputs, outputs)

    def forward(self, nodes: Tensor) -> Tensor:
        """Shape: `[B, n, inputs]` -> `[B, n, outputs]`."""
        nodes = self.dropout(nodes)
        scores = self.score(torch.tanh(self.pair(_products(nodes)))).squeeze(-1)
        return cast(Tensor, self.update(nodes, (scores / self.temperature).softmax(dim=-1)))


class NodeUpdate(nn.Module):
    """New nodes from what each heeds and what it was, normalised and activated.

    Shape: nodes `[B, n, inputs]`, attention `[B, n, n]` -> `[B, n, outputs]`.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.heeded = nn.Linear(inputs, outputs, bias=False)
        self.own = nn.Linear(inputs, outputs, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, nodes: Tensor, attention: Tensor) -> Tensor:
        """Shape: `[B, n, inputs]`, `[B, n, n]` -> `[B, n, outputs]`."""
        mixed = self.heeded(attention @ nodes) + self.own(nodes)
        return F.selu(self.norm(mixed.transpose(1, 2)).transpose(1, 2))


class GraphPool(nn.Module):
    """Keep the nodes a learned gate rates highest, scaled by the gate.

    Shape: `[B, n, channels]` -> `[B, max(1, int(n * keep_share)), channels]`, best first.
    """

    def __init__(self, channels: int, keep_share: float) -> None:
        super().__init__()
        self.keep_share = keep_share
        self.gate = nn.Linear(channels, 1)

    def forward(self, nodes: Tensor) -> Tensor:
        """Shape: `[B, n, channels]` -> `[B, kept, channels]`."""
        gates = torch.sigmoid(self.gate(nodes))
        kept = max(1, int(nodes.shape[1] * self.keep_share))
        best = gates.topk(kept, dim=1).indices.expand(-1, -1, nodes.shape[2])
        return (nodes * gates).gather(1, best)


class StackBranch(nn.Module):
    """Two heterogeneous stacking layers with a pooling between them; the second one's result is added.

    Shape: temporal `[B, n, inputs]`, spectral `[B, m, inputs]` -> temporal `[B, n', outputs]`, spectral
    `[B, m', outputs]`, master node `[B, 1, outputs]`.
    """

    def __init__(self, inputs: int, outputs: int, keep_share: float, temperature: float, dropout: float) -> None:
        super().__init__()
        self.master = nn.Parameter(torch.randn(1, 1, inputs))
        self.first = StackLayer(inputs, outputs, temperature, dropout)
        self.temporal_pool = GraphPool(outputs, keep_share)
        self.spectral_pool = GraphPool(outputs, keep_share)
        self.second = StackLayer(outputs, outputs, temperature, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, temporal: Tensor, spectral: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shape: `[B, n, inputs]`, `[B, m, inputs]` -> `[B, n', outputs]`, `[B, m', outputs]`, `[B, 1, outputs]`."""
        master = self.master.expand(len(temporal), -1, -1)
        temporal, spectral, master = self.first(temporal, spectral, master)
        temporal, spectral = self.temporal_pool(temporal), self.spectral_pool(spectral)
        more = self.second(temporal, spectral, master)
        return (
            self.dropout(temporal + more[0]),
            self.dropout(spectral + more[1]),
            self.dropout(master + more[2]),
        )


class StackLayer(nn.Module):
    """Heterogeneous attention: pairs within one graph, within the other and across are scored by their own weights.

    Shape: temporal `[B, n, inputs]`, spectral `[B, m, inputs]`, master `[B, 1, inputs]` -> the same with `outputs`. The
    master node gathers from all nodes and gives to none.
    """

    def __init__(self, inputs: int, outputs: int, temperature: float, dropout: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.dropout = nn.Dropout(dropout)
        self.temporal_in = nn.Linear(inputs, inputs)
        self.spectral_in = nn.Linear(inputs, inputs)
        self.pair = nn.Linear(inputs, outputs)
        self.score = nn.Linear(outputs, 3, bias=False)
        self.update = NodeUpdate(inputs, outputs)
        self.master_pair = nn.Linear(inputs, outputs)
        self.master_score = nn.Linear(outputs, 1, bias=False)
        self.master_heeded = nn.Linear(inputs, outputs)
        self.master_own = nn.Linear(inputs, outputs, bias=False)

    def forward(self, temporal: Tensor, spectral: Tensor, master: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shape: `[B, n, inputs]`, `[B, m, inputs]`, `[B, 1, inputs]` -> the same with `outputs`."""
        split = temporal.shape[1]
        nodes = self.dropout(torch.cat((self.temporal_in(temporal), self.spectral_in(spectral)), dim=1))
        within_first, within_second, across = self.score(torch.tanh(self.pair(_products(nodes)))).unbind(dim=-1)
        in_first = torch.arange(nodes.shape[1], device=nodes.device) < split
        both_first = in_first[:, None] & in_first[None, :]
        both_second = ~in_first[:, None] & ~in_first[None, :]
        scores = torch.where(both_first, within_first, torch.where(both_second, within_second, across))
        attention = (scores / self.temperature).softmax(dim=-1)

        calls = self.master_score(torch.tanh(self.master_pair(nodes * master))).transpose(1, 2)
        gathered = (calls / self.temperature).softmax(dim=-1) @ nodes
        new_master = self.master_heeded(gathered) + self.master_own(master)

        updated = self.update(nodes, attention)
        return updated[:, :split], updated[:, split:], new_master


def _products(nodes: Tensor) -> Tensor:
    """Element-wise product of every pair of nodes. Shape: `[B, n, C]` -> `[B, n, n, C]`."""
    return nodes.unsqueeze(2) * nodes.unsqueeze(1)
