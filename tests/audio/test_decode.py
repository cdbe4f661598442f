from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spoofcheck.audio.decode import DecodeNotes, Resampler16k, decode_blocks
from spoofcheck.audio.probe import probe
from spoofcheck.errors import InputError
from tests.support.audio import encode, noise, tone, write_wav

RATES_HZ = (4_000, 8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000)


def decoded(path: Path, block_frames: int = 4_096) -> tuple[NDArray[np.float32], DecodeNotes]:
    notes = DecodeNotes()
    blocks = list(decode_blocks(probe(path), block_frames, notes))
    assert all(len(block) == block_frames for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= block_frames
    return np.concatenate(blocks), notes


def failure(path: Path) -> str:
    with pytest.raises(InputError) as error:
        decoded(path)
    assert error.value.message.endswith(".")
    assert "\n" not in error.value.message
    return error.value.code


def resampled(samples: NDArray[np.float32], rate_hz: int, cuts: tuple[int, ...] = ()) -> NDArray[np.float32]:
    resampler = Resampler16k(rate_hz, samples.shape[1])
    parts = [resampler.push(block) for block in np.split(samples, cuts)]
    return np.concatenate([*parts, resampler.finish()])


def cut_file(path: Path, share: float = 0.6) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("decoder", ["soundfile", "ffmpeg"])
@pytest.mark.parametrize("block_frames", [1, 999, 20_000, 65_536])
def test_blocks_hold_every_sample(tmp_path: Path, decoder: str, block_frames: int) -> None:
    samples = noise(20_000 if block_frames > 1 else 200, channels=3)
    sound_format = {"soundfile": "WAV", "ffmpeg": "FLAC"}[decoder]
    soundfile.write(tmp_path / "a", samples, 16_000, subtype="PCM_24", format=sound_format)
    ours, notes = decoded(tmp_path / "a", block_frames)
    assert probe(tmp_path / "a").decoder == decoder
    assert notes.frames == len(samples)
    assert np.abs(ours - samples).max() <= 2**-23


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_resampling_is_that_of_soxr_at_once(rate_hz: int) -> None:
    samples = noise(rate_hz + 137, channels=2)
    expected = samples if rate_hz == 16_000 else soxr.resample(samples, rate_hz, 16_000, quality="HQ")
    ours = resampled(samples, rate_hz, tuple(range(1_000, len(samples), 7_777)))
    assert abs(len(ours) - round(len(samples) * 16_000 / rate_hz)) <= 1
    assert len(ours) == len(expected)
    assert np.abs(ours - expected).max() <= 1e-6


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(RATES_HZ), st.integers(1, 6_000), st.lists(st.integers(0, 6_000), max_size=5).map(sorted))
def test_resampling_does_not_see_the_blocks(rate_hz: int, n: int, cuts: list[int]) -> None:
    samples = noise(n)
    whole = resampled(samples, rate_hz)
    assert abs(len(whole) - round(n * 16_000 / rate_hz)) <= 1
    assert np.array_equal(resampled(samples, rate_hz, tuple(cuts)), whole)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("hz", [300.0, 1_700.0])
def test_a_pure_tone_stays_that_tone(rate_hz: int, hz: float) -> None:
    ours = resampled(tone(1, rate_hz, hz), rate_hz)[:, 0]
    expected = tone(1, 16_000, hz)[: len(ours), 0]
    middle = slice(2_000, -2_000)  # the ends ring: outside the recording there is silence
    assert np.abs(ours[middle] - expected[middle]).max() < 1e-4


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 192_000])
def test_what_16_khz_cannot_hold_is_gone_not_folded(rate_hz: int) -> None:
    above = resampled(tone(1, rate_hz, 9_500.0), rate_hz)[2_000:-2_000, 0]
    assert 20 * np.log10(np.sqrt(np.mean(above**2))) < -100


def test_16_khz_passes_untouched() -> None:
    samples = noise(5_000, channels=2)
    assert np.array_equal(resampled(samples, 16_000, (17, 400)), samples)


def test_channels_do_not_touch_each_other() -> None:
    samples = np.concatenate((tone(1, 48_000), np.zeros((48_000, 1), np.float32)), axis=1)
    ours = resampled(samples, 48_000)
    assert not ours[:, 1].any()
    assert np.array_equal(ours[:, :1], resampled(samples[:, :1], 48_000))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers_become_silence(tmp_path: Path, value: float) -> None:
    samples = noise(10_000, channels=2)
    broken = samples.copy()
    broken[[5, 6_000, 9_999], 1] = value
    ours, notes = decoded(write_wav(tmp_path / "a.wav", broken, 16_000, "FLOAT"))
    assert set(notes.warnings) == {"non-finite-samples"}
    assert notes.warnings["non-finite-samples"].startswith("3 samples")
    assert not ours[[5, 6_000, 9_999], 1].any()
    untouched = np.isfinite(broken) & (np.abs(broken) < 1e9)
    assert np.array_equal(ours[untouched], samples[untouched])


def test_no_finite_sample_at_all(tmp_path: Path) -> None:
    assert failure(write_wav(tmp_path / "a.wav", np.full(500, np.nan, np.float32), 16_000, "FLOAT")) == (
        "non-finite-samples"
    )


def test_float_files_beyond_full_scale_are_kept(tmp_path: Path) -> None:
    samples = 3 * tone(0.1, 16_000)
    ours, notes = decoded(write_wav(tmp_path / "a.wav", samples, 16_000, "FLOAT"))
    assert np.array_equal(ours, samples)
    assert notes.warnings == {}


@pytest.mark.parametrize("sound_format", ["WAV", "RF64", "W64", "AIFF", "AU", "FLAC"])
def test_truncated_file_gives_what_is_there(tmp_path: Path, sound_format: str) -> None:
    samples = noise(48_000)
    soundfile.write(tmp_path / "a", samples, 16_000, subtype="PCM_16", format=sound_format)
    ours, notes = decoded(cut_file(tmp_path / "a"))
    assert 0.5 < len(ours) / 48_000 < 0.62
    assert "truncated" in notes.warnings
    assert "3.00 s" in notes.warnings["truncated"]
    assert np.abs(ours[: len(ours) - 5_000] - samples[: len(ours) - 5_000]).max() < 2**-14


@pytest.mark.parametrize(
    ("muxer", "codec", "parameters"),
    [
        ("mp3", "libmp3lame", ()),
        ("ipod", "aac", ("-movflags", "+faststart")),
        ("webm", "libopus", ()),
        ("ogg", "libopus", ("-page_duration", "100000")),
        ("adts", "aac", ()),
    ],
)
def test_truncated_coded_file(tmp_path: Path, muxer: str, codec: str, parameters: tuple[str, ...]) -> None:
    path = encode(tmp_path / "a", noise(5 * 48_000), 48_000, muxer, codec, parameters)
    ours, notes = decoded(cut_file(path))
    assert 2 < len(ours) / 48_000 < 4
    assert "truncated" in notes.warnings


def test_one_damaged_frame_does_not_silence_the_rest(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a", noise(10 * 16_000), 16_000, format="FLAC")
    data = bytearray((tmp_path / "a").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    (tmp_path / "a").write_bytes(data)
    ours, notes = decoded(tmp_path / "a")
    assert len(ours) > 9.5 * 16_000
    assert "decode-errors" in notes.warnings


def test_header_that_never_knew_its_length(tmp_path: Path) -> None:
    """What writes to a pipe cannot come back to fill in the length, and what crashed did not."""
    path = write_wav(tmp_path / "a.wav", noise(16_000), 16_000)
    data = bytearray(path.read_bytes())
    for placeholder, warnings in ((b"\xff\xff\xff\xff", set()), (b"\x00\x00\x00\x00", {"truncated"})):
        data[4:8] = data[40:44] = placeholder
        path.write_bytes(data)
        ours, notes = decoded(path)
        assert (len(ours), set(notes.warnings)) == (16_000, warnings)


@pytest.mark.parametrize("sound_format", ["WAV", "AIFF", "AU", "CAF", "W64", "RF64", "OGG"])
def test_header_without_sound(tmp_path: Path, sound_format: str) -> None:
    soundfile.write(tmp_path / "a", np.zeros((0, 1), np.float32), 16_000, format=sound_format)
    assert failure(tmp_path / "a") in {"zero-length", "decode-failed"}


@pytest.mark.parametrize(("muxer", "codec"), [("adts", "aac"), ("mp3", "libmp3lame")])
def test_change_of_channels_and_rate_half_way(tmp_path: Path, muxer: str, codec: str) -> None:
    """The second half has other channels and another rate; its seconds must stay seconds."""
    first = encode(tmp_path / "1", tone(2, 16_000, 1_000), 16_000, muxer, codec)
    second = encode(tmp_path / "2", tone(2, 32_000, 1_000, channels=2), 32_000, muxer, codec)
    (tmp_path / "both").write_bytes(first.read_bytes() + second.read_bytes())
    ours, _ = decoded(tmp_path / "both")
    assert ours.shape[1] == 1
    assert len(ours) / 16_000 == pytest.approx(4, abs=0.2)
    assert np.argmax(np.abs(np.fft.rfft(ours[-20_000:-4_000, 0]))) == 1_000


def test_part_that_cannot_be_decoded_is_told(tmp_path: Path) -> None:
    """ffmpeg does not follow an Ogg chain into other channels: what is unheard must be said."""
    for name, channels in (("1", 1), ("2", 2)):
        soundfile.write(tmp_path / name, tone(2, 16_000, channels=channels), 16_000, format="OGG")
    (tmp_path / "chain").write_bytes((tmp_path / "1").read_bytes() + (tmp_path / "2").read_bytes())
    ours, notes = decoded(tmp_path / "chain")
    assert len(ours) < 33_000
    assert "missing" in notes.warnings["decode-errors"]


def test_recording_that_became_another_one(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(1_000), 16_000)
    file = probe(path)
    for replacement in (write_wav(tmp_path / "b.wav", noise(1_000), 8_000).read_bytes(), b"no audio any more"):
        path.write_bytes(replacement)
        with pytest.raises(InputError) as error:
            list(decode_blocks(file))
        assert error.value.code == "changed-while-reading"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: path.write_bytes(b""), "empty-file"),
        (lambda path: path.write_bytes(b"\0"), "not-audio"),
        (lambda path: path.write_text("plain text named .wav\n" * 50), "not-audio"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500)), "not-audio"),
        (lambda path: path.write_bytes(b"%PDF-1.7\n" + bytes(500)), "not-audio"),
        (lambda path: path.write_bytes(np.random.default_rng(5).bytes(60_000)), "not-audio"),
        (lambda path: path.write_bytes(bytes(60_000)), "not-audio"),
        (lambda path: path.mkdir(), "is-directory"),
        (lambda path: os.mkfifo(path), "not-a-file"),
        (lambda path: None, "not-found"),
        (lambda path: write_wav(path, np.zeros(0, np.float32), 16_000), "zero-length"),
        (lambda path: path.write_bytes(b"RIFF\x24\0\0\0WAVEfmt "), "decode-failed"),
        (lambda path: path.write_bytes(b"fLaC" + bytes(200)), "decode-failed"),
        (lambda path: path.write_bytes(b"OggS" + bytes(200)), "decode-failed"),
        (lambda path: write_wav(path, noise(100), 3_999), "unsupported-audio"),
        (lambda path: write_wav(path, noise(100), 768_001), "unsupported-audio"),
        (lambda path: write_wav(path, noise(10, channels=65), 16_000), "unsupported-audio"),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path: Path, make: object, code: str) -> None:
    path = tmp_path / "x.wav"
    make(path)  # type: ignore[operator]
    assert failure(path) == code


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_are_not_taken_for_a_recording(tmp_path: Path, seed: int) -> None:
    """Frame sync patterns of MP3, AAC and AC-3 are short: by chance they are everywhere."""
    path = tmp_path / ("x.mp3", "x.aac", "x.ac3", "x")[seed % 4]
    path.write_bytes(np.random.default_rng(seed).bytes(300_000))
    assert failure(path) == "not-audio"


@pytest.mark.parametrize("rate_hz", [4_000, 768_000])
def test_edges_of_what_is_read(tmp_path: Path, rate_hz: int) -> None:
    ours, _ = decoded(write_wav(tmp_path / "a.wav", noise(10, channels=64), rate_hz))
    assert ours.shape == (10, 64)


def test_headerless_recording_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "call.ul"
    path.write_bytes(np.random.default_rng(1).bytes(8_000))
    with pytest.raises(InputError, match="convert it to WAV") as error:
        probe(path)
    assert error.value.code == "not-audio"


def test_video_without_sound(tmp_path: Path) -> None:
    path = tmp_path / "silent.mkv"
    picture = ("-f", "lavfi", "-i", "color=size=32x32:rate=5:duration=1", "-map", "1:v")
    encode(path, tone(0.2, 8_000), 8_000, "matroska", "aac", picture)
    assert failure(path) == "no-audio-stream"


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_wav(tmp_path / "a.wav", noise(100), 16_000)

    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)  # root, who runs CI, may read every file
    with pytest.raises(InputError) as error:
        probe(path)
    assert error.value.code == "permission-denied"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied_for_real(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(100), 16_000)
    path.chmod(0)
    assert failure(path) == "permission-denied"


def test_failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_wav(tmp_path / "a.wav", noise(100), 16_000)

    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", broken)
    with pytest.raises(InputError, match="Input/output error") as error:
        probe(path)
    assert error.value.code == "read-failed"
