"""How a scan reads a recording, as a value that can be sent to another process."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.readers import ReadItem


@dataclass(frozen=True, slots=True)
class WindowReading:
    """`read_windows` with everything but the path decided; attributes as its arguments."""

    window_samples: int
    hop_samples: int
    channels: Literal["auto", "mix", "each"]
    vad: bool
    min_window_speech_s: float

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
