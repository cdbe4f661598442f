"""Scored trials with known properties."""

from __future__ import annotations

import numpy as np

from spoofcheck.evaluation.scorefiles import ScoredTrial


def make_trials(n: int = 200, gap: float = 2.0, seed: int = 0, sources: int = 20) -> list[ScoredTrial]:
    """`n` trials, half of them human; systems A and B, languages en and de, `sources` speakers of each class.

    Scores are those of two unit Gaussians `gap` apart, so that `gap` times their distance from the middle is the LLR.
    """
    rng = np.random.default_rng(seed)
    trials = []
    for i in range(n):
        bonafide = i % 2 == 0
        score = gap * (rng.normal() + (gap / 2 if bonafide else -gap / 2))
        trials.append(
            ScoredTrial(
                name=f"t{i:04d}",
                bonafide=bonafide,
                score=float(score),
                system="-" if bonafide else "AB"[i // 2 % 2],
                speaker=f"s{i % (2 * sources)}",
                language=("en", "de")[i // 4 % 2],
                source=f"r/s{i % (2 * sources)}",
            )
        )
    return trials
