"""One labelled recording: what training learns from and what an evaluation is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Label = Literal["bonafide", "spoof"]
UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording of a corpus or a protocol. What a source does not say is `"-"`.

    Attributes:
        name: its identity in the protocol that named it: an utterance id, or a path as written there.
        path: where the audio lies on this machine.
        label: `"bonafide"` or `"spoof"`.
        system: what made it (a TTS system, an API, an attack id), `"-"` for human speech.
        speaker: who speaks, where the source says so.
        split: `"train"`, `"dev"`, `"eval"`, or what else the source calls its parts.
        codec: container and codec or transmission condition, e.g. `"mp3"`, `"alaw"`.
        repo: where the clip comes from: a repository or a data set.
        corpus: the data set behind it, where that is another.
        sha1: of the file, where the source says so.
        sample_rate_hz: of the file.
        bandwidth_hz: highest frequency of its mean spectrum within 70 dB of the strongest.
        note: anything else, one line; of a copy: which clip it was made from.
    """

    name: str
    path: Path
    label: Label
    system: str = UNKNOWN
    speaker: str = UNKNOWN
    language: str = UNKNOWN
    split: str = UNKNOWN
    codec: str = UNKNOWN
    repo: str = UNKNOWN
    corpus: str = UNKNOWN
    licence: str = UNKNOWN
    duration_s: float | None = None
    sha1: str | None = None
    sample_rate_hz: int | None = None
    bandwidth_hz: float | None = None
    note: str = UNKNOWN

    @property
    def is_spoof(self) -> bool:
        """Whether the clip is synthetic, converted or resynthesised speech."""
        return self.label == "spoof"

    @property
    def source(self) -> str:
        """The unit that is resampled by a bootstrap: the speaker of a repository, or the clip when none is known."""
        return f"{self.repo}/{self.speaker if self.speaker != UNKNOWN else self.name}"
