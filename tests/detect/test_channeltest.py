"""What is not speech, a copy through a codec, and what tracing them again says of a trace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import soundfile

from spoofcheck.audio.windows import fill_window, plan_windows
from spoofcheck.detect.channeltest import (
    CODEC,
    LEAST_KEPT,
    MOST_WINDOWS,
    channel_test,
    coded,
    evenly_spaced,
    recorded,
    residue_windows,
)
from spoofcheck.detect.gallery import Floats, Gallery, Source
from spoofcheck.detect.residue import MOST_PIECES, PIECE_SAMPLES, SpeechRemover, SpreadSamples
from spoofcheck.errors import UsageError
from spoofcheck.schema import ChannelTest
from spoofcheck.types import Window
from tests.support.audio import human_speech, noise, tone
from tests.support.voice import lag

RATE = 16_000
Wave = np.ndarray


def windows_of(samples: Wave, window: int = RATE, hop: int = RATE) -> list[Window]:
    spans = plan_windows(len(samples), window, hop)
    return [
        Window(None, i, start, end, None, fill_window(samples[start:end], window))
        for i, (start, end) in enumerate(spans)
    ]


def without_speech(samples: Wave, block: int = 10_000) -> Wave:
    remover = SpeechRemover()
    parts = [remover.push(samples[at : at + block]) for at in range(0, len(samples), block)]
    return np.concatenate([*parts, remover.finish()])


def level_db(samples: Wave) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def between_noises(level: float, pause_s: float = 2.0) -> Wave:
    """Noise, 4 s of speech without a pause, noise."""
    whole = human_speech()
    speech = np.concatenate([whole[int(5.35 * RATE) : int(7.35 * RATE)], whole[int(8.4 * RATE) : int(10.4 * RATE)]])
    n = round(pause_s * RATE)
    return np.concatenate([noise(n, level, seed=1)[:, 0], speech, noise(n, level, seed=2)[:, 0]])


# --- the residue ---


def test_what_is_left_is_what_was_not_speech() -> None:
    left = without_speech(between_noises(0.003))
    assert 3.2 * RATE < len(left) < 4.0 * RATE, "two pauses of 2 s, each without a margin beside the speech"
    assert level_db(left) == pytest.approx(20 * np.log10(0.003), abs=1.0), "a word would lift it by 20 dB and more"


@pytest.mark.parametrize("block", [37, 512, 16_000, 10**6])
def test_the_residue_does_not_depend_on_how_the_samples_come(block: int) -> None:
    samples = human_speech()
    assert np.array_equal(without_speech(samples, block), without_speech(samples, 4096))


@pytest.mark.parametrize("level", [0.0, 10 ** (-90 / 20)])
def test_silence_and_rounding_noise_are_no_residue(level: float) -> None:
    assert without_speech(between_noises(level)).size == 0


def test_quiet_room_noise_is_a_residue() -> None:
    assert without_speech(between_noises(10 ** (-80 / 20))).size > 3 * RATE


def test_of_a_long_residue_seconds_from_all_over_are_kept() -> None:
    spread = SpreadSamples()
    for second in range(300):
        spread.push(np.full(PIECE_SAMPLES, second, np.float32))
    spread.push(np.full(100, -1, np.float32))
    kept, counts = np.unique(spread.joined(), return_counts=True)
    assert kept.tolist() == [-1, *range(0, 300, 16)], "by 16 seconds: 300 at a distance of 8 would be 38"
    assert counts.tolist() == [100, *[PIECE_SAMPLES] * 19]
    assert len(spread.joined()) <= MOST_PIECES * PIECE_SAMPLES


def test_a_short_residue_is_kept_whole() -> None:
    samples = noise(round(7.3 * RATE))[:, 0]
    spread = SpreadSamples()
    for at in range(0, len(samples), 1000):
        spread.push(samples[at : at + 1000])
    assert np.array_equal(spread.joined(), samples)


def test_residue_windows_are_full_and_cover_it() -> None:
    samples = np.arange(int(2.5 * RATE), dtype=np.float32)
    cut = residue_windows(samples, RATE)
    assert [window[0] for window in cut] == [0, RATE, 1.5 * RATE]
    repeated = residue_windows(samples, 4 * RATE)
    assert len(repeated) == 1
    assert np.array_equal(repeated[0][: len(samples)], samples)
    assert repeated[0][len(samples)] == samples[0]
    assert residue_windows(samples[: RATE - 1], 4 * RATE) == []


# --- the codec ---


@pytest.mark.parametrize("n_samples", [500, 16_000, 64_000, 64_600])
def test_a_copy_is_as_long_and_in_its_place(n_samples: int) -> None:
    samples = human_speech()[2 * RATE : 2 * RATE + n_samples]
    copy = coded(samples)
    assert copy.shape == samples.shape
    assert copy.dtype == np.float32
    if n_samples >= RATE:
        assert lag(samples, copy) == 0
        assert 12 < level_db(samples) - level_db(samples - copy) < 22, "speech is kept, its fine structure is not"
    assert np.array_equal(coded(samples), copy)


def test_a_codec_that_is_not_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("Unknown subtype: 'OPUS'")

    monkeypatch.setattr(soundfile, "write", fails)
    with pytest.raises(UsageError, match=r"needs a libsndfile that writes Opus .*--no-trace"):
        coded(human_speech()[:RATE])


def test_coded_windows_are_evenly_spaced() -> None:
    assert evenly_spaced(range(3), 8) == {0, 1, 2}
    assert evenly_spaced(range(15), 8) == {0, 2, 4, 6, 8, 10, 12, 14}
    assert evenly_spaced([5, 9, 100], 2) == {5, 100}
    assert evenly_spaced([5, 9], 1) == {5}


def test_a_filled_window_is_what_was_recorded() -> None:
    samples = noise(300)[:, 0]
    (window,) = windows_of(samples, RATE)
    assert np.array_equal(recorded(window), samples)


# --- both ---

MARK = np.sign(noise(RATE, seed=9)[:, 0]).astype(np.float32)
"""A pattern that a known position of every window of 1 s may hold, at a hundredth of full scale."""


def bands(windows: Sequence[Wave]) -> Floats:
    """A tracer that hears how the energy lies below and above 4 kHz, and whether the mark is there."""
    rows = []
    for window in windows:
        power = np.abs(np.fft.rfft(window)) ** 2
        half = len(power) // 2
        mark = float(window @ MARK) / RATE / 0.01
        row = np.array([power[:half].sum(), power[half:].sum(), (mark > 0.7) * 10 * power.sum()]) / power.sum()
        rows.append(row / np.linalg.norm(row))
    return np.array(rows)


GALLERY = Gallery(
    [Source(name, np.eye(3)[i], np.empty((0, 3)), "shipped", 0) for i, name in enumerate(("low", "high", "mark"))]
)


def heard(
    samples: Wave, decision: str = "low", group: Sequence[str] = (), hop: int = RATE, similarity: float = 0.9
) -> ChannelTest:
    windows = windows_of(samples, hop=hop)
    accepts = lambda similarities: bool(similarities.max() >= 0.9)  # noqa: E731
    spoken = [window.index for window in windows if 2 * RATE <= window.start_sample <= 5 * RATE]
    return channel_test(iter(windows), spoken or [0], decision, similarity, GALLERY, accepts, group, bands, RATE)


def in_noise(hiss: float, hum: float) -> Wave:
    samples = between_noises(0.0)
    above = noise(len(samples), 1.0, seed=3)[:, 0]
    spectrum = np.fft.rfft(above)
    spectrum[: len(spectrum) // 2] = 0
    above = np.fft.irfft(spectrum, len(samples))
    return (samples + hiss * above + hum * tone(len(samples) / RATE, RATE, 150)[:, 0]).astype(np.float32)


def test_speech_of_a_source_in_other_noise_passes() -> None:
    found = heard(in_noise(hiss=0.003, hum=0))
    assert found.failed == ()
    assert (found.codec, found.codec_decision, found.residue_decision) == (CODEC, "low", "high")
    assert found.codec_similarity > 0.9 > 0.5 > (found.residue_similarity or 0.0)
    assert 3.2 < found.residue_s < 4.0


def test_a_source_without_speech_fails() -> None:
    found = heard(in_noise(hiss=0, hum=0.02))
    assert found.failed == ("residue",)
    assert (found.codec_decision, found.residue_decision) == ("low", "low")


def test_a_source_that_cannot_be_told_apart_counts_as_the_same() -> None:
    found = heard(in_noise(hiss=0.003, hum=0), group=("low", "high"))
    assert (found.failed, found.residue_decision) == (("residue",), "high")


def test_a_source_that_is_far_less_close_after_a_codec_fails() -> None:
    speech = in_noise(hiss=0.003, hum=0)
    kept = heard(speech).codec_similarity
    assert heard(speech, similarity=kept / (LEAST_KEPT - 0.01)).failed == ("codec",)
    assert heard(speech, similarity=kept / (LEAST_KEPT + 0.01)).failed == ()
    assert heard(speech, similarity=kept / (LEAST_KEPT - 0.01)).codec_closest == "low"


def test_a_source_that_a_codec_takes_away_fails() -> None:
    speech = between_noises(0.0, pause_s=0.0)
    marked = (speech + 0.01 * np.tile(MARK, 4)).astype(np.float32)
    assert bands([marked[:RATE]]).argmax() == 2
    found = heard(marked, decision="mark")
    assert (found.failed, found.codec_decision) == (("codec",), "low")
    assert heard(marked, decision="mark", group=("mark", "low")).failed == ()


def test_too_little_residue_is_not_judged() -> None:
    found = heard(between_noises(0.003, pause_s=0.3))
    assert (found.residue_s, found.residue_decision, found.residue_similarity) == (0, None, None)
    assert found.failed == ()


def test_windows_that_overlap_are_heard_once() -> None:
    samples = in_noise(hiss=0.003, hum=0)[: 7 * RATE + 1234]
    apart, overlapping = heard(samples), heard(samples, hop=RATE // 4)
    assert overlapping.residue_s == apart.residue_s
    assert overlapping.residue_similarity == apart.residue_similarity


def test_few_windows_are_coded_and_the_rest_is_not_kept() -> None:
    samples = np.tile(in_noise(hiss=0.003, hum=0), 8)
    asked = []

    def counting(windows: Sequence[Wave]) -> Floats:
        asked.append(len(windows))
        return bands(windows)

    channel_test(
        iter(windows_of(samples)), range(40), "low", 1.0, GALLERY, lambda _: True, (), counting, window_samples=RATE
    )
    assert sorted(asked) == [MOST_WINDOWS, max(asked)]
    assert max(asked) <= MOST_PIECES


def test_a_second_reading_without_what_is_needed_is_refused() -> None:
    windows = windows_of(in_noise(0, 0))
    with pytest.raises(ValueError, match="none of the traced windows"):
        channel_test(windows, [99], "low", 1.0, GALLERY, lambda _: True, (), bands, RATE)
    with pytest.raises(ValueError, match="window 0 has no samples"):
        channel_test([Window(None, 0, 0, RATE, None, None)], [0], "low", 1.0, GALLERY, lambda _: True, (), bands, RATE)
    with pytest.raises(ValueError, match="not in tuple"):
        channel_test(windows, [0], "unknown", 1.0, GALLERY, lambda _: True, (), bands, RATE)
