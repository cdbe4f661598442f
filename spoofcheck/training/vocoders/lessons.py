"""The human stretches vocoders learn from."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.training.corpus import choose_clips, windows_of
from spoofcheck.training.progress import Steps
from spoofcheck.training.recipe import WindowRule
from spoofcheck.training.store import Wave

_WINDOW_SAMPLES = 64_000
_RULE = WindowRule(min_speech_s=1.0)


def choose_lessons(clips: Sequence[Clip], most: int, seed: int, steps: Steps) -> list[Wave]:
    """One window of each of `most` human clips, taken from repositories and, within them, speakers in turn.

    Raises:
        UsageError: no human clip with a second of speech.
    """
    by_repo: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if not clip.is_spoof:
            by_repo[clip.repo].append(clip)
    queues = [choose_clips(members, {repo: most}, random.Random(seed)) for repo, members in sorted(by_repo.items())]
    chosen: list[Clip] = []
    while queues and len(chosen) < most:
        chosen += [queue.pop(0) for queue in queues]
        queues = [queue for queue in queues if queue]
    chosen = chosen[:most]
    waves = [
        wave
        for clip in steps.over(chosen, "Reading human clips", len(chosen))
        for _, wave in windows_of(clip, _RULE, _WINDOW_SAMPLES, 1, seed)
    ]
    if not waves:
        raise UsageError("no human clip with a second of speech to learn from")
    return waves
