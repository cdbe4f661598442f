"""Windows that start later than the recording does, against a plan made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from spoofcheck.audio.phase import PhasedWindower
from spoofcheck.audio.windows import HeardWindow

WINDOW, HOP, PHASE = 40, 30, 10


def windows(n: int, block: int = 7, phase: int = PHASE) -> list[HeardWindow]:
    windower = PhasedWindower(WINDOW, HOP, phase)
    samples = np.arange(n, dtype=np.float32)
    found = [window for at in range(0, n, block) for window in windower.push(samples[at : at + block])]
    assert windower.n_samples == n
    return [*found, *windower.finish()]


@pytest.mark.parametrize(
    ("n", "spans"),
    [
        (0, []),
        (1, [(0, 1)]),
        (40, [(0, 40)]),
        (41, [(0, 40), (1, 41)]),
        (49, [(0, 40), (9, 49)]),
        (50, [(0, 40), (10, 50)]),
        (51, [(0, 40), (10, 50), (11, 51)]),
        (110, [(0, 40), (10, 50), (40, 80), (70, 110)]),
        (120, [(0, 40), (10, 50), (40, 80), (70, 110), (80, 120)]),
    ],
)
@pytest.mark.parametrize("block", [1, 7, 45, 1_000])
def test_the_plan(n: int, spans: list[tuple[int, int]], block: int) -> None:
    found = windows(n, block)
    assert [(window.start, window.end) for window in found] == spans
    if n > WINDOW:
        assert all(np.array_equal(w.samples, np.arange(w.start, w.end, dtype=np.float32)) for w in found)


def test_a_short_recording_repeats_from_the_phase_on() -> None:
    (window,) = windows(15)
    assert window.samples.tolist() == ([*range(10, 15), *range(15), *range(15), *range(15)])[:WINDOW]


@pytest.mark.parametrize("phase", [0, HOP, -1])
def test_a_phase_lies_inside_the_hop(phase: int) -> None:
    with pytest.raises(ValueError, match="inside a hop"):
        PhasedWindower(WINDOW, HOP, phase)
