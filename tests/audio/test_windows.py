from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spoofcheck.audio.windows import StreamWindower, fill_window, plan_windows

W, HOP = 64_000, 64_000

sizes = st.integers(1, 60).flatmap(lambda window: st.tuples(st.just(window), st.integers(1, window)))


@pytest.mark.parametrize(
    ("n_samples", "windows"),
    [
        (0, []),
        (1, [(0, 1)]),
        (W - 1, [(0, W - 1)]),
        (W, [(0, W)]),
        (W + 1, [(0, W), (1, W + 1)]),
        (2 * W - 1, [(0, W), (W - 1, 2 * W - 1)]),
        (2 * W, [(0, W), (W, 2 * W)]),
        (2 * W + 1, [(0, W), (W, 2 * W), (W + 1, 2 * W + 1)]),
    ],
)
def test_windows_at_the_edges(n_samples: int, windows: list[tuple[int, int]]) -> None:
    assert plan_windows(n_samples, W, HOP) == windows


def test_overlapping_windows() -> None:
    assert plan_windows(10, 4, 2) == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert plan_windows(11, 4, 2) == [(0, 4), (2, 6), (4, 8), (6, 10), (7, 11)]


@given(sizes, st.integers(0, 500))
def test_windows_cover_every_sample_and_nothing_else(size: tuple[int, int], n_samples: int) -> None:
    window, hop = size
    windows = plan_windows(n_samples, window, hop)
    covered = {sample for start, end in windows for sample in range(start, end)}
    assert covered == set(range(n_samples))
    assert all(end - start == min(window, n_samples) for start, end in windows)
    assert len(set(windows)) == len(windows)
    assert all(start == index * hop for index, (start, _) in enumerate(windows[:-1]))


@given(sizes, st.lists(st.integers(0, 130), max_size=8))
@example((4, 2), [3, 1, 0, 1])
def test_stream_gives_the_planned_windows(size: tuple[int, int], blocks: list[int]) -> None:
    window, hop = size
    samples = np.arange(1, sum(blocks) + 1, dtype=np.float32)
    windower = StreamWindower(window, hop)
    heard = []
    position = 0
    for length in blocks:
        heard += windower.push(samples[position : position + length])
        position += length
        assert len(windower._held) <= window, "a stream must not keep what it does not need"
    heard += windower.finish()

    assert windower.n_samples == len(samples)
    assert [(start, end) for start, end, _ in heard] == plan_windows(len(samples), window, hop)
    for start, end, stretch in heard:
        assert np.array_equal(stretch, fill_window(samples[start:end], window))


def test_windows_own_their_samples() -> None:
    windower = StreamWindower(4, 2)
    block = np.arange(8, dtype=np.float32)
    first, second, third = windower.push(block)
    first.samples[:] = -1
    block[:] = -2
    assert second.samples.tolist() == [2, 3, 4, 5]
    assert third.samples.tolist() == [4, 5, 6, 7]


def test_short_stretch_is_repeated() -> None:
    short = np.array([1, 2, 3], np.float32)
    assert fill_window(short, 7).tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert fill_window(short, 3).tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="no samples"):
        fill_window(short[:0], 7)


@pytest.mark.parametrize(("window", "hop"), [(4, 5), (4, 0), (0, 0), (4, -1)])
def test_gaps_are_refused(window: int, hop: int) -> None:
    with pytest.raises(ValueError, match=r"gaps|at least 1"):
        plan_windows(100, window, hop)
    with pytest.raises(ValueError, match=r"gaps|at least 1"):
        StreamWindower(window, hop)
