"""A recipe's network with the weights it begins with."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from spoofcheck.errors import ModelError, UsageError
from spoofcheck.nets.bundle import load_bundle, load_tracer
from spoofcheck.nets.config import XlsrConfig
from spoofcheck.nets.detector import Detector, build_detector
from spoofcheck.nets.hub import fetch_first, parse_repository
from spoofcheck.nets.pretrained import WAV2VEC2_FILES, distillmos_stem_state, wav2vec2_mismatch, wav2vec2_state
from spoofcheck.nets.tracer import Tracer, build_tracer
from spoofcheck.training.recipe import Recipe


def initial_network(recipe: Recipe, classes: int, with_weights: bool = True) -> Detector | Tracer:
    """The network of a recipe, its fresh parts drawn from the seed.

    The front-end's weights are left alone, and not downloaded, where `start_from` brings those of the whole network.

    Args:
        classes: of a tracer; ignored for a detector.
        with_weights: False leaves a front-end's weights fresh, for one that is only looked at or gets others anyway.

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
    _check_kind(recipe)
    if model.start_from is not None:
        _start_from(network, Path(model.start_from))
    elif with_weights:
        load_front_end_weights(recipe, network.front_end)
    return network


def needs_download(recipe: Recipe) -> bool:
    """Whether the front-end's weights are on a hub, as far as their name tells: neither a file nor a folder here."""
    name = recipe.model.front_end_weights
    return name not in _BUILT_IN and not Path(name).exists()


def load_front_end_weights(recipe: Recipe, front_end: nn.Module) -> None:
    """Give a front-end the weights its recipe names.

    Raises:
        UsageError: weights that this kind of front-end cannot have, or that do not fit it.
        ModelError: weights that cannot be found or read.
    """
    _check_kind(recipe)
    name, config = recipe.model.front_end_weights, recipe.model.front_end
    if name == "distillmos":
        package = find_spec("distillmos")
        if package is None or package.origin is None:
            raise UsageError(f"{_KEY}: distillmos is not installed: pip install 'spoofcheck[train]'")
        _load(front_end, distillmos_stem_state(Path(package.origin).parent / "weights" / "distill_mos_v7.pt"), name)
    elif isinstance(config, XlsrConfig) and name != "none":
        weights, described = _wav2vec2_files(name)
        mismatch = None if described is None else wav2vec2_mismatch(described, config)
        if mismatch is not None:
            raise UsageError(f"{_KEY}: {name!r} does not fit model.front_end: {mismatch}")
        _load(front_end, wav2vec2_state(weights, config), name)


def _check_kind(recipe: Recipe) -> None:
    name, config = recipe.model.front_end_weights, recipe.model.front_end
    if name not in _BUILT_IN and not isinstance(config, XlsrConfig):
        raise UsageError(f"{_KEY}: {name!r}; 'none' or 'distillmos' for a {config.kind}")


_BUILT_IN = ("none", "distillmos")
_KEY = "key 'model.front_end_weights'"
_CONFIG = "config.json"


def _wav2vec2_files(name: str) -> tuple[Path, Path | None]:
    """Weights and configuration of what a recipe names: a file, which has none; a folder; a repository on a hub."""
    place = Path(name)
    if place.is_file():
        return place, None
    if place.is_dir():
        weights = next((place / file for file in WAV2VEC2_FILES if (place / file).is_file()), None)
        if weights is None or not (place / _CONFIG).is_file():
            raise ModelError(f"{_KEY}: {name!r} holds no {_CONFIG} with one of {', '.join(WAV2VEC2_FILES)}")
        return weights, place / _CONFIG
    repository = parse_repository(name)
    if repository is None:
        raise ModelError(
            f"{_KEY}: {name!r} is no file or folder here and no OWNER/NAME or OWNER/NAME@REVISION of a hub"
        )
    try:
        described = fetch_first(repository, (_CONFIG,), name)
        return fetch_first(repository, WAV2VEC2_FILES, name), described
    except ModelError as error:
        raise ModelError(
            f"{_KEY}: {error}; name a local copy with --set model.front_end_weights=DIR, or 'none' for fresh weights"
        ) from error


def _load(front_end: nn.Module, state: dict[str, Tensor], name: str) -> None:
    own = front_end.state_dict()
    strangers = sorted(own.keys() ^ state.keys())
    shapes = [key for key in own if key in state and own[key].shape != state[key].shape]
    if strangers or shapes:
        first = (strangers or shapes)[0]
        what = "has another shape" if not strangers else "is missing" if first in own else "is unknown to it"
        more = "" if len(strangers) + len(shapes) == 1 else f", and {len(strangers) + len(shapes) - 1} more"
        raise UsageError(f"{_KEY}: {name!r} does not fit model.front_end: {first!r} {what}{more}")
    front_end.load_state_dict(state, strict=True)


def _start_from(network: Detector | Tracer, directory: Path) -> None:
    start = (load_bundle(directory) if isinstance(network, Detector) else load_tracer(directory)).network
    try:
        network.load_state_dict(start.state_dict(), strict=True)
    except RuntimeError as error:
        raise UsageError(f"key 'model.start_from': {directory} holds another network") from error
