"""Waveform, speech and spectrogram of a channel, against signals whose pictures are known."""

from __future__ import annotations

import base64
import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from spoofcheck.audio.windows import fill_window, plan_windows
from spoofcheck.detect.again import new_samples
from spoofcheck.detect.views import COLUMNS, PEAKS, RANGE_DB, ROWS, Painter, pictures_of, speech_stretches
from spoofcheck.schema import Pictures
from spoofcheck.types import Window
from tests.support.audio import human_speech, noise, tone

RATE = 16_000
Wave = np.ndarray


def windows_of(samples: Wave, window: int = 4 * RATE, hop: int = 4 * RATE, channel: int | None = None) -> list[Window]:
    spans = plan_windows(len(samples), window, hop)
    return [
        Window(channel, i, start, end, None, fill_window(samples[start:end], window))
        for i, (start, end) in enumerate(spans)
    ]


def painted(samples: Wave, rate: int = RATE, vad: bool = False, block: int = 64_000) -> Pictures:
    painter = Painter(len(samples) / RATE, rate, vad)
    for at in range(0, len(samples), block):
        painter.push(samples[at : at + block])
    return painter.finish()


def image(pictures: Pictures) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures.spectrogram_png_base64))).convert("L"))


@pytest.mark.parametrize("block", [1_777, 64_000, 10**6])
def test_pictures_do_not_depend_on_how_samples_come(block: int) -> None:
    samples = human_speech()
    assert painted(samples, vad=True, block=block) == painted(samples, vad=True, block=4_096)


@pytest.mark.parametrize("hop", [RATE, 3 * RATE, 4 * RATE])
def test_overlapping_windows_give_the_same_pictures(hop: int) -> None:
    samples = human_speech()
    assert pictures_of(windows_of(samples, hop=hop), len(samples) / RATE, vad=False) == painted(samples)


def test_new_samples_are_the_recording_channel_by_channel() -> None:
    left, right = noise(100_000, seed=1)[:, 0], noise(100_000, seed=2)[:, 0]
    pairs = zip(windows_of(left, hop=RATE, channel=0), windows_of(right, hop=RATE, channel=1), strict=True)
    heard: dict[int | None, list[Wave]] = {0: [], 1: []}
    for channel, samples in new_samples(window for pair in pairs for window in pair):
        heard[channel].append(samples)
    assert np.array_equal(np.concatenate(heard[0]), left)
    assert np.array_equal(np.concatenate(heard[1]), right)


def test_a_gap_is_refused() -> None:
    windows = windows_of(noise(12 * RATE)[:, 0])
    with pytest.raises(ValueError, match="gap"):
        list(new_samples([windows[0], windows[2]]))


def test_peaks_are_the_extremes_of_equal_stretches() -> None:
    samples = np.zeros(PEAKS * 100, np.float32)
    samples[250], samples[299], samples[300] = 0.5, -1.0, 2.0
    peaks = painted(samples).peaks
    assert len(peaks) == PEAKS
    assert peaks[2] == (-127, 64)
    assert peaks[3] == (0, 127), "beyond full scale is full scale"
    assert set(peaks[:2] + peaks[4:]) == {(0, 0)}


@pytest.mark.parametrize("n", [1, 159, 160, 161, 399, PEAKS - 1, PEAKS, PEAKS + 1, 12_345])
def test_any_length_has_pictures(n: int) -> None:
    samples = np.linspace(-1, 1, n, dtype=np.float32)
    pictures = painted(samples)
    low, high = np.array(pictures.peaks).T
    assert len(pictures.peaks) == min(n, PEAKS)
    assert (low.min(), high.max()) == (round(127 * samples.min()), round(127 * samples.max()))
    assert image(pictures).shape == (ROWS, min(COLUMNS, max(1, n // 160)))


@pytest.mark.parametrize(("rate", "top_hz"), [(8_000, 4_000.0), (16_000, 8_000.0), (48_000, 8_000.0)])
def test_a_tone_is_a_black_line_at_its_frequency(rate: int, top_hz: float) -> None:
    pictures = painted(tone(3, RATE, hz=2_000)[:, 0], rate)
    grey = image(pictures).astype(int)
    assert pictures.spectrogram_hz == top_hz
    assert pictures.spectrogram_db == (-RANGE_DB, 0.0)
    row = ROWS - 1 - int(grey[:, 10:-10].mean(axis=1).argmin())
    assert abs((row + 0.5) * top_hz / ROWS - 2_000) <= top_hz / ROWS
    assert grey.min() == 0
    assert grey[: ROWS // 4, 10:-10].min() == 255, "nothing far above it"


def test_levels_are_decibels_below_the_strongest() -> None:
    loud, quiet = tone(2, RATE, hz=1_000), tone(2, RATE, hz=1_000, amplitude=0.5 * 10 ** (-35 / 20))
    grey = image(painted(np.concatenate([loud, quiet])[:, 0])).min(axis=0).astype(int)
    middle = len(grey) // 2
    assert grey[10 : middle - 10].max() <= 13, "within a step"
    assert abs(grey[middle + 10 : -10] - 127.5).max() <= 13, "35 of 70 dB down is half of the way to white"


def test_silence_is_white() -> None:
    assert image(painted(np.zeros(RATE, np.float32))).min() == 255


def test_speech_is_where_it_is() -> None:
    silence = np.zeros(3 * RATE, np.float32)
    speech = painted(np.concatenate([silence, human_speech(), silence]), vad=True).speech
    assert 3.0 < speech[0].start_s < 4.0
    assert 12.0 < speech[-1].end_s < 14.5
    assert all(a.end_s + 0.1 <= b.start_s for a, b in pairwise(speech))


def test_short_pauses_are_not_drawn() -> None:
    chunks = np.array([0, 1, 1, 0, 1, 0, 0, 0, 0, 1], np.bool_)
    stretches = list(speech_stretches(chunks, 10 * 512 - 100))
    assert [(s.start_s, s.end_s) for s in stretches] == [(0.032, 0.16), (0.288, (5_120 - 100) / RATE)]
    assert len(list(speech_stretches(chunks, 512 * 10_000))) == 1, "beside an hour, that pause is no wider than a line"
    assert list(speech_stretches(np.zeros(5, np.bool_), 2_560)) == []


def test_pictures_stay_small_however_long_the_recording() -> None:
    speech = np.resize(human_speech(), 120 * RATE)
    room = speech + noise(len(speech), 0.003)[:, 0]
    assert len(painted(room).model_dump_json()) < 22_000


def test_without_samples_there_is_nothing_to_paint() -> None:
    with pytest.raises(ValueError, match="nothing to paint"):
        Painter(1.0, vad=False).finish()
