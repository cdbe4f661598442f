"""Checkpoints of the published XLS-R systems: fairseq's and their authors' names of weights, turned into ours.

The published programs keep wav2vec 2.0 as fairseq names it, below `ssl_model.model.`, and their back-end beside it
(github.com/XuepingZhang/MultiAPI-Spoof, "MultiAPI Spoof", arXiv 2512.07352; AASIST as in Tak et al., arXiv 2202.12233).
Every name is expected, dropped by a rule below, or refused: nothing is left out in silence. fairseq itself is not
needed. The names of wav2vec 2.0 agree with those in torchaudio's `import_fairseq_model`; a test compares them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from spoofcheck.errors import ModelError
from spoofcheck.nets.config import AasistConfig, AnyBackEndConfig, AnyHeadConfig, XlsrConfig
from spoofcheck.nets.detector import build_detector
from spoofcheck.nets.published_aasist import PublishedKey, converted_aasist, published_aasist_keys
from spoofcheck.nets.tracer import LayerAttention, build_tracer

FRONT_END = "ssl_model.model."
_LISTED_KEYS = 5

_Names = tuple[tuple[str, str, str], ...]
"""Group, pattern of our name, template of the published one."""

_WAV2VEC2: _Names = (
    ("convolutions", r"feature_extractor\.conv_layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.0."),
    ("convolutions", r"feature_extractor\.conv_layers\.(\d+)\.layer_norm\.", r"feature_extractor.conv_layers.\1.2.1."),
    ("feature projection", r"feature_projection\.layer_norm\.", "layer_norm."),
    ("feature projection", r"feature_projection\.projection\.", "post_extract_proj."),
    # The weight normalisation's magnitude and direction.
    ("position", r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0$", "encoder.pos_conv.0.weight_g"),
    ("position", r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1$", "encoder.pos_conv.0.weight_v"),
    ("position", r"encoder\.pos_conv_embed\.conv\.bias$", "encoder.pos_conv.0.bias"),
    ("transformer", r"encoder\.layers\.(\d+)\.attention\.", r"encoder.layers.\1.self_attn."),
    ("transformer", r"encoder\.layers\.(\d+)\.layer_norm\.", r"encoder.layers.\1.self_attn_layer_norm."),
    ("transformer", r"encoder\.layers\.(\d+)\.feed_forward\.intermediate_dense\.", r"encoder.layers.\1.fc1."),
    ("transformer", r"encoder\.layers\.(\d+)\.feed_forward\.output_dense\.", r"encoder.layers.\1.fc2."),
    ("transformer", r"encoder\.layers\.(\d+)\.final_layer_norm\.", r"encoder.layers.\1.final_layer_norm."),
    ("last normalisation", r"encoder\.layer_norm\.", "encoder.layer_norm."),
)
_LAYER_ATTENTION: _Names = (
    ("head", r"attention\.", "layer_att.self_attn."),
    ("head", r"hidden\.", "fc1."),
    ("head", r"fc\.", "fc3."),
)
_NEWER_WEIGHT_NORM = {
    f"{FRONT_END}encoder.pos_conv.0.parametrizations.weight.original{index}": f"{FRONT_END}encoder.pos_conv.0.{name}"
    for index, name in enumerate(("weight_g", "weight_v"))
}
"""What torch's newer weight normalisation calls the same two tensors."""

_PRETRAINING = (
    ("mask_emb", f"{FRONT_END}mask_emb"),
    ("quantizer", f"{FRONT_END}quantizer."),
    ("project_q", f"{FRONT_END}project_q."),
    ("final_proj", f"{FRONT_END}final_proj."),
)
"""Of no use after pretraining: group, and a name or, with a dot at its end, what names begin with."""

_BACK_END = "Nested_Res2Net_TDNN."
_UNUSED_GLOBAL_ATTENTION = (("global_attn", f"{_BACK_END}global_attn."),)
_UNUSED_BY_TRACER = (("first_bn", "first_bn."), ("last normalisation", f"{FRONT_END}encoder.layer_norm."))


@dataclass(frozen=True, slots=True)
class Layout:
    """What a published checkpoint holds, and how it becomes a `state_dict` of ours.

    Attributes:
        keys: the names it must hold.
        dropped: what it may hold beside them: group, and a name or the beginning of names (ending in a dot).
        convert: from the values under published names to those under ours.
    """

    keys: tuple[PublishedKey, ...]
    dropped: tuple[tuple[str, str], ...]
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Converted:
    """A checkpoint under our names: float32, dense, contiguous, finite, complete.

    Attributes:
        state: what `load_state_dict(..., strict=True)` of the detector or tracer takes.
        loaded: published names that were used, by group.
        dropped: published names that were dropped, by group.
    """

    state: dict[str, Tensor]
    loaded: dict[str, int]
    dropped: dict[str, int]


def detector_layout(front_end: XlsrConfig, back_end: AnyBackEndConfig) -> Layout:
    """The layout of a published detector: Nes2Net-LA, Nes2Net-X or AASIST behind XLS-R."""
    with torch.device("meta"):
        network = build_detector(front_end, back_end)
    before, table = _front_end_keys(network.front_end)
    dropped = _PRETRAINING + (_UNUSED_GLOBAL_ATTENTION if back_end.kind == "nes2net-la" else ())
    if isinstance(back_end, AasistConfig):
        ours = network.back_end.state_dict()
        keys = published_aasist_keys(ours)

        def convert(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            head = {name: value for name, value in values.items() if name not in table}
            return _renamed(values, table) | _prefixed("back_end.", converted_aasist(head, ours))

        return Layout((*before, *keys), dropped, convert)
    behind = [
        PublishedKey("back-end", _BACK_END + name, tuple(value.shape), value.is_floating_point())
        for name, value in network.back_end.state_dict().items()
    ]
    table |= {key.name: "back_end." + key.name.removeprefix(_BACK_END) for key in behind}
    return Layout((*before, *behind), dropped, lambda values: _renamed(values, table))


def tracer_layout(front_end: XlsrConfig, head: AnyHeadConfig, classes: int) -> Layout:
    """The layout of the published tracer: layer attention over all layers of XLS-R."""
    with torch.device("meta"):
        network = build_tracer(front_end, head, classes)
    if not isinstance(network.head, LayerAttention):
        raise ValueError(f"no published tracer has a {head.kind} head")
    before, table = _front_end_keys(network.front_end)
    behind, more = _named(network.head, _LAYER_ATTENTION, "", "head.")
    table |= more
    dropped = _PRETRAINING + _UNUSED_BY_TRACER
    return Layout((*before, *behind), dropped, lambda values: _renamed(values, table))


def convert(state: Mapping[str, Tensor], layout: Layout, source: Path) -> Converted:
    """Check a checkpoint against its layout and bring it under our names.

    Args:
        state: what `read_checkpoint` gave.
        layout: of the architecture it is said to be of.
        source: named in errors.

    Raises:
        ModelError: names that are missing or left over (the first of them, and how many), another shape, or a value
        that is no finite number.
    """
    state = {_NEWER_WEIGHT_NORM.get(name, name): value for name, value in state.items()}
    expected = {key.name: key for key in layout.keys}
    dropped: Counter[str] = Counter()
    extra: list[str] = []
    for name in state:
        group = None if name in expected else _dropped_as(name, layout.dropped)
        if group is not None:
            dropped[group] += 1
        elif name not in expected:
            extra.append(name)
    missing = [name for name in expected if name not in state]
    if missing or extra:
        found = [
            f"{len(names)} {kind} ({_some(names)})"
            for kind, names in (("missing", missing), ("unknown", extra))
            if names
        ]
        raise ModelError(f"{source}: not the weights of this architecture: keys {', '.join(found)}")
    values = {name: _checked(state[name], key, source) for name, key in expected.items()}
    loaded = Counter(key.group for key in layout.keys)
    return Converted(layout.convert(values), dict(loaded), dict(dropped))


def _front_end_keys(front_end: nn.Module) -> tuple[list[PublishedKey], dict[str, str]]:
    return _named(front_end.get_submodule("model"), _WAV2VEC2, FRONT_END, "front_end.model.")


def _named(module: nn.Module, names: _Names, published: str, ours: str) -> tuple[list[PublishedKey], dict[str, str]]:
    """The keys of a part under published names, and the table from these to ours."""
    keys: list[PublishedKey] = []
    table: dict[str, str] = {}
    for name, value in module.state_dict().items():
        group, pattern, template = next(each for each in names if re.match(each[1], name))
        key = PublishedKey(
            group, published + re.sub(pattern, template, name, count=1), tuple(value.shape), value.is_floating_point()
        )
        keys.append(key)
        table[key.name] = ours + name
    return keys, table


def _renamed(values: Mapping[str, Tensor], table: Mapping[str, str]) -> dict[str, Tensor]:
    return {ours: values[name] for name, ours in table.items()}


def _prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def _dropped_as(name: str, rules: Iterable[tuple[str, str]]) -> str | None:
    return next((group for group, rule in rules if name == rule or (rule[-1] == "." and name.startswith(rule))), None)


def _checked(value: Tensor, key: PublishedKey, source: Path) -> Tensor:
    if tuple(value.shape) != key.shape:
        raise ModelError(
            f"{source}: {key.name!r} has shape {list(value.shape)}; this architecture has {list(key.shape)}"
        )
    if value.is_floating_point() != key.floating:
        raise ModelError(f"{source}: {key.name!r} holds {value.dtype}, not {'fractions' if key.floating else 'counts'}")
    if not value.isfinite().all():
        raise ModelError(f"{source}: {key.name!r} holds values that are not finite")
    # A copy: the file's own memory may be shared by several names, and goes when the file does.
    copy = torch.empty(key.shape, dtype=torch.float32 if key.floating else torch.int64)
    return copy.copy_(value)


def _some(names: list[str]) -> str:
    more = "" if len(names) <= _LISTED_KEYS else f", and {len(names) - _LISTED_KEYS} more"
    return ", ".join(name if len(name) <= 200 else name[:200] + "..." for name in names[:_LISTED_KEYS]) + more
