"""A file and an address that nothing in a recording may reach.

The secret is a pure tone: whoever hears it in a recording of noise has been led astray. The listener counts who calls.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from spoofcheck.audio.decode import decode_blocks
from spoofcheck.audio.probe import probe
from spoofcheck.errors import InputError
from tests.hostile.crafted import RATE_HZ, wav_bytes

SECRET_HZ = 3_000
_SHARE = 0.1


def secret_samples() -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Two seconds of the tone, 16 bit, 16 kHz."""
    return (20_000 * np.sin(2 * np.pi * SECRET_HZ * np.arange(2 * RATE_HZ) / RATE_HZ)).astype("<i2")


def write_secret(path: Path) -> Path:
    """The tone as a WAV file."""
    path.write_bytes(wav_bytes(secret_samples().tobytes()))
    return path


def hears_secret(path: Path) -> bool:
    """Whether what is decoded of a recording, as far as anything is, holds the tone."""
    try:
        file = probe(path)
        samples = np.concatenate(list(decode_blocks(file)))[:, 0].astype(float)
    except InputError:
        return False
    power = np.abs(np.fft.rfft(samples)) ** 2
    hz = np.fft.rfftfreq(samples.size, 1 / file.sample_rate_hz)
    return bool(power[np.abs(hz - SECRET_HZ) < 20].sum() > _SHARE * power.sum())


class Listener:
    """A TCP port of this machine that counts connections, and hangs up."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.calls = 0
        self._thread = threading.Thread(target=self._answer, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _answer(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()
