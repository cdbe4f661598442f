"""JSON files that carry the SHA-256 of all their rest, and hold embeddings.

    {"format_version": 1, "sha256": "...", ...}

The hash finds damage and edits by hand. It is no signature: whoever forges a file on purpose can compute it anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from spoofcheck.detect.gallery import unit
from spoofcheck.errors import ModelError, brief
from spoofcheck.wholefile import read_whole

MAX_FILE_BYTES = 1 << 28
"""A clip takes about 3 kB: this is nearly 100,000 of them."""
_DECIMALS = 8
"""Of a kept embedding: far below what a similarity is shown with."""

_UNIT_TOLERANCE = 1e-4


class Kept(BaseModel):
    """A part of such a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class HashedFile(Kept):
    """The whole of such a file; it is only valid as it was written."""

    format_version: Literal[1] = 1
    sha256: str

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.sha256 != canonical_sha256(self.model_dump(mode="json", exclude={"sha256"})):
            raise ValueError("the SHA-256 differs: the file was damaged or edited by hand")
        return self


def _unit_length(embedding: tuple[float, ...]) -> tuple[float, ...]:
    if abs(float(np.linalg.norm(embedding)) - 1) > _UNIT_TOLERANCE:
        raise ValueError("an embedding must have unit length")
    return embedding


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
UnitEmbedding = Annotated[
    tuple[float, ...], Field(min_length=1, description="unit length"), AfterValidator(_unit_length)
]

File = TypeVar("File", bound=HashedFile)


def kept_embedding(embedding: Iterable[float]) -> tuple[float, ...]:
    """An embedding `[D]` as a file keeps it: at unit length, rounded.

    Raises:
        ValueError: it is zero or not finite, and so has no direction.
    """
    rounded = np.round(unit(list(embedding)), _DECIMALS) + 0.0  # no negative zeros
    return tuple(rounded.tolist())


def canonical_sha256(document: Any) -> str:
    """Of the canonical JSON: sorted keys, no blanks, ASCII."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def sealed(form: type[File], fields: dict[str, Any]) -> File:
    """A file of these fields, all but `format_version`, with its hash.

    Args:
        form: which file.
        fields: as JSON would give them.

    Raises:
        ValueError: the fields make no such file.
    """
    rest = {"format_version": 1, **fields}
    return form.model_validate({**rest, "sha256": canonical_sha256(rest)})


def file_json(file: HashedFile) -> str:
    """The text of a file: ASCII, so that no name in it can steer a terminal that shows the file."""
    return json.dumps(file.model_dump(mode="json"), indent=1) + "\n"


def read_hashed(path: Path, form: type[File], what: str, remedy: str) -> File:
    """Read a file back.

    Args:
        path: where it lies.
        form: which file it must be.
        what: the file in words, e.g. `"store of sources"`.
        remedy: what to do when it is damaged.

    Raises:
        FileNotFoundError: there is none.
        ModelError: unreadable, damaged or edited (the key is named), or of another format.
    """
    try:
        data = read_whole(path, MAX_FILE_BYTES)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"{path}: the {what} cannot be read ({reason})") from error
    try:
        return form.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = brief(".".join(str(part) for part in first["loc"]))
        message = brief(first["msg"].removeprefix("Value error, "))
        raise ModelError(f"{path}: damaged {what}{f', key {key!r}' if key else ''}: {message}; {remedy}") from error
