from __future__ import annotations

import numpy as np
import pytest
import torch

from spoofcheck.nets.config import BoostedTreesConfig, VoiceFeaturesConfig
from spoofcheck.nets.detector import build_detector
from spoofcheck.nets.features import FEATURES, VoiceFeatures, voice_features
from spoofcheck.types import SAMPLE_RATE_HZ

SECONDS = np.arange(48_000) / SAMPLE_RATE_HZ
LIMITS = {"jitter_percent": 0.2, "shimmer_percent": 0.5}


def named(samples: np.ndarray) -> dict[str, float]:
    return dict(zip(FEATURES, voice_features(samples.astype(np.float32)).tolist(), strict=True))


def pulses(pitch_hz: float, jitter: float = 0.0, shimmer: float = 0.0) -> np.ndarray:
    """A buzz whose periods (and peaks) are alternately longer and shorter by a known share."""
    wave = np.zeros(len(SECONDS))
    at, number = 100.0, 0
    while at < len(wave) - 200:
        sign = 1 if number % 2 else -1
        offsets = np.arange(-100, 101)
        place = int(at)
        x = (offsets - (at - place)) / 12
        wave[place + offsets] += (1 + sign * shimmer / 2) * x * np.exp(-(x**2))  # no mean to be taken off
        at += SAMPLE_RATE_HZ / pitch_hz * (1 + sign * jitter / 2)
        number += 1
    return 0.3 * wave


def test_there_are_47_of_them() -> None:
    assert len(FEATURES) == len(set(FEATURES)) == 47
    assert VoiceFeatures().out_channels == 47


def test_a_tone_has_the_values_physics_gives_it() -> None:
    tone = named(0.4 * np.sin(2 * np.pi * 200 * SECONDS))
    assert tone["pitch_mean_hz"] == pytest.approx(200, rel=0.005)
    assert tone["pitch_deviation_semitones"] == pytest.approx(0, abs=0.05)
    assert tone["rms_db"] == pytest.approx(20 * np.log10(0.4 / np.sqrt(2)), abs=0.1)
    assert tone["zero_crossing_rate"] == pytest.approx(2 * 200 / SAMPLE_RATE_HZ, rel=0.03)
    assert tone["centroid_hz"] == pytest.approx(200, rel=0.1)
    assert tone["flatness"] < 1e-3
    assert tone["phase_coherence"] > 0.95
    assert tone["hnr_db"] > 30
    assert tone["sounding_share"] > 0.99
    assert tone["rms_variance_db2"] < 0.2
    assert all(tone[name] < limit for name, limit in LIMITS.items())


def test_noise_has_the_values_physics_gives_it() -> None:
    hiss = named(0.1 * np.random.default_rng(0).standard_normal(len(SECONDS)))
    assert hiss["centroid_hz"] == pytest.approx(4_000, rel=0.02)
    assert hiss["bandwidth_hz"] == pytest.approx(8_000 / np.sqrt(12), rel=0.05)
    assert hiss["rolloff_hz"] == pytest.approx(0.85 * 8_000, rel=0.02)
    assert hiss["zero_crossing_rate"] == pytest.approx(0.5, rel=0.03)
    assert hiss["rms_db"] == pytest.approx(-20, abs=0.1)
    assert hiss["flatness"] == pytest.approx(np.exp(-np.euler_gamma), rel=0.05)
    assert hiss["phase_coherence"] == pytest.approx(0.17, abs=0.06)
    assert hiss["pitch_mean_hz"] == hiss["jitter_percent"] == 0.0


@pytest.mark.parametrize("share", [0.01, 0.03])
def test_jitter_is_the_mean_difference_of_neighbouring_periods(share: float) -> None:
    measured = named(pulses(125, jitter=share))
    assert measured["jitter_percent"] == pytest.approx(100 * share, rel=0.15)
    assert measured["shimmer_percent"] < 2


@pytest.mark.parametrize("share", [0.05, 0.15])
def test_shimmer_is_the_mean_difference_of_neighbouring_peaks(share: float) -> None:
    measured = named(pulses(125, shimmer=share))
    assert measured["shimmer_percent"] == pytest.approx(100 * share, rel=0.15)
    assert measured["jitter_percent"] < 0.5


def test_pauses_and_gain_change_only_what_is_about_them() -> None:
    voice = pulses(125, jitter=0.01)
    half = np.where(SECONDS < 1.5, voice, 0.0)
    whole, paused, quiet = named(voice), named(half), named(0.05 * voice)
    assert paused["sounding_share"] == pytest.approx(0.5, abs=0.02)
    for name in ("pitch_mean_hz", "jitter_percent", "centroid_hz", "rms_db", "mfcc_2_mean"):
        assert paused[name] == pytest.approx(whole[name], rel=0.05), name
    assert quiet["rms_db"] == pytest.approx(whole["rms_db"] + 20 * np.log10(0.05), abs=0.01)
    for name in set(FEATURES) - {"rms_db"}:
        assert quiet[name] == pytest.approx(whole[name], rel=0.01, abs=1e-3), name


def test_bursts_have_a_tempo() -> None:
    bursts = pulses(125) * (0.02 + np.clip(np.sin(2 * np.pi * 4 * SECONDS), 0, 1))
    assert named(bursts)["tempo_per_s"] == pytest.approx(4, rel=0.35)
    assert named(pulses(125))["tempo_per_s"] < 1


def test_silence_is_a_row_of_zeros_but_for_its_level() -> None:
    silence = named(np.zeros(len(SECONDS)))
    assert silence.pop("rms_db") == -120.0
    assert set(silence.values()) == {0.0}


@pytest.mark.parametrize(
    "samples",
    [
        np.ones(16_000),
        np.full(16_000, 1e-30),
        np.full(16_000, np.nan),
        np.full(16_000, np.inf),
        1e12 * np.sin(SECONDS[:16_000]),
        np.eye(1, 16_000)[0],
        np.zeros(1),
        np.zeros(0),
        0.1 * np.sin(np.arange(2_047)),
        np.sign(np.sin(2 * np.pi * 100 * SECONDS[:16_000])),
    ],
    ids=["constant", "denormal", "nan", "infinite", "huge", "click", "one sample", "none", "short", "square"],
)
def test_always_finite(samples: np.ndarray) -> None:
    row = voice_features(samples.astype(np.float32))
    assert row.shape == (47,)
    assert row.dtype == np.float32
    assert np.isfinite(row).all()


def test_a_row_is_the_same_in_every_batch_and_carries_no_gradient() -> None:
    front_end = VoiceFeatures()
    waves = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0), requires_grad=True)
    rows = front_end(waves)
    assert rows.shape == (2, 47, 1)
    assert rows.dtype == torch.float32
    assert not rows.requires_grad
    assert torch.equal(rows, torch.cat([front_end(wave[None]) for wave in waves]))
    assert torch.equal(rows, front_end(waves))


def test_trees_judge_it_and_frames_they_refuse() -> None:
    assert build_detector(VoiceFeaturesConfig(), BoostedTreesConfig(channels=47, trees=1, nodes=1)) is not None
    with pytest.raises(ValueError, match="gives 47 channels, the back-end takes 34"):
        build_detector(VoiceFeaturesConfig(), BoostedTreesConfig(channels=34, trees=1, nodes=1))
