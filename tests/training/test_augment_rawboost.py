from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spoofcheck.training.augment import RawBoostRule
from spoofcheck.training.augment.rawboost import (
    band_stop,
    convolutive,
    filtered,
    impulsive,
    limit_peak,
    notch_filter,
    rawboost,
    stationary,
)
from tests.support.voice import RATE, lag, voice

ALGORITHMS = ["1", "2", "3", "1+2", "1+3", "2+3", "1+2+3", "1||2"]
PAPER = RawBoostRule()


def tone(hz: float, amplitude: float = 0.1) -> NDArray[np.float64]:
    return np.asarray(amplitude * np.sin(2 * np.pi * hz * np.arange(RATE) / RATE))


def level_at(samples: NDArray[np.float64], hz: int) -> float:
    """Amplitude of the sine at a whole frequency, of one second."""
    return float(2 * np.abs(np.fft.rfft(samples)[hz]) / samples.size)


def test_the_defaults_are_the_papers() -> None:
    assert (PAPER.orders, PAPER.notches, PAPER.impulsive_share, PAPER.impulsive_gain) == (5, 5, 0.1, 2.0)
    assert (PAPER.centre_hz, PAPER.width_hz, PAPER.coefficients) == ((20.0, 8000.0), (100.0, 1000.0), (10, 100))
    assert (PAPER.linear_gain_db, PAPER.higher_gain_db, PAPER.snr_db) == ((0.0, 0.0), (-20.0, -5.0), (10.0, 40.0))


def test_an_algorithms_number_may_be_a_number() -> None:
    assert RawBoostRule.model_validate({"algorithm": 3}) == RawBoostRule(algorithm="3")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("samples", [1, 7_999, 16_000])
def test_every_combination_is_seeded_bounded_and_keeps_the_length(algorithm: str, samples: int) -> None:
    rule = RawBoostRule.model_validate({"algorithm": algorithm})
    loud = (3 * voice())[:samples]
    for seed in range(4):
        out = rawboost(loud, rule, np.random.default_rng(seed))
        assert out.dtype == np.float32
        assert out.shape == loud.shape
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= 1
        assert np.array_equal(out, rawboost(loud, rule, np.random.default_rng(seed)))
    if samples > 1:
        assert not np.array_equal(out, rawboost(loud, rule, np.random.default_rng(99)))
    assert np.array_equal(rawboost(np.zeros(100, np.float32), rule, np.random.default_rng(0)), np.zeros(100))


@pytest.mark.parametrize("centre_hz", [1000.0, 2500.0, 6000.0])
def test_a_notch_removes_its_band_and_keeps_the_rest(centre_hz: float) -> None:
    taps = band_stop(centre_hz, 1000.0, 400)
    assert taps.size == 401
    assert np.allclose(taps, taps[::-1])
    response = np.abs(np.fft.rfft(taps, RATE))  # one bin a hertz
    hz = np.arange(response.size)
    assert response[np.abs(hz - centre_hz) < 400].max() < 10 ** (-45 / 20)
    assert np.abs(response[np.abs(hz - centre_hz) > 600] - 1).max() < 0.01


def test_a_notch_reaches_to_the_ends_of_the_spectrum() -> None:
    for centre_hz, gone_hz, kept_hz in ((20.0, 0, 4000), (8000.0, 8000, 4000)):
        response = np.abs(np.fft.rfft(band_stop(centre_hz, 1000.0, 401), RATE))
        assert response[gone_hz] < 0.01
        assert response[kept_hz] == pytest.approx(1, abs=0.01)


def test_algorithm_1_takes_out_what_lies_in_its_notch() -> None:
    rule = RawBoostRule(
        orders=1, notches=1, centre_hz=(2000.0, 2000.0), width_hz=(800.0, 800.0), coefficients=(400, 400)
    )
    inside, outside = tone(2000.0), tone(5000.0)
    out = convolutive(inside + outside, rule, np.random.default_rng(0))
    assert level_at(out, 2000) < 0.1 * 10 ** (-35 / 20)
    assert level_at(out, 5000) == pytest.approx(0.1, rel=0.02)


def test_random_notches_peak_at_their_gain() -> None:
    for seed in range(10):
        taps = notch_filter(PAPER, (-20.0, -5.0), np.random.default_rng(seed))
        assert taps.size % 2 == 1
        assert np.allclose(taps, taps[::-1])
        peak_db = 20 * np.log10(np.abs(np.fft.rfft(taps, 1 << 15)).max())
        assert -20.01 < peak_db < -4.9
        assert np.abs(np.fft.rfft(taps, 1 << 15)).min() < 0.5 * 10 ** (peak_db / 20)
    taps = notch_filter(PAPER, (0.0, 0.0), np.random.default_rng(0))
    assert np.abs(np.fft.rfft(taps, 1 << 15)).max() == pytest.approx(1, abs=0.01)


def test_filtering_delays_nothing_and_equals_direct_convolution() -> None:
    wave = voice().astype(np.float64)
    taps = notch_filter(PAPER, (0.0, 0.0), np.random.default_rng(3))
    out = filtered(wave, taps)
    assert out == pytest.approx(np.convolve(wave, taps)[taps.size // 2 :][: wave.size], abs=1e-9)
    broad = np.random.default_rng(1).standard_normal(RATE)
    assert lag(broad.astype(np.float32), filtered(broad, taps).astype(np.float32)) == 0


def test_higher_orders_make_harmonics_and_the_first_order_none() -> None:
    """The k-th power of a sine holds its k-th harmonic; a linear filter cannot make one."""
    sine = tone(700.0, amplitude=0.9)
    linear = convolutive(sine, RawBoostRule(orders=1), np.random.default_rng(4))
    bent = convolutive(sine, RawBoostRule(orders=5), np.random.default_rng(4))
    for harmonic in (2, 3, 4, 5):
        # no further than 40 taps from an end, where the tone begins out of nothing
        assert level_at(linear * np.hanning(RATE), 700 * harmonic) < 1e-4
        assert level_at(bent * np.hanning(RATE), 700 * harmonic) > 1e-3
    assert abs(bent.mean()) < 1e-9


def test_algorithm_2_touches_no_more_samples_than_allowed() -> None:
    wave = 0.2 * voice(2.0).astype(np.float64)  # far below full scale, so that nothing is scaled down
    shares = []
    for seed in range(30):
        out = impulsive(wave, PAPER, np.random.default_rng(seed))
        changed = out != wave
        shares.append(changed.mean())
        jump = np.abs(out - wave)[changed] / np.abs(wave[changed])
        assert jump.max(initial=0.0) <= PAPER.impulsive_gain + 1e-9
    assert max(shares) <= 0.1
    assert max(shares) > 0.07
    assert min(shares) < 0.03
    assert np.array_equal(impulsive(wave, RawBoostRule(impulsive_share=0.0), np.random.default_rng(0)), wave)


def test_algorithm_2_leaves_silence_silent() -> None:
    wave = voice().astype(np.float64)
    wave[3000:9000] = 0
    assert not impulsive(wave, PAPER, np.random.default_rng(1))[3000:9000].any()


def test_algorithm_3_keeps_its_signal_to_noise_ratio() -> None:
    wave = voice().astype(np.float64)
    ratios_db = []
    for seed in range(40):
        noise = stationary(wave, PAPER, np.random.default_rng(seed)) - wave
        ratios_db.append(20 * np.log10(np.linalg.norm(wave) / np.linalg.norm(noise)))
        halves = noise.reshape(2, -1).std(axis=1)
        assert halves[0] == pytest.approx(halves[1], rel=0.15)  # stationary, whatever the speech does
    assert min(ratios_db) >= 10 - 1e-9
    assert max(ratios_db) <= 40 + 1e-9
    assert np.ptp(ratios_db) > 20
    fixed = RawBoostRule(snr_db=(17.0, 17.0))
    noise = stationary(wave, fixed, np.random.default_rng(0)) - wave
    assert 20 * np.log10(np.linalg.norm(wave) / np.linalg.norm(noise)) == pytest.approx(17, abs=1e-9)


def test_algorithm_3_colours_its_noise_by_the_notches() -> None:
    rule = RawBoostRule(notches=1, centre_hz=(3000.0, 3000.0), width_hz=(1000.0, 1000.0), coefficients=(300, 300))
    wave = voice().astype(np.float64)
    noise = stationary(wave, rule, np.random.default_rng(2)) - wave
    power = np.square(np.abs(np.fft.rfft(noise)))
    assert power[2700:3300].mean() < 1e-3 * power[4000:8000].mean()


@pytest.mark.parametrize(
    ("rule", "scales"),
    [
        (RawBoostRule(algorithm="1", orders=1), True),
        (RawBoostRule(algorithm="2"), True),
        (RawBoostRule(algorithm="3"), True),
        (RawBoostRule(algorithm="1", orders=5), False),
    ],
)
def test_linear_algorithms_scale_with_the_signal_and_the_non_linear_one_does_not(
    rule: RawBoostRule, scales: bool
) -> None:
    wave = voice()
    whole = rawboost(wave, rule, np.random.default_rng(6))
    tenth = rawboost(0.1 * wave, rule, np.random.default_rng(6))
    assert np.allclose(0.1 * whole, tenth, atol=1e-6) == scales


def test_an_algorithm_draws_the_same_alone_and_in_company() -> None:
    """1||2 is the sum of 1 and 2; 1+2 is 2 applied to the output of 1."""
    wave = 0.1 * voice()
    alone = {name: rawboost(wave, RawBoostRule.model_validate({"algorithm": name}), _rng()) for name in ("1", "2")}
    side_by_side = rawboost(wave, RawBoostRule(algorithm="1||2"), _rng())
    assert side_by_side == pytest.approx(alone["1"] + alone["2"], abs=1e-6)
    in_series = rawboost(wave, RawBoostRule(algorithm="1+2"), _rng())
    assert in_series == pytest.approx(rawboost(alone["1"], RawBoostRule(algorithm="2"), _rng()), abs=1e-6)


def test_peaks_above_full_scale_are_scaled_down_and_others_kept() -> None:
    assert np.array_equal(limit_peak(np.array([0.5, -4.0])), [0.125, -1.0])
    assert np.array_equal(limit_peak(np.array([0.5, -0.9])), [0.5, -0.9])


def _rng() -> np.random.Generator:
    return np.random.default_rng(8)
