"""The first window of each clip, read ahead in threads: what published protocols are scored on."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.recording import read_windows
from spoofcheck.errors import InputError
from spoofcheck.types import Window


def first_windows(
    paths: Sequence[Path], window_samples: int, workers: int, at_once: int
) -> Generator[list[NDArray[np.float32] | str]]:
    """First windows `[window_samples]` in the order of the paths, or the code that says why there is none.

    The channels are mixed, no speech is asked for, and a short recording is repeated.

    Yields:
        Lists of `at_once`, the last one shorter; the next list is read while the caller works on one.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting = iter(paths)

        def submit(paths: Iterator[Path]) -> list[Future[NDArray[np.float32] | str]]:
            return [pool.submit(_first_window, path, window_samples) for path in islice(paths, at_once)]

        ahead = submit(waiting)
        while ahead:
            heard = [future.result() for future in ahead]
            ahead = submit(waiting)
            yield heard


def _first_window(path: Path, window_samples: int) -> NDArray[np.float32] | str:
    items = read_windows(
        path,
        window_samples=window_samples,
        hop_samples=window_samples,
        channels="mix",
        vad=False,
        min_window_speech_s=0.0,
    )
    try:
        with closing(items):
            for item in items:
                if isinstance(item, Window) and item.samples is not None:
                    return item.samples
    except InputError as error:
        return error.code
    except Exception:  # as in a scan, what nobody foresaw in one file must not cost the others
        return "internal-error"
    return "zero-length"
