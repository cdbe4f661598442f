from __future__ import annotations

import numpy as np
import pytest

from spoofcheck.training.copysynth import copy_window, griffin_lim_linear, griffin_lim_mel, vocoders, world
from tests.support.voice import voice


@pytest.mark.parametrize("vocoder", [griffin_lim_mel, griffin_lim_linear, world])
def test_copies_keep_length_level_and_alignment(vocoder: object) -> None:
    wave = voice(1.2)
    for seed in range(3):
        copy = copy_window(wave, vocoder, np.random.default_rng(seed))  # type: ignore[arg-type]
        assert copy.shape == wave.shape
        assert np.sqrt(np.mean(copy**2)) == pytest.approx(np.sqrt(np.mean(wave**2)), rel=0.05)
        envelope, copied = (np.sqrt(np.mean(x[: 59 * 320].reshape(-1, 320) ** 2, axis=1)) for x in (wave, copy))
        assert np.corrcoef(envelope, copied)[0, 1] > 0.8
        assert not np.allclose(copy, wave, atol=1e-3)


def test_copies_are_seeded() -> None:
    wave = voice(0.6)
    a, b = (copy_window(wave, griffin_lim_mel, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(a, b)


def test_vocoders_are_chosen_by_name(tmp_path: object) -> None:
    from pathlib import Path

    from spoofcheck.errors import UsageError

    assert list(vocoders(["world"], Path("nowhere"))) == ["world"]
    with pytest.raises(UsageError, match="unknown vocoders: wolrd"):
        vocoders(["wolrd"], Path("nowhere"))
    with pytest.raises(UsageError, match=r"ttskit 0\.3\.8"):
        vocoders(["melgan"], Path("nowhere"))
