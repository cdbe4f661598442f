from __future__ import annotations

import numpy as np
import pytest

from spoofcheck.training.conditions import CONDITIONS, ORIGINAL, degrade
from tests.support.voice import voice


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_are_deterministic_and_change_the_signal(condition: str) -> None:
    wave = voice(1.5)
    a, b = (degrade(wave, condition, "clip") for _ in range(2))
    assert np.array_equal(a, b)
    assert abs(a.size - wave.size) < 2_400
    assert not np.allclose(a[:8000], wave[:8000], atol=1e-4)
    assert degrade(wave, ORIGINAL, "clip") is wave
