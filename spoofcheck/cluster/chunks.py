"""What travels between actors: a recording in pieces, first with samples, then with what the network said.

A recording of ten hours never is one row: its windows come in chunks, which are read, heard and freed on their own.
A retry may read a recording again in the middle of it, so that every chunk says which edition of the file it is from:
pieces of different editions are never put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from spoofcheck.cluster.places import Remote
from spoofcheck.detect.hearing import HeardRecording, ScoredWindow
from spoofcheck.types import AudioFile, RecordingSummary, Window

CHUNK_WINDOWS = 16
"""In one chunk, 4 MiB with a window of four seconds: short recordings fill a batch together, long ones stream."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A recording that could not be read, and why."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Content:
    """Which bytes were read.

    Attributes:
        sha256: of the file before it was read, where somebody wants to know.
        extension: of its name, lower-case, without the dot.
        modified_at_s: POSIX time of the last change; None when the store does not say.
    """

    sha256: str
    extension: str
    modified_at_s: float | None


@dataclass(frozen=True, slots=True)
class Stored:
    """A recording whose findings are known by its content."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What must end the scan.

    Attributes:
        kind: name of an error of `spoofcheck.errors`, or of what nobody foresaw.
        message: of it.
    """

    kind: str
    message: str


End = RecordingSummary | Refusal | Stored | Failure


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive windows of a recording as they were read.

    Attributes:
        input: number of the recording.
        number: of the chunk, from 0.
        edition: of the file; empty when it could not be looked at.
        windows: with samples where they are to be heard.
        opened: in the first chunk, what the header says.
        end: in the last chunk, what ended the reading.
        content: in the last chunk, where it is known.
    """

    input: int
    number: int
    edition: str
    windows: tuple[Window, ...] = ()
    opened: AudioFile | None = None
    end: End | None = None
    content: Content | None = None


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a network ran on."""

    device: str
    dtype: str
    runtime: str


@dataclass(frozen=True, slots=True)
class HeardChunk:
    """A chunk without samples, as the network heard it; attributes as of `Chunk`.

    Attributes:
        windows: with their channels.
        hardware: None where nothing was heard.
    """

    input: int
    number: int
    edition: str
    windows: tuple[tuple[int | None, ScoredWindow], ...]
    opened: AudioFile | None
    end: End | None
    content: Content | None
    hardware: Hardware | None


@dataclass(frozen=True, slots=True)
class Assembled:
    """A recording of which every chunk arrived."""

    windows: dict[int | None, list[ScoredWindow]]
    end: End
    content: Content | None


@dataclass(slots=True)
class _Edition:
    chunks: dict[int, HeardChunk] = field(default_factory=dict)
    last: int | None = None

    def is_complete(self) -> bool:
        return self.last is not None and all(number in self.chunks for number in range(self.last + 1))


class Assembly:
    """Puts recordings together from chunks that come in any order, and more than once.

    Args:
        inputs: numbers of the recordings.
    """

    def __init__(self, inputs: Sequence[int]) -> None:
        self._open: dict[int, dict[str, _Edition]] = {number: {} for number in inputs}

    @property
    def missing(self) -> list[int]:
        """Recordings that are not complete."""
        return sorted(self._open)

    def reopen(self, number: int) -> None:
        """Ask for a recording once more."""
        self._open[number] = {}

    def add(self, chunk: HeardChunk) -> Assembled | None:
        """Take a chunk; the recording, when this completes it. One that is complete stays as it is."""
        editions = self._open.get(chunk.input)
        if editions is None:
            return None
        edition = editions.setdefault(chunk.edition, _Edition())
        if chunk.end is None:
            edition.chunks.setdefault(chunk.number, chunk)
        else:  # one attempt may end, for want of time, where another that was killed had gone on
            edition.chunks[chunk.number] = chunk
            edition.last = chunk.number
        if not edition.is_complete() or edition.last is None:
            return None
        del self._open[chunk.input]
        windows: dict[int | None, list[ScoredWindow]] = {}
        for number in range(edition.last + 1):
            for channel, window in edition.chunks[number].windows:
                windows.setdefault(channel, []).append(window)
        last = edition.chunks[edition.last]
        if last.end is None:
            raise AssertionError("the last chunk has an end")
        return Assembled(windows, last.end, last.content)


@dataclass(frozen=True, slots=True)
class Case:
    """A recording to be judged.

    Attributes:
        recording: heard; of a remote one, its paths mean nothing.
        remote: where it is, when it is no file.
        modified_at_s: of a remote one, as `Content`.
    """

    recording: HeardRecording
    remote: Remote | None = None
    modified_at_s: float | None = None
