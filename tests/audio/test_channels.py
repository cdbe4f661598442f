from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from spoofcheck.audio.channels import channels_are_one
from tests.support.audio import human_speech, noise

RATE = 16_000


def are_one(samples: NDArray[np.float32], block: int = 5_000) -> bool:
    blocks = (samples[start : start + block] for start in range(0, len(samples), block))
    return channels_are_one(blocks, RATE)


def stereo(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack((left, right), axis=1)


def voice() -> NDArray[np.float32]:
    return human_speech()[:80_000]


@pytest.mark.parametrize("gain", [1.0, 0.5, 2.0, 0.05])
def test_one_signal_at_two_levels_is_one(gain: float) -> None:
    assert are_one(stereo(voice(), gain * voice()))


@pytest.mark.parametrize(("difference_db", "one"), [(-50, True), (-30, False)])
def test_residual_of_40_db_divides(difference_db: float, one: bool) -> None:
    level = np.sqrt(np.mean(voice()[:RATE] ** 2))
    other = noise(RATE, level * 10 ** (difference_db / 20))[:, 0]
    assert are_one(stereo(voice()[:RATE], voice()[:RATE] + other)) is one


def test_two_voices_are_two() -> None:
    assert not are_one(stereo(voice(), voice()[::-1]))


def test_silent_channel_beside_a_sounding_one_is_apart() -> None:
    assert not are_one(stereo(voice(), np.zeros(80_000, np.float32)))
    assert not are_one(stereo(np.zeros(80_000, np.float32), voice()))


def test_inverted_polarity_is_apart_because_a_mix_would_cancel() -> None:
    assert not are_one(stereo(voice(), -voice()))


def test_silence_says_nothing() -> None:
    assert are_one(np.zeros((50_000, 2), np.float32))
    faint = noise(50_000, 1e-5, channels=2)
    assert are_one(faint)
    assert are_one(np.concatenate((faint, stereo(voice(), voice()))))


def test_a_difference_of_a_second_is_found() -> None:
    other = voice().copy()
    other[70_000:] = other[70_000:][::-1]
    assert not are_one(stereo(voice(), other))
    third = np.stack((voice(), voice(), other), axis=1)
    assert not are_one(third)


def test_reading_stops_at_the_first_difference() -> None:
    def blocks() -> Iterator[NDArray[np.float32]]:
        yield noise(RATE, channels=2)
        raise AssertionError("read on after the answer was known")

    assert not channels_are_one(blocks(), RATE)


@pytest.mark.parametrize("block", [1_000, RATE - 1, RATE, RATE + 1, 80_000])
def test_blocks_do_not_matter(block: int) -> None:
    other = voice() + noise(80_000, 2e-4)[:, 0]
    assert are_one(stereo(voice(), other), block) is are_one(stereo(voice(), other))
