"""The folder that a server keeps its jobs in: its own, used by one server at a time, cleaned at start."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from spoofcheck.errors import UsageError
from spoofcheck.serve.settings import Settings

DATABASE = "jobs.sqlite"
_MARKER = "spoofcheck-serve.lock"


class DataFolder:
    """Holds the folder while the context lasts; makes it when missing.

    Args:
        settings: of the server.

    Raises:
        UsageError: on entering, when it cannot be used: another server has it, or it holds what is not ours, which a
            clean-up could take away.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock: int | None = None

    def __enter__(self) -> Self:
        folder = self._settings.data_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            marker = folder / _MARKER
            if not marker.exists() and any(entry.name != _MARKER for entry in folder.iterdir()):
                raise UsageError(f"{folder}: holds other files; name a folder that is empty or does not exist yet")
            self._lock = os.open(marker, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._let_go()
            raise UsageError(f"{folder}: another server uses this folder; name another with --data-dir") from error
        except OSError as error:
            self._let_go()
            raise UsageError(f"{folder}: cannot be used ({error.strerror})") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()

    @property
    def database(self) -> Path:
        """Of the jobs."""
        return self._settings.data_dir / DATABASE

    def clean(self, known_jobs: set[str]) -> int:
        """Remove what an earlier process left behind: temporary files, and folders of jobs that nobody knows.

        Args:
            known_jobs: ids of the jobs in the store.

        Returns:
            How many files and folders went.
        """
        settings = self._settings
        removed = 0
        for folder in (settings.incoming_dir, settings.temporary_dir):
            removed += sum(_remove(entry) for entry in _entries(folder))
            folder.mkdir(mode=0o700, exist_ok=True)
        for entry in _entries(settings.jobs_dir):
            if entry.name not in known_jobs:
                removed += _remove(entry)
        settings.jobs_dir.mkdir(mode=0o700, exist_ok=True)
        return removed

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _remove(entry: Path) -> bool:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
    return True
