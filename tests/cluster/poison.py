"""A reading that ends the actor which asked for it, as no recording can: in a module that other processes import."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from spoofcheck.detect.readers import ReadItem
from spoofcheck.detect.reading import WindowReading

NAME = "poison.wav"


@dataclass(frozen=True, slots=True)
class Poisonous:
    """Reads as `reading` does, but for recordings called `NAME`."""

    reading: WindowReading

    def __call__(self, path: Path, cancelled: Callable[[], bool] = lambda: False) -> Generator[ReadItem]:
        if path.name == NAME:
            os.kill(os.getppid(), signal.SIGKILL)
        yield from self.reading(path, cancelled)
