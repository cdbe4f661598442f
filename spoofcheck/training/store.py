"""Windows of speech on disk: an int16 memory map beside a table of what each row is."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spoofcheck.errors import UsageError

Wave = NDArray[np.float32]


class WaveSource(Protocol):
    """Windows by number: what they are, and what they sound like."""

    @property
    def rows(self) -> Sequence[StoredWindow]:
        """What each window is."""

    def wave(self, index: int) -> Wave:
        """Float32 `[n]` at 16 kHz in -1..1."""


@dataclass(frozen=True, slots=True)
class StoredWindow:
    """What a row of the store is.

    Attributes:
        repo: source repository (for a copy: that of the human clip it was made from).
        clip: path of the source clip inside the repository.
        system: what made it; `"-"` for human speech, and for spoofs of an unknown system.
        spoof: 1 for synthetic speech, 0 for human.
        pair: identity shared by a human window and its copies; -1 without any.
        samples: length of the speech, at 16 kHz; the rest of the row is zero.
        lossy: whether the source file was lossy (1) or not (0).
    """

    repo: str
    clip: str
    speaker: str
    system: str
    spoof: int
    pair: int
    samples: int
    lossy: int

    @property
    def is_spoof(self) -> bool:
        """Whether the window is synthetic."""
        return self.spoof == 1


class WindowStore:
    """Read access to a store.

    Raises:
        UsageError: the table and the samples do not belong together.
    """

    def __init__(self, stem: Path, window_samples: int) -> None:
        self.rows = _read_rows(stem.with_suffix(".tsv"))
        pcm = np.memmap(stem.with_suffix(".pcm"), dtype="<i2", mode="r")
        if pcm.size != len(self.rows) * window_samples:
            raise UsageError(f"{stem}: {pcm.size} samples do not make {len(self.rows)} windows of {window_samples}")
        self._pcm = pcm.reshape(len(self.rows), window_samples)

    def __len__(self) -> int:
        return len(self.rows)

    def wave(self, index: int) -> Wave:
        """The speech of a row, float32 `[samples]` in -1..1, without the padding."""
        return self._pcm[index, : self.rows[index].samples].astype(np.float32) / 32768.0


def write_store(stem: Path, windows: Iterable[tuple[StoredWindow, Wave]], window_samples: int) -> int:
    """Write `<stem>.pcm` and `<stem>.tsv` as the windows come; the number of windows.

    Each wave is `[n]`, n at most `window_samples`, clipped to -1..1.
    """
    names = [field.name for field in fields(StoredWindow)]
    count = 0
    with (
        stem.with_suffix(".pcm").open("wb") as pcm,
        stem.with_suffix(".tsv").open("w", encoding="utf-8", newline="") as table,
    ):
        writer = csv.DictWriter(table, names, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for row, wave in windows:
            padded = np.zeros(window_samples, dtype="<i2")
            padded[: wave.size] = to_int16(wave)
            pcm.write(padded.tobytes())
            writer.writerow(asdict(row))
            count += 1
    return count


def to_int16(wave: Wave) -> NDArray[np.int16]:
    """Nearest 16-bit value of every sample, clipped."""
    return np.asarray(np.clip(np.rint(wave * 32767.0), -32768, 32767), dtype="<i2")


def _read_rows(table: Path) -> list[StoredWindow]:
    with table.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines, delimiter="\t")
        return [
            StoredWindow(
                repo=row["repo"],
                clip=row["clip"],
                speaker=row["speaker"],
                system=row["system"],
                spoof=int(row["spoof"]),
                pair=int(row["pair"]),
                samples=int(row["samples"]),
                lossy=int(row["lossy"]),
            )
            for row in reader
        ]
