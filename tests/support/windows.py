"""Training windows that lie in memory instead of in a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import cast

import numpy as np

from spoofcheck.training.prepare import Prepared
from spoofcheck.training.store import StoredWindow, Wave

HUMAN = StoredWindow("a/a", "x.wav", "s", "-", 0, -1, 900, 0)
SPOOF = replace(HUMAN, system="tts:x", spoof=1)


@dataclass(frozen=True, slots=True)
class Windows:
    """Some windows, as `spoofcheck.training.store.WaveSource` wants them; their waves are noise."""

    rows: Sequence[StoredWindow]

    def wave(self, index: int) -> Wave:
        """Noise that only this window has."""
        rng = np.random.default_rng([self.rows[index].pair + 1, index])
        return (0.1 * rng.standard_normal(self.rows[index].samples)).astype(np.float32)


def human(count: int, repo: str = "a/a", samples: int = 900) -> list[StoredWindow]:
    """Human windows without a pair."""
    return [replace(HUMAN, repo=repo, clip=f"{i}.wav", samples=samples) for i in range(count)]


def spoofs(count: int, system: str = "tts:x", samples: int = 900) -> list[StoredWindow]:
    """Windows of a spoofing system."""
    return [replace(SPOOF, repo="c/c", clip=f"{i}.wav", system=system, samples=samples) for i in range(count)]


def paired(rows: Sequence[StoredWindow]) -> list[StoredWindow]:
    """The rows with the pairs a store gives them: each human window its own number."""
    return [row if row.is_spoof else replace(row, pair=number) for number, row in enumerate(rows)]


def prepared(train: Sequence[StoredWindow], dev: Sequence[StoredWindow]) -> Prepared:
    """What `prepare` gives, without a folder, copies or backgrounds."""
    parts = SimpleNamespace(train=Windows(train), copies=None, dev=Windows(dev), noises=np.zeros((0, 257), np.float32))
    return cast(Prepared, parts)
