"""Acoustic measures against sounds whose properties are known by construction."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spoofcheck.audio.acoustics import MEASURES, Measured, Stretch, acoustic_stretches, measure, stretches_of
from spoofcheck.audio.acoustics.measures import pauses
from spoofcheck.audio.acoustics.stretches import MOST_STRETCHES, STRETCH_SAMPLES, speech_in
from spoofcheck.audio.recording import read_windows
from spoofcheck.errors import InputError
from spoofcheck.types import RecordingSummary
from tests.support.audio import human_speech, noise, tone, write_wav

RATE = 16_000


def whole(samples: NDArray[np.float32]) -> Stretch:
    """All of it taken for speech, whatever a detector would say."""
    return Stretch(samples, ((0, len(samples)),))


def measured(samples: NDArray[np.float32]) -> Measured:
    return measure([whole(samples)])


def number(found: Measured, name: str) -> float:
    value = found[name]
    assert value is not None, name
    return value


def pulse_train(
    hz: float, duration_s: float = 3.0, jitter_samples: float = 0.0, shimmer: float = 0.0
) -> NDArray[np.float32]:
    """Band-limited pulses; every second period is longer, and every second pulse weaker, by a known amount."""
    period = RATE / hz
    starts, amplitudes, at, turn = [], [], period, 0
    while at < duration_s * RATE - 100:
        starts.append(at)
        amplitudes.append(1 - shimmer / 2 if turn % 2 else 1 + shimmer / 2)
        at += period + (jitter_samples if turn % 2 else -jitter_samples) / 2
        turn += 1
    t = np.arange(round(duration_s * RATE), dtype=np.float64)
    wave = np.zeros_like(t)
    for start, amplitude in zip(starts, amplitudes, strict=True):
        near = slice(max(0, int(start) - 40), int(start) + 41)
        x = t[near] - start
        wave[near] += amplitude * np.sinc(x / 2) * np.exp(-((x / 12) ** 2))
    return np.asarray(0.5 * wave, np.float32)


def test_every_measure_is_there_in_the_order_of_the_catalogue() -> None:
    names = [info.name for info in MEASURES]
    assert len(names) == len(set(names)) == 32
    assert list(measured(tone(2, RATE)[:, 0])) == names


def test_steady_pulses_have_their_pitch_and_no_jitter() -> None:
    found = measured(pulse_train(125.0))
    assert number(found, "pitch-mean") == pytest.approx(125.0, rel=0.005)
    assert number(found, "pitch-deviation") < 0.05
    assert number(found, "pitch-range") < 0.1
    assert number(found, "jitter") < 0.05
    assert number(found, "shimmer") < 0.5


def test_jitter_is_what_was_put_in() -> None:
    # Neighbouring periods differ by 2 samples of 128: local jitter is 1.56 %.
    found = measured(pulse_train(125.0, jitter_samples=2.0))
    assert number(found, "jitter") == pytest.approx(100 * 2 / 128, rel=0.1)


def test_shimmer_is_what_was_put_in() -> None:
    # Neighbouring amplitudes differ by 10 % of their mean.
    found = measured(pulse_train(125.0, shimmer=0.1))
    assert number(found, "shimmer") == pytest.approx(10.0, rel=0.1)


def test_hnr_is_the_power_of_a_tone_over_that_of_noise() -> None:
    ratio_db = 15.0
    sine = tone(4, RATE, hz=200.0, amplitude=0.5)[:, 0]
    hiss = noise(len(sine), amplitude=0.5 / math.sqrt(2) * 10 ** (-ratio_db / 20))[:, 0]
    assert number(measured(sine + hiss), "hnr") == pytest.approx(ratio_db, abs=1.0)


def test_pitch_of_a_glide_of_an_octave() -> None:
    t = np.arange(4 * RATE) / RATE
    hz = 150 * 2 ** (t / 4)
    glide = (0.3 * np.sin(2 * np.pi * np.cumsum(hz) / RATE)).astype(np.float32)
    found = measured(glide)
    assert number(found, "pitch-mean") == pytest.approx(hz.mean(), rel=0.01)
    assert number(found, "pitch-range") == pytest.approx(12 * 0.9, rel=0.03)  # 5th to 95th of an even spread
    assert number(found, "pitch-deviation") == pytest.approx(12 / math.sqrt(12), rel=0.03)


def test_spectrum_of_a_tone() -> None:
    found = measured(tone(3, RATE, hz=1000.0, amplitude=0.5)[:, 0])
    assert number(found, "rms-level") == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.01)
    assert number(found, "rms-variance") < 0.2
    assert number(found, "spectral-centroid") == pytest.approx(1000, abs=5)
    assert number(found, "spectral-rolloff") == pytest.approx(1000, abs=2 * RATE / 512)
    assert number(found, "spectral-flatness") < 1e-3
    assert number(found, "spectral-flux") < 0.05
    assert number(found, "zero-crossings") == pytest.approx(2000, rel=0.01)
    assert number(found, "phase-coherence") > 0.99


def test_spectrum_of_white_noise() -> None:
    found = measured(noise(5 * RATE)[:, 0])
    assert number(found, "spectral-flatness") == pytest.approx(math.exp(-np.euler_gamma), abs=0.02)
    assert number(found, "spectral-centroid") == pytest.approx(4000, rel=0.02)
    assert number(found, "spectral-bandwidth") == pytest.approx(8000 / math.sqrt(12), rel=0.02)
    assert number(found, "zero-crossings") == pytest.approx(8000, rel=0.02)
    assert number(found, "phase-coherence") < 0.25
    for name in ("jitter", "shimmer", "hnr", "pitch-mean", "tempo"):
        assert found[name] is None, name


def test_level_variance_of_two_levels() -> None:
    block = noise(RATE // 2)[:, 0]
    found = measured(np.concatenate([block, block * 0.1] * 4))
    assert number(found, "rms-variance") == pytest.approx(100.0, rel=0.1)  # half the frames 20 dB down: 10² dB²


def test_tempo_counts_syllables() -> None:
    t = np.arange(5 * RATE) / RATE
    buzz = pulse_train(125.0, 5.0)
    syllables = (buzz * np.maximum(0.02, np.sin(2 * np.pi * 2 * t) ** 2)).astype(np.float32)  # 4 a second
    assert number(measured(syllables), "tempo") == pytest.approx(4.0, abs=0.25)


def test_pauses_are_long_gaps_between_speech() -> None:
    second = RATE
    spoken = ((second, 3 * second), (int(3.5 * second), 5 * second), (int(5.1 * second), 7 * second))
    found = pauses([spoken])
    assert found["pauses"] == pytest.approx(10.0)  # one in 6 s; 0.1 s is none
    assert found["pause-mean"] == pytest.approx(0.5)
    both = pauses([spoken, ((0, 2 * second), (3 * second, 4 * second))])
    assert both["pauses"] == pytest.approx(12.0)
    assert both["pause-mean"] == pytest.approx(0.75)
    assert pauses([((0, 2 * second),)]) == {"pauses": None, "pause-mean": None}
    assert pauses([((0, 4 * second),)]) == {"pauses": 0.0, "pause-mean": None}


@pytest.mark.parametrize(
    "samples", [np.zeros(4 * RATE, np.float32), np.full(4 * RATE, 1e-6, np.float32)], ids=["zeros", "dither"]
)
def test_silence_has_no_measures(samples: NDArray[np.float32]) -> None:
    assert set(measured(samples).values()) == {None}
    assert set(measure(stretches_of(samples)).values()) == {None}


def test_little_speech_or_none_has_no_measures() -> None:
    sine = tone(4, RATE)[:, 0]
    for speech in ((), ((0, RATE - 1),)):
        assert set(measure([Stretch(sine, speech)]).values()) == {None}
    assert set(measure([]).values()) == {None}


@pytest.fixture(scope="module")
def speech() -> tuple[Stretch, ...]:
    return stretches_of(human_speech())


@pytest.fixture(scope="module")
def of_speech(speech: tuple[Stretch, ...]) -> Measured:
    return measure(speech)


def test_human_speech_has_every_measure(of_speech: Measured) -> None:
    assert all(value is not None and math.isfinite(value) for value in of_speech.values())


def test_measures_are_the_same_every_time(speech: tuple[Stretch, ...], of_speech: Measured) -> None:
    assert measure(speech) == of_speech


@pytest.mark.parametrize("gain", [0.03, 1.7])
def test_only_the_level_depends_on_gain(speech: tuple[Stretch, ...], of_speech: Measured, gain: float) -> None:
    found = measure([Stretch(s.samples * np.float32(gain), s.speech, s.start_sample) for s in speech])
    for name, value in of_speech.items():
        expected = number(of_speech, name) + (20 * math.log10(gain) if name == "rms-level" else 0)
        assert number(found, name) == pytest.approx(expected, rel=1e-3, abs=1e-4), (name, value)


def test_what_nobody_says_changes_nothing_of_the_voice(speech: tuple[Stretch, ...], of_speech: Measured) -> None:
    hum = tone(12, RATE, hz=100.0, amplitude=0.2)[:, 0]
    louder = []
    for stretch in speech:
        samples = hum[: len(stretch.samples)].copy()
        for start, end in stretch.speech:
            samples[start:end] = stretch.samples[start:end]
        louder.append(Stretch(samples, stretch.speech, stretch.start_sample))
    found = measure(louder)
    for name in ("jitter", "shimmer", "hnr", "pitch-mean", "tempo", "pauses", "rms-level"):
        assert number(found, name) == pytest.approx(number(of_speech, name), rel=1e-6), name


def test_value_is_the_median_over_stretches() -> None:
    found = measure([whole(tone(2, RATE, hz=hz)[:, 0]) for hz in (150.0, 200.0, 400.0)])
    assert number(found, "pitch-mean") == pytest.approx(200.0, rel=0.001)


def test_speech_in_finds_the_speech_within_the_samples() -> None:
    samples = np.concatenate((np.zeros(2 * RATE, np.float32), human_speech()[: 4 * RATE + 100]))
    found = speech_in(samples)
    assert found
    assert found[0][0] > RATE
    assert all(start < end for start, end in found)
    assert found[-1][1] <= len(samples)
    assert speech_in(np.zeros(0, np.float32)) == ()


@pytest.mark.parametrize(
    ("seconds", "expected_s"),
    [(0.5, [0.5]), (10.0, [10.0]), (10.5, [10.0]), (11.0, [10.0, 1.0]), (25.0, [10.0, 10.0, 5.0])],
)
def test_a_short_recording_is_covered_once(seconds: float, expected_s: list[float]) -> None:
    found = stretches_of(noise(round(seconds * RATE))[:, 0])
    assert [stretch.duration_s for stretch in found] == expected_s
    assert [stretch.start_sample for stretch in found] == [index * STRETCH_SAMPLES for index in range(len(found))]


def test_no_samples_no_stretches() -> None:
    assert stretches_of(np.zeros(0, np.float32)) == ()


def test_a_long_recording_gives_the_speech_of_each_sixth() -> None:
    quiet = np.zeros(STRETCH_SAMPLES, np.float32)
    spoken = human_speech()[:STRETCH_SAMPLES]
    samples = np.concatenate([spoken if index in (1, 2, 5, 6, 9, 10) else quiet for index in range(12)])
    found = stretches_of(samples)
    assert len(found) == MOST_STRETCHES
    assert [stretch.start_sample // STRETCH_SAMPLES for stretch in found] == [1, 2, 5, 6, 9, 10]
    assert sum(len(stretch.samples) for stretch in found) <= 60 * RATE


def first_reading(path: Path, channels: str = "auto") -> RecordingSummary:
    items = list(
        read_windows(
            path,
            window_samples=4 * RATE,
            hop_samples=2 * RATE,
            channels="each" if channels == "each" else "auto",
            vad=False,
            min_window_speech_s=0.0,
        )
    )
    assert isinstance(items[-1], RecordingSummary)
    return items[-1]


def same(left: tuple[Stretch, ...], right: tuple[Stretch, ...]) -> bool:
    return [(s.start_sample, s.speech) for s in left] == [(s.start_sample, s.speech) for s in right] and all(
        np.array_equal(a.samples, b.samples) for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("seconds", [3.0, 23.0, 75.0])
def test_stretches_of_a_file_are_those_of_its_samples(tmp_path: Path, seconds: float) -> None:
    samples = np.resize(human_speech(), round(seconds * RATE))
    path = write_wav(tmp_path / "a.wav", samples, RATE, "FLOAT")
    found = acoustic_stretches(first_reading(path), [None])
    assert same(found[None], stretches_of(samples))


def test_channels_are_kept_apart(tmp_path: Path) -> None:
    left, right = human_speech()[: 4 * RATE], noise(4 * RATE)[:, 0]
    path = write_wav(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, "FLOAT")
    found = acoustic_stretches(first_reading(path, "each"), [0, 1])
    assert same(found[0], stretches_of(left))
    assert same(found[1], stretches_of(right))


def test_a_recording_that_changed_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", human_speech(), RATE)
    summary = first_reading(path)
    write_wav(path, human_speech() * np.float32(0.5), RATE)
    with pytest.raises(InputError, match="changed") as caught:
        acoustic_stretches(summary, [None])
    assert caught.value.code == "changed-while-reading"
