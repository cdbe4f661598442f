"""Readings that misbehave, for reader processes: importable by their names, and light."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np

from spoofcheck.detect.readers import ReadItem
from spoofcheck.errors import InputError
from spoofcheck.types import AudioFile, RecordingSummary, Window

Cancelled = Callable[[], bool]


def header(path: Path, duration_s: float | None = None, channels: int = 1) -> AudioFile:
    """Of a recording that is not there."""
    return AudioFile(path, 0, 0.0, "WAV", "pcm", 16_000, channels, 16, duration_s, "soundfile")


def window(index: int) -> Window:
    """Second `index` of a recording, with samples of its own."""
    samples = np.arange(index, index + 16_000, dtype=np.float32)
    return Window(None, index, 16_000 * index, 16_000 * (index + 1), 1.0, samples)


def good(path: Path, cancelled: Cancelled) -> Generator[ReadItem]:
    """Three windows; a library prints meanwhile, and this process is named as the hash."""
    yield header(path)
    os.write(1, b"mpg123: some complaint\n")
    for index in range(3):
        yield window(index)
    yield RecordingSummary(header(path), str(os.getpid()), "", 3.0, "mono", ())


def refused(path: Path, cancelled: Cancelled) -> Generator[ReadItem]:
    """No audio."""
    yield header(path)
    raise InputError("not-audio", "It is no audio.")


def buggy(path: Path, cancelled: Cancelled) -> Generator[ReadItem]:
    """An error nobody foresaw, of a kind that a broken pipe has as well."""
    yield header(path)
    raise PermissionError("a bug")


def killed(path: Path, cancelled: Cancelled) -> Generator[ReadItem]:
    """Ends as by the system's out-of-memory killer."""
    yield header(path)
    yield window(0)
    os.kill(os.getpid(), signal.SIGKILL)


def greedy(path: Path, cancelled: Cancelled) -> Generator[ReadItem]:
    """A decoder that believes a header of 64 GiB."""
    yield header(path)
    np.ones(1 << 36, dtype=np.uint8)


def hanging(path: Path, cancelled: Cancelled) -> Generator[ReadItem]:
    """Waits for a decoder program that does not end; its number is the path's content."""
    yield header(path)
    with subprocess.Popen(["sleep", "3600"], start_new_session=True) as decoder:
        path.write_text(str(decoder.pid), encoding="ascii")
        decoder.wait()


def busy(path: Path, cancelled: Cancelled) -> Generator[ReadItem]:
    """Gives signs of life for ever, and no window."""
    yield header(path)
    while not cancelled():
        time.sleep(0.01)


def burning(path: Path, cancelled: Cancelled) -> Generator[ReadItem]:
    """Decodes for ever in C, so that nothing can be asked."""
    yield header(path)
    sum(iter(int, 1))
