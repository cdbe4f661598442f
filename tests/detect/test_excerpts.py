"""Which windows a report plays, and that what it plays is what the recording holds."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.excerpts import ChosenWindow, chosen_windows, encoded, excerpts_of, with_serial
from spoofcheck.errors import InputError
from spoofcheck.types import RecordingSummary, WindowScore
from tests.support.audio import HUMAN_SPEECH, human_speech, noise, tone, write_wav
from tests.support.voice import lag

RATE = 16_000


def scores(llrs: Sequence[float | None], hop_s: float = 4.0) -> list[WindowScore]:
    return [
        WindowScore(round(i * hop_s * RATE), round((i * hop_s + 4) * RATE), None, llr, llr, None)
        for i, llr in enumerate(llrs)
    ]


def picked(windows: Sequence[WindowScore], llr: float | None) -> list[tuple[str, float, float]]:
    return [(c.direction, c.window.start_sample / RATE, c.spoof_llr) for c in chosen_windows(windows, llr)]


def test_the_strongest_of_each_side() -> None:
    windows = scores([1.0, -0.5, None, 3.0, 2.0, -2.0, -1.0])
    synthetic = [("for", 12.0, 3.0), ("for", 16.0, 2.0), ("against", 20.0, -2.0), ("against", 24.0, -1.0)]
    assert picked(windows, 0.7) == synthetic
    human = [("for", 20.0, -2.0), ("for", 24.0, -1.0), ("against", 12.0, 3.0), ("against", 16.0, 2.0)]
    assert picked(windows, -0.7) == human
    assert picked(windows, 0.0) == synthetic


def test_no_window_is_made_to_contradict() -> None:
    assert picked(scores([2.0, 1.0, 0.0]), 1.5) == [("for", 0.0, 2.0), ("for", 4.0, 1.0)]
    assert picked(scores([2.0]), -1.0) == [("against", 0.0, 2.0)]


def test_excerpts_do_not_overlap() -> None:
    windows = scores([3.0, 2.9, 2.8, 2.7, 2.6, -1.0], hop_s=1.0)
    assert picked(windows, 2.0) == [("for", 0.0, 3.0), ("for", 4.0, 2.6)]


def test_at_a_tie_the_earlier_wins() -> None:
    assert picked(scores([1.0, 1.0, 1.0]), 1.0) == [("for", 0.0, 1.0), ("for", 4.0, 1.0)]


def test_an_exhibit_without_a_score_has_no_excerpts() -> None:
    assert picked(scores([None, None]), None) == []


def summary_of(path: Path, channels: str = "auto") -> RecordingSummary:
    items = read_windows(
        path, window_samples=RATE, hop_samples=RATE, channels=channels, vad=False, min_window_speech_s=0.0
    )
    (summary,) = [item for item in items if isinstance(item, RecordingSummary)]
    return summary


def chosen(start_s: float, end_s: float, llr: float = 1.0) -> ChosenWindow:
    window = WindowScore(round(start_s * RATE), round(end_s * RATE), None, llr, llr, None)
    return ChosenWindow("for", window, llr)


def decoded(data_base64: str) -> tuple[np.ndarray, int]:
    return soundfile.read(io.BytesIO(base64.b64decode(data_base64)), dtype="float32")


def test_an_excerpt_is_that_stretch_at_the_recordings_own_rate(tmp_path: Path) -> None:
    rate = 44_100
    left, right = noise(9 * rate, 0.05, seed=3)[:, 0], tone(9, rate, hz=9_000)[:, 0]
    path = write_wav(tmp_path / "call.wav", np.stack([left, right], axis=1), rate)
    excerpts = excerpts_of(summary_of(path, "each"), {0: [], 1: [chosen(2.0, 6.0, 1.5)]})
    assert excerpts[0] == ()
    (excerpt,) = excerpts[1]
    assert (excerpt.start_s, excerpt.end_s, excerpt.spoof_llr) == (2.0, 6.0, 1.5)
    samples, heard_rate = decoded(excerpt.data_base64)
    assert len(samples) / heard_rate == pytest.approx(4.0, abs=0.001)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert spectrum.argmax() * heard_rate / len(samples) == pytest.approx(9_000, abs=2), "beyond the network's 8 kHz"


def test_excerpts_of_speech_are_aligned_and_small() -> None:
    (excerpt,) = excerpts_of(summary_of(HUMAN_SPEECH), {None: [chosen(0.0, 4.0)]})[None]
    samples, rate = decoded(excerpt.data_base64)
    original = human_speech()[: 4 * RATE]
    assert (excerpt.media_type, rate, len(samples)) == ("audio/ogg", RATE, 4 * RATE)
    assert len(excerpt.data_base64) < 28_000
    assert lag(original, samples) == 0
    assert np.corrcoef(original, samples)[0, 1] > 0.95


def test_a_file_that_changed_gives_no_excerpt(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(5 * RATE, seed=1)[:, 0], RATE)
    summary = summary_of(path)
    write_wav(path, noise(5 * RATE, seed=2)[:, 0], RATE)
    with pytest.raises(InputError, match="changed") as caught:
        excerpts_of(summary, {None: [chosen(0.0, 4.0)]})
    assert caught.value.code == "changed-while-reading"


def test_the_bytes_are_the_same_every_time() -> None:
    samples = human_speech()[:RATE]
    assert encoded(samples, RATE) == encoded(samples, RATE)


def test_a_page_with_its_own_serial_is_as_libsndfile_wrote_it() -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, human_speech(), RATE, format="OGG", subtype="OPUS")
    ogg = buffer.getvalue()
    own = int.from_bytes(ogg[14:18], "little")
    assert with_serial(ogg, own) == ogg, "length and checksum of every page"
    other = with_serial(ogg, own ^ 1)
    assert other != ogg
    assert np.array_equal(soundfile.read(io.BytesIO(other))[0], soundfile.read(io.BytesIO(ogg))[0])


def test_flac_where_it_is_smaller_or_opus_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert encoded(np.zeros(4 * RATE, np.float32), RATE)[0] == "audio/flac"
    monkeypatch.setattr(soundfile, "available_subtypes", lambda container: {"VORBIS": "Vorbis"})
    media_type, data = encoded(human_speech()[:RATE], RATE)
    assert media_type == "audio/flac"
    assert np.allclose(soundfile.read(io.BytesIO(data))[0], human_speech()[:RATE], atol=1e-4)
