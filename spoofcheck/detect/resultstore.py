"""The result store of a scan: recordings that the same run judged before are not judged again.

    with ResultStore.opened(folder, run_identity(scanner), warn=print) as store:
        for path, findings in scanner.examined_inputs(inputs, store=store): ...

Findings are kept by the SHA-256 of the file, its extension and the fingerprint of the run (`detect.runidentity`),
without the path. What is taken from the store is as if it had just been found: it gets the path and the time of
modification of the file at hand. A store never stops a scan and never changes what it finds; what goes wrong with it
is told once, and the scan goes on without.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydantic import TypeAdapter, ValidationError

from spoofcheck.audio.files import Fingerprint, fingerprint, sha256_of
from spoofcheck.audio.inputs import display_path
from spoofcheck.audio.signatures import extension_of
from spoofcheck.detect.keeping import may_be_kept
from spoofcheck.detect.resultdatabase import (
    DamagedStoreError,
    Key,
    ResultDatabase,
    UnusableStoreError,
    set_aside,
)
from spoofcheck.detect.runidentity import RunIdentity
from spoofcheck.errors import InputError
from spoofcheck.schema import Finding, Verdict

_FINDINGS: Final = TypeAdapter(tuple[Finding, ...])
_WITHOUT: Final = "the scan goes on without it"
_ZLIB_LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as it was when the store was asked for it."""

    sha256: str
    before: Fingerprint
    is_known: bool


class ResultStore:
    """A `detect.hearing.FindingStore` in a folder; a context manager that closes it.

    Args:
        folder: of the store; None for a store that knows and keeps nothing.
        identity: of the run.
        fresh: know nothing; what is found replaces what is kept.
        warn: told, once and in one line, when the store cannot be used or was damaged; from any thread.
    """

    def __init__(
        self, folder: Path | None, identity: RunIdentity, *, fresh: bool = False, warn: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self._identity = identity
        self._fresh = fresh
        self._warn = warn
        self._lock = threading.Lock()
        self._seen: dict[Path, _Seen] = {}
        self._from_store = 0
        self._database = None if folder is None else self._opened(folder)

    @classmethod
    def opened(
        cls, folder: Path, identity: RunIdentity, *, fresh: bool = False, warn: Callable[[str], None]
    ) -> ResultStore:
        """A store that is open; where it cannot be used, `warn` is told, and it knows and keeps nothing."""
        return cls(folder, identity, fresh=fresh, warn=warn)

    @property
    def from_store(self) -> int:
        """How many inputs were done with what the store knew."""
        return self._from_store

    @property
    def is_open(self) -> bool:
        """Whether the store can be used."""
        with self._lock:
            return self._database is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; all that was kept is on the disk already."""
        with self._lock:
            database, self._database = self._database, None
        if database is not None:
            database.close()

    def find(self, path: Path, cancelled: Callable[[], bool]) -> tuple[Finding, ...] | None:
        """The findings of a file of this content, as if it had just been judged; None when it is to be read."""
        if not self.is_open:
            return None
        try:
            before = fingerprint(path)
            sha256 = sha256_of(path, cancelled)
            if cancelled() or fingerprint(path) != before:
                return None
        except InputError:  # the reading will say so in its own words
            return None
        findings = None if self._fresh else self._known(path, sha256, before)
        with self._lock:
            self._seen[path] = _Seen(sha256, before, is_known=findings is not None)
        return findings

    def keep(self, path: Path, findings: tuple[Finding, ...]) -> None:
        """Keep what was found of a file that the store was asked for; it is on the disk when this returns."""
        with self._lock:
            seen = self._seen.pop(path, None)
            if seen is not None and seen.is_known:
                self._from_store += 1
        if seen is None or seen.is_known or not self.is_open:
            return
        if not may_be_kept(findings, seen.sha256) or not _is_still(path, seen, findings):
            return
        self._put(self._key(path, seen.sha256), findings)

    def contents(self) -> frozenset[tuple[str, str]] | None:
        """The contents `(SHA-256, extension)` that may be known, for those who hash elsewhere; None when closed."""
        if not self.is_open or self._database is None:
            return None
        if self._fresh:
            return frozenset()
        try:
            return self._database.contents(self._identity.sha256)
        except UnusableStoreError as error:
            self._replace(self._database, error)
            return frozenset() if self.is_open else None

    def find_content(self, sha256: str, extension: str) -> tuple[Finding, ...] | None:
        """The findings of a content, without path and time; None where there are none, or none that are whole."""
        findings = self._of_content(Key(self._identity.sha256, sha256, extension))
        if findings is not None:
            with self._lock:
                self._from_store += 1
        return findings

    def keep_content(self, sha256: str, extension: str, findings: tuple[Finding, ...]) -> None:
        """Keep what was found of a content that was hashed before it was read, and has not changed since."""
        if self.is_open and may_be_kept(findings, sha256):
            self._put(Key(self._identity.sha256, sha256, extension), findings)

    def _put(self, key: Key, findings: tuple[Finding, ...]) -> None:
        payload = zlib.compress(_FINDINGS.dump_json(tuple(map(_without_place, findings))), _ZLIB_LEVEL)
        self._try(lambda database: database.put(key, payload, self._identity.facts))

    def _known(self, path: Path, sha256: str, entry: Fingerprint) -> tuple[Finding, ...] | None:
        findings = self._of_content(self._key(path, sha256))
        return None if findings is None else tuple(_with_place(finding, path, entry) for finding in findings)

    def _of_content(self, key: Key) -> tuple[Finding, ...] | None:
        payload = self._try(lambda database: database.payload(key))
        if payload is None:
            return None
        try:
            findings = _FINDINGS.validate_json(zlib.decompress(payload))
        except (zlib.error, ValidationError):
            return None
        return findings if may_be_kept(findings, key.content_sha256) else None

    def _key(self, path: Path, sha256: str) -> Key:
        return Key(self._identity.sha256, sha256, extension_of(path.name))

    def _try(self, work: Callable[[ResultDatabase], bytes | None]) -> bytes | None:
        """What the database answers, or the one that took its place; None when neither can."""
        for _ in range(2):
            with self._lock:
                database = self._database
            if database is None:
                return None
            try:
                return work(database)
            except UnusableStoreError as error:
                self._replace(database, error)
        return None

    def _replace(self, database: ResultDatabase, error: UnusableStoreError) -> None:
        """Go on with a new database where the old one is damaged, and with none else; told once."""
        with self._lock:
            if self._database is not database:  # another thread was here before, or the store is closed
                return
            self._database = None
            try:
                aside = database.set_aside() if isinstance(error, DamagedStoreError) else None
                if isinstance(error, DamagedStoreError):
                    self._database = ResultDatabase(database.folder)
                    self._warn(_begun_anew(error, aside))
                    return
            except UnusableStoreError as worse:
                error = worse
            database.close()
            self._warn(f"{error}; {_WITHOUT}")

    def _opened(self, folder: Path) -> ResultDatabase | None:
        try:
            try:
                return ResultDatabase(folder)
            except DamagedStoreError as error:
                aside = set_aside(folder)
                database = ResultDatabase(folder)
                self._warn(_begun_anew(error, aside))
                return database
        except UnusableStoreError as error:
            self._warn(f"{error}; {_WITHOUT}")
            return None


def _begun_anew(error: UnusableStoreError, aside: Path | None) -> str:
    place = "" if aside is None else f"; it is now {aside.name}"
    return f"{error}{place}, and a new one was begun"


def _is_still(path: Path, seen: _Seen, findings: tuple[Finding, ...]) -> bool:
    """Whether what was skipped is what was hashed; a recording that was judged says so by its own hash."""
    if not any(finding.verdict is Verdict.SKIPPED for finding in findings):
        return True
    try:
        return fingerprint(path) == seen.before and sha256_of(path) == seen.sha256
    except InputError:
        return False


def _without_place(finding: Finding) -> Finding:
    media = finding.media
    return finding.model_copy(
        update={"path": "", "media": None if media is None else media.model_copy(update={"modified_at": ""})}
    )


def _with_place(finding: Finding, path: Path, entry: Fingerprint) -> Finding:
    media = finding.media
    modified_at = datetime.fromtimestamp(entry.modified_ns / 1e9, UTC).isoformat(timespec="seconds")
    return finding.model_copy(
        update={
            "path": display_path(path),
            "media": None if media is None else media.model_copy(update={"modified_at": modified_at}),
        }
    )
