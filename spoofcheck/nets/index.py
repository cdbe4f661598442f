"""`models/index.json`: which models are shipped, and the size and SHA-256 of each of their files.

    {"default": "compact-detector",
     "models": {"compact-detector": {
       "version": "1", "files": {"config.json": {"sha256": "...", "size_bytes": 1}}}},
     "published": {"xlsr-nes2net-la": {
       "repository": "XuepingZhang/XLSR-Nes2Net-LA", "revision": null, "file": null, "sha256": null, ...}}}

`published` lists what `spoofcheck models pull` knows by name. What a user pulled or imported lies in a folder of their
own (`resources.user_models_dir`), each model with an `origin.json` that holds the same facts about its files.

Does not import torch. `python -m spoofcheck.nets.index [MODELS_DIR]` writes the file anew after a model has
changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spoofcheck.errors import ModelError, SpoofcheckError
from spoofcheck.nets.config import CONFIG_FILE, MAX_CONFIG_BYTES, read_any_config
from spoofcheck.nets.hub import PREFIX, fetch_model
from spoofcheck.resources import models_dir, user_models_dir
from spoofcheck.wholefile import read_whole

INDEX_FILE = "index.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
MODEL_FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE)
PLOT_FILE = "calibration.svg"
RECORD_FILE = "training.json"
ORIGIN_FILE = "origin.json"
_FURTHER_FILES = (RECORD_FILE, PLOT_FILE)
"""What `spoofcheck train` leaves beside them: its record, and the plot that the card shows. Others may lack both."""

Arch = Literal["xlsr-nes2net-la", "xlsr-nes2net-x", "xlsr-aasist", "xlsr-tracer"]
"""The published systems whose checkpoints can be imported: `nets.published.ARCHITECTURES`."""

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


class PublishedEntry(BaseModel):
    """A checkpoint that its authors publish on a hub, and that `spoofcheck models pull` turns into a model.

    Without `revision` and `sha256` nobody has vouched for any of its files: `pull` then insists on being told both, or
    on being told to trust what it finds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str = Field(pattern=r"^\w[\w.-]*/\w[\w.-]*$")
    arch: Arch
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$", description="commit")
    file: str | None = Field(default=None, description="in the repository; null: the only checkpoint there")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", description="of that file")
    licence: str
    licence_url: str
    source: str = Field(description="the paper and code it belongs to")
    training_data: str
    limitations: tuple[str, ...] = ()


class ModelIndex(BaseModel):
    """The whole of `index.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: str
    models: dict[str, ModelEntry]
    published: dict[str, PublishedEntry] = {}


class Origin(BaseModel):
    """The checkpoint that an imported model was made from.

    Attributes:
        file: its name, without folders unless it lay in some of its repository.
        loaded: how many of its tensors were used, by part of the network.
        dropped: how many were dropped, by what they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arch: Arch
    repository: str | None = None
    revision: str | None = None
    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    loaded: dict[str, int]
    dropped: dict[str, int]


class OwnModel(ModelEntry):
    """The whole of an `origin.json`: of a model that the user imported, or calibrated (`origin` only if imported)."""

    origin: Origin | None = None


def read_index(directory: Path | None = None) -> ModelIndex:
    """The index of `directory` (the shipped models by default).

    Raises:
        ModelError: missing, damaged, or naming a model or file outside its directory.
    """
    path = (directory or models_dir()) / INDEX_FILE
    index = _read(ModelIndex, path, "index")
    for name, entry in index.models.items():
        unsafe = [part for part in (name, *entry.files) if not _is_plain_name(part)]
        if unsafe:
            raise ModelError(f"{path}: {unsafe[0]!r} is no plain name")
    if index.default not in index.models:
        raise ModelError(f"{path}: the default model {index.default!r} is not listed")
    return index


def read_origin(directory: Path) -> OwnModel | None:
    """What is recorded of a model of the user's own; None where there is no `origin.json`.

    Raises:
        ModelError: it is damaged, or names a file outside the model's directory.
    """
    path = directory / ORIGIN_FILE
    if not os.path.lexists(path):
        return None
    record = _read(OwnModel, path, "record")
    unsafe = [name for name in record.files if not _is_plain_name(name)]
    if unsafe:
        raise ModelError(f"{path}: {unsafe[0]!r} is no plain name")
    return record


def write_origin(directory: Path, origin: Origin | None) -> None:
    """Record where the model in a directory came from, and the size and SHA-256 of its files as they are now."""
    entry = _entry_of(directory, read_any_config(directory).version)
    record = OwnModel(version=entry.version, files=entry.files, origin=origin)
    write_whole(directory / ORIGIN_FILE, record)


def list_models(directory: Path | None = None) -> tuple[str, ...]:
    """Names of the shipped models, the default first."""
    index = read_index(directory)
    return (index.default, *sorted(set(index.models) - {index.default}))


def list_user_models() -> tuple[str, ...]:
    """Names of the models in the user's own folder; a shipped one of the same name comes first and hides it."""
    folder = user_models_dir()
    shipped = read_index().models
    names = (path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}"))
    return tuple(sorted(name for name in names if _is_plain_name(name) and name not in shipped))


def shipped_tracer() -> str | None:
    """Name of the one shipped tracer; None when there is none, or more than one to choose from.

    Raises:
        ModelError: the index or a shipped model's configuration is missing or damaged.
    """
    tracers = [name for name in list_models() if read_any_config(models_dir() / name).task == "tracer"]
    return tracers[0] if len(tracers) == 1 else None


def find_model(name_or_path: str | Path | None = None) -> Path:
    """Directory of a shipped model (by name, the default one for None), of the user's own, of a path, or on a hub.

    What begins with `hub:` is downloaded (`nets.hub`). What contains a path separator, or is `.` or `..`, is a path;
    anything else is looked up by name first, among the shipped models and then among the user's own, and then as a
    directory relative to the working directory.

    Raises:
        ModelError: neither a model by name nor a directory; the message lists the names.
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
    own = user_models_dir() / name
    if (own / CONFIG_FILE).is_file():
        return own
    if Path(name).is_dir():
        return Path(name)
    known = ", ".join((*list_models(), *list_user_models()))
    how = f"; 'spoofcheck models pull {name}' fetches it" if name in index.published else ""
    raise ModelError(f"{name!r} is neither a model here ({known}) nor a directory{how}")


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
    """What is wrong with the files of a shipped model or of one of the user's own, one line each; empty when intact.

    Raises:
        ModelError: no model of this name, or what is recorded of it is damaged.
    """
    shipped = read_index().models.get(name)
    if shipped is not None:
        return _differences(models_dir() / name, shipped, INDEX_FILE)
    if name not in list_user_models():
        known = ", ".join((*list_models(), *list_user_models()))
        raise ModelError(f"{name!r} is no model here ({known})")
    return verify_directory(user_models_dir() / name)


def verify_directory(directory: Path) -> list[str]:
    """What is wrong with the files of a model of the user's own, wherever it lies; see `verify_model`."""
    record = read_origin(directory)
    if record is None:
        return [f"no {ORIGIN_FILE} to compare its files with"]
    return _differences(directory, record, ORIGIN_FILE)


def _differences(directory: Path, entry: ModelEntry, recorded_in: str) -> list[str]:
    problems: list[str] = []
    for file_name, expected in entry.files.items():
        path = directory / file_name
        try:
            size_bytes = path.stat().st_size
            if size_bytes != expected.size_bytes:
                problems.append(f"{file_name}: {size_bytes} bytes, expected {expected.size_bytes}")
            elif file_sha256(path) != expected.sha256:
                problems.append(f"{file_name}: SHA-256 differs from {recorded_in}")
        except OSError as error:
            problems.append(f"{file_name}: cannot be read ({error.strerror})")
    return problems + [f"{name}: not in {recorded_in}" for name in MODEL_FILES if name not in entry.files]


def write_index(directory: Path, default: str | None = None) -> ModelIndex:
    """Write `index.json` for every model directory (one with a `config.json`) below `directory`, whatever its task.

    What it says under `published` is kept.

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
        models[folder.name] = _entry_of(folder, config.version)
        if config.task == "detector":
            detectors.append(folder.name)
    if not models:
        raise ModelError(f"{directory}: no model directories")
    present = read_index(directory) if (directory / INDEX_FILE).is_file() else None
    if default is None and present is not None and (directory / present.default).is_dir():
        default = present.default
    if default is not None and default not in models:
        raise ModelError(f"{directory}: the default model {default!r} is not there")
    if not detectors or (default is not None and default not in detectors):
        raise ModelError(f"{directory}: the default model must be a detector{f', not {default!r}' if default else ''}")
    published = {} if present is None else present.published
    index = ModelIndex(default=default or min(detectors), models=models, published=published)
    write_whole(directory / INDEX_FILE, index)
    return index


def write_whole(path: Path, content: BaseModel) -> None:
    """Write a file as JSON; it takes the place of what was there only when it is complete."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(content.model_dump_json(indent=2) + "\n", encoding="utf-8")
    beside.replace(path)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


_Document = TypeVar("_Document", bound=BaseModel)


def _read(kind: type[_Document], path: Path, what: str) -> _Document:
    try:
        return kind.model_validate_json(read_whole(path, MAX_CONFIG_BYTES))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path}: damaged {what}{f', key {key!r}' if key else ''}: {first['msg']}") from error


def _entry_of(directory: Path, version: str) -> ModelEntry:
    missing = [name for name in MODEL_FILES if not (directory / name).is_file()]
    if missing:
        raise ModelError(f"{directory}: without {', '.join(missing)}")
    listed = [*MODEL_FILES, *(name for name in _FURTHER_FILES if (directory / name).is_file())]
    files = {
        name: FileEntry(sha256=file_sha256(directory / name), size_bytes=(directory / name).stat().st_size)
        for name in listed
    }
    return ModelEntry(version=version, files=files)


def checked_sha256(path: Path, expected: str | None) -> str:
    """SHA-256 of a file, checked against the expected one where there is one.

    Raises:
        ModelError: it cannot be read, or is not the expected one.
    """
    try:
        actual = file_sha256(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if expected is not None and actual != expected:
        raise ModelError(f"{path}: SHA-256 is {actual}, expected {expected}: damaged, or not the same file")
    return actual


def is_plain_name(name: str) -> bool:
    """Whether this may name a model: lower case letters, digits, dots, hyphens and underscores, no separator."""
    return _NAME.fullmatch(name) is not None


def _is_plain_name(name: str) -> bool:
    return name in MODEL_FILES or is_plain_name(name)


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
