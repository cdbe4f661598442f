"""The first stage: actors that fetch recordings and read them into chunks of windows."""

from __future__ import annotations

import pickle
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from spoofcheck.audio.files import Fingerprint, fingerprint, sha256_of
from spoofcheck.audio.signatures import extension_of
from spoofcheck.cluster.chunks import CHUNK_WINDOWS, Chunk, Content, End, Failure, Refusal, Stored
from spoofcheck.cluster.fetching import Fetcher, FetchLimits
from spoofcheck.cluster.places import Place, Remote
from spoofcheck.cluster.rows import row_of
from spoofcheck.detect.isolation import ReaderProcesses
from spoofcheck.detect.limits import ReadLimits
from spoofcheck.detect.readers import ReadRecording
from spoofcheck.errors import InputError
from spoofcheck.types import AudioFile, RecordingSummary, Window

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ReadJob:
    """How recordings are read.

    Attributes:
        read: one recording; can be pickled.
        limits: on reading one.
        fetch: limits on fetching one.
        chunk_windows: in a chunk.
        known: the contents `(SHA-256, extension)` whose findings are known, or a reference to them; None when nobody
            wants to know a file's content before it is read.
        debug: end the scan at what nobody foresaw.
    """

    read: ReadRecording
    limits: ReadLimits
    fetch: FetchLimits = field(default_factory=FetchLimits)
    chunk_windows: int = CHUNK_WINDOWS
    known: Any = None
    debug: bool = False


class RecordingReader:
    """Reads recordings in a process of its own, so that a hostile file ends that one and not the actor.

    Were it the actor, Ray would read the file again and again.
    """

    def __init__(self, job: ReadJob) -> None:
        self._job = job
        self._known = _contents(job.known)
        self._fetcher = Fetcher(job.fetch)
        # An actor is killed in the end, and its process notices that by itself.
        self._processes = ReaderProcesses(job.limits).__enter__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._processes.__exit__(None, None, None)

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Rows of chunks for rows of inputs."""
        for number, place in zip(batch["input"].to_pylist(), batch["data"].to_pylist(), strict=True):
            for chunk in self.chunks(number, pickle.loads(place)):
                yield row_of(number, chunk)

    def chunks(self, number: int, place: Place) -> Iterator[Chunk]:
        """The chunks of one recording; the last one has an end, whatever happens."""
        pieces = _Pieces(number, self._job.chunk_windows)
        try:
            with self._local(place) as local:
                pieces.edition = local.edition
                if local.content is not None and (local.content.sha256, local.content.extension) in self._known:
                    end: End = Stored()
                else:
                    end = yield from self._read(local.path, pieces)
                content = local.content if local.is_unchanged() else None
        except InputError as error:
            end, content = Refusal(error.code, error.message), None
        except Exception as error:
            end, content = self._unforeseen(error), None
        yield pieces.last(end, content)

    def _read(self, path: Path, pieces: _Pieces) -> Generator[Chunk, None, End]:
        try:
            with closing(self._processes.read(self._job.read, path)) as items:
                for item in items:
                    if isinstance(item, AudioFile):
                        pieces.opened = item
                    elif isinstance(item, Window):
                        yield from pieces.add(item)
                    elif isinstance(item, RecordingSummary):
                        return item
        except InputError as error:
            return Refusal(error.code, error.message)
        raise EOFError("the reading ended without a summary")

    def _unforeseen(self, error: Exception) -> End:
        if self._job.debug:
            return Failure(type(error).__name__, str(error))
        message = f"Unexpected {type(error).__name__}: {error}. Please report it with the output of --debug."
        return Refusal("internal-error", message)

    @contextmanager
    def _local(self, place: Place) -> Iterator[_Local]:
        if isinstance(place, Remote):
            with self._fetcher.fetched(place) as copy:
                sha256 = sha256_of(copy.path)
                yield _Local(copy.path, sha256, Content(sha256, place.extension, copy.modified_at_s))
            return
        try:
            before = fingerprint(place)
        except InputError:  # the reading will say so in its own words
            yield _Local(place, "", None)
            return
        edition = f"{before.size_bytes}-{before.modified_ns}"
        content = None
        if self._job.known is not None:
            content = Content(sha256_of(place), extension_of(place.name), before.modified_ns / 1e9)
        yield _Local(place, edition, content, before)


@dataclass(frozen=True, slots=True)
class _Local:
    """A recording as a file on this machine; `before` is how it was when its content was hashed, unless it is ours."""

    path: Path
    edition: str
    content: Content | None
    before: Fingerprint | None = None

    def is_unchanged(self) -> bool:
        try:
            return self.before is None or fingerprint(self.path) == self.before
        except InputError:
            return False


class _Pieces:
    """Cuts a recording's windows into chunks."""

    def __init__(self, number: int, most: int) -> None:
        self._number = number
        self._most = most
        self._chunk = 0
        self._windows: list[Window] = []
        self.edition = ""
        self.opened: AudioFile | None = None

    def add(self, window: Window) -> Iterator[Chunk]:
        self._windows.append(window)
        if len(self._windows) >= self._most:
            yield self._cut(None, None)

    def last(self, end: End, content: Content | None) -> Chunk:
        return self._cut(end, content)

    def _cut(self, end: End | None, content: Content | None) -> Chunk:
        chunk = Chunk(self._number, self._chunk, self.edition, tuple(self._windows), self.opened, end, content)
        self._chunk += 1
        self._windows, self.opened = [], None
        return chunk


def _contents(reference: Any) -> frozenset[tuple[str, str]]:
    if reference is None or isinstance(reference, frozenset):
        return reference or frozenset()
    import ray

    contents: frozenset[tuple[str, str]] = ray.get(reference)
    return contents
