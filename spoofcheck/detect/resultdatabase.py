"""The file of a result store: findings of earlier scans in SQLite, by content, extension and run.

One row is one recording as one run would find it: a compressed payload and a SHA-256 over key and payload, so that no
damaged row, and no row under a wrong key, is ever taken. A row is written in one transaction that is on the disk when
it ends: a killed program or a power failure costs the row that was being written, and nothing else. Standard library
only: `spoofcheck store` need not wait for torch.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from spoofcheck.errors import SpoofcheckError
from spoofcheck.resources import user_cache_dir

DATABASE_NAME: Final = "results.sqlite3"
_LOCK_NAME = "results.lock"
_BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite may keep beside its file, the file itself included."""
_APPLICATION_ID = 0x53504643
_FORMAT = 1
_BUSY_S = 10.0
_POLL_S = 0.05
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_MOUNTS = Path("/proc/self/mounts")
_MOUNT_ESCAPE = re.compile(r"\\([0-7]{3})")
_LOCAL_FILE_SYSTEMS = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "reiserfs", "tmpfs", "xfs", "zfs"}
)
"""Where all who open a file share memory, which a write-ahead log needs; a network's do not."""
_Answer = TypeVar("_Answer")

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS runs (run_sha256 TEXT PRIMARY KEY, facts TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS results (run_sha256 TEXT NOT NULL, content_sha256 TEXT NOT NULL,"
    " extension TEXT NOT NULL, payload BLOB NOT NULL, checksum TEXT NOT NULL, kept_at INTEGER NOT NULL,"
    " PRIMARY KEY (run_sha256, content_sha256, extension))",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_FORMAT}",
)


class UnusableStoreError(SpoofcheckError):
    """A result store that cannot be read or written; what a scan finds does not hang on it."""


class DamagedStoreError(UnusableStoreError):
    """The file is damaged; `set_aside` makes room for a new one."""


@dataclass(frozen=True, slots=True)
class Key:
    """Which findings.

    Attributes:
        run_sha256: fingerprint of all that shapes a finding beside the file.
        content_sha256: of the file.
        extension: of its name, lower-case, without the dot: some formats are decoded by name.
    """

    run_sha256: str
    content_sha256: str
    extension: str


@dataclass(frozen=True, slots=True)
class StoredRun:
    """The entries of one fingerprint.

    Attributes:
        run_sha256: the fingerprint.
        facts: what it is the fingerprint of; empty when the row was damaged.
        entries: recordings.
        payload_bytes: that their findings take.
        first_at: when the first one was kept.
        last_at: when the last one was.
    """

    run_sha256: str
    facts: dict[str, Any]
    entries: int
    payload_bytes: int
    first_at: datetime
    last_at: datetime

    @property
    def model(self) -> str:
        """Name of the model, `"?"` when it is not known."""
        return self._of_model("name") or "?"

    @property
    def model_version(self) -> str:
        """Its version, empty when it is not known."""
        return self._of_model("version")

    def _of_model(self, key: str) -> str:
        model = self.facts.get("model")
        return str(model.get(key, "")) if isinstance(model, dict) else ""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed.

    Attributes:
        entries: recordings whose findings are gone.
        freed_bytes: what the file is smaller by.
    """

    entries: int
    freed_bytes: int


class ResultDatabase:
    """An open store; may be used from several threads, and beside other processes that have it open.

    Args:
        folder: made when missing, for its owner alone.

    Raises:
        DamagedStoreError: the file is no database, or a damaged one.
        UnusableStoreError: it cannot be opened or made, is no store of ours or of another version, or somebody else
            than its owner may have written to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / DATABASE_NAME
        self._lock = threading.Lock()
        with _explained(self.path), _locked(folder):
            _make_private(self.path)
            _require_own(self.path)
            self._inode = self.path.stat().st_ino
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA cell_size_check = ON")
        execute("PRAGMA trusted_schema = OFF")
        kind, version = (execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        is_new = execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not is_new and kind != _APPLICATION_ID:
            raise UnusableStoreError(f"{self.path}: is a database, but no result store")
        if not is_new and version != _FORMAT:
            raise UnusableStoreError(f"{self.path}: made by another version of spoofcheck (format {version})")
        wanted = "wal" if _is_local(self.folder) else "delete"
        (mode,) = execute(f"PRAGMA journal_mode = {wanted}").fetchone()
        if mode not in (wanted, "delete"):
            raise UnusableStoreError(f"{self.path}: cannot be written safely on this file system")
        execute("PRAGMA synchronous = FULL")
        if is_new:
            with self._transaction():
                for statement in _SCHEMA:
                    execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing is left to be written."""
        with self._lock, suppress(sqlite3.Error):
            self._connection.close()

    def payload(self, key: Key) -> bytes | None:
        """The payload of a key; None where there is none, or none that is whole.

        Raises:
            DamagedStoreError: the file is damaged.
            UnusableStoreError: it cannot be read.
        """
        row = self._run(
            lambda execute: execute(
                "SELECT payload, checksum FROM results WHERE run_sha256 = ? AND content_sha256 = ? AND extension = ?",
                (key.run_sha256, key.content_sha256, key.extension),
            ).fetchone()
        )
        if row is None:
            return None
        payload, checksum = row
        return payload if isinstance(payload, bytes) and checksum == _checksum(key, payload) else None

    def contents(self, run_sha256: str) -> frozenset[tuple[str, str]]:
        """The contents `(SHA-256, extension)` that there are payloads of, whole or not; errors as for `payload`."""
        rows = self._run(
            lambda execute: execute(
                "SELECT content_sha256, extension FROM results WHERE run_sha256 = ?", (run_sha256,)
            ).fetchall()
        )
        return frozenset((str(content), str(extension)) for content, extension in rows)

    def put(self, key: Key, payload: bytes, facts: str) -> None:
        """Keep a payload, in place of any other under its key; it is on the disk when this returns.

        Args:
            key: of the recording.
            payload: its findings.
            facts: JSON that the key's fingerprint is of.

        Raises:
            DamagedStoreError: the file is damaged.
            UnusableStoreError: it cannot be written; nothing of the payload was kept.
        """

        def write(execute: Callable[..., sqlite3.Cursor]) -> None:
            with self._transaction():
                execute("INSERT OR IGNORE INTO runs VALUES (?, ?)", (key.run_sha256, facts))
                execute(
                    "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        key.run_sha256,
                        key.content_sha256,
                        key.extension,
                        payload,
                        _checksum(key, payload),
                        int(time.time()),
                    ),
                )

        self._run(write)

    def runs(self) -> list[StoredRun]:
        """What is kept, by fingerprint, the latest first.

        Raises:
            DamagedStoreError: the file is damaged.
            UnusableStoreError: it cannot be read.
        """
        rows = self._run(
            lambda execute: execute(
                "SELECT run_sha256, (SELECT facts FROM runs WHERE runs.run_sha256 = results.run_sha256), count(*),"
                " sum(length(payload)), min(kept_at), max(kept_at) FROM results GROUP BY run_sha256"
                " ORDER BY max(kept_at) DESC, run_sha256"
            ).fetchall()
        )
        return [
            StoredRun(run, _facts(run, facts), entries, size, _time(first), _time(last))
            for run, facts, entries, size, first, last in rows
        ]

    def size_bytes(self) -> int:
        """What the store takes on the disk."""
        return _size_bytes(self.path)

    def remove(self, *, model: str | None = None, kept_before: datetime | None = None) -> Pruned:
        """Remove entries, and give their space back unless another process is using the store.

        Args:
            model: only those of the model of this name.
            kept_before: only those that were kept earlier.

        Raises:
            DamagedStoreError: the file is damaged.
            UnusableStoreError: it cannot be written, or another process is using it all the time.
        """
        before = self.size_bytes()
        chosen = [run.run_sha256 for run in self.runs() if model is None or run.model == model]
        latest = 1 << 62 if kept_before is None else int(kept_before.timestamp())

        def write(execute: Callable[..., sqlite3.Cursor]) -> int:
            with self._transaction():
                removed = sum(
                    execute("DELETE FROM results WHERE run_sha256 = ? AND kept_at < ?", (run, latest)).rowcount
                    for run in chosen
                )
                execute("DELETE FROM runs WHERE run_sha256 NOT IN (SELECT run_sha256 FROM results)")
            with suppress(sqlite3.OperationalError):  # in use, or no room for a copy: the space is used again later
                execute("VACUUM")
                execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return removed

        removed = self._run(write)
        return Pruned(removed, max(0, before - self.size_bytes()))

    def set_aside(self) -> Path | None:
        """Close the file and give it another name; None when another process has done so already.

        Raises:
            UnusableStoreError: it cannot be renamed.
        """
        self.close()
        return set_aside(self.folder, self._inode)

    def _run(self, work: Callable[[Callable[..., sqlite3.Cursor]], _Answer]) -> _Answer:
        with self._lock, _explained(self.path):
            return work(self._connection.execute)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            raise


def set_aside(folder: Path, inode: int | None = None) -> Path | None:
    """Give a store's file, and what is beside it, another name.

    Args:
        folder: of the store.
        inode: of the file that is meant; None for whatever is there.

    Returns:
        The new name; None when there is no such file any more.

    Raises:
        UnusableStoreError: it cannot be renamed.
    """
    path = folder / DATABASE_NAME
    with _explained(path), _locked(folder):
        if not path.exists() or (inode is not None and path.stat().st_ino != inode):
            return None
        stem = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        number, aside = 1, path.with_name(stem)
        while aside.exists():
            number += 1
            aside = path.with_name(f"{stem}-{number}")
        for suffix in _BESIDE:
            with suppress(FileNotFoundError):
                Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
        return aside


def default_folder() -> Path:
    """Where findings are kept unless the user names a folder: `results` in the user's cache.

    Raises:
        UnusableStoreError: the user has no home folder.
    """
    try:
        return user_cache_dir() / "results"
    except RuntimeError as error:
        raise UnusableStoreError(f"there is no folder for the result store ({error})") from error


def exists(folder: Path) -> bool:
    """Whether there is a store in a folder."""
    return (folder / DATABASE_NAME).exists()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What SQLite and the system say, as errors of ours."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _DAMAGED:
            raise DamagedStoreError(f"{path}: the result store is damaged ({error})") from error
        raise UnusableStoreError(f"{path}: the result store cannot be used ({error})") from error
    except OSError as error:
        raise UnusableStoreError(f"{path}: the result store cannot be used ({error.strerror or error})") from error
    except ValueError as error:
        raise UnusableStoreError(f"{path}: the result store cannot be used ({error})") from error


def _make_private(path: Path) -> None:
    """The folder and an empty file, for their owner alone, unless they are there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _require_own(path: Path) -> None:
    """Refuse findings that somebody else can have written: a store decides what a scan says."""
    for suffix in _BESIDE:
        place = Path(f"{path}{suffix}")
        try:
            entry = place.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(entry.st_mode):
            raise UnusableStoreError(f"{place}: is no regular file")
        if entry.st_uid != os.geteuid():
            raise UnusableStoreError(f"{place}: belongs to another user, who could have written any finding into it")
        if entry.st_mode & 0o022:
            raise UnusableStoreError(f"{place}: others may write to it (mode {entry.st_mode & 0o777:o}); chmod go-w it")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone with the folder while a store is made, opened or renamed, where the file system can lock.

    Raises:
        OSError: another process holds the lock for long.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        until_s = time.monotonic() + _BUSY_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until_s:
                    raise
                time.sleep(_POLL_S)
                continue
            except OSError:  # a file system without locks
                pass
            break
        yield
    finally:
        os.close(descriptor)


def _is_local(folder: Path) -> bool:
    """Whether a folder lies on a file system of this machine; where the system does not say, yes."""
    try:
        mounts = [line.split(" ") for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return True
    place = os.path.realpath(folder)
    best = max(
        (
            (len(point), kind)
            for _, escaped, kind, *_ in mounts
            for point in (_MOUNT_ESCAPE.sub(lambda found: chr(int(found[1], 8)), escaped),)
            if point == "/" or place == point or place.startswith(f"{point}/")
        ),
        default=(0, ""),
    )
    return best[1] in _LOCAL_FILE_SYSTEMS


def _checksum(key: Key, payload: bytes) -> str:
    head = json.dumps([key.run_sha256, key.content_sha256, key.extension])
    return hashlib.sha256(head.encode("ascii") + b"\n" + payload).hexdigest()


def _facts(run_sha256: str, text: object) -> dict[str, Any]:
    """What a fingerprint is of; empty where that is not so."""
    if not isinstance(text, str) or hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() != run_sha256:
        return {}
    facts = json.loads(text)
    return facts if isinstance(facts, dict) else {}


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _size_bytes(path: Path) -> int:
    total = 0
    for suffix in _BESIDE:
        with suppress(OSError):
            total += Path(f"{path}{suffix}").stat().st_size
    return total
