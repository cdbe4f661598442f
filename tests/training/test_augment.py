from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from pydantic import ValidationError

from spoofcheck.errors import UsageError
from spoofcheck.training.augment import AugmentRule, augment, check_rule, crop_or_repeat, noise_spectrum
from spoofcheck.training.augment.chain import _Draws
from spoofcheck.training.augment.channel import band_limit, clip_peaks, cut_edge, equalise, reverberate
from spoofcheck.training.augment.noise import add_noise, coloured_noise, recorded_noise
from spoofcheck.training.augment.timing import mask, time_mask, trim_silence
from tests.support.voice import RATE, lag, voice

NOISES = np.ones((1, 257), dtype=np.float32)
FLOOR = (-75.0, -45.0)
ALL_STEPS: dict[str, Any] = {
    "edge": 1.0, "lossless_mp3": 1.0, "silence_trim": 1.0, "rawboost": 1.0, "reverb": 1.0, "equaliser": 1.0,
    "noise": 1.0, "band_limit": 1.0, "clip": 1.0, "codec": 1.0, "mask": 1.0, "time_mask": 1.0,
}  # fmt: skip
MANY = AugmentRule.model_validate({**dict.fromkeys(ALL_STEPS, 0.4), "clean": 0.1, "floor_db": FLOOR})


def paused(seconds: float = 2.0) -> NDArray[np.float32]:
    """Speech with half a second of faint noise on either side."""
    wave = voice(seconds)
    rng = np.random.default_rng(1)
    wave[: RATE // 2] = 1e-4 * rng.standard_normal(RATE // 2)
    wave[-RATE // 2 :] = 1e-4 * rng.standard_normal(RATE // 2)
    return wave


def snr_db(signal: NDArray[np.float32], mixed: NDArray[np.float32]) -> float:
    return float(20 * np.log10(np.linalg.norm(signal) / np.linalg.norm(mixed - signal)))


@pytest.mark.parametrize("samples", [1, 7_999, 16_000])
@pytest.mark.parametrize("rule", [MANY, AugmentRule(**ALL_STEPS), AugmentRule(**ALL_STEPS, gain_db=(-6.0, 0.0))])
def test_augmentation_is_seeded_and_keeps_length_and_bounds(samples: int, rule: AugmentRule) -> None:
    wave = voice()[:samples]
    for seed in range(8 if rule is MANY else 2):
        once, twice = (augment(wave, False, rule, NOISES, seed) for _ in range(2))
        assert once.dtype == np.float32
        assert once.shape == wave.shape
        assert np.array_equal(once, twice)
        assert np.isfinite(once).all()
        assert np.abs(once).max() <= 1


@pytest.mark.parametrize("step", ALL_STEPS)
def test_every_step_alone_changes_a_window_and_copes_with_silence_and_full_scale(step: str) -> None:
    rule = AugmentRule.model_validate({step: 1.0})
    wave = paused()
    out = augment(wave, False, rule, NOISES, 3)
    assert out.shape == wave.shape
    assert not np.allclose(out, wave, atol=1e-4)
    for other in (np.zeros(8_000, np.float32), np.ones(8_000, np.float32)):
        out = augment(other, False, rule, NOISES, 3)
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= 1


def test_an_absent_section_means_no_augmentation() -> None:
    wave = voice()
    assert AugmentRule().is_off
    assert augment(wave, False, AugmentRule(), NOISES, 3) is wave
    assert not any(AugmentRule.model_validate({step: 0.5}).is_off for step in ALL_STEPS)
    assert not AugmentRule(floor_db=FLOOR).is_off
    assert not AugmentRule(gain_db=(-3.0, 0.0)).is_off


def test_a_window_no_step_was_drawn_for_is_left_as_it_is() -> None:
    wave = voice()
    rule = AugmentRule(reverb=0.3)
    changed = [not np.array_equal(augment(wave, False, rule, NOISES, seed), wave) for seed in range(200)]
    assert 0.2 < np.mean(changed) < 0.4
    spared = AugmentRule(**{**ALL_STEPS, "edge": 0, "lossless_mp3": 0, "silence_trim": 0}, clean=1.0)
    assert np.array_equal(augment(wave, False, spared, NOISES, 1), wave)


@pytest.mark.parametrize("step", ["reverb", "equaliser", "band_limit", "mask"])
def test_without_floor_and_gain_a_window_keeps_its_peak(step: str) -> None:
    rule = AugmentRule.model_validate({step: 1.0})
    out = augment(voice(), False, rule, NOISES, 5)
    assert np.abs(out).max() == pytest.approx(0.3, abs=1e-3)
    quiet = augment(0.1 * voice(), False, rule, NOISES, 5)
    assert quiet == pytest.approx(0.1 * out, abs=2e-5)


def test_gain_draws_every_windows_peak_from_its_bounds() -> None:
    rule = AugmentRule(gain_db=(-12.0, -6.0))
    peaks_db = [20 * np.log10(np.abs(augment(voice(), False, rule, NOISES, seed)).max()) for seed in range(40)]
    assert min(peaks_db) > -12.01
    assert max(peaks_db) < -5.99
    assert np.ptp(peaks_db) > 4


def test_a_floor_leaves_no_exact_silence() -> None:
    wave = voice()
    wave[4000:8000] = 0
    out = augment(wave, False, AugmentRule(floor_db=FLOOR), NOISES, 2)
    assert not (out == 0).any()
    floor_db = 20 * np.log10(np.sqrt(np.mean(out[4500:7500] ** 2)) / np.abs(out).max())
    assert FLOOR[0] - 1 < floor_db < FLOOR[1] + 1


def test_leaving_a_step_out_does_not_change_what_the_others_draw() -> None:
    """Every other step of a window decides as before and gets the same random numbers."""
    for seed in range(20):
        one, other = _Draws(seed), _Draws(seed)
        for step in (*ALL_STEPS, "clean", "floor", "noise_recorded"):
            one.happens("reverb", 0.5)
            one.stream("time_mask").random(5)  # `other` does neither
            if step != "floor":
                assert one.happens(step, 0.5) == other.happens(step, 0.5)
            assert one.stream(step).random() == other.stream(step).random()
    # The level does not depend on the floor, nor the floor on the steps before it.
    gained, floored = AugmentRule(gain_db=(-26.0, 0.0)), AugmentRule(gain_db=(-26.0, 0.0), floor_db=FLOOR)
    for seed in range(5):
        peaks = [np.abs(augment(voice(), False, rule, NOISES, seed)).max() for rule in (gained, floored)]
        assert peaks[0] == pytest.approx(peaks[1], abs=2e-4)


def test_the_chances_of_different_steps_are_independent() -> None:
    chances = np.array([[_Draws(seed).happens(step, 0.5) for step in ALL_STEPS] for seed in range(400)], dtype=float)
    assert np.abs(chances.mean(axis=0) - 0.5).max() < 0.1
    assert np.abs(np.corrcoef(chances.T) - np.eye(len(ALL_STEPS))).max() < 0.25


def test_the_global_random_states_are_left_alone() -> None:
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    first = augment(paused(), False, AugmentRule(**ALL_STEPS), NOISES, 4)
    assert (random.random(), np.random.random()) == expected
    assert np.array_equal(augment(paused(), False, AugmentRule(**ALL_STEPS), NOISES, 4), first)


def test_other_seeds_give_other_versions() -> None:
    rule = AugmentRule(edge=0.9, reverb=0.5, floor_db=FLOOR)
    versions = [augment(voice(), False, rule, NOISES, seed) for seed in range(5)]
    assert all(not np.array_equal(a, b) for i, a in enumerate(versions) for b in versions[:i])


def test_augmentation_takes_no_label_and_pairs_share_every_draw() -> None:
    """The same seed adds the same noise to a window and to its copy, so their difference is the synthesis alone."""
    human, copy = voice(seed=1), voice(seed=2)
    assert not any("label" in name or "spoof" in name or "human" in name for name in AugmentRule.model_fields)
    noisy_human, noisy_copy = (augment(wave, False, AugmentRule(floor_db=FLOOR), NOISES, 7) for wave in (human, copy))
    residual = [
        noisy / np.abs(noisy).max() - wave / np.abs(wave).max()
        for noisy, wave in ((noisy_human, human), (noisy_copy, copy))
    ]
    assert np.corrcoef(residual[0], residual[1])[0, 1] > 0.9


def test_only_lossless_sources_get_the_site_coder() -> None:
    wave = voice()
    rule = AugmentRule(lossless_mp3=1.0)
    assert not np.array_equal(augment(wave, False, rule, NOISES, 1), wave)
    assert np.array_equal(augment(wave, True, rule, NOISES, 1), wave)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reverb": 1.2}, "reverb"),
        ({"reverb": -0.1}, "reverb"),
        ({"reverbb": 0.5}, "reverbb"),
        ({"noise_snr_db": [30, 10]}, "lowest value comes first"),
        ({"gain_db": [-6, 3]}, "gain_db"),
        ({"floor_db": [-40, float("nan")]}, "floor_db"),
        ({"codec": 0.5, "codecs": {"mp3": 0}}, "no codec has a weight; there are mp3, "),
        ({"codecs": {"mp4": 1}}, "'mp3', 'vorbis'"),
        ({"codecs": {"mp3": -1}}, "codecs"),
        ({"rawboost_rule": {"algorithm": "4"}}, r"'1', '2', '3'.*'1\|\|2'"),
        ({"rawboost_rule": {"width_hz": [0, 100]}}, "width_hz"),
        ({"rawboost_rule": {"coefficients": [10.5, 20]}}, "coefficients"),
        ({"time_mask_s": [-1, 1]}, "time_mask_s"),
    ],
)
def test_a_bad_rule_names_the_key_and_the_allowed_values(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AugmentRule.model_validate(settings)


def test_band_limit_and_edge_remove_what_they_say() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)

    def level(wave: NDArray[np.float32], low_hz: int) -> float:
        return float(np.square(np.abs(np.fft.rfft(wave)[low_hz:])).mean())

    assert level(band_limit(noise, 3600, np.random.default_rng(0)), 7900) < 0.01 * level(noise, 7900)
    edged = cut_edge(noise, np.random.default_rng(3))
    assert level(edged, 7990) < 0.5 * level(noise, 7990)
    assert np.allclose(np.fft.rfft(edged)[:6500], np.fft.rfft(noise)[:6500], atol=1e-2)


def test_reverberation_adds_a_tail_after_the_direct_sound() -> None:
    click = np.zeros(RATE, np.float32)
    click[1000] = 0.5
    for seed in range(5):
        out = reverberate(click, np.random.default_rng(seed))
        assert np.allclose(out[:1000], 0, atol=1e-6)
        assert out[1000] == pytest.approx(0.5, abs=1e-6)
        tail = out[1001:].astype(float) ** 2
        assert 10 ** (-18 / 10) * 0.7 < tail.sum() / 0.25 <= 1.01
        assert tail[: tail.size // 2].sum() > 10 * tail[tail.size // 2 :].sum()


def test_the_equaliser_stays_within_8_db_and_shifts_nothing() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    out = equalise(noise, np.random.default_rng(1))
    gain_db = 20 * np.log10(np.abs(np.fft.rfft(out)) / np.abs(np.fft.rfft(noise)))
    assert np.abs(gain_db[1:-1]).max() < 8.1
    assert np.ptp(gain_db[1:-1]) > 3
    assert lag(noise, out) == 0


def test_clipping_flattens_the_peaks_alone() -> None:
    out = clip_peaks(voice(), np.random.default_rng(0))
    top = np.abs(out).max()
    assert 0.3 <= top <= 0.9
    assert np.mean(np.abs(out) == top) > 0.001


@pytest.mark.parametrize("recorded", [False, True])
def test_added_noise_keeps_its_ratio_to_the_signal(recorded: bool) -> None:
    wave = voice()
    noise = coloured_noise(wave.size, NOISES, np.random.default_rng(9)) if recorded else None
    for seed in range(30):
        mixed = add_noise(wave, NOISES, (8.0, 35.0), np.random.default_rng(seed), noise)
        assert 7.9 < snr_db(wave, mixed) < 35 + 14  # a swell may lower the noise by up to 14 dB
    assert snr_db(wave, add_noise(wave, NOISES, (20.0, 20.0), np.random.default_rng(1))) == pytest.approx(20, abs=0.01)


def test_noise_comes_from_recordings_of_any_rate_and_length(tmp_path: Path) -> None:
    t = np.arange(2 * 44_100) / 44_100
    (tmp_path / "street").mkdir()
    soundfile.write(tmp_path / "street" / "hum.WAV", 0.2 * np.stack([np.sin(2 * np.pi * 3000 * t)] * 2, axis=1), 44_100)
    (tmp_path / "notes.txt").write_text("not a sound")
    for samples in (5_000, 64_000):  # shorter and longer than the recording
        noise = recorded_noise(samples, tmp_path, np.random.default_rng(0))
        assert noise.shape == (samples,)
        assert np.sqrt(np.mean(noise**2)) == pytest.approx(1, abs=1e-3)
        spectrum = np.abs(np.fft.rfft(noise))
        assert np.argmax(spectrum) * RATE / samples == pytest.approx(3000, abs=4)
    rule = AugmentRule(noise=1.0, noise_snr_db=(20.0, 20.0), noise_folder=tmp_path, noise_recorded=1.0)
    check_rule(rule)
    wave = voice()
    hummed = augment(wave, False, rule, NOISES, 2)
    residual = hummed / np.abs(hummed).max() - wave / np.abs(wave).max()
    assert np.argmax(np.abs(np.fft.rfft(residual))[2500:3500]) + 2500 == pytest.approx(3000, abs=4)
    assert np.array_equal(augment(wave, False, rule, NOISES, 2), hummed)


def test_noise_recordings_are_checked_before_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"augment\.noise_folder: .*none: no such folder"):
        check_rule(AugmentRule(noise=1.0, noise_folder=tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty: holds no \.aif"):
        check_rule(AugmentRule(noise=1.0, noise_folder=tmp_path / "empty"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.wav").write_bytes(b"no RIFF")
    with pytest.raises(UsageError, match=r"x\.wav: not a readable recording"):
        check_rule(AugmentRule(noise=1.0, noise_folder=tmp_path / "bad"))


@pytest.mark.parametrize("samples", [1, 99, 100, 101, 350])
def test_crop_or_repeat_gives_exactly_the_window(samples: int) -> None:
    wave = np.arange(samples, dtype=np.float32)
    window = crop_or_repeat(wave, 100, np.random.default_rng(0))
    assert window.shape == (100,)
    if samples >= 100:
        assert np.array_equal(np.diff(window), np.ones(99))
    else:
        assert np.array_equal(window, wave[np.arange(100) % samples])


def test_silence_trim_drops_the_silence_and_repeats_the_speech() -> None:
    wave = paused(2.0)
    out = trim_silence(wave, (35.0, 35.0), np.random.default_rng(0))
    assert out.shape == wave.shape
    start = lag(out, wave)
    assert 0.4 * RATE < start <= 0.5 * RATE + 64
    length = int(np.flatnonzero(out[1:] == out[0])[0]) + 1  # where the repetition begins
    assert np.array_equal(out[:length], wave[start : start + length])
    assert 0.95 * RATE < length < 1.15 * RATE
    assert np.array_equal(out[length:], out[: out.size - length])
    assert trim_silence(0.05 * wave, (35.0, 35.0), np.random.default_rng(0)) == pytest.approx(0.05 * out, abs=1e-7)


def test_silence_trim_leaves_silence_and_single_clicks_alone() -> None:
    silent = np.zeros(RATE, np.float32)
    click = silent.copy()
    click[8000] = 0.5
    for wave in (silent, click):
        assert np.array_equal(trim_silence(wave, (30.0, 45.0), np.random.default_rng(0)), wave)


def test_a_time_mask_silences_one_stretch_of_its_length() -> None:
    wave = np.ones(RATE, np.float32)
    for seed in range(10):
        out = time_mask(wave, (0.1, 0.2), np.random.default_rng(seed))
        hushed = np.flatnonzero(out < 1)
        assert 0.1 * RATE - 2 <= hushed.size <= 0.2 * RATE
        assert hushed[-1] - hushed[0] == hushed.size - 1
        assert (out == 0).sum() >= hushed.size - 2 * 80
        assert np.array_equal(out, time_mask(wave, (0.1, 0.2), np.random.default_rng(seed)))
    assert (time_mask(wave, (5.0, 9.0), np.random.default_rng(0)) < 1).sum() <= RATE // 4


def test_a_mask_takes_a_band_or_a_stretch_down_by_50_db() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    kinds = set()
    for seed in range(12):
        out = mask(noise, np.random.default_rng(seed))
        in_time = np.abs(out) < 0.01 * np.abs(noise) + 1e-6
        in_band = np.abs(np.fft.rfft(out)) < 0.01 * np.abs(np.fft.rfft(noise)) + 1e-3
        kinds.add("time" if in_time.sum() > 700 else "band" if 250 < in_band.sum() < 1600 else "none")
    assert kinds == {"time", "band"}


def test_noise_spectrum_ignores_digital_silence() -> None:
    wave = voice()
    wave[:2000] = 0
    assert noise_spectrum(wave) is None
    spectrum = noise_spectrum(voice(2.0))
    assert spectrum is not None
    assert spectrum.shape == (257,)
    assert spectrum.max() == pytest.approx(1)
