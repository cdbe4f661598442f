"""How a scan reads a recording, as a value that can be sent to another process."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spoofcheck.audio.recording import read_windows
from spoofcheck.audio.speech import speech_network
from spoofcheck.detect.budget import within_budget
from spoofcheck.detect.readers import ReadItem
from spoofcheck.errors import ModelError


@dataclass(frozen=True, slots=True)
class WindowReading:
    """`read_windows` with everything but the path decided.

    Attributes:
        window_samples: as `read_windows` has them, `hop_samples` to `min_window_speech_s` likewise.
        budget_windows: at most so many windows of a channel keep their samples, see `detect.budget`; None for all.
    """

    window_samples: int
    hop_samples: int
    channels: Literal["auto", "mix", "each"]
    vad: bool
    min_window_speech_s: float
    budget_windows: int | None = None

    def load(self) -> None:
        """Load the network that hears speech, if it is wanted, before it is needed."""
        if self.vad:
            with suppress(ModelError):  # whoever needs it is told then
                speech_network()

    def __call__(self, path: Path, cancelled: Callable[[], bool] = lambda: False) -> Generator[ReadItem]:
        """Read a recording once; see `read_windows`, also for errors."""
        items = read_windows(
            path,
            window_samples=self.window_samples,
            hop_samples=self.hop_samples,
            channels=self.channels,
            vad=self.vad,
            min_window_speech_s=self.min_window_speech_s,
            cancelled=cancelled,
        )
        return items if self.budget_windows is None else _closing(items, within_budget(items, self.budget_windows))


def _closing(source: Generator[ReadItem], items: Generator[ReadItem]) -> Generator[ReadItem]:
    """`items`, which come from `source`: a decoder must not outlive whoever stops asking for them."""
    with closing(source), closing(items):
        yield from items
