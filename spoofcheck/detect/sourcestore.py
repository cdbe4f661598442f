"""Enrolled sources on disk: one JSON file that belongs to one tracer.

    {"format_version": 1, "sha256": "...",
     "tracer": {"name": "compact-tracer", "version": "1", "weights_sha256": "..."},
     "sources": [{"name": "Narrator app", "revision": 1, "clips": [{"name": "a.wav", "embedding": [...], ...}], ...}]}

Embeddings are kept, not audio. The file's `sha256` is that of all the rest and finds damage and hand edits; whoever
forges a store on purpose can compute it anew.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import AwareDatetime, Field, PositiveInt, field_validator, model_validator

from spoofcheck.detect.enrolment import MIN_CLIPS, LeaveOneOut, Separability, confused_with, prototype_of
from spoofcheck.detect.gallery import Floats, Source, unit
from spoofcheck.detect.hashedfile import (
    HashedFile,
    Kept,
    Sha256,
    UnitEmbedding,
    canonical_sha256,
    file_json,
    kept_embedding,
    read_hashed,
    sealed,
)
from spoofcheck.errors import UsageError
from spoofcheck.nets.config import UNKNOWN_SOURCE, UNSEEN
from spoofcheck.resources import user_data_dir

MAX_NAME = 100
MAX_NOTE = 500

_RESERVED = re.compile(rf"(?:{UNKNOWN_SOURCE}|{UNSEEN})(?:[ -]?\d+)?")


class StoreTracer(Kept):
    """The tracer whose embeddings a file holds; those of another one mean nothing to it."""

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    weights_sha256: Sha256

    def check(self, path: Path, ours: StoreTracer, remedy: str) -> None:
        """Refuse the file at `path`, made for this tracer, when `ours` is another.

        Raises:
            UsageError: it is; the message ends with the remedy.
        """
        if self.weights_sha256 != ours.weights_sha256:
            raise UsageError(
                f"{path}: made for the tracer {self.name} {self.version} (weights {self.weights_sha256[:12]}), not "
                f"for {ours.name} {ours.version} ({ours.weights_sha256[:12]}); {remedy}"
            )


class StoredClip(Kept):
    """One enrolled recording, by its name without folders and its bytes' SHA-256."""

    name: str = Field(min_length=1)
    sha256: Sha256
    windows: PositiveInt = Field(description="windows with speech that the embedding is the mean of")
    embedding: UnitEmbedding


class StoredSource(Kept):
    """One enrolled source, and what was found when it was enrolled, with the sources of that time."""

    name: str
    note: str = ""
    created_at: AwareDatetime
    revision: PositiveInt = Field(description="raised whenever the source is enrolled again")
    clips: tuple[StoredClip, ...] = Field(min_length=MIN_CLIPS)
    leave_one_out: LeaveOneOut
    separability: tuple[Separability, ...] = Field(description="from every other source, the closest first")

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        problem = _name_problem(name)
        if problem:
            raise ValueError(problem)
        return name

    @field_validator("note")
    @classmethod
    def _is_a_line(cls, note: str) -> str:
        problem = _note_problem(note)
        if problem:
            raise ValueError(problem)
        return note

    @field_validator("clips")
    @classmethod
    def _are_different(cls, clips: tuple[StoredClip, ...]) -> tuple[StoredClip, ...]:
        if len({clip.sha256 for clip in clips}) < len(clips):
            raise ValueError("the same recording occurs twice")
        if len({len(clip.embedding) for clip in clips}) > 1:
            raise ValueError("the embeddings differ in size")
        return clips

    @property
    def content_sha256(self) -> str:
        """SHA-256 of what the source rests on: its clips and their embeddings, not its name, note or time."""
        return canonical_sha256([clip.model_dump(mode="json", exclude={"name"}) for clip in self.clips])

    @property
    def confused_with(self) -> tuple[str, ...]:
        """Sources that it could not be told apart from when it was enrolled."""
        return confused_with(self.separability)

    def source(self) -> Source:
        """As a member of a gallery.

        Raises:
            ValueError: the clips cancel each other out.
        """
        members = members_of(self.clips)
        return Source(self.name, prototype_of(members), members, "enrolled", len(self.clips))


class SourceStore(HashedFile):
    """The whole of a store, in the order in which sources were enrolled first."""

    tracer: StoreTracer
    sources: tuple[StoredSource, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        keys = [_key(source.name) for source in self.sources]
        repeated = [source.name for i, source in enumerate(self.sources) if keys[i] in keys[:i]]
        if repeated:
            raise ValueError(f"two sources are called {repeated[0]!r}")
        return self

    def find(self, name: str) -> StoredSource | None:
        """The source of this name, whatever its letter case and Unicode form."""
        return next((source for source in self.sources if _key(source.name) == _key(name)), None)

    def enrolled(self) -> tuple[Source, ...]:
        """All sources, as members of a gallery."""
        return tuple(source.source() for source in self.sources)


def new_store(tracer: StoreTracer, sources: Iterable[StoredSource] = ()) -> SourceStore:
    """A store of these sources, with its hash.

    Raises:
        ValueError: two sources of one name.
    """
    kept = [source.model_dump(mode="json") for source in sources]
    return sealed(SourceStore, {"tracer": tracer.model_dump(mode="json"), "sources": kept})


def with_source(store: SourceStore, source: StoredSource) -> SourceStore:
    """The store with a source added, or in the place of the one of its name."""
    replaced = store.find(source.name)
    if replaced is None:
        return new_store(store.tracer, (*store.sources, source))
    return new_store(store.tracer, (source if old is replaced else old for old in store.sources))


def without_source(store: SourceStore, name: str) -> SourceStore:
    """The store less a source.

    Raises:
        UsageError: it has none of this name; those it has are named.
    """
    found = store.find(name)
    if found is None:
        known = ", ".join(source.name for source in store.sources) or "none"
        raise UsageError(f"no source {name!r} is enrolled (enrolled: {known})")
    return new_store(store.tracer, (source for source in store.sources if source is not found))


def store_json(store: SourceStore) -> str:
    """The store as its file holds it: ASCII, so that no name can steer a terminal that shows the file."""
    return file_json(store)


def read_store(path: Path, tracer: StoreTracer | None = None) -> SourceStore:
    """Read a store.

    Args:
        path: the file.
        tracer: the tracer it must belong to; None for any.

    Raises:
        UsageError: no such file, or a store of another tracer.
        ModelError: unreadable, damaged or edited (the key is named), or of another format.
    """
    remedy = "restore a copy of it, or delete it and enrol its sources again"
    try:
        store = read_hashed(path, SourceStore, "store of sources", remedy)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such store of sources; 'spoofcheck sources enroll' makes it") from error
    if tracer is not None:
        store.tracer.check(path, tracer, "name another file with --store and enrol the sources again")
    return store


def default_store() -> Path:
    """Where a user's own sources are kept: `sources.json` in the user's data directory."""
    return user_data_dir() / "sources.json"


def checked_name(name: str, shipped: Iterable[str]) -> str:
    """A name for a source, in Unicode's composed form.

    Args:
        name: as the user gave it.
        shipped: the tracer's own classes; letter case does not make another name.

    Raises:
        UsageError: empty, too long, with characters that do not show, reserved or taken; the message says which.
    """
    composed = unicodedata.normalize("NFC", name)
    problem = _name_problem(composed)
    if not problem and _key(composed) in {_key(taken) for taken in shipped}:
        problem = "the tracer ships a source of this name"
    if problem:
        raise UsageError(f"the name {name!r} cannot be used: {problem}")
    return composed


def checked_note(note: str) -> str:
    """A note on a source.

    Raises:
        UsageError: too long, or with characters that do not show.
    """
    problem = _note_problem(note)
    if problem:
        raise UsageError(f"--note: {problem}")
    return note


def stored_clip(name: str, sha256: str, windows: int, embedding: Iterable[float]) -> StoredClip:
    """A clip from the mean of its windows' embeddings, which is brought to unit length and rounded.

    Raises:
        ValueError: the mean has no direction.
    """
    return StoredClip(name=name, sha256=sha256, windows=windows, embedding=kept_embedding(embedding))


def in_order(clips: Iterable[StoredClip]) -> tuple[StoredClip, ...]:
    """The clips in the one order in which a store holds them, by their bytes' hash."""
    return tuple(sorted(clips, key=lambda clip: clip.sha256))


def members_of(clips: Iterable[StoredClip]) -> Floats:
    """The clips' embeddings, float64 unit rows `[n, D]`."""
    return np.stack([unit(clip.embedding) for clip in clips])


def now() -> datetime:
    """The time of an enrolment, UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def _name_problem(name: str) -> str:
    if not 1 <= len(name) <= MAX_NAME:
        return f"it must have 1 to {MAX_NAME} characters"
    if not name.isprintable() or name != name.strip():
        return "it must not hold control characters, marks that do not show, or blanks at its ends"
    if _RESERVED.fullmatch(_key(name)):
        return f"{UNKNOWN_SOURCE!r} and {UNSEEN!r} are what the open-set rule answers"
    return ""


def _note_problem(note: str) -> str:
    if len(note) > MAX_NOTE:
        return f"it must have at most {MAX_NOTE} characters"
    return "" if note.isprintable() else "it must not hold line breaks, control characters or marks that do not show"


def _key(name: str) -> str:
    """Equal for names that a reader would take for the same."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
