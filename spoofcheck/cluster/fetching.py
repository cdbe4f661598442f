"""Objects as temporary files, for decoders that need one; always removed, also after the process that had them died."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spoofcheck.cluster.places import Remote, modified_at_s
from spoofcheck.cluster.stores import file_system_of, is_final, remote_error
from spoofcheck.errors import InputError

_PREFIX: Final = "spoofcheck-fetched-"
_NAME: Final = "recording"
_RESERVE_BYTES: Final = 256 << 20
"""Left free on the disk."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What fetching one object may take.

    Attributes:
        size_bytes: largest object.
        attempts: how often it is tried.
        pause_s: before the second attempt; doubled before every further one.
    """

    size_bytes: int = 16 << 30
    attempts: int = 4
    pause_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A local copy of an object.

    Attributes:
        path: of the copy; its name has the object's extension.
        modified_at_s: POSIX time of the object's last change; None when its store does not say.
    """

    path: Path
    modified_at_s: float | None


class Fetcher:
    """Makes copies of objects in a folder that names this process, so that others can tell when it is left over.

    Args:
        limits: on each object.
        parent: of the folder; None for the system's folder of temporary files.
        pause: waits so many seconds.
    """

    def __init__(
        self, limits: FetchLimits, parent: Path | None = None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._limits = limits
        self._parent = Path(tempfile.gettempdir()) if parent is None else parent
        self._pause = pause
        sweep(self._parent)

    @contextmanager
    def fetched(self, remote: Remote) -> Iterator[Fetched]:
        """A copy of an object, gone when the `with` ends.

        Raises:
            InputError: `not-found`, `permission-denied`, `too-large`, `no-space`, `redirected` or `fetch-failed`.
        """
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=self._parent))
        try:
            extension = remote.extension
            target = folder / (f"{_NAME}.{extension}" if extension.isalnum() else _NAME)
            yield Fetched(target, self._fetch(remote, target))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _fetch(self, remote: Remote, target: Path) -> float | None:
        for attempt in range(self._limits.attempts):
            try:
                return self._try(remote, target)
            except Exception as error:  # every kind of store has its own
                refusal = remote_error(error)
                if is_final(refusal) or attempt + 1 == self._limits.attempts:
                    raise refusal from error
                self._pause(self._limits.pause_s * 2**attempt)
        raise AssertionError("an attempt returns or raises")

    def _try(self, remote: Remote, target: Path) -> float | None:
        from fsspec.callbacks import Callback

        files, path = file_system_of(remote.uri)
        info: dict[str, Any] = files.info(path)
        if info.get("type") == "directory":
            raise InputError("is-directory", "This is a prefix, not an object.")
        if info.get("type") == "other":  # copying from a device might never end
            raise InputError("not-a-file", "This is a pipe, device or socket; only regular files are read.")
        size = info.get("size")
        self._check(target, size if isinstance(size, int) else 0)
        check = self._check

        class Watch(Callback):  # type: ignore[misc]  # fsspec has no types
            def call(self, *_args: object, **_values: object) -> None:
                check(target, self.value)

        files.get_file(path, str(target), callback=Watch())
        self._check(target, target.stat().st_size)
        if isinstance(size, int) and target.stat().st_size != size:
            raise ConnectionError("fewer bytes than announced")
        modified = modified_at_s(info)
        if modified is not None:
            os.utime(target, (modified, modified))
        return modified

    def _check(self, target: Path, size_bytes: int) -> None:
        """Refuse an object that is too large for the limit or for the disk."""
        if size_bytes > self._limits.size_bytes:
            allowed = self._limits.size_bytes / (1 << 30)
            raise InputError("too-large", f"It is larger than the {allowed:,.3g} GiB that are fetched.")
        there = target.stat().st_size if target.exists() else 0
        if shutil.disk_usage(target.parent).free + there < size_bytes + _RESERVE_BYTES:
            raise InputError("no-space", "The disk for temporary files has no room for it on the machine that reads.")


def sweep(parent: Path | None = None) -> int:
    """Remove what processes left behind that are gone; how many folders."""
    swept = 0
    for folder in (Path(tempfile.gettempdir()) if parent is None else parent).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        try:
            is_ours = folder.stat().st_uid == os.getuid()
        except OSError:
            continue
        if is_ours and owner.isdigit() and not _is_running(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
            swept += 1
    return swept


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
