"""A file of findings that grows: a JSON line each, on disk before the next recording, no finding twice.

The lines are those of `scan --jsonl`. A finding is known by the recording's path and SHA-256, its channel and the
model; one of an input that was skipped by its path and reasons.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from spoofcheck.errors import OutputError, UsageError

if TYPE_CHECKING:
    from spoofcheck.schema import Finding, ScanDocument

if sys.platform != "win32":
    import fcntl

_HEAD: Final = b'{"schema_version":"'
"""How every line begins."""
_KEY_BYTES: Final = 16


class FindingLog:
    """A JSONL file that findings are appended to; a context manager, so that two programs never write to one.

    Args:
        path: of the file; made when missing.
        origin: the document of the run, without findings: what every line says of tool and models.

    Raises:
        UsageError: on entry, the file holds something else, or another program appends to it.
        OutputError: on entry, it cannot be read or written.
    """

    def __init__(self, path: Path, origin: ScanDocument) -> None:
        self.path = path
        self._origin = origin
        self._known: set[bytes] = set()
        self._lock: BinaryIO | None = None

    def __enter__(self) -> FindingLog:
        try:
            self._lock = open(self.path, "a+b")
            _hold(self._lock, self.path)
            self._read(self._lock)
        except OSError as error:
            self.__exit__()
            raise OutputError(f"{self.path}: cannot be read and appended to ({error.strerror or error})") from error
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()
        self._lock = None

    def append(self, findings: Sequence[Finding]) -> None:
        """Append those that are not there yet, all or none, and wait until they are on disk.

        The file is opened anew each time: it may be moved away at any moment, and a new one is begun.

        Raises:
            OutputError: it cannot be written; what was written of these findings is taken back.
        """
        from spoofcheck.render.jsonl import render_line

        lines, keys = [], []
        for finding in findings:
            key = self._key(finding)
            if key not in self._known:
                lines.append(render_line(self._origin, finding) + "\n")
                keys.append(key)
        if lines:
            _append(self.path, "".join(lines).encode())
            self._known.update(keys)

    def _key(self, finding: Finding) -> bytes:
        model = self._origin.model
        return _key(
            {
                "model": model.name,
                "model_version": model.version,
                "weights_sha256": model.weights_sha256,
                "path": finding.path,
                "sha256": finding.sha256,
                "channel": finding.channel,
                "reasons": [{"code": reason.code, "message": reason.message} for reason in finding.reasons],
            }
        )

    def _read(self, file: BinaryIO) -> None:
        """Learn what is there; cut off what a loss of power left of a last line."""
        file.seek(0)
        if not _begins_like_a_line(file.read(len(_HEAD))):
            raise UsageError(f"{self.path}: is no file of findings; name another one")
        file.seek(0)
        whole_bytes, tail = 0, b""
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                tail = line
                break
            known = _key_of(line)
            if known is None:
                if not line.strip(b"\0\n"):
                    tail = line
                    break
                raise UsageError(f"{self.path}: line {number} is no finding of spoofcheck; name another file")
            self._known.add(known)
            whole_bytes += len(line)
        if not tail:
            return
        known = _key_of(tail)
        if known is not None:  # only its end is missing
            self._known.add(known)
            file.write(b"\n")
        else:
            file.truncate(whole_bytes)
        file.flush()
        os.fsync(file.fileno())


def _begins_like_a_line(start: bytes) -> bool:
    """Or like what a loss of power leaves of one; True of nothing at all."""
    return _HEAD.startswith(start) or not start.strip(b"\0")


def _key_of(line: bytes) -> bytes | None:
    try:
        told = json.loads(line)
        return _key(told)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _key(told: Mapping[str, Any]) -> bytes:
    """What a finding is known by, in few bytes.

    Raises:
        KeyError: it lacks a field.
        TypeError: a field is something else.
    """
    skipped = None if told["sha256"] is not None else [(each["code"], each["message"]) for each in told["reasons"]]
    parts = [
        *(told[name] for name in ("model", "model_version", "weights_sha256", "path", "sha256", "channel")),
        skipped,
    ]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=_KEY_BYTES).digest()


def _append(path: Path, data: bytes) -> None:
    before: int | None = None
    descriptor: int | None = None
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        before = os.fstat(descriptor).st_size
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError as error:
        if descriptor is not None and before is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, before)
        raise OutputError(f"{path}: cannot be appended to ({error.strerror or error})") from error
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _hold(file: BinaryIO, path: Path) -> None:
    if sys.platform == "win32":  # no such lock: there, two programs must not write to one file
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(f"{path}: another program appends to it; name another file") from error
    except OSError:  # some network file systems cannot lock
        return
