"""Weights in files that others wrote: PyTorch checkpoints and safetensors, read without running what they may hold."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from spoofcheck.errors import ModelError, brief

SAFETENSORS = ".safetensors"
_WRAPPERS = ("model", "state_dict", "model_state_dict")
"""Keys below which training programs keep the `state_dict`, beside the optimiser's and others."""
_NO_CHECKPOINT = "not a checkpoint of PyTorch, or damaged"
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
"""How torch names what a pickle wants to import."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by name, on the CPU; those of a large file stay on disk until they are used.

    `.safetensors` files are read as such, all others with `torch.load(weights_only=True)`. A `state_dict` may lie on
    its own or below `model`, `state_dict` or `model_state_dict`; what lies beside it is left alone. `module.` before
    every name, as DistributedDataParallel puts it, is taken off.

    Raises:
        ModelError: missing or unreadable, a pickle that asks for code, no checkpoint, or one whose values are not
        plain dense tensors.
    """
    content = _safetensors(path) if path.suffix.lower() == SAFETENSORS else _pickled(path)
    state = _unwrapped(content)
    if not isinstance(state, Mapping) or not state:
        raise ModelError(f"{path}: holds no state_dict, a table of named tensors")
    for name, value in state.items():
        if not isinstance(name, str):
            raise ModelError(f"{path}: holds no state_dict: {name!r} is no name of a tensor")
        if not isinstance(value, Tensor):
            raise ModelError(f"{path}: {name!r} is no tensor but {type(value).__name__}")
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu" or value.is_complex():
            raise ModelError(f"{path}: {name!r} is no dense tensor of plain numbers")
    prefix = "module." if all(name.startswith("module.") for name in state) else ""
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _unwrapped(content: Any) -> Any:
    if isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        return content if inner is None else inner
    return content


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from error
    except SafetensorError as error:
        raise ModelError(f"{path}: not a safetensors file ({brief(str(error))})") from error


def _pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layouts and formats that are refused below
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except UnpicklingError as error:
        match = _GLOBAL.search(str(error))
        if match is None:
            raise ModelError(f"{path}: {_NO_CHECKPOINT} ({type(error).__name__})") from error
        raise ModelError(
            f"{path}: refused: it asks for {match[1]}, and to load more than tensors could run code; "
            "a state_dict of tensors alone or a safetensors file is needed"
        ) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from error
    except Exception as error:  # torch has no error of its own for what is damaged or no checkpoint at all
        raise ModelError(f"{path}: {_NO_CHECKPOINT} ({type(error).__name__})") from error
