"""The weights of the published AASIST, turned into those of `spoofcheck.nets.aasist.Aasist`.

The published program (Tak et al., arXiv 2202.12233, and those derived from it) has biases and scales that a
normalisation or softmax behind them cancels; ours leaves them out. What they do is carried over to the weights that are
left, exactly but for rounding: a bias before a batch normalisation is taken off its running mean, one beside another
bias is added to it, a scale goes into the weights behind it, and one that shifts all logits of a softmax is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

GROUP = "back-end"


class PublishedKey(NamedTuple):
    """A tensor that a published checkpoint must hold.

    Attributes:
        group: the part of the network it is counted with.
        name: its published name.
        shape: its shape.
        floating: False for a counter.
    """

    group: str
    name: str
    shape: tuple[int, ...]
    floating: bool


_BEGINNINGS = (
    (r"projection\.", "LL."),
    (r"input_norm\.", "first_bn."),
    (r"maps_norm\.", "first_bn1."),
    (r"encoder\.(\d+)\.before\.0\.", r"encoder.\1.0.bn1."),
    (r"encoder\.(\d+)\.convolutions\.0\.", r"encoder.\1.0.conv1."),
    (r"encoder\.(\d+)\.convolutions\.1\.", r"encoder.\1.0.bn2."),
    (r"encoder\.(\d+)\.convolutions\.3\.", r"encoder.\1.0.conv2."),
    (r"encoder\.(\d+)\.shortcut\.", r"encoder.\1.0.conv_downsample."),
    (r"row_position$", "pos_S"),
    (r"spectral_pool\.gate\.", "pool_S.proj."),
    (r"temporal_pool\.gate\.", "pool_T.proj."),
    (r"spectral\.", "GAT_layer_S."),
    (r"temporal\.", "GAT_layer_T."),
    *(
        each
        for ours, theirs in ((0, 1), (1, 2))
        for each in (
            (rf"branches\.{ours}\.master$", f"master{theirs}"),
            (rf"branches\.{ours}\.spectral_pool\.gate\.", f"pool_hS{theirs}.proj."),
            (rf"branches\.{ours}\.temporal_pool\.gate\.", f"pool_hT{theirs}.proj."),
            (rf"branches\.{ours}\.first\.", f"HtrgGAT_layer_ST{theirs}1."),
            (rf"branches\.{ours}\.second\.", f"HtrgGAT_layer_ST{theirs}2."),
        )
    ),
    (r"fc\.", "out_layer."),
)
_WITHIN_LAYERS = (
    ("temporal_in.", "proj_type1."),
    ("spectral_in.", "proj_type2."),
    ("master_pair.", "att_projM."),
    ("pair.", "att_proj."),
    ("update.heeded.", "proj_with_att."),
    ("update.own.", "proj_without_att."),
    ("update.norm.", "bn."),
    ("master_heeded.", "proj_with_attM."),
    ("master_own.", "proj_without_attM."),
)
_WITH_LOST_BIAS = ("convolutions.0.weight", "shortcut.weight", "heeded.weight", "own.weight")
_SCORES = {1: ("att_weight",), 3: ("att_weight11", "att_weight22", "att_weight12")}
"""Published columns behind the rows of a `score`: of one graph, or within the first, within the second and across."""


def published_aasist_keys(ours: Mapping[str, Tensor]) -> tuple[PublishedKey, ...]:
    """What the published `state_dict` holds where `Aasist.state_dict()` is `ours`; only its shapes are looked at."""
    return tuple(
        PublishedKey(GROUP, name, shape, floating)
        for key, value in ours.items()
        for name, shape, floating in _published(key, value)
    )


def converted_aasist(published: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The `state_dict` of an `Aasist` that answers as the published network does in evaluation.

    Args:
        published: everything that `published_aasist_keys` names, checked.
        ours: the `state_dict` to fill; only its shapes are looked at.
    """
    return {key: _converted(key, value, published) for key, value in ours.items()}


def _published(key: str, value: Tensor) -> Iterator[tuple[str, tuple[int, ...], bool]]:
    shape = tuple(value.shape)
    if key.endswith(".score.weight"):
        yield from ((name, (shape[1], 1), True) for name in _score_names(key, shape[0]))
    elif key.endswith("master_score.weight"):
        yield _layer(key) + "att_weightM", (shape[1], 1), True
    else:
        name = published_name(key)
        yield name, shape, value.is_floating_point()
        if key == "attention.2.running_mean":
            yield from ((f"attention.2.{part}", shape, True) for part in ("weight", "bias"))
        if key == "attention.3.weight" or (key.endswith(_WITH_LOST_BIAS) and "master_heeded" not in key):
            yield name.removesuffix("weight") + "bias", (shape[0],), True


def _converted(key: str, like: Tensor, published: Mapping[str, Tensor]) -> Tensor:
    if key.endswith(".score.weight"):
        return torch.cat([published[name] for name in _score_names(key, like.shape[0])], dim=1).T.contiguous()
    if key.endswith("master_score.weight"):
        return published[_layer(key) + "att_weightM"].T.contiguous()
    value = published[published_name(key)]
    if key.endswith("convolutions.1.running_mean"):
        return value - published[published_name(key.replace("convolutions.1.running_mean", "convolutions.0.bias"))]
    if key.endswith("convolutions.3.bias"):
        beside = published.get(published_name(key.replace("convolutions.3", "shortcut")))
        return value if beside is None else value + beside
    if key.endswith("update.norm.running_mean"):
        parts = (published_name(key.replace("norm.running_mean", f"{part}.bias")) for part in ("heeded", "own"))
        return value - sum(published[part] for part in parts)
    if key.endswith("master_heeded.bias"):
        return value + published[published_name(key.replace("master_heeded", "master_own"))]
    if key == "attention.3.weight":
        return value * published["attention.2.weight"][None, :, None, None]
    return value


def published_name(key: str) -> str:
    """The published name of a weight that both networks have, or of a bias beside it that ours lacks."""
    for pattern, beginning in _BEGINNINGS:
        match = re.match(pattern, key)
        if match:
            rest = key[match.end() :]
            within = next(((a, b) for a, b in _WITHIN_LAYERS if rest.startswith(a)), ("", ""))
            return match.expand(beginning) + within[1] + rest.removeprefix(within[0])
    return key  # `attention`, whose parts have the same names


def _layer(key: str) -> str:
    return published_name(key[: key.rindex(".", 0, key.rindex(".")) + 1])


def _score_names(key: str, rows: int) -> list[str]:
    return [_layer(key) + name for name in _SCORES[rows]]
