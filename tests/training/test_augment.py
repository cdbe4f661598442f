from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from spoofcheck.training.augment import (
    AugmentRule,
    augment,
    band_limit,
    code,
    crop_or_repeat,
    cut_edge,
    noise_spectrum,
)
from spoofcheck.training.conditions import CONDITIONS, ORIGINAL, degrade
from spoofcheck.training.copysynth import copy_window, griffin_lim_linear, griffin_lim_mel, vocoders, world
from spoofcheck.training.nuisance import nuisance_auc

RATE = 16_000
NOISES = np.ones((1, 257), dtype=np.float32)
NO_STEPS = AugmentRule(edge=0, clean=1, lossless_mp3=0)


def voice(seconds: float = 1.0, seed: int = 0) -> NDArray[np.float32]:
    """A vowel-like buzz with syllables: harmonics of 120 Hz under a 3 Hz envelope."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * 120 * k * t + rng.uniform(0, 6)) / k for k in range(1, 40))
    wave = buzz * (0.55 + 0.45 * np.sin(2 * np.pi * 3 * t)) + 0.01 * rng.standard_normal(t.size)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def lag(a: NDArray[np.float32], b: NDArray[np.float32]) -> int:
    size = 2 * a.size
    correlation = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    at = int(np.argmax(np.abs(correlation)))
    return at if at < a.size else at - size


@pytest.mark.parametrize("samples", [8_000, 15_999, 32_000])
def test_augmentation_is_seeded_and_keeps_the_length(samples: int) -> None:
    wave = voice(2.0)[:samples]
    for seed in range(12):
        once, twice = (augment(wave, False, AugmentRule(clean=0.1), NOISES, seed) for _ in range(2))
        assert once.dtype == np.float32
        assert once.shape == wave.shape
        assert np.array_equal(once, twice)
        assert np.isfinite(once).all()
        assert 0.01 < np.abs(once).max() < 1.01
        assert not (once == 0).any()


def test_other_seeds_give_other_versions() -> None:
    wave = voice()
    versions = [augment(wave, False, AugmentRule(), NOISES, seed) for seed in range(5)]
    assert all(not np.array_equal(a, b) for i, a in enumerate(versions) for b in versions[:i])


def test_augmentation_takes_no_label_and_pairs_share_every_draw() -> None:
    """The same seed adds the same noise to a window and to its copy, so their difference is the synthesis alone."""
    human, copy = voice(seed=1), voice(seed=2)
    names = {field.name for field in dataclasses.fields(AugmentRule)}
    assert not any("label" in name or "spoof" in name or "human" in name for name in names)
    noisy_human, noisy_copy = (augment(wave, False, NO_STEPS, NOISES, 7) for wave in (human, copy))
    residual = [
        noisy / np.abs(noisy).max() - wave / np.abs(wave).max()
        for noisy, wave in ((noisy_human, human), (noisy_copy, copy))
    ]
    assert np.corrcoef(residual[0], residual[1])[0, 1] > 0.9


def test_only_lossless_sources_get_the_site_coder() -> None:
    rule = dataclasses.replace(NO_STEPS, lossless_mp3=1.0)
    wave = voice()
    assert not np.array_equal(augment(wave, False, rule, NOISES, 1), augment(wave, True, rule, NOISES, 1))
    rule = dataclasses.replace(NO_STEPS, lossless_mp3=0.0)
    assert np.array_equal(augment(wave, False, rule, NOISES, 1), augment(wave, True, rule, NOISES, 1))


@pytest.mark.parametrize(
    ("container", "subtype", "compression"),
    [("MP3", "MPEG_LAYER_III", 0.5), ("OGG", "VORBIS", 0.5), ("OGG", "OPUS", 0.8), ("WAV", "ULAW", None)],
)
def test_coders_keep_length_and_alignment(container: str, subtype: str, compression: float | None) -> None:
    wave = voice(1.3)
    coded = code(wave, RATE, container, subtype, compression)
    assert coded.shape == wave.shape
    assert abs(lag(wave, coded)) <= 16
    assert np.corrcoef(wave[2000:-2000], coded[2000:-2000])[0, 1] > 0.8


def test_band_limit_and_edge_remove_what_they_say() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)

    def level(wave: NDArray[np.float32], low_hz: int) -> float:
        return float(np.square(np.abs(np.fft.rfft(wave)[low_hz:])).mean())

    assert level(band_limit(noise, 3600, np.random.default_rng(0)), 7900) < 0.01 * level(noise, 7900)
    edged = cut_edge(noise, np.random.default_rng(3))
    assert level(edged, 7990) < 0.5 * level(noise, 7990)
    assert np.allclose(np.fft.rfft(edged)[:6500], np.fft.rfft(noise)[:6500], atol=1e-2)


@pytest.mark.parametrize("samples", [1, 99, 100, 101, 350])
def test_crop_or_repeat_gives_exactly_the_window(samples: int) -> None:
    wave = np.arange(samples, dtype=np.float32)
    window = crop_or_repeat(wave, 100, np.random.default_rng(0))
    assert window.shape == (100,)
    if samples >= 100:
        assert np.array_equal(np.diff(window), np.ones(99))
    else:
        assert np.array_equal(window, wave[np.arange(100) % samples])


def test_noise_spectrum_ignores_digital_silence() -> None:
    wave = voice()
    wave[:2000] = 0
    assert noise_spectrum(wave) is None
    spectrum = noise_spectrum(voice(2.0))
    assert spectrum is not None
    assert spectrum.shape == (257,)
    assert spectrum.max() == pytest.approx(1)


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


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_are_deterministic_and_change_the_signal(condition: str) -> None:
    wave = voice(1.5)
    a, b = (degrade(wave, condition, "clip") for _ in range(2))
    assert np.array_equal(a, b)
    assert abs(a.size - wave.size) < 2_400
    assert not np.allclose(a[:8000], wave[:8000], atol=1e-4)
    assert degrade(wave, ORIGINAL, "clip") is wave


def test_nuisance_auc_sees_a_planted_shortcut_and_nothing_in_noise() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((400, 6)), np.repeat([0, 1], 200)
    assert nuisance_auc(features, labels, 0) < 0.62
    features[labels == 1, 1] += 3
    assert nuisance_auc(features, labels, 0) > 0.95
