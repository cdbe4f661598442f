"""A model directory on disk, `config.json` + `model.safetensors` + `README.md`, and the network it holds."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from spoofcheck.errors import ModelError
from spoofcheck.nets.config import CONFIG_FILE, ModelConfig, config_json, parse_config, read_model_file
from spoofcheck.nets.detector import Detector, build_detector
from spoofcheck.nets.index import CARD_FILE, WEIGHTS_FILE, shipped_entry

_LISTED_KEYS = 5


@dataclass(frozen=True, slots=True)
class Bundle:
    """A loaded model: the network is in eval mode, on the CPU, in float32."""

    config: ModelConfig
    network: Detector
    weights_sha256: str
    config_sha256: str
    directory: Path


def load_bundle(directory: Path, *, expected_sha256: str | None = None) -> Bundle:
    """Load a model directory: hash check, safetensors, strict keys and shapes, `.eval()`.

    The bytes that are hashed are the bytes that are loaded. A shipped model is checked against
    `models/index.json`, weights and configuration both.

    Args:
        directory: where the model lies.
        expected_sha256: SHA-256 of `model.safetensors` to insist on.

    Raises:
        ModelError: directory or file missing, configuration damaged (the key is named), another hash, weights
        that
            are no safetensors file or not finite, keys missing or left over (listed), other shapes.
    """
    config_bytes = read_model_file(directory, CONFIG_FILE)
    weights_bytes = read_model_file(directory, WEIGHTS_FILE)
    config_sha256 = hashlib.sha256(config_bytes).hexdigest()
    weights_sha256 = hashlib.sha256(weights_bytes).hexdigest()
    _check_hash(directory / WEIGHTS_FILE, weights_sha256, expected_sha256)
    shipped = shipped_entry(directory)
    if shipped is not None:
        for name, actual in ((CONFIG_FILE, config_sha256), (WEIGHTS_FILE, weights_sha256)):
            if name not in shipped.files:
                raise ModelError(f"{directory / name}: no hash in the model index")
            _check_hash(directory / name, actual, shipped.files[name].sha256)
    config = parse_config(config_bytes, directory / CONFIG_FILE)
    network = _build(config, directory / CONFIG_FILE)
    _load_weights(network, weights_bytes, directory / WEIGHTS_FILE)
    network.eval().requires_grad_(False)
    return Bundle(config, network, weights_sha256, config_sha256, directory)


def save_bundle(directory: Path, config: ModelConfig, network: nn.Module, card_markdown: str) -> None:
    """Write a model directory; the three files are complete beside it before any of them takes its place.

    Args:
        directory: made when missing; other files in it stay.
        config: what the network was built from.
        network: any device and dtype; stored as float32 (integer buffers as they are).
        card_markdown: the model card.

    Raises:
        ModelError: the network is not the one the configuration describes.
    """
    with torch.no_grad():
        state = {name: _storable(value) for name, value in network.state_dict().items()}
    _check_state(_build(config, directory / CONFIG_FILE), state, directory / WEIGHTS_FILE)
    contents = {
        WEIGHTS_FILE: save(state),
        CONFIG_FILE: config_json(config).encode(),
        CARD_FILE: card_markdown.encode(),
    }
    directory.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        for name, data in contents.items():
            (beside / name).write_bytes(data)
        for name in contents:
            (beside / name).replace(directory / name)
    finally:
        shutil.rmtree(beside)


def _storable(value: Tensor) -> Tensor:
    return (value.float() if value.is_floating_point() else value).cpu().contiguous()


def _check_hash(path: Path, actual: str, expected: str | None) -> None:
    if expected is not None and actual != expected:
        raise ModelError(f"{path}: SHA-256 is {actual}, expected {expected}: damaged or not the same model")


def _build(config: ModelConfig, source: Path) -> Detector:
    try:
        with torch.random.fork_rng(devices=()):
            return build_detector(config.front_end, config.back_end)
    except ValueError as error:
        raise ModelError(f"{source}: {error}") from error


def _load_weights(network: nn.Module, data: bytes, source: Path) -> None:
    try:
        state = load(data)
    except SafetensorError as error:
        raise ModelError(f"{source}: not a safetensors file ({error})") from error
    _check_state(network, state, source)
    network.load_state_dict(state, strict=True)


def _check_state(network: nn.Module, state: dict[str, Tensor], source: Path) -> None:
    expected = network.state_dict()
    problems = [
        f"{len(keys)} {kind} keys ({_some(keys)})"
        for kind, keys in (
            ("missing", sorted(expected.keys() - state.keys())),
            ("unexpected", sorted(state.keys() - expected.keys())),
        )
        if keys
    ]
    if problems:
        raise ModelError(f"{source}: does not fit {CONFIG_FILE}: {', '.join(problems)}")
    for name, value in state.items():
        if value.shape != expected[name].shape:
            raise ModelError(
                f"{source}: '{name}' has shape {list(value.shape)}, {CONFIG_FILE} asks for {list(expected[name].shape)}"
            )
        if not value.isfinite().all():
            raise ModelError(f"{source}: '{name}' holds values that are not finite")


def _some(keys: list[str]) -> str:
    more = "" if len(keys) <= _LISTED_KEYS else f", and {len(keys) - _LISTED_KEYS} more"
    return ", ".join(keys[:_LISTED_KEYS]) + more
