"""Which program made a document, and when: version, commit, libraries, command line, run. Light: no model, no torch."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from spoofcheck import __version__
from spoofcheck.resources import checkout_dir
from spoofcheck.schema import RunInfo, ToolInfo

_LIBRARIES = (
    "numpy",
    "safetensors",
    "silero-vad",
    "soundfile",
    "soxr",
    "torch",
    "torchaudio",
    "transformers",
)


def git_commit() -> str | None:
    """Commit of the checkout the program runs from, with `+changes` when it differs; None for an installed wheel."""
    root = checkout_dir()
    if root is None:
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _git(root: Path, *arguments: str) -> str | None:
    # Asking must not write: git would refresh the checkout's index, and lock it against whoever works there.
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def run_info(started_at: datetime, complete: bool, from_store: int = 0) -> RunInfo:
    """When, where and how long, from the beginning (with time zone) until now; inputs that were known before."""
    finished_at = datetime.now(UTC)
    return RunInfo(
        started_at=started_at.astimezone(UTC).isoformat(timespec="seconds"),
        finished_at=finished_at.isoformat(timespec="seconds"),
        elapsed_s=round((finished_at - started_at).total_seconds(), 3),
        host=platform.node(),
        complete=complete,
        from_store=from_store,
    )


def tool_info(command_line: Sequence[str], of_extras: Sequence[str] = ()) -> ToolInfo:
    """This program, its libraries and its command line (empty when called from Python).

    Args:
        command_line: as typed.
        of_extras: libraries that computed as well, and that not every installation has.
    """
    return ToolInfo(
        version=__version__,
        git_commit=git_commit(),
        # Arguments may hold bytes that are no text; a document is text.
        command_line=tuple(
            a.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for a in command_line
        ),
        python=sys.version.split()[0],
        platform=platform.platform(),
        libraries={name: version(name) for name in (*_LIBRARIES, *of_extras)},
    )
