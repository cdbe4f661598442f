"""Published weights to begin training with, renamed to the modules of this package. Nothing is downloaded here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spoofcheck.errors import ModelError
from spoofcheck.nets.checkpoints import read_checkpoint
from spoofcheck.nets.config import XlsrConfig

_DISTILLMOS_PREFIX = "cnn."

WAV2VEC2_FILES = ("model.safetensors", "pytorch_model.bin")
"""The weights in a folder or repository of transformers' naming, the preferred file first."""

_HEADS = ("quantizer.", "project_q.", "project_hid.", "lm_head.", "masked_spec_embed")
"""What pretraining or speech recognition put beside the encoder or into it: names, or their beginnings with a dot."""

_LAST_NORM = "encoder.layer_norm."
"""The normalisation behind the last layer, which a front-end of all layers does without."""

_OLDER_WEIGHT_NORM = {
    "conv.weight_g": "conv.parametrizations.weight.original0",
    "conv.weight_v": "conv.parametrizations.weight.original1",
}
_STRIDES = [5, 2, 2, 2, 2, 2, 2]


def distillmos_stem_state(path: Path) -> dict[str, Tensor]:
    """The stem's weights out of DistillMOS's `distill_mos_v7.pt`, named as `SpectralStem` names them.

    The checkpoint comes with the PyPI package `distillmos` (MIT). `load_state_dict(..., strict=True)` accepts
    the result.

    Raises:
        ModelError: when the file cannot be read or holds no such stem.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"{path}: not a readable checkpoint ({type(error).__name__})") from error
    model = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if not isinstance(model, dict):
        raise ModelError(f"{path}: no entry 'model', so not a DistillMOS checkpoint")
    state = {
        key.removeprefix(_DISTILLMOS_PREFIX): value
        for key, value in model.items()
        if key.startswith(_DISTILLMOS_PREFIX)
    }
    if not state:
        raise ModelError(f"{path}: no keys '{_DISTILLMOS_PREFIX}*', so not a DistillMOS checkpoint")
    return state


def wav2vec2_state(path: Path, front_end: XlsrConfig) -> dict[str, Tensor]:
    """Weights of a wav2vec 2.0 in transformers' naming, named as `Xlsr` names them, without the heads around it.

    Args:
        path: a safetensors file, or a pickle of tensors alone.
        front_end: what they are for; one of all layers does without the last normalisation.

    Raises:
        ModelError: the file cannot be read safely.
    """
    state: dict[str, Tensor] = {}
    for key, value in read_checkpoint(path).items():
        name = key.removeprefix("wav2vec2.")
        if any(name == head or (head[-1] == "." and name.startswith(head)) for head in _HEADS):
            continue
        if front_end.output == "all-layers" and name.startswith(_LAST_NORM):
            continue
        for older, newer in _OLDER_WEIGHT_NORM.items():
            name = f"{name.removesuffix(older)}{newer}" if name.endswith(older) else name
        state[f"model.{name}"] = value
    return state


def wav2vec2_mismatch(config_json: Path, front_end: XlsrConfig) -> str | None:
    """What a folder's `config.json` says against these weights in this front-end that their shapes do not show.

    Keys that are missing have transformers' defaults, as it writes them.

    Raises:
        ModelError: the file cannot be read or is no configuration of a wav2vec 2.0.
    """
    try:
        config: Any = json.loads(config_json.read_bytes())
    except OSError as error:
        raise ModelError(f"{config_json}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{config_json}: is no JSON") from error
    if not isinstance(config, dict) or config.get("model_type") != "wav2vec2":
        raise ModelError(f"{config_json}: describes no wav2vec 2.0")
    for key, default, needed in (
        ("num_attention_heads", 12, front_end.heads),
        ("do_stable_layer_norm", False, True),
        ("feat_extract_norm", "group", "layer"),
        ("conv_stride", _STRIDES, _STRIDES),
        ("hidden_act", "gelu", "gelu"),
        ("feat_extract_activation", "gelu", "gelu"),
    ):
        if config.get(key, default) != needed:
            return f"{key} is {config.get(key, default)!r}, not {needed!r}"
    return None
