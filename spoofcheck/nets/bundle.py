"""A model directory on disk, `config.json` + `model.safetensors` + `README.md`, and the network it holds."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from spoofcheck.errors import ModelError, brief
from spoofcheck.nets.config import (
    CONFIG_FILE,
    AnyModelConfig,
    EnsembleConfig,
    MemberConfig,
    ModelConfig,
    TracerConfig,
    config_json,
    parse_config,
    parse_tracer_config,
    read_config,
    read_model_file,
)
from spoofcheck.nets.detector import Detector, build_detector
from spoofcheck.nets.embedding import StatisticsEmbedding
from spoofcheck.nets.ensemble import Ensemble
from spoofcheck.nets.gate import Gate
from spoofcheck.nets.index import CARD_FILE, ORIGIN_FILE, WEIGHTS_FILE, find_beside, read_origin, shipped_entry
from spoofcheck.nets.readout import StatisticsReadout
from spoofcheck.nets.tracer import Tracer, build_tracer
from spoofcheck.nets.trees import BoostedTrees

_LISTED_KEYS = 5
_MEMBERS = "members"
_UNTOLD_NUMBERS = 1 << 26
"""Tables that a network makes for itself, as filters are, may hold so many numbers."""
_BUILDING_FAILS = (ValueError, RuntimeError, ArithmeticError, TypeError, MemoryError)
"""What torch and our networks raise at shapes that fit nothing or nowhere."""
_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class _Files:
    config: bytes
    weights: bytes
    config_sha256: str
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A loaded detector: the network is in eval mode, on the CPU, in float32."""

    config: ModelConfig
    network: Detector
    weights_sha256: str
    config_sha256: str
    directory: Path


@dataclass(frozen=True, slots=True)
class TracerBundle:
    """A loaded tracer: the network is in eval mode, on the CPU, in float32."""

    config: TracerConfig
    network: Tracer
    weights_sha256: str
    config_sha256: str
    directory: Path


def load_bundle(directory: Path, *, expected_sha256: str | None = None) -> Bundle:
    """Load a detector's directory: hash check, safetensors, strict keys and shapes, `.eval()`.

    The bytes that are hashed are the bytes that are loaded. A shipped model is checked against
    `models/index.json`, weights and configuration both; one that was pulled or imported against its `origin.json`, so
    that what was changed since is refused. The weights file of an ensemble holds the hashes of its
    members' weights (`members`, uint8 `[M, 32]`), so that its own hash stands for all of them; the members are loaded
    from beside it, or from among the shipped models.

    Args:
        directory: where the model lies.
        expected_sha256: SHA-256 of `model.safetensors` to insist on.

    Raises:
        ModelError: directory or file missing, configuration damaged (the key is named) or a tracer's, another hash,
        weights that are no safetensors file, not finite or not evaluable, keys missing or left over (listed), other
        shapes; a member of an ensemble that is missing, damaged, another, or does not fit the first.
    """
    files = _read_files(directory, expected_sha256)
    config = parse_config(files.config, directory / CONFIG_FILE)
    network: Detector
    if isinstance(config.back_end, EnsembleConfig):
        network = _load_ensemble(config, config.back_end, files.weights, directory)
    else:
        network = _built(lambda: _build_detector(config), directory / CONFIG_FILE, len(files.weights))
        _load_weights(network, files.weights, directory / WEIGHTS_FILE)
    return Bundle(config, network, files.weights_sha256, files.config_sha256, directory)


def load_tracer(directory: Path, expected_sha256: str | None = None) -> TracerBundle:
    """Load a tracer's directory; see `load_bundle`.

    Raises:
        ModelError: as `load_bundle`; also a detector's directory.
    """
    files = _read_files(directory, expected_sha256)
    config = parse_tracer_config(files.config, directory / CONFIG_FILE)
    network = _built(
        lambda: build_tracer(config.front_end, config.head, len(config.classes)),
        directory / CONFIG_FILE,
        len(files.weights),
    )
    _load_weights(network, files.weights, directory / WEIGHTS_FILE)
    return TracerBundle(config, network, files.weights_sha256, files.config_sha256, directory)


def save_bundle(directory: Path, config: AnyModelConfig, network: nn.Module, card_markdown: str) -> None:
    """Write a model directory; the three files are complete beside it before any of them takes its place.

    Args:
        directory: made when missing; other files in it stay.
        config: what the network was built from, a detector's or a tracer's.
        network: any device and dtype; stored as float32 (integer and boolean buffers as they are).
        card_markdown: the model card.

    Raises:
        ModelError: the network is not the one the configuration describes.
    """
    with torch.no_grad():
        state = {name: _storable(value) for name, value in network.state_dict().items()}
    fresh = _built(lambda: _build(config), directory / CONFIG_FILE)
    _check_state(fresh, state, directory / WEIGHTS_FILE)
    _check_parts(network, directory / WEIGHTS_FILE)
    _write_files(directory, state, config, card_markdown)


def save_ensemble(directory: Path, config: ModelConfig, card_markdown: str) -> None:
    """Write the directory of an ensemble; its members are not copied.

    Raises:
        ModelError: the configuration is no ensemble's.
    """
    if not isinstance(config.back_end, EnsembleConfig):
        raise ModelError(f"{directory}: {config.back_end.kind} has no members")
    _write_files(directory, {_MEMBERS: member_digests(config.back_end)}, config, card_markdown)


def member_digests(config: EnsembleConfig) -> Tensor:
    """The SHA-256 of the weights of every member, uint8 `[M, 32]`."""
    return torch.tensor([list(bytes.fromhex(member.weights_sha256)) for member in config.members], dtype=torch.uint8)


def _write_files(directory: Path, state: dict[str, Tensor], config: AnyModelConfig, card_markdown: str) -> None:
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


def _read_files(directory: Path, expected_sha256: str | None) -> _Files:
    config = read_model_file(directory, CONFIG_FILE)
    weights = read_model_file(directory, WEIGHTS_FILE)
    files = _Files(config, weights, hashlib.sha256(config).hexdigest(), hashlib.sha256(weights).hexdigest())
    _check_hash(directory / WEIGHTS_FILE, files.weights_sha256, expected_sha256)
    shipped = shipped_entry(directory)
    if shipped is not None:
        for name, actual in ((CONFIG_FILE, files.config_sha256), (WEIGHTS_FILE, files.weights_sha256)):
            if name not in shipped.files:
                raise ModelError(f"{directory / name}: no hash in the model index")
            _check_hash(directory / name, actual, shipped.files[name].sha256)
        return files
    record = read_origin(directory)
    if record is not None:
        for name, actual in ((CONFIG_FILE, files.config_sha256), (WEIGHTS_FILE, files.weights_sha256)):
            if name not in record.files:
                raise ModelError(f"{directory / ORIGIN_FILE}: no hash of {name}")
            _check_hash(directory / name, actual, record.files[name].sha256, f"; {ORIGIN_FILE} there recorded that")
    return files


def _storable(value: Tensor) -> Tensor:
    return (value.float() if value.is_floating_point() else value).cpu().contiguous()


def _check_hash(path: Path, actual: str, expected: str | None, source: str = "") -> None:
    if expected is not None and actual != expected:
        raise ModelError(f"{path}: SHA-256 is {actual}, expected {expected}: damaged or not the same model{source}")


def _build(config: AnyModelConfig) -> nn.Module:
    if isinstance(config, TracerConfig):
        return build_tracer(config.front_end, config.head, len(config.classes))
    return _build_detector(config)


def _build_detector(config: ModelConfig) -> Detector:
    if isinstance(config.back_end, EnsembleConfig):
        raise ValueError("the weights of an ensemble are those of its members")
    return build_detector(config.front_end, config.back_end, config.gate)


def _load_ensemble(config: ModelConfig, ensemble: EnsembleConfig, weights: bytes, directory: Path) -> Ensemble:
    source = directory / WEIGHTS_FILE
    state = _parsed(weights, source)
    digests = member_digests(ensemble)
    if state.keys() != {_MEMBERS} or not torch.equal(state[_MEMBERS], digests):
        raise ModelError(f"{source}: does not fit {CONFIG_FILE}: it must hold the members' hashes, and them alone")
    members = [_load_member(member, config, directory) for member in ensemble.members]
    first = members[0].config
    if (first.front_end, first.gate) != (config.front_end, config.gate):
        raise ModelError(
            f"{directory / CONFIG_FILE}: front_end and gate are not those of the first member, {first.name}"
        )
    network = Ensemble([member.network for member in members], ensemble)
    network.eval().requires_grad_(False)
    return network


def _load_member(member: MemberConfig, config: ModelConfig, directory: Path) -> Bundle:
    try:
        place = find_beside(directory, member.model)
        found = read_config(place)
        if isinstance(found.back_end, EnsembleConfig):
            raise ModelError(f"{place}: is an ensemble itself")
        bundle = load_bundle(place, expected_sha256=member.weights_sha256)
    except ModelError as error:
        raise ModelError(f"{directory}: member {member.model}: {error}") from error
    if bundle.config.window_samples != config.window_samples:
        raise ModelError(
            f"{directory}: member {member.model}: windows of {bundle.config.window_samples} samples, the ensemble's "
            f"are of {config.window_samples}"
        )
    return bundle


def _built(build: Callable[[], _Network], source: Path, weights_bytes: int | None = None) -> _Network:
    """The network, unless it is far larger than its weights file: a number takes a byte at least.

    Raises:
        ModelError: it is, or the configuration describes none.
    """
    try:
        with torch.random.fork_rng(devices=()):
            if weights_bytes is not None:
                _check_size(build, source, weights_bytes)
            return build()
    except _BUILDING_FAILS as error:
        raise ModelError(f"{source}: {brief(str(error) or type(error).__name__)}") from error


def _check_size(build: Callable[[], nn.Module], source: Path, weights_bytes: int) -> None:
    with torch.device("meta"):  # shapes alone: a sketch of any network takes no memory
        sketch = build()
    numbers = sum(each.numel() for each in (*sketch.parameters(), *sketch.buffers()))
    if numbers > weights_bytes + _UNTOLD_NUMBERS:
        raise ModelError(
            f"{source}: describes a network of {numbers:,} numbers; {WEIGHTS_FILE} has {weights_bytes:,} bytes"
        )


def _load_weights(network: nn.Module, data: bytes, source: Path) -> None:
    state = _parsed(data, source)
    _check_state(network, state, source)
    network.load_state_dict(state, strict=True)
    _check_parts(network, source)
    network.eval().requires_grad_(False)


def _parsed(data: bytes, source: Path) -> dict[str, Tensor]:
    try:
        return load(data)
    except (SafetensorError, KeyError) as error:  # KeyError: a dtype that torch does not have
        raise ModelError(f"{source}: not a safetensors file ({brief(str(error))})") from error


def _check_parts(network: nn.Module, source: Path) -> None:
    for module in network.modules():
        if isinstance(module, BoostedTrees | Gate | StatisticsEmbedding | StatisticsReadout):
            try:
                module.check()
            except ValueError as error:
                raise ModelError(f"{source}: {error}") from error


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
    for name in expected:  # in the network's order: a file's depends on who wrote it
        value = state[name]
        if value.shape != expected[name].shape:
            raise ModelError(
                f"{source}: '{name}' has shape {brief(str(list(value.shape)))}, {CONFIG_FILE} asks for "
                f"{list(expected[name].shape)}"
            )
        if value.dtype != expected[name].dtype:
            raise ModelError(
                f"{source}: '{name}' holds {_dtype(value)}, {CONFIG_FILE} asks for {_dtype(expected[name])}"
            )
        if not value.isfinite().all():
            raise ModelError(f"{source}: '{name}' holds values that are not finite")


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _some(keys: list[str]) -> str:
    more = "" if len(keys) <= _LISTED_KEYS else f", and {len(keys) - _LISTED_KEYS} more"
    return brief(", ".join(keys[:_LISTED_KEYS])) + more
