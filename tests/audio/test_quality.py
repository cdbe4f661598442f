from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from spoofcheck.audio.quality import FLOOR_DBFS, QualityMeter
from spoofcheck.types import Quality
from tests.support.audio import noise, tone


def measured(samples: NDArray[np.float32], is_speech: NDArray[np.bool_] | None = None, block: int = 4_801) -> Quality:
    """Quality of a 16 kHz recording `[n]`, its own native signal."""
    meter = QualityMeter(vad=is_speech is not None)
    for start in range(0, len(samples), block):
        meter.push_native(samples[start : start + block])
        meter.push_16k(samples[start : start + block])
    if is_speech is not None:
        meter.push_speech(is_speech)
    return meter.finish()


def test_tone() -> None:
    quality = measured(tone(2, 16_000, hz=1_000, amplitude=0.5)[:, 0])
    assert quality.peak_dbfs == pytest.approx(20 * math.log10(0.5), abs=0.01)
    assert quality.rms_dbfs == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.01)
    assert 1_000 < quality.bandwidth_hz <= 1_250
    assert quality.clipping_share == 0
    assert quality.silence_share == 0
    assert (quality.speech_s, quality.snr_db) == (None, None)


@pytest.mark.parametrize("edge_hz", [1_500, 3_400, 5_000])
def test_bandwidth_of_band_limited_noise(edge_hz: int) -> None:
    lowpass = butter(40, edge_hz, fs=16_000, output="sos")
    quality = measured(sosfilt(lowpass, noise(64_000)[:, 0]).astype(np.float32))
    assert edge_hz - 125 <= quality.bandwidth_hz <= edge_hz * 1.2 + 125


def test_bandwidth_is_that_of_the_louder_part() -> None:
    loud = tone(3, 16_000, hz=500)[:, 0]
    faint_hiss = noise(64_000, 1e-4)[:, 0]
    assert measured(np.concatenate((loud, faint_hiss))).bandwidth_hz < 1_000
    assert measured(noise(64_000)[:, 0]).bandwidth_hz == 8_000


def test_dc_offset_is_no_sound() -> None:
    assert measured(np.full(32_000, 0.5, np.float32)).bandwidth_hz == 0
    assert 1_000 < measured(tone(2, 16_000, hz=1_000)[:, 0] * 0.1 + 0.5).bandwidth_hz <= 1_250


def test_digital_silence_has_finite_figures() -> None:
    quality = measured(np.zeros(32_000, np.float32), np.zeros(63, bool))
    assert quality == Quality(
        speech_s=0.0,
        silence_share=1.0,
        snr_db=None,
        clipping_share=0.0,
        bandwidth_hz=0.0,
        peak_dbfs=FLOOR_DBFS,
        rms_dbfs=FLOOR_DBFS,
    )


def test_share_of_silence() -> None:
    just_silent = np.full(16_000, 10 ** (-61 / 20), np.float32)
    just_audible = np.full(48_000, 10 ** (-59 / 20), np.float32)
    assert measured(np.concatenate((just_silent, just_audible))).silence_share == 0.25


def test_clipped_sine_counts_the_flat_tops() -> None:
    over = tone(0.2, 16_000, hz=100, amplitude=2.0)[:, 0]
    expected = np.count_nonzero(np.abs(over) >= 1) / len(over)
    for block in (1, 7, 160, 16_000):
        assert measured(np.clip(over, -1, 1), block=block).clipping_share == pytest.approx(expected)


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_runs_of_two_are_clipping_and_single_peaks_are_not(block: int) -> None:
    samples = np.zeros(100, np.float32)
    samples[[10, 20, 21, 40, 41, 42, 99]] = 0.99
    samples[[50, 60, 61]] = -1.0
    assert measured(samples, block=block).clipping_share == pytest.approx(7 / 100)


def test_clipping_is_at_the_extreme_and_near_full_scale() -> None:
    flat = np.full(100, 0.5, np.float32)
    assert measured(flat).clipping_share == 0
    rising = np.repeat(np.array([0.985, 0.99], np.float32), 50)
    assert measured(rising, block=30).clipping_share == pytest.approx(0.5)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 30.0])
def test_snr(snr_db: float) -> None:
    is_speech = np.tile(np.repeat([True, False], 25), 10)
    background = noise(len(is_speech) * 512, 0.01, seed=1)[:, 0]
    voice = noise(len(is_speech) * 512, 0.01 * 10 ** (snr_db / 20), seed=2)[:, 0]
    quality = measured(background + np.where(np.repeat(is_speech, 512), voice, 0).astype(np.float32), is_speech)
    assert quality.snr_db == pytest.approx(snr_db, abs=0.5)
    assert quality.speech_s == pytest.approx(250 * 0.032)


def test_snr_stays_in_its_range() -> None:
    is_speech = np.repeat([True, False], 20)
    loud, nothing = tone(0.64, 16_000)[:, 0], np.zeros(10_240, np.float32)
    assert measured(np.concatenate((loud, nothing)), is_speech).snr_db == 80
    assert measured(np.concatenate((nothing, loud)), is_speech).snr_db == -10


@pytest.mark.parametrize(("chunks", "known"), [(9, False), (10, True)])
def test_snr_needs_both_kinds(chunks: int, known: bool) -> None:
    is_speech = np.arange(40) < chunks
    assert (measured(noise(40 * 512)[:, 0], is_speech).snr_db is not None) is known
    assert (measured(noise(40 * 512)[:, 0], ~is_speech).snr_db is not None) is known


def test_speech_ends_with_the_recording() -> None:
    assert measured(noise(513)[:, 0], np.array([False, True])).speech_s == 1 / 16_000


def test_blocks_and_the_order_of_decisions_do_not_matter() -> None:
    samples = noise(30_001, 0.2)[:, 0]
    is_speech = np.random.default_rng(3).random(59) < 0.5
    whole = measured(samples, is_speech, block=30_001)
    meter = QualityMeter(vad=True)
    for chunk in range(59):
        block = samples[chunk * 512 : (chunk + 1) * 512]
        if chunk % 2:
            meter.push_speech(is_speech[chunk - 1 : chunk + 1])
        meter.push_native(block)
        meter.push_16k(block)
    meter.push_speech(is_speech[58:])
    piecewise = meter.finish()
    for name in Quality.__slots__:
        assert getattr(piecewise, name) == pytest.approx(getattr(whole, name), rel=1e-9), name


def test_decisions_are_refused_where_none_were_announced() -> None:
    with pytest.raises(ValueError, match="voice activity"):
        QualityMeter(vad=False).push_speech(np.array([True]))
