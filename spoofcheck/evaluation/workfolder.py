"""Rows of a protocol's clips, one a clip, made once: resumable, shared out over processes.

What a row holds is the caller's: a score, or similarities to sources. With a work folder, every row is kept there the
moment it is known, so that a killed run goes on where it was, with any number of processes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from spoofcheck.errors import OutputError, UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.shards import Team


class Named(Protocol):
    """A row: a dataclass whose fields JSON can carry."""

    @property
    def name(self) -> str:
        """Of the trial."""


Row = TypeVar("Row", bound=Named)

Watch = Callable[[Iterable[Row], int], Iterable[Row]]
"""Passes rows on unchanged, as they come, and may show how many of the given number there are."""


@dataclass(frozen=True, slots=True)
class Job(Generic[Row]):
    """How rows come about.

    Attributes:
        folder: a name inside the work folder that changes with all that a row depends on but the clip.
        make: rows of trials and their clips, lazily and in order; closing the iterator stops it.
        revive: a row from the fields that JSON gave back; raises TypeError, KeyError or ValueError on others.
    """

    folder: str
    make: Callable[[Sequence[str], Sequence[Clip]], Generator[Row]]
    revive: Callable[[dict[str, Any]], Row]


def rows_of(
    job: Job[Row],
    names: Sequence[str],
    clips: Sequence[Clip],
    *,
    team: Team,
    work: Path | None = None,
    watch: Watch[Row] | None = None,
) -> dict[str, Row]:
    """The rows of all clips by name, this process having made those that fall to it.

    Rank r of w takes every w-th clip from r on. Clips whose row is in the work folder already (same job; same name,
    size and time of change) are passed over.

    Args:
        job: how rows come about.
        names: one for each clip, no two alike.
        clips: of a protocol.
        team: the processes of this run.
        work: a folder that all processes see, or None to keep nothing.
        watch: sees the rows that this process makes.

    Raises:
        UsageError: a work folder that not all processes see.
        OutputError: the work folder cannot be written.
    """
    watched: Watch[Row] = watch or _unwatched
    if work is None and team.world == 1:
        with closing(job.make(names, clips)) as made:
            return {row.name: row for row in watched(made, len(clips))}
    with team.shared_folder(work) as folder:
        rows = _share(_Store(folder, job, team.rank), job, names, clips, team, watched)
        team.wait()
    return rows


def _unwatched(rows: Iterable[Row], _total: int) -> Iterable[Row]:
    return rows


def _share(
    store: _Store[Row], job: Job[Row], names: Sequence[str], clips: Sequence[Clip], team: Team, watch: Watch[Row]
) -> dict[str, Row]:
    stamps = {name: _stamp(clip.path) for name, clip in zip(names, clips, strict=True)}
    done = store.read(stamps)
    team.wait()  # nobody writes before everybody has read
    mine = list(zip(names, clips, strict=True))[team.rank :: team.world]
    missing = [(name, clip) for name, clip in mine if name not in done]
    with closing(job.make([name for name, _ in missing], [clip for _, clip in missing])) as made, store:
        for row in watch(made, len(missing)):
            store.append(row, stamps[row.name])
    team.wait()
    rows_by_name = store.read(stamps)
    lacking = [name for name in names if name not in rows_by_name]
    if lacking:
        raise UsageError(f"{len(lacking)} scores of other processes are not in the work folder: give --work DIR a "
                         "folder that every node sees, and leave the recordings as they are during a run")  # fmt: skip
    return rows_by_name


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells that a file is the one that was heard; zeros for one that is not there."""

    size_bytes: int
    modified_ns: int


class _Store(Generic[Row]):
    """Rows of one job in a work folder: one JSON line a clip, one file a process."""

    def __init__(self, work: Path, job: Job[Row], rank: int) -> None:
        self._revive = job.revive
        self._folder = work / job.folder
        self._path = self._folder / f"rank-{rank}.jsonl"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be made ({error.strerror or error})") from error

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("a+b")
            # What a killed run left of a line must not swallow the next one.
            if self._file.tell():
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    self._file.write(b"\n")
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, row: Row, stamp: _Stamp) -> None:
        line = json.dumps({**asdict(row), **asdict(stamp)}, separators=(",", ":"))  # type: ignore[call-overload]
        try:
            self._file.write(f"{line}\n".encode())
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def read(self, stamps: Mapping[str, _Stamp]) -> dict[str, Row]:
        """The rows of all processes and runs that hold for these clips; lines cut short are passed over."""
        rows: dict[str, Row] = {}
        for path in sorted(self._folder.glob("rank-*.jsonl")):
            for line in path.read_bytes().splitlines():
                try:
                    fields = json.loads(line)
                    stamp = _Stamp(fields.pop("size_bytes"), fields.pop("modified_ns"))
                    row = self._revive(fields)
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue
                if stamps.get(row.name) == stamp:
                    rows[row.name] = row
        return rows

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path}: cannot be written ({error.strerror or error})")


def _stamp(path: Path) -> _Stamp:
    try:
        entry = path.stat()
    except (OSError, ValueError):
        return _Stamp(0, 0)
    return _Stamp(entry.st_size, entry.st_mtime_ns)
