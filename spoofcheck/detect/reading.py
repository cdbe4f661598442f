"""How a scan reads a recording, as a value that can be sent to another process."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spoofcheck.audio.recording import read_windows
from spoofcheck.audio.speech import speech_network
from spoofcheck.detect.readers import ReadItem
from spoofcheck.errors import ModelError


@dataclass(frozen=True, slots=True)
class WindowReading:
    """`read_windows` with everything but the path decided; attributes as its arguments."""

    window_samples: int
    hop_samples: int
    channels: Literal["auto", "mix", "each"]
    vad: bool
    min_window_speech_s: float

    def load(self) -> None:
        """Load the network that hears speech, if it is wanted, before it is needed."""
        if self.vad:
            with suppress(ModelError):  # whoever needs it is told then
                speech_network()

    def __call__(self, path: Path, cancelled: Callable[[], bool] = lambda: False) -> Generator[ReadItem]:
        """Read a recording once; see `read_windows`, also for errors."""
        return read_windows(
            path,
            window_samples=self.window_samples,
            hop_samples=self.hop_samples,
            channels=self.channels,
            vad=self.vad,
            min_window_speech_s=self.min_window_speech_s,
            cancelled=cancelled,
        )
