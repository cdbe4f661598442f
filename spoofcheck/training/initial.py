"""A recipe's network with the weights it begins with."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spoofcheck.errors import ModelError, UsageError
from spoofcheck.nets.bundle import load_bundle, load_tracer
from spoofcheck.nets.config import XlsrConfig
from spoofcheck.nets.detector import Detector, build_detector
from spoofcheck.nets.pretrained import distillmos_stem_state
from spoofcheck.nets.tracer import Tracer, build_tracer
from spoofcheck.training.recipe import Recipe


def initial_network(recipe: Recipe, classes: int) -> Detector | Tracer:
    """The network of a recipe, its fresh parts drawn from the seed.

    Args:
        classes: of a tracer; ignored for a detector.

    Raises:
        UsageError: parts that do not fit each other, or weights that do not fit the front-end.
        ModelError: weights that cannot be found or read.
    """
    torch.manual_seed(recipe.seed)
    model = recipe.model
    network: Detector | Tracer
    try:
        if model.back_end is not None:
            network = build_detector(model.front_end, model.back_end)
        elif model.head is not None:
            network = build_tracer(model.front_end, model.head, classes)
        else:
            raise UsageError("key 'model': neither a back_end nor a head")
    except ValueError as error:
        raise UsageError(f"key 'model': {error}") from error
    load_front_end_weights(recipe, network.front_end)
    if model.start_from is not None:
        _start_from(network, Path(model.start_from))
    return network


def load_front_end_weights(recipe: Recipe, front_end: nn.Module) -> None:
    """Give a front-end the weights its recipe names."""
    name = recipe.model.front_end_weights
    if name == "none":
        return
    if name == "distillmos":
        package = find_spec("distillmos")
        if package is None or package.origin is None:
            raise UsageError(
                "key 'model.front_end_weights': distillmos is not installed: pip install 'spoofcheck[train]'"
            )
        _load(front_end, distillmos_stem_state(Path(package.origin).parent / "weights" / "distill_mos_v7.pt"), name)
    elif isinstance(recipe.model.front_end, XlsrConfig):
        _load(front_end, _without_unused(_wav2vec2_state(name), front_end), name)
    else:
        raise UsageError(
            f"key 'model.front_end_weights': {name!r}; 'none' or 'distillmos' for a {recipe.model.front_end.kind}"
        )


_UNUSED = ("model.masked_spec_embed", "model.encoder.layer_norm.weight", "model.encoder.layer_norm.bias")
"""What published weights hold and a front-end may lack: pretraining's mask, and the normalisation behind all layers."""


def _wav2vec2_state(name: str) -> dict[str, Tensor]:
    """Weights of a transformers wav2vec 2.0 folder or hub repository, named as `Xlsr` names them."""
    from transformers import Wav2Vec2Model

    try:
        loaded: Any = Wav2Vec2Model.from_pretrained(name, output_loading_info=True)
    except (OSError, ValueError) as error:
        if Path(name).is_dir():
            raise ModelError(
                f"key 'model.front_end_weights': {name!r} holds no wav2vec 2.0 model that transformers reads"
            ) from error
        raise ModelError(
            f"key 'model.front_end_weights': {name!r} is no folder here and cannot be downloaded; "
            "name a local copy with --set model.front_end_weights=DIR, or 'none' for fresh weights"
        ) from error
    model, report = loaded
    missing = {f"model.{key}" for key in report["missing_keys"]}.difference(_UNUSED)
    if missing:  # transformers would begin them at random
        raise ModelError(f"key 'model.front_end_weights': {name!r} lacks {min(missing)!r} and is no wav2vec 2.0 model")
    return {f"model.{key}": value for key, value in model.state_dict().items()}


def _without_unused(state: dict[str, Tensor], front_end: nn.Module) -> dict[str, Tensor]:
    known = front_end.state_dict().keys()
    return {key: value for key, value in state.items() if key in known or key not in _UNUSED}


def _load(front_end: nn.Module, state: dict[str, Tensor], name: str) -> None:
    try:
        front_end.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise UsageError(f"key 'model.front_end_weights': {name!r} does not fit model.front_end") from error


def _start_from(network: Detector | Tracer, directory: Path) -> None:
    start = (load_bundle(directory) if isinstance(network, Detector) else load_tracer(directory)).network
    try:
        network.load_state_dict(start.state_dict(), strict=True)
    except RuntimeError as error:
        raise UsageError(f"key 'model.start_from': {directory} holds another network") from error
