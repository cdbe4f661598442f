"""The keys that callers of the service show: a file with their hashes, and checking one quickly.

A key is `sck_ID_SECRET`. The ID is public and finds the entry, so that one hash is computed per check and not one per
entry; the secret is 192 random bits. The file keeps argon2id hashes of whole keys, is readable by its owner alone and
is always replaced as a whole. A running server notices that it changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, Self

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from spoofcheck.errors import OutputError, UsageError
from spoofcheck.serve.settings import default_data_dir

MAX_NAME = 100

LOCAL = "local"
"""Name of every caller of a server without keys; no key has it."""

_FORM: Final = re.compile(r"sck_(?P<id>[0-9a-f]{12})_[0-9a-f]{48}")
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]*$"

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""OWASP's least parameters for argon2id: a secret of 192 random bits needs no more against guessing. 19 MiB a hash."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeyEntry(_Kept):
    """One key as the file keeps it: never the key itself."""

    id: str = Field(pattern=r"^[0-9a-f]{12}$", description="the public part of the key")
    name: str = Field(pattern=_NAME, max_length=MAX_NAME, description="who holds it")
    hash: str = Field(pattern=r"^\$argon2id\$", description="argon2id of the whole key")
    created_at: AwareDatetime
    revoked_at: AwareDatetime | None = None
    rate_per_minute: PositiveInt | None = Field(default=None, description="requests; null for the server's default")
    quota_per_day: PositiveInt | None = Field(default=None, description="recordings; null for the server's default")

    @property
    def is_valid(self) -> bool:
        """Whether it has not been revoked."""
        return self.revoked_at is None


def default_keys_file() -> Path:
    """Where keys are kept when no file is named: `$XDG_DATA_HOME/spoofcheck/service-keys.json`."""
    return default_data_dir().with_name("service-keys.json")


class KeyFile(_Kept):
    """The whole file, in the order in which keys were added."""

    format_version: Literal[1] = 1
    keys: tuple[KeyEntry, ...] = ()

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len({entry.id for entry in self.keys}) < len(self.keys):
            raise ValueError("two keys have one id")
        names = [entry.name for entry in self.keys if entry.is_valid]
        if len(set(names)) < len(names):
            raise ValueError("two valid keys have one name")
        return self

    def valid(self) -> tuple[KeyEntry, ...]:
        """The keys that were not revoked."""
        return tuple(entry for entry in self.keys if entry.is_valid)


def read_keys(path: Path) -> KeyFile:
    """The keys at `path`; none where there is no file.

    Raises:
        UsageError: it cannot be read, is no key file, or others than its owner may read or write it.
    """
    try:
        with path.open("rb") as handle:
            if os.fstat(handle.fileno()).st_mode & 0o077:
                raise UsageError(f"{path}: others than its owner may use it; run: chmod 600 {path}")
            text = handle.read()
    except FileNotFoundError:
        return KeyFile()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        return KeyFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise UsageError(
            f"{path}: not a file of service keys ({where}: {first['msg']}); restore it from a copy"
        ) from error


def add_key(
    path: Path, name: str, *, rate_per_minute: int | None = None, quota_per_day: int | None = None
) -> tuple[str, KeyEntry]:
    """Make a key for `name` and add its hash to the file, which is created when it is not there.

    Returns:
        The key, which cannot be had again, and its entry.

    Raises:
        UsageError: no name to tell callers apart by, or one that a valid key has; or as `read_keys`.
        OutputError: the file cannot be written.
    """
    if len(name) > MAX_NAME or not re.fullmatch(_NAME, name):
        raise UsageError(
            f"NAME {name[:MAX_NAME]}: letters, digits and . _ @ - make a name, at most {MAX_NAME} of them, the first a "
            "letter or digit"
        )
    if name == LOCAL:
        raise UsageError(f"NAME {name}: callers of a server without keys are called so; take another name")
    key_id = secrets.token_hex(6)
    key = f"sck_{key_id}_{secrets.token_hex(24)}"
    with _alone(path):
        kept = read_keys(path)
        if any(entry.name == name for entry in kept.valid()):
            raise UsageError(f"{name} has a key; revoke it first with `spoofcheck serve keys revoke {name}`")
        entry = KeyEntry(
            id=key_id,
            name=name,
            hash=_HASHER.hash(key),
            created_at=_now(),
            rate_per_minute=rate_per_minute,
            quota_per_day=quota_per_day,
        )
        _write(path, KeyFile(keys=(*kept.keys, entry)))
    return key, entry


def revoke_key(path: Path, name: str) -> KeyEntry:
    """Revoke the valid key of `name`; its entry stays, so that old jobs keep a name.

    Raises:
        UsageError: no valid key has this name; or as `read_keys`.
        OutputError: the file cannot be written.
    """
    with _alone(path):
        kept = read_keys(path)
        found = next((entry for entry in kept.valid() if entry.name == name), None)
        if found is None:
            raise UsageError(f"{name}: no valid key has this name; `spoofcheck serve keys list` shows them")
        revoked = found.model_copy(update={"revoked_at": _now()})
        _write(path, KeyFile(keys=tuple(revoked if entry is found else entry for entry in kept.keys)))
    return revoked


class KeyRing:
    """The keys of a running server; safe to use from several threads.

    The file is looked at before every check, so that a revoked key opens nothing from then on. A file that is damaged,
    unreadable or gone while the server runs opens nothing either.

    Args:
        path: of the key file; it need not be there.

    Raises:
        UsageError: as `read_keys`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._secret = secrets.token_bytes(32)
        self._checked: dict[str, bytes] = {}
        self._stamp = _stamp(path)
        self._entries = {entry.id: entry for entry in read_keys(path).valid()}
        self.problem: str | None = None
        """Why the file could not be read again; None when it could."""

    def has_keys(self) -> bool:
        """Whether any key is valid now."""
        self._refresh()
        return bool(self._entries)

    def known(self, presented: str) -> KeyEntry | None:
        """The entry of a key that was checked before, at the cost of one keyed digest; None for any other."""
        self._refresh()
        entry = self._entry(presented)
        with self._lock:
            digest = None if entry is None else self._checked.get(entry.id)
        if entry is None or digest is None or not hmac.compare_digest(digest, self._digest(presented, entry)):
            return None
        return entry

    def check(self, presented: str) -> KeyEntry | None:
        """The entry of a valid key; None for anything else.

        One argon2 hash is computed, also where the ID is unknown, so that the time does not tell which IDs exist. What
        passed is remembered as a digest under a secret of this process, bound to the entry's hash.
        """
        found = self.known(presented)
        if found is not None or not _FORM.fullmatch(presented):
            return found
        entry = self._entry(presented)
        try:
            _HASHER.verify(_nobodys_hash() if entry is None else entry.hash, presented)
        except (VerificationError, InvalidHashError):
            return None
        if entry is not None:
            with self._lock:
                self._checked[entry.id] = self._digest(presented, entry)
        return entry

    def _entry(self, presented: str) -> KeyEntry | None:
        match = _FORM.fullmatch(presented)
        return None if match is None else self._entries.get(match["id"])

    def _digest(self, presented: str, entry: KeyEntry) -> bytes:
        return hashlib.blake2b(f"{entry.hash}\n{presented}".encode(), key=self._secret, digest_size=32).digest()

    def _refresh(self) -> None:
        with self._lock:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            try:
                entries = read_keys(self._path).valid()
                self.problem = None
            except UsageError as error:
                entries = ()
                self.problem = str(error)
            self._stamp = stamp
            self._entries = {entry.id: entry for entry in entries}
            self._checked = {key_id: digest for key_id, digest in self._checked.items() if key_id in self._entries}


_nobodys: list[str] = []


def _nobodys_hash() -> str:
    """The hash of a key that nobody has."""
    if not _nobodys:
        _nobodys.append(_HASHER.hash(secrets.token_hex(24)))
    return _nobodys[0]


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    """What changes whenever the file is replaced or edited; None while it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock beside the file: two commands at once lose no key."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _write(path: Path, keys: KeyFile) -> None:
    data = keys.model_dump_json(indent=1).encode("ascii") + b"\n"
    try:
        target = path.resolve()
        # mkstemp makes it 0600, and it stays so.
        descriptor, beside = tempfile.mkstemp(dir=target.parent, prefix=".spoofcheck-")
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            Path(beside).replace(target)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
