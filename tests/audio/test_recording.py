from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile
import soxr

from spoofcheck.audio import recording
from spoofcheck.audio.recording import read_windows
from spoofcheck.audio.speech import SPEECH_PROBABILITY, SpeechMeter, speech_seconds
from spoofcheck.audio.windows import plan_windows
from spoofcheck.errors import InputError
from spoofcheck.types import AudioFile, RecordingSummary, Window
from tests.support.audio import EXAMPLES, HUMAN_SPEECH, encode, human_speech, noise, tone, write_wav

W = 64_000


def stream(
    path: Path,
    *,
    hop: int = W,
    channels: Literal["auto", "mix", "each"] = "auto",
    vad: bool = True,
    min_speech_s: float = 0.5,
    window: int = W,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[AudioFile | Window | RecordingSummary]:
    return read_windows(
        path,
        window_samples=window,
        hop_samples=hop,
        channels=channels,
        vad=vad,
        min_window_speech_s=min_speech_s,
        cancelled=cancelled,
    )


def read(path: Path, **options: object) -> tuple[AudioFile, list[Window], RecordingSummary]:
    first, *between, last = stream(path, **options)  # type: ignore[arg-type]
    assert isinstance(first, AudioFile)
    assert isinstance(last, RecordingSummary)
    windows = [item for item in between if isinstance(item, Window)]
    assert len(windows) == len(between)
    assert last.file == first
    return first, windows, last


def two_legs(path: Path) -> Path:
    """A call at 8 kHz: a human voice on channel 0, silence on channel 1."""
    voice = soxr.resample(human_speech(), 16_000, 8_000)
    soundfile.write(path, np.stack((voice, np.zeros_like(voice)), axis=1), 8_000, format="WAV")
    return path


def test_windows_are_the_planned_ones_and_hold_the_samples() -> None:
    samples = human_speech()
    _, windows, summary = read(HUMAN_SPEECH, hop=24_000, min_speech_s=0.0)
    assert [(w.start_sample, w.end_sample) for w in windows] == plan_windows(len(samples), W, 24_000)
    assert [w.index for w in windows] == list(range(len(windows)))
    for window in windows:
        assert window.samples is not None
        assert np.array_equal(window.samples, samples[window.start_sample : window.end_sample])
    assert (summary.channel_mode, summary.duration_s, summary.warnings) == ("mono", 11.0, ())


def test_speech_of_windows_and_of_the_recording() -> None:
    samples = human_speech()
    meter = SpeechMeter()
    is_speech = np.concatenate((meter.push(samples), meter.finish())) >= SPEECH_PROBABILITY
    _, windows, summary = read(HUMAN_SPEECH, hop=10_007)
    for window in windows:
        assert window.speech_s == speech_seconds(is_speech, window.start_sample, window.end_sample)
    assert summary.channels[0].quality.speech_s == speech_seconds(is_speech, 0, len(samples))
    assert 5 < (summary.channels[0].quality.speech_s or 0) < 10


def test_windows_without_enough_speech_are_not_to_be_scored(tmp_path: Path) -> None:
    silence = np.zeros(2 * W, np.float32)
    path = write_wav(tmp_path / "a.wav", np.concatenate((human_speech()[:W], silence, human_speech()[:3_000])), 16_000)
    _, windows, _ = read(path)
    assert [w.samples is not None for w in windows] == [True, False, False, False]
    assert [w.speech_s for w in windows][1] == pytest.approx(0, abs=0.1)
    _, windows, summary = read(path, vad=False)
    assert all(w.samples is not None and w.speech_s is None for w in windows)
    assert (summary.channels[0].quality.speech_s, summary.channels[0].quality.snr_db) == (None, None)


def test_identity(tmp_path: Path) -> None:
    samples = noise(10_000, channels=2)
    path = write_wav(tmp_path / "a.wav", samples, 44_100, "FLOAT")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    file, _, summary = read(path)
    assert summary.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert summary.pcm_sha256 == hashlib.sha256(samples.tobytes()).hexdigest(), "interleaved little-endian float32"
    assert (file.path, file.size_bytes, file.modified_at_s) == (path, path.stat().st_size, 1_000_000_000)
    assert summary.duration_s == 10_000 / 44_100


def test_one_pcm_in_two_containers_has_one_pcm_hash(tmp_path: Path) -> None:
    samples = (noise(10_000) * 2**15).astype(np.int16)  # libsndfile rounds floats in two ways
    for name, sound_format in (("a", "WAV"), ("b", "FLAC")):
        soundfile.write(tmp_path / name, samples, 16_000, format=sound_format)
    (_, _, wav), (_, _, flac) = read(tmp_path / "a"), read(tmp_path / "b")
    assert wav.pcm_sha256 == flac.pcm_sha256
    assert wav.sha256 != flac.sha256


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_lengths_around_a_window(tmp_path: Path, rate_hz: int, extra: int) -> None:
    n = 4 * rate_hz + extra
    path = write_wav(tmp_path / "a.wav", noise(n), rate_hz)
    _, windows, summary = read(path, min_speech_s=0.0)
    n_16k = windows[-1].end_sample
    assert abs(n_16k - n * 16_000 / rate_hz) <= 1
    assert [(w.start_sample, w.end_sample) for w in windows] == plan_windows(n_16k, W, W)
    assert all(w.samples is not None and w.samples.shape == (W,) for w in windows)
    assert summary.duration_s == n / rate_hz


def test_one_sample(tmp_path: Path) -> None:
    _, windows, summary = read(write_wav(tmp_path / "a.wav", np.array([0.5], np.float32), 16_000), vad=False)
    (window,) = windows
    assert (window.start_sample, window.end_sample) == (0, 1)
    assert window.samples is not None
    assert np.array_equal(window.samples, np.full(W, 0.5, np.float32))
    assert summary.duration_s == 1 / 16_000
    with pytest.raises(InputError) as error:
        read(write_wav(tmp_path / "b.wav", np.array([0.5], np.float32), 48_000))
    assert error.value.code == "zero-length"


def test_legs_of_a_call_are_read_apart_in_order_of_time(tmp_path: Path) -> None:
    path = two_legs(tmp_path / "call.wav")
    _, windows, summary = read(path, hop=W // 2)
    assert summary.channel_mode == "each"
    assert [c.channel for c in summary.channels] == [0, 1]
    planned = plan_windows(windows[-1].end_sample, W, W // 2)
    assert [(w.index, w.channel) for w in windows] == [(i, c) for i in range(len(planned)) for c in (0, 1)]
    assert [(w.start_sample, w.end_sample) for w in windows if w.channel == 1] == planned
    assert any(w.samples is not None for w in windows if w.channel == 0)
    assert all(w.samples is None for w in windows if w.channel == 1)
    voice, silence = (c.quality for c in summary.channels)
    assert (voice.speech_s or 0) > 5
    assert (silence.speech_s, silence.silence_share, silence.bandwidth_hz) == (0, 1, 0)
    assert 3_000 < voice.bandwidth_hz <= 4_250


def test_a_leg_sounds_as_it_does_alone(tmp_path: Path) -> None:
    both, left = two_legs(tmp_path / "both.wav"), tmp_path / "left.wav"
    samples, _ = soundfile.read(both, dtype="float32")
    write_wav(left, samples[:, 0], 8_000)
    _, of_both, _ = read(both)
    _, alone, _ = read(left)
    for a, b in zip((w for w in of_both if w.channel == 0), alone, strict=True):
        assert b.channel is None
        assert a.speech_s == b.speech_s
        assert np.array_equal(a.samples, b.samples)  # type: ignore[arg-type]


def test_two_equal_channels_are_mixed(tmp_path: Path) -> None:
    voice = human_speech()
    path = write_wav(tmp_path / "dual.wav", np.stack((voice, 0.5 * voice), axis=1), 16_000, "FLOAT")
    _, windows, summary = read(path, min_speech_s=0.0)
    assert summary.channel_mode == "mix"
    assert {w.channel for w in windows} == {None}
    assert np.abs(windows[0].samples - 0.75 * voice[:W]).max() < 1e-6
    _, each, summary = read(path, channels="each")
    assert summary.channel_mode == "each"
    assert {w.channel for w in each} == {0, 1}


def test_a_mix_that_cancels_is_told(tmp_path: Path) -> None:
    voice = human_speech()[:W]
    path = write_wav(tmp_path / "inverted.wav", np.stack((voice, -voice), axis=1), 16_000)
    _, _, mixed = read(path, channels="mix")
    assert [code for code, _ in mixed.warnings] == ["mix-cancels"]
    _, _, automatic = read(path)
    assert (automatic.channel_mode, automatic.warnings) == ("each", ())


def test_warnings_reach_the_summary(tmp_path: Path) -> None:
    samples = human_speech()[:W]
    samples[100] = np.nan
    path = write_wav(tmp_path / "a.wav", samples, 16_000, "FLOAT")
    path.write_bytes(path.read_bytes()[:-4_000])
    _, windows, summary = read(path)
    assert {code for code, _ in summary.warnings} == {"truncated", "non-finite-samples"}
    assert windows[0].samples is not None
    assert np.isfinite(windows[0].samples).all()


def test_quality_is_the_same_whatever_reads_it(tmp_path: Path) -> None:
    clipped = np.clip(3 * tone(5, 16_000, 200), -1, 1)
    _, _, summary = read(write_wav(tmp_path / "a.wav", clipped, 16_000))
    assert summary.channels[0].quality.clipping_share > 0.3
    assert summary.channels[0].quality.peak_dbfs == pytest.approx(0, abs=0.001)


def append(path: Path) -> None:
    with path.open("ab") as handle:
        handle.write(b"more")


def replace(path: Path) -> None:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    status = path.stat()
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    copy.rename(path)


def alter_and_hide(path: Path) -> None:
    """The same length and time of change, another content: only the hash can tell."""
    status = path.stat()
    with path.open("r+b") as handle:
        handle.seek(-1, os.SEEK_END)
        handle.write(b"\x55")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [append, replace, alter_and_hide, Path.unlink, lambda path: os.truncate(path, 50)])
@pytest.mark.parametrize("after", [1, 3])
def test_file_that_changes_while_it_is_read(tmp_path: Path, change: Callable[[Path], None], after: int) -> None:
    path = write_wav(tmp_path / "a.wav", np.tile(human_speech(), 3), 16_000)
    items = stream(path, vad=False)
    for _ in range(after):
        next(items)
    if after == 1 and change is alter_and_hide:
        next(items)  # the first hash is taken after the file's facts are out
    change(path)
    with pytest.raises(InputError) as error:
        list(items)
    assert error.value.code == "changed-while-reading"


@pytest.mark.parametrize("name", ["cut-off.wav", "transcript.wav"])
def test_broken_examples(name: str) -> None:
    with pytest.raises(InputError):
        read(EXAMPLES / name)


def test_hop_that_leaves_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match="gaps"):
        read(HUMAN_SPEECH, hop=W + 1)


def test_cancelled_reading_ends_without_a_summary(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.tile(human_speech(), 4), 16_000)
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 8

    items = list(stream(path, vad=False, cancelled=cancelled))
    assert isinstance(items[0], AudioFile)
    assert 0 < len(items) < 11
    assert not any(isinstance(item, RecordingSummary) for item in items)
    assert [type(item) for item in stream(path, cancelled=lambda: True)] == [AudioFile]


def test_reading_in_threads_gives_what_reading_alone_gives(tmp_path: Path) -> None:
    call = two_legs(tmp_path / "call.wav")
    mp3 = encode(tmp_path / "a.mp3", human_speech()[:, None], 16_000, "mp3", "libmp3lame")
    paths = [HUMAN_SPEECH, call, mp3, EXAMPLES / "hold-music.ogg"] * 3
    alone = {path: list(stream(path)) for path in set(paths)}
    with ThreadPoolExecutor(6) as pool:
        for path, items in zip(paths, pool.map(lambda path: list(stream(path)), paths), strict=True):
            assert len(items) == len(alone[path])
            assert items[-1] == alone[path][-1]
            for a, b in zip(items, alone[path], strict=True):
                if isinstance(a, Window) and isinstance(b, Window):
                    assert (a.channel, a.index, a.start_sample, a.speech_s) == (
                        b.channel,
                        b.index,
                        b.start_sample,
                        b.speech_s,
                    )
                    assert np.array_equal(a.samples, b.samples)  # type: ignore[arg-type]


def test_memory_does_not_grow_with_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits inside the stream is bounded by blocks and windows, however long the recording."""
    path = write_wav(tmp_path / "long.wav", np.tile(human_speech(), 20), 16_000)
    tracks = []
    real_init = recording.Track.__init__

    def spy(self: recording.Track, *arguments: object) -> None:
        real_init(self, *arguments)  # type: ignore[arg-type]
        tracks.append(self)

    monkeypatch.setattr(recording.Track, "__init__", spy)
    waiting = 0
    for _ in stream(path, hop=W // 4):
        for track in tracks:
            waiting = max(waiting, len(track._waiting) * W + len(track._windower._held))
    assert 0 < waiting < 12 * W
