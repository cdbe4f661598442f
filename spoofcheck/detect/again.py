"""A recording heard a second time, as one stream of samples per channel.

A scan keeps no samples. What a report adds to a verdict (pictures, the stability test) hears the recording again, in
one pass for all of it: every listener takes the samples as they come.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.recording import windows_again
from spoofcheck.detect.readers import ReadItem
from spoofcheck.types import RecordingSummary, Window

ReadAgain = Callable[[RecordingSummary], Generator[ReadItem]]
"""Reads a recording a second time: the same windows by channel and index, all of them with samples."""


def heard_again(
    summary: RecordingSummary, read_again: ReadAgain
) -> Generator[tuple[int | None, NDArray[np.float32]], None, None]:
    """The samples of a recording that was read before, channel by channel as they come.

    Args:
        summary: what the first reading ended with.
        read_again: opens the second reading.

    Yields:
        The channel (None for a mono file and for the mix) and its next samples, float32 `[n]` at 16 kHz, n >= 1.

    Raises:
        InputError: it cannot be read any more, or it changed (`changed-while-reading`); what was yielded before must
            then be thrown away.
    """
    with closing(read_again(summary)) as items:
        yield from new_samples(windows_again(items, summary))


def new_samples(windows: Iterable[Window]) -> Iterator[tuple[int | None, NDArray[np.float32]]]:
    """What each window adds to the windows of its channel before: overlaps once, repetitions not at all.

    Raises:
        ValueError: a window without samples, or a gap.
    """
    heard_until: dict[int | None, int] = defaultdict(int)
    for window in windows:
        known = heard_until[window.channel]
        if window.samples is None or window.start_sample > known:
            raise ValueError(f"window {window.index} of a second reading has no samples, or there is a gap before it")
        if window.end_sample > known:
            heard_until[window.channel] = window.end_sample
            yield window.channel, window.samples[known - window.start_sample : window.end_sample - window.start_sample]
