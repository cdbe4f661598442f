from __future__ import annotations

import numpy as np
import pytest
import torch

from spoofcheck.nets.statistics import STATISTICS, VoiceStatistics, voice_statistics

SECONDS = np.arange(64_000) / 16_000


def named(samples: np.ndarray) -> dict[str, float]:
    return dict(zip(STATISTICS, voice_statistics(samples.astype(np.float32)).tolist(), strict=True))


def test_there_are_34_of_them() -> None:
    assert len(STATISTICS) == len(set(STATISTICS)) == 34
    assert VoiceStatistics().out_channels == 34


def test_a_tone_has_the_values_physics_gives_it() -> None:
    tone = named(0.4 * np.sin(2 * np.pi * 200 * SECONDS))
    assert tone["pitch_mean_hz"] == pytest.approx(200, rel=0.02)
    assert tone["rms"] == pytest.approx(0.4 / np.sqrt(2), rel=0.02)
    assert tone["zero_crossing_rate"] == pytest.approx(2 * 200 / 16_000, rel=0.03)
    assert tone["centroid_hz"] == pytest.approx(200, rel=0.1)
    hiss = named(0.1 * np.random.default_rng(0).standard_normal(64_000))
    assert hiss["centroid_hz"] == pytest.approx(4_000, rel=0.02)
    assert hiss["rolloff_hz"] == pytest.approx(0.85 * 8_000, rel=0.02)
    assert hiss["zero_crossing_rate"] == pytest.approx(0.5, rel=0.03)


def test_pauses_have_no_pitch() -> None:
    half = np.where(SECONDS < 2, 0.4 * np.sin(2 * np.pi * 125 * SECONDS), 0.0)
    assert named(half)["pitch_mean_hz"] == pytest.approx(125, rel=0.02)
    assert named(np.zeros(64_000))["pitch_mean_hz"] == 0.0


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(64_000),
        np.ones(64_000),
        np.full(64_000, 1e-30),
        np.full(64_000, np.nan),
        np.full(64_000, np.inf),
        1e12 * np.sin(SECONDS),
        np.eye(1, 64_000)[0],
        np.zeros(1),
        0.1 * np.sin(np.arange(2_047)),
    ],
    ids=["silence", "constant", "denormal", "nan", "infinite", "huge", "click", "one sample", "short"],
)
def test_always_finite(samples: np.ndarray) -> None:
    row = voice_statistics(samples.astype(np.float32))
    assert row.shape == (34,)
    assert row.dtype == np.float32
    assert np.isfinite(row).all()


def test_a_row_is_the_same_in_every_batch_and_carries_no_gradient() -> None:
    front_end = VoiceStatistics()
    waves = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0), requires_grad=True)
    rows = front_end(waves)
    assert rows.shape == (3, 34, 1)
    assert rows.dtype == torch.float32
    assert not rows.requires_grad
    assert torch.equal(rows, torch.cat([front_end(wave[None]) for wave in waves]))
    assert torch.equal(rows, front_end(waves))


def test_refuses_a_pitch_range_it_cannot_hear() -> None:
    with pytest.raises(ValueError, match="from 300 to 200 Hz is empty"):
        VoiceStatistics(pitch_low_hz=300.0, pitch_high_hz=200.0)
    with pytest.raises(ValueError, match="less than two periods of 65 Hz"):
        VoiceStatistics(fft_samples=256)
