"""The unknown exhibits of a case, kept over its scans so that their groups keep their names: one JSON file.

    {"format_version": 1, "sha256": "...",
     "tracer": {"name": "compact-tracer", "version": "1", "weights_sha256": "..."},
     "next_number": 3,
     "exhibits": [{"sha256": "...", "channel": null, "embedding": [...], "group": "Unknown-1"}, ...]}

Embeddings are kept, no audio and no file names. Exhibits are in the order of their bytes' SHA-256 and channel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from spoofcheck.detect.hashedfile import HashedFile, Kept, Sha256, UnitEmbedding, file_json, read_hashed, sealed
from spoofcheck.detect.sourcestore import StoreTracer

_NAME: Final = re.compile(r"Unknown-([1-9][0-9]{0,8})", re.ASCII)

ExhibitKey = tuple[str, int]
"""SHA-256 of the file and its channel, -1 for mono and for the mix: what makes two exhibits the same one."""


def group_name(number: int) -> str:
    """What a group of unknown exhibits is called."""
    return f"Unknown-{number}"


def group_number(name: str) -> int:
    """The number in a group's name.

    Raises:
        ValueError: no such name.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError("a group is called 'Unknown-' and a number from 1")
    return int(match[1])


def exhibit_key(sha256: str, channel: int | None) -> ExhibitKey:
    """Equal for what is the same exhibit."""
    return sha256, -1 if channel is None else channel


class CaseExhibit(Kept):
    """One exhibit whose source was unknown when it was scanned last."""

    sha256: Sha256
    channel: int | None = Field(ge=0, description="null for mono and for the mix")
    embedding: UnitEmbedding
    group: str | None = Field(
        description="the group it was in last; kept while it is alone, unless the others of the group still bear it"
    )

    @field_validator("group")
    @classmethod
    def _is_a_group(cls, group: str | None) -> str | None:
        if group is not None:
            group_number(group)
        return group

    @property
    def key(self) -> ExhibitKey:
        """What makes it this exhibit."""
        return exhibit_key(self.sha256, self.channel)


class CaseUnknowns(HashedFile):
    """All of a case's unknown exhibits."""

    tracer: StoreTracer
    next_number: PositiveInt = Field(description="of the next new group: higher than every number given before")
    exhibits: tuple[CaseExhibit, ...]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        keys = [exhibit.key for exhibit in self.exhibits]
        if any(later <= earlier for earlier, later in pairwise(keys)):
            raise ValueError("'exhibits': not in order, or one occurs twice")
        if len({len(exhibit.embedding) for exhibit in self.exhibits}) > 1:
            raise ValueError("'exhibits': the embeddings differ in size")
        numbers = [group_number(exhibit.group) for exhibit in self.exhibits if exhibit.group is not None]
        if max(numbers, default=0) >= self.next_number:
            raise ValueError(f"'next_number': {self.next_number}, but there is a group {group_name(max(numbers))!r}")
        return self


def new_case(tracer: StoreTracer, exhibits: Iterable[CaseExhibit] = (), next_number: int = 1) -> CaseUnknowns:
    """A case of these exhibits, in whatever order they come, with its hash.

    Raises:
        ValueError: an exhibit that occurs twice, or a group's number that is yet to be given.
    """
    ordered = sorted(exhibits, key=lambda exhibit: exhibit.key)
    kept = [exhibit.model_dump(mode="json") for exhibit in ordered]
    return sealed(
        CaseUnknowns, {"tracer": tracer.model_dump(mode="json"), "next_number": next_number, "exhibits": kept}
    )


def case_json(case: CaseUnknowns) -> str:
    """The case as its file holds it."""
    return file_json(case)


def read_case(path: Path, tracer: StoreTracer) -> CaseUnknowns:
    """Read a case; one without exhibits when there is no such file yet.

    Args:
        path: the file.
        tracer: the tracer it must belong to.

    Raises:
        UsageError: the case of another tracer.
        ModelError: unreadable, damaged or edited (the key is named), or of another format.
    """
    remedy = "restore a copy of it, or name a new file, whose groups are numbered anew"
    try:
        case = read_hashed(path, CaseUnknowns, "file of a case's unknowns", remedy)
    except FileNotFoundError:
        return new_case(tracer)
    case.tracer.check(path, tracer, "name another file with --unknowns, whose groups are numbered anew")
    return case
