from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from spoofcheck.errors import InputError, UsageError
from spoofcheck.training.augment import AugmentRule, augment, check_codecs, codecs
from spoofcheck.training.augment.codecs import FFMPEG_CODECS, code, code_with_ffmpeg, random_codec
from spoofcheck.training.augment.rule import CODECS, Codec
from tests.support.audio import HUMAN_SPEECH
from tests.support.voice import RATE, lag, voice

NOISES = np.ones((1, 257), dtype=np.float32)
USABLE_FFMPEG: list[Codec] = [name for name in FFMPEG_CODECS if not codecs._why_not(name)]


def speech() -> NDArray[np.float32]:
    """1.5 s of real speech: a coder of speech does not keep the waveform of a buzz."""
    samples, _ = soundfile.read(HUMAN_SPEECH, start=16_000, stop=40_001, dtype="float32")
    return np.asarray(samples, dtype=np.float32)


def test_ffmpeg_brings_aac_at_least() -> None:
    assert "aac" in USABLE_FFMPEG


@pytest.mark.parametrize(
    ("container", "subtype", "compression"),
    [("MP3", "MPEG_LAYER_III", 0.5), ("OGG", "VORBIS", 0.5), ("OGG", "OPUS", 0.8), ("WAV", "ULAW", None)],
)
def test_coders_keep_length_and_alignment(container: str, subtype: str, compression: float | None) -> None:
    wave = voice(1.3)
    coded = code(wave, RATE, container, subtype, compression)
    assert coded.shape == wave.shape
    assert abs(lag(wave, coded)) <= 16
    assert np.corrcoef(wave[2000:-2000], coded[2000:-2000])[0, 1] > 0.8


@pytest.mark.parametrize(
    ("name", "rate_hz", "bit_rate"),
    [(name, FFMPEG_CODECS[name].rates_hz[-1], FFMPEG_CODECS[name].bit_rates[-1]) for name in USABLE_FFMPEG]
    + [("aac", 16_000, 24_000)],
)
def test_ffmpegs_coders_keep_length_and_alignment(name: Codec, rate_hz: int, bit_rate: int) -> None:
    wave = speech()
    coded = code_with_ffmpeg(wave, name, rate_hz, bit_rate)
    assert coded.dtype == np.float32
    assert coded.shape == wave.shape
    assert np.isfinite(coded).all()
    assert not np.allclose(coded, wave, atol=1e-4)
    assert abs(lag(wave, coded)) <= 4
    assert np.corrcoef(wave[2000:-2000], coded[2000:-2000])[0, 1] > 0.8
    assert np.array_equal(coded, code_with_ffmpeg(wave, name, rate_hz, bit_rate))


@pytest.mark.skipif("amr_nb" not in USABLE_FFMPEG, reason="this ffmpeg has no AMR-NB encoder")
def test_amr_narrow_band_ends_at_4_khz() -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(code_with_ffmpeg(noise, "amr_nb", 8_000, 12_200))))
    assert power[4200:].mean() < 1e-3 * power[500:3000].mean()


@pytest.mark.parametrize("name", [*codecs._SNDFILE_FORMATS, *USABLE_FFMPEG])
def test_every_codec_can_be_drawn_alone(name: Codec) -> None:
    rule = AugmentRule(codec=1.0, codecs={name: 1.0})
    check_codecs(rule)
    wave = speech()[:14_001]
    for seed in range(2):
        out = augment(wave, False, rule, NOISES, seed)
        assert out.shape == wave.shape
        assert np.abs(out).max() <= 1
        assert not np.allclose(out, wave, atol=1e-4)
        assert np.corrcoef(wave[2000:-2000], out[2000:-2000])[0, 1] > 0.5


def test_codecs_are_drawn_by_weight_whatever_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "code", lambda wave, rate_hz, container, subtype, quality=None: subtype)
    monkeypatch.setattr(codecs, "code_with_ffmpeg", lambda wave, name, rate_hz, bit_rate: name)
    weights: dict[Codec, float] = {"opus": 2.0, "aac": 6.0, "mp3": 2.0, "gsm": 0.0}

    wave = np.ones(10, np.float32)

    def drawn(given: dict[Codec, float]) -> list[object]:
        return [random_codec(wave, given, np.random.default_rng(seed)) for seed in range(500)]

    count = Counter(drawn(weights))
    assert count.keys() == {"OPUS", "aac", "MPEG_LAYER_III"}
    assert 250 < count["aac"] < 350
    assert 60 < count["OPUS"] < 140
    assert drawn(weights) == drawn(dict(reversed(weights.items())))


def test_every_rate_and_bit_rate_of_aac_works() -> None:
    wave = voice(0.3)
    for rate_hz in FFMPEG_CODECS["aac"].rates_hz:
        for bit_rate in (FFMPEG_CODECS["aac"].bit_rates[0], FFMPEG_CODECS["aac"].bit_rates[-1]):
            assert code_with_ffmpeg(wave, "aac", rate_hz, bit_rate).shape == wave.shape


def test_a_codec_ffmpeg_lacks_is_named_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_why_not", lambda name: "Unknown encoder" if name == "amr_wb" else "")
    rule = AugmentRule(codec=0.5, codecs={"mp3": 1.0, "amr_wb": 0.1})
    with pytest.raises(UsageError, match=r"augment\.codecs: amr_wb cannot be encoded here \(Unknown encoder\)") as info:
        check_codecs(rule)
    assert str(info.value).endswith("usable: " + ", ".join(name for name in CODECS if name != "amr_wb"))
    check_codecs(rule.model_copy(update={"codec": 0.0}))
    check_codecs(AugmentRule(codec=0.5, codecs={"mp3": 1.0, "amr_wb": 0.0}))


def test_why_a_codec_is_missing_is_what_ffmpeg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FFMPEG_CODECS, "amr_wb", codecs.FfmpegCodec("nonesuch", ("amr", "amr"), (16_000,), (6600,)))
    codecs._delay_samples.cache_clear()
    assert "Unknown encoder 'nonesuch'" in codecs._why_not.__wrapped__("amr_wb")
    codecs._delay_samples.cache_clear()


def test_without_ffmpeg_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise InputError("no-decoder", "ffmpeg not found: install it.")

    monkeypatch.setattr(codecs, "ffmpeg_path", missing)
    with pytest.raises(UsageError, match="ffmpeg not found: install it"):
        code_with_ffmpeg(voice(0.1), "aac", 16_000, 32_000)


def test_a_hanging_ffmpeg_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    program.chmod(0o755)
    monkeypatch.setattr(codecs, "ffmpeg_path", lambda: program)
    monkeypatch.setattr(codecs, "_TIME_LIMIT_S", 0.2)
    with pytest.raises(UsageError, match="ffmpeg took longer than"):
        code_with_ffmpeg(voice(0.1), "aac", 16_000, 32_000)
    assert subprocess.run(["pgrep", "-f", str(program)], capture_output=True, check=False).stdout == b""
