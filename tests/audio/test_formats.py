"""Every format that can be made here: what it is, how long it is, and that a tone is still that tone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spoofcheck.audio.decode import DecodeNotes, decode_blocks
from spoofcheck.audio.probe import probe
from tests.support.audio import encode, tone

DURATION_S = 1.5
TONE_HZ = 440.0


@dataclass(frozen=True)
class Case:
    """A format: how to write it, and what `probe` must say of it."""

    container: str
    codec: str
    rate: int = 44_100
    channels: int = 1
    bits: int | None = None
    muxer: str = ""
    encoder: str = ""
    subtype: str = ""
    sound_format: str = ""
    parameters: tuple[str, ...] = ()
    made_at: int = 0
    slack_s: float = 0.0

    def write(self, path: Path) -> Path:
        made_at = self.made_at or self.rate
        samples = tone(DURATION_S, made_at, TONE_HZ, self.channels)
        if self.sound_format:
            soundfile.write(path, samples, made_at, subtype=self.subtype, format=self.sound_format)
            return path
        return encode(path, samples, made_at, self.muxer, self.encoder, self.parameters)


def stored(container: str, codec: str, sound_format: str, subtype: str, bits: int | None, **more: float) -> Case:
    return Case(container, codec, bits=bits, sound_format=sound_format, subtype=subtype, **more)  # type: ignore[arg-type]


CASES = {
    "wav-u8": stored("wav", "pcm_u8", "WAV", "PCM_U8", 8),
    "wav-s16": stored("wav", "pcm_s16", "WAV", "PCM_16", 16),
    "wav-s24": stored("wav", "pcm_s24", "WAV", "PCM_24", 24),
    "wav-s32": stored("wav", "pcm_s32", "WAV", "PCM_32", 32),
    "wav-f32": stored("wav", "pcm_f32", "WAV", "FLOAT", 32),
    "wav-f64": stored("wav", "pcm_f64", "WAV", "DOUBLE", 64),
    "wav-8k": stored("wav", "pcm_s16", "WAV", "PCM_16", 16, rate=8_000),
    "wav-192k": stored("wav", "pcm_s24", "WAV", "PCM_24", 24, rate=192_000),
    "wav-stereo": stored("wav", "pcm_s16", "WAV", "PCM_16", 16, channels=2),
    "wav-8-channels": stored("wav", "pcm_s16", "WAVEX", "PCM_16", 16, channels=8),
    "wav-mulaw": stored("wav", "pcm_mulaw", "WAV", "ULAW", 8, rate=8_000),
    "wav-alaw": stored("wav", "pcm_alaw", "WAV", "ALAW", 8, rate=8_000),
    "wav-adpcm": stored("wav", "ima_adpcm", "WAV", "IMA_ADPCM", None, slack_s=0.08),
    "wav-gsm": stored("wav", "gsm610", "WAV", "GSM610", None, rate=8_000, slack_s=0.03),
    "wav-mp3": Case("wav", "mp3", muxer="wav", encoder="libmp3lame", slack_s=0.1),
    "rf64": stored("rf64", "pcm_s16", "RF64", "PCM_16", 16),
    "w64": stored("w64", "pcm_s24", "W64", "PCM_24", 24),
    "aiff": stored("aiff", "pcm_s24", "AIFF", "PCM_24", 24),
    "aifc-alaw": stored("aiff", "pcm_alaw", "AIFF", "ALAW", 8, rate=8_000),
    "au-mulaw": stored("au", "pcm_mulaw", "AU", "ULAW", 8, rate=8_000),
    "caf": stored("caf", "pcm_s16", "CAF", "PCM_16", 16),
    "caf-alac": stored("caf", "alac", "CAF", "ALAC_24", 24),
    "nist": stored("nist", "pcm_s16", "NIST", "PCM_16", 16, rate=16_000),
    "voc": stored("voc", "pcm_s16", "VOC", "PCM_16", 16, rate=16_000),
    "flac-16": Case("flac", "flac", bits=16, sound_format="FLAC", subtype="PCM_16"),
    "flac-24": Case("flac", "flac", bits=24, channels=2, sound_format="FLAC", subtype="PCM_24", rate=96_000),
    "ogg-vorbis": Case("ogg", "vorbis", sound_format="OGG", subtype="VORBIS", rate=22_050, slack_s=0.03),
    "ogg-opus": Case("ogg", "opus", sound_format="OGG", subtype="OPUS", rate=48_000),
    "ogg-opus-16k": Case("ogg", "opus", sound_format="OGG", subtype="OPUS", rate=48_000, made_at=16_000),
    "ogg-flac": Case("ogg", "flac", bits=16, muxer="ogg", encoder="flac"),
    "mp3": Case("mp3", "mp3", muxer="mp3", encoder="libmp3lame", slack_s=0.1),
    "mp3-8k": Case("mp3", "mp3", rate=8_000, muxer="mp3", encoder="libmp3lame", slack_s=0.2),
    "mp3-bare": Case(
        "mp3",
        "mp3",
        muxer="mp3",
        encoder="libmp3lame",
        parameters=("-id3v2_version", "0", "-write_xing", "0"),
        slack_s=0.1,
    ),
    "aac-adts": Case("aac", "aac", muxer="adts", encoder="aac", slack_s=0.1),
    "m4a": Case("m4a", "aac", channels=2, muxer="ipod", encoder="aac", slack_s=0.05),
    "m4a-alac": Case("m4a", "alac", bits=16, muxer="ipod", encoder="alac"),
    "mp4": Case("mp4", "aac", muxer="mp4", encoder="aac", slack_s=0.05),
    "mov-pcm": Case("mov", "pcm_s16le", bits=16, muxer="mov", encoder="pcm_s16le"),
    "3gp-amr": Case(
        "3gp",
        "amr_nb",
        rate=8_000,
        muxer="3gp",
        encoder="libopencore_amrnb",
        made_at=8_000,
        slack_s=0.1,
    ),
    "wma": Case("asf", "wmav2", muxer="asf", encoder="wmav2", slack_s=0.1),
    "amr": Case("amr", "amr_nb", rate=8_000, muxer="amr", encoder="libopencore_amrnb", slack_s=0.1),
    "webm": Case("webm", "opus", rate=48_000, muxer="webm", encoder="libopus", slack_s=0.05),
    "mka": Case("matroska", "ac3", rate=48_000, muxer="matroska", encoder="ac3", slack_s=0.1),
    "mkv-flac": Case("matroska", "flac", bits=16, muxer="matroska", encoder="flac", slack_s=0.01),
    "avi": Case("avi", "mp3", muxer="avi", encoder="libmp3lame", slack_s=0.1),
    "mpegts": Case("mpegts", "aac", muxer="mpegts", encoder="aac", slack_s=0.1),
    "flv": Case("flv", "aac", muxer="flv", encoder="aac", slack_s=0.1),
    "wavpack": Case("wavpack", "wavpack", bits=16, muxer="wv", encoder="wavpack"),
    "tta": Case("tta", "tta", bits=16, muxer="tta", encoder="tta"),
}


def dominant_hz(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_format(tmp_path: Path, case: Case) -> None:
    path = case.write(tmp_path / "no-extension")

    file = probe(path)
    notes = DecodeNotes()
    decoded = np.concatenate(list(decode_blocks(file, notes=notes)))

    assert (file.container, file.codec) == (case.container, case.codec)
    assert (file.sample_rate_hz, file.channels, file.bit_depth) == (case.rate, case.channels, case.bits)
    assert file.size_bytes == path.stat().st_size
    assert decoded.dtype == np.float32
    assert decoded.shape == (notes.frames, case.channels)
    assert abs(notes.frames / case.rate - DURATION_S) <= case.slack_s
    assert notes.warnings == {}
    if file.header_duration_s is not None:
        assert file.header_duration_s == pytest.approx(DURATION_S, abs=0.25)
    for channel in decoded.T:
        middle = channel[len(channel) // 4 : -len(channel) // 4]
        assert dominant_hz(middle, case.rate) == pytest.approx(TONE_HZ, abs=3)
        assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.2)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = encode(tmp_path / "really-an-mp3.wav", tone(1, 44_100), 44_100, "mp3", "libmp3lame")
    assert (probe(path).container, probe(path).decoder) == ("mp3", "ffmpeg")
    path = CASES["wav-s16"].write(tmp_path / "really-a-wav.mp3")
    assert (probe(path).container, probe(path).decoder) == ("wav", "soundfile")


def test_first_audio_stream_of_a_video(tmp_path: Path) -> None:
    video = ("-f", "lavfi", "-i", "color=size=64x64:rate=10:duration=3", "-map", "1:v", "-map", "0:a", "-map", "0:a")
    path = tmp_path / "film.mp4"
    encode(path, tone(DURATION_S, 44_100), 44_100, "mp4", "aac", video)
    file = probe(path)
    notes = DecodeNotes()
    for _ in decode_blocks(file, notes=notes):
        pass
    assert (file.container, file.codec, file.header_duration_s) == ("mp4", "aac", None)
    assert notes.frames / 44_100 == pytest.approx(DURATION_S, abs=0.05)
    assert notes.warnings == {}, "that the video lasts longer is no damage to the sound"


@pytest.mark.parametrize("name", ["mp3", "ogg-vorbis", "ogg-opus", "flac-16"])
def test_chained_files_are_heard_to_their_end(tmp_path: Path, name: str) -> None:
    data = CASES[name].write(tmp_path / "one").read_bytes()
    path = tmp_path / "two"
    path.write_bytes(data + data)
    notes = DecodeNotes()
    file = probe(path)
    for _ in decode_blocks(file, notes=notes):
        pass
    assert notes.frames / file.sample_rate_hz == pytest.approx(2 * DURATION_S, abs=0.1)
    assert "truncated" not in notes.warnings
