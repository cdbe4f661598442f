"""Changes that should not matter: as long as what they change, aligned, and the same however the samples come."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from spoofcheck.detect.changes import (
    CODED_BLOCK_SAMPLES,
    CONTEXT_SAMPLES,
    Change,
    Coded,
    Gain,
    Resampled,
    Unchanged,
    require_codecs,
    through_mp3,
    through_opus,
)
from spoofcheck.errors import UsageError
from tests.support.audio import human_speech, noise, tone
from tests.support.voice import lag

RATE = 16_000
CHANGES: dict[str, Callable[[], Change]] = {
    "unchanged": Unchanged,
    "gain": lambda: Gain(-6.0),
    "8khz": lambda: Resampled(8_000),
    "22050hz": lambda: Resampled(22_050),
    "mp3": lambda: Coded(through_mp3),
    "opus": lambda: Coded(through_opus),
}


def changed(change: Change, samples: np.ndarray, block: int = 64_000) -> np.ndarray:
    parts = [change.push(samples[at : at + block]) for at in range(0, len(samples), block)]
    return np.concatenate([*parts, change.finish()])


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("n", [1, 2, 511, 16_001])
def test_as_long_as_before(name: str, n: int) -> None:
    out = changed(CHANGES[name](), noise(n)[:, 0])
    assert (out.dtype, out.shape) == (np.float32, (n,))


@pytest.mark.parametrize("name", CHANGES)
def test_speech_stays_speech_and_in_its_place(name: str) -> None:
    samples = human_speech()
    out = changed(CHANGES[name](), samples)
    assert lag(samples, out) == 0
    assert np.corrcoef(samples, out)[0, 1] > 0.97


@pytest.mark.parametrize("name", CHANGES)
def test_blocks_do_not_matter(name: str) -> None:
    samples = human_speech()[: 3 * RATE]
    assert np.allclose(changed(CHANGES[name](), samples, 1_111), changed(CHANGES[name](), samples), atol=1e-6)


def test_gain_is_in_decibels() -> None:
    assert changed(Gain(6.0), np.full(5, 0.25, np.float32)) == pytest.approx(0.25 * 10**0.3)


def test_8_khz_leaves_nothing_above_4_khz() -> None:
    low, high = (changed(Resampled(8_000), tone(2, RATE, hz=hz)[:, 0])[RATE // 2 : RATE] for hz in (3_000, 5_000))
    assert np.sqrt(np.mean(low**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert np.sqrt(np.mean(high**2)) < 1e-4


@pytest.mark.parametrize("block", [1_000, 65_536, 10**7])
@pytest.mark.parametrize("extra", [-1, 0, 1, CONTEXT_SAMPLES, CODED_BLOCK_SAMPLES + CONTEXT_SAMPLES])
def test_blocks_of_a_codec_join_without_a_seam(extra: int, block: int) -> None:
    samples = noise(CODED_BLOCK_SAMPLES + extra)[:, 0]
    heard = []

    def code(part: np.ndarray) -> np.ndarray:
        heard.append(len(part))
        return -part

    assert np.array_equal(changed(Coded(code), samples, block), -samples)
    assert max(heard) <= CODED_BLOCK_SAMPLES + 2 * CONTEXT_SAMPLES


def test_a_missing_codec_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    require_codecs()
    monkeypatch.setattr(soundfile, "check_format", lambda container, subtype: subtype != "OPUS")
    with pytest.raises(UsageError, match=r"--stability needs .* OGG \(OPUS\)"):
        require_codecs()
