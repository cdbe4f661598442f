"""`models/index.json`: which models are shipped, and the size and SHA-256 of each of their files.

    {"default": "compact-detector",
     "models": {"compact-detector": {
       "version": "1", "files": {"config.json": {"sha256": "...", "size_bytes": 1}}}}}

Does not import torch. `python -m spoofcheck.nets.index [MODELS_DIR]` writes the file anew after a model has
changed.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spoofcheck.errors import ModelError, SpoofcheckError
from spoofcheck.nets.config import CONFIG_FILE, read_any_config
from spoofcheck.nets.hub import PREFIX, fetch_model
from spoofcheck.resources import models_dir

INDEX_FILE = "index.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
MODEL_FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE)
PLOT_FILE = "calibration.svg"
RECORD_FILE = "training.json"
_FURTHER_FILES = (RECORD_FILE, PLOT_FILE)
"""What `spoofcheck train` leaves beside them: its record, and the plot that the card shows. Others may lack both."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_CHUNK_BYTES = 1 << 20


class FileEntry(BaseModel):
    """One file of a shipped model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class ModelEntry(BaseModel):
    """One shipped model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    files: dict[str, FileEntry]


class ModelIndex(BaseModel):
    """The whole of `index.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: str
    models: dict[str, ModelEntry]


def read_index(directory: Path | None = None) -> ModelIndex:
    """The index of `directory` (the shipped models by default).

    Raises:
        ModelError: missing, damaged, or naming a model or file outside its directory.
    """
    path = (directory or models_dir()) / INDEX_FILE
    try:
        index = ModelIndex.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path}: damaged index{f', key {key!r}' if key else ''}: {first['msg']}") from error
    for name, entry in index.models.items():
        unsafe = [part for part in (name, *entry.files) if not _is_plain_name(part)]
        if unsafe:
            raise ModelError(f"{path}: {unsafe[0]!r} is no plain name")
    if index.default not in index.models:
        raise ModelError(f"{path}: the default model {index.default!r} is not listed")
    return index


def list_models(directory: Path | None = None) -> tuple[str, ...]:
    """Names of the shipped models, the default first."""
    index = read_index(directory)
    return (index.default, *sorted(set(index.models) - {index.default}))


def shipped_tracer() -> str | None:
    """Name of the one shipped tracer; None when there is none, or more than one to choose from.

    Raises:
        ModelError: the index or a shipped model's configuration is missing or damaged.
    """
    tracers = [name for name in list_models() if read_any_config(models_dir() / name).task == "tracer"]
    return tracers[0] if len(tracers) == 1 else None


def find_model(name_or_path: str | Path | None = None) -> Path:
    """Directory of a shipped model (by name, the default one for None), of one given as a path, or of one on a hub.

    What begins with `hub:` is downloaded (`nets.hub`). What contains a path separator, or is `.` or `..`, is a path;
    anything else is looked up by name first, then as a directory relative to the working directory.

    Raises:
        ModelError: neither a shipped model nor a directory; the message lists the shipped names.
    """
    if isinstance(name_or_path, str) and name_or_path.startswith(PREFIX):
        return fetch_model(name_or_path, MODEL_FILES)
    if isinstance(name_or_path, Path) or (name_or_path is not None and not _is_plain_name(name_or_path)):
        text = str(name_or_path)
        if not text or "\0" in text or not Path(text).is_dir():
            raise ModelError(f"{text!r}: no such model directory")
        return Path(text)
    index = read_index()
    name = index.default if name_or_path is None else name_or_path
    if name in index.models:
        return models_dir() / name
    if Path(name).is_dir():
        return Path(name)
    known = ", ".join(list_models())
    raise ModelError(f"{name!r} is neither a shipped model ({known}) nor a directory")


def find_beside(directory: Path, name: str) -> Path:
    """Directory of a model that lies beside another one, or of the shipped model of that name.

    Raises:
        ModelError: neither is there.
    """
    beside = directory.resolve().parent / name
    if beside.is_dir():
        return beside
    index = read_index()
    if name not in index.models:
        raise ModelError(
            f"no directory of this name lies beside the ensemble, and none is shipped ({', '.join(list_models())})"
        )
    return models_dir() / name


def shipped_entry(directory: Path) -> ModelEntry | None:
    """The index entry of a model directory, or None when it does not lie among the shipped models.

    Raises:
        ModelError: it lies there without being listed.
    """
    if directory.resolve().parent != models_dir().resolve():
        return None
    entry = read_index().models.get(directory.resolve().name)
    if entry is None:
        raise ModelError(
            f"{directory}: not listed in {INDEX_FILE}; after adding a model, run 'python -m spoofcheck.nets.index'"
        )
    return entry


def verify_model(name: str) -> list[str]:
    """What is wrong with the files of a shipped model, one line each; empty when all agree with the index.

    Raises:
        ModelError: no shipped model of this name.
    """
    index = read_index()
    if name not in index.models:
        raise ModelError(f"{name!r} is not a shipped model ({', '.join(list_models())})")
    directory = models_dir() / name
    problems: list[str] = []
    for file_name, expected in index.models[name].files.items():
        path = directory / file_name
        try:
            size_bytes = path.stat().st_size
            if size_bytes != expected.size_bytes:
                problems.append(f"{file_name}: {size_bytes} bytes, expected {expected.size_bytes}")
            elif file_sha256(path) != expected.sha256:
                problems.append(f"{file_name}: SHA-256 differs from {INDEX_FILE}")
        except OSError as error:
            problems.append(f"{file_name}: cannot be read ({error.strerror})")
    problems += [
        f"{file_name}: not in {INDEX_FILE}" for file_name in MODEL_FILES if file_name not in index.models[name].files
    ]
    return problems


def write_index(directory: Path, default: str | None = None) -> ModelIndex:
    """Write `index.json` for every model directory (one with a `config.json`) below `directory`, whatever its task.

    Args:
        directory: the folder that holds the model directories.
        default: name of the default model, a detector; None keeps the present one, or takes the first detector by name.

    Raises:
        ModelError: a model lacks a file or has a damaged configuration, its name differs from its folder's, the default
        is no detector, or there is none.
    """
    models: dict[str, ModelEntry] = {}
    detectors: list[str] = []
    for folder in sorted(path.parent for path in directory.glob(f"*/{CONFIG_FILE}")):
        config = read_any_config(folder)
        if config.name != folder.name or not _is_plain_name(folder.name):
            raise ModelError(f"{folder}: the configuration names the model {config.name!r}")
        missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
        if missing:
            raise ModelError(f"{folder}: without {', '.join(missing)}")
        listed = [*MODEL_FILES, *(name for name in _FURTHER_FILES if (folder / name).is_file())]
        files = {
            name: FileEntry(sha256=file_sha256(folder / name), size_bytes=(folder / name).stat().st_size)
            for name in listed
        }
        models[folder.name] = ModelEntry(version=config.version, files=files)
        if config.task == "detector":
            detectors.append(folder.name)
    if not models:
        raise ModelError(f"{directory}: no model directories")
    if default is None:
        default = _present_default(directory)
    if default is not None and default not in models:
        raise ModelError(f"{directory}: the default model {default!r} is not there")
    if not detectors or (default is not None and default not in detectors):
        raise ModelError(f"{directory}: the default model must be a detector{f', not {default!r}' if default else ''}")
    index = ModelIndex(default=default or min(detectors), models=models)
    beside = directory / f".{INDEX_FILE}.new"
    beside.write_text(index.model_dump_json(indent=2) + "\n", encoding="utf-8")
    beside.replace(directory / INDEX_FILE)
    return index


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _present_default(directory: Path) -> str | None:
    if not (directory / INDEX_FILE).is_file():
        return None
    present = read_index(directory).default
    return present if (directory / present).is_dir() else None


def _is_plain_name(name: str) -> bool:
    return name in MODEL_FILES or _NAME.fullmatch(name) is not None


def _main(arguments: Sequence[str]) -> int:
    directory = Path(arguments[0]) if arguments else models_dir()
    try:
        index = write_index(directory)
    except SpoofcheckError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stderr.write(f"{directory / INDEX_FILE}: {', '.join(sorted(index.models))}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1:]))
