"""Dev and test clips traced as `spoofcheck scan --trace-all` traces a recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.tracing import TracerScorer
from spoofcheck.errors import InputError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.types import Window


def traced_clips(
    scorer: TracerScorer, clips: Iterable[Clip], min_window_speech_s: float
) -> Iterator[NDArray[np.float64] | None]:
    """Mean softmax `[classes]` over the windows with speech of each clip; None where none has any, or none is read."""
    window_samples = scorer.bundle.config.window_samples
    for clip in clips:
        try:
            windows = [
                item.samples
                for item in read_windows(
                    clip.path, window_samples=window_samples, hop_samples=window_samples, channels="mix", vad=True,
                    min_window_speech_s=min_window_speech_s,
                )
                if isinstance(item, Window) and item.samples is not None
            ]  # fmt: skip
        except InputError:
            windows = []
        traced = scorer.trace(windows)
        yield np.mean([window.probabilities for window in traced], axis=0) if traced else None
