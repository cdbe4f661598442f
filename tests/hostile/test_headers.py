"""Headers that claim what cannot be, and samples that are no sound: a reason for each, and the others are examined."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.hostile.conftest import Scan, codes
from tests.hostile.crafted import RATE_HZ, noise_bytes, wav_bytes
from tests.support.audio import encode, noise

NOISE = noise_bytes(5)
N = 5 * RATE_HZ
FMT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)


def floats(samples: object, bits: int = 32) -> bytes:
    return wav_bytes(np.asarray(samples, f"<f{bits // 8}").tobytes(), coding=3, bits=bits)


def rf64(ds64_bytes: int) -> bytes:
    sizes = struct.pack("<IQQQI", ds64_bytes, 1 << 63, (1 << 63) - 1, 1 << 62, 0)
    return b"RF64\xff\xff\xff\xffWAVEds64" + sizes + FMT + b"data\xff\xff\xff\xff" + NOISE


def aiff(channels: int, rate: bytes) -> bytes:
    common = b"COMM" + struct.pack(">IHIH", 18, channels, 0xFFFF_FFFF, 16) + rate
    sound = b"SSND" + struct.pack(">III", len(NOISE) + 8, 0, 0) + NOISE
    return b"FORM" + struct.pack(">I", 4 + len(common) + len(sound)) + b"AIFF" + common + sound


def caf(rate_hz: float, channels: int) -> bytes:
    facts = struct.pack(">qd4sIIIII", 32, rate_hz, b"lpcm", 0, 2, 1, channels, 16)
    return b"caff\0\1\0\0desc" + facts + b"data" + struct.pack(">qI", 1 << 62, 0) + NOISE


NIST = (
    b"NIST_1A\n   1024\nchannel_count -i 99999999\nsample_rate -i 999999999\nsample_count -i 999999999999\n"
    b"sample_n_bytes -i 2\nsample_byte_format -s2 01\nend_head\n"
).ljust(1_024) + NOISE

REFUSED = {
    "rate-1e9.wav": (wav_bytes(NOISE, rate_hz=10**9), "unsupported-audio"),
    "rate-4e9.wav": (wav_bytes(NOISE, rate_hz=0xFFFF_FFFF), "decode-failed"),
    "rate-0.wav": (wav_bytes(NOISE, rate_hz=0), "decode-failed"),
    "rate-1e300.caf": (caf(1e300, 1), "unsupported-audio"),
    "rate-nan.caf": (caf(float("nan"), 1), "decode-failed"),
    "rate-inf.aiff": (aiff(1, b"\x7f\xff\x80" + bytes(7)), None),
    "channels-65535.wav": (wav_bytes(NOISE, channels=65_535), "decode-failed"),
    "channels-65535.aiff": (aiff(65_535, b"\x40\x0c\xfa" + bytes(7)), "decode-failed"),
    "channels-65535.au": (b".snd" + struct.pack(">5I", 24, 0xFFFF_FFFF, 3, RATE_HZ, 0xFFFF) + NOISE, "decode-failed"),
    "channels-4e9.caf": (caf(16_000.0, 0xFFFF_FFFF), "decode-failed"),
    "channels-0.wav": (wav_bytes(NOISE, channels=0), "decode-failed"),
    "channels-1e8.sph": (NIST, "decode-failed"),
    "bits-0.wav": (wav_bytes(NOISE, bits=0), "decode-failed"),
    "bits-255.wav": (wav_bytes(NOISE, bits=255), "decode-failed"),
    "bits-65535.wav": (wav_bytes(NOISE, bits=65_535), "decode-failed"),
    "coding-unknown.wav": (wav_bytes(NOISE, coding=0xFFFF), "decode-failed"),
    "chunk-of-4-gb.wav": (rf64(0xFFFF_FFF0), "decode-failed"),
    "no-sound.wav": (wav_bytes(b""), "zero-length"),
    "header-alone.wav": (wav_bytes(b"")[:12], "decode-failed"),
    "all-nan.wav": (floats(np.full(N, np.nan)), "non-finite-samples"),
    "all-infinite.wav": (floats(np.full(N, np.inf)), "non-finite-samples"),
    "beyond-float32.wav": (floats(np.full(N, 1e308), 64), "non-finite-samples"),
}


def some(value: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    samples = np.frombuffer(NOISE, "<i2").astype("<f4") / 32_768
    samples[100:110] = value
    return samples


READ = {
    "claims-4-gb.wav": (wav_bytes(NOISE, claimed_bytes=0xFFFF_FFF0), None),
    "claims-2-gb.wav": (wav_bytes(NOISE, claimed_bytes=0x7FEF_FFFE), "truncated"),
    "claims-8-eb.wav": (rf64(28), None),
    "header-at-4-gb.au": (b".snd" + struct.pack(">5I", 0xFFFF_FFF0, 0xFFFF_FFFF, 3, RATE_HZ, 1) + NOISE, None),
    "some-nan.wav": (floats(some(np.nan)), "non-finite-samples"),
    "some-infinite.wav": (floats(some(-np.inf)), "non-finite-samples"),
    "some-huge.wav": (floats(some(3e38)), "non-finite-samples"),
    "denormal.wav": (floats(np.full(N, 1e-42)), None),
    "denormal-64.wav": (floats(np.full(N, 5e-324), 64), None),
    "full-scale-of-int32.wav": (floats(some(2.0**31)), None),
    "lowest.wav": (wav_bytes(np.full(N, -(2**15), "<i2").tobytes()), None),
    "highest.wav": (wav_bytes(np.full(N, 2**15 - 1, "<i2").tobytes()), None),
    "lowest-32.wav": (wav_bytes(np.full(N, -(2**31), "<i4").tobytes(), bits=32), None),
    "nyquist.wav": (wav_bytes(np.resize(np.array([-(2**15), 2**15 - 1], "<i2"), N).tobytes()), None),
}


def test_absurd_headers_are_refused_with_a_reason(tmp_path: Path, scan: Scan) -> None:
    for name, (data, _) in REFUSED.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "good.wav").write_bytes(wav_bytes(NOISE))
    found = scan(tmp_path)
    assert found.pop("good.wav")[0].spoof_llr is not None
    assert set(found) == set(REFUSED)
    for name, (_, code) in REFUSED.items():
        (finding,) = found[name]
        assert finding.verdict == "skipped", name
        (reason,) = finding.reasons
        assert code in (reason.code, None), name
        assert reason.message.endswith("."), name


def test_absurd_samples_and_claims_give_finite_scores(tmp_path: Path, scan: Scan) -> None:
    for name, (data, _) in READ.items():
        (tmp_path / name).write_bytes(data)
    found = scan(tmp_path)
    assert set(found) == set(READ)
    for name, (_, code) in READ.items():
        (finding,) = found[name]
        assert finding.duration_s == pytest.approx(5.0), name
        assert code is None or code in codes([finding]), name
        # Pydantic refuses NaN and infinity in a document, so that any score that is there is a number.
        assert finding.verdict == "inconclusive" or finding.raw_score is not None, name


def test_a_single_sample_and_64_channels(tmp_path: Path, scan: Scan) -> None:
    (tmp_path / "one-sample.wav").write_bytes(wav_bytes(b"\1\0"))
    (tmp_path / "channels-64.wav").write_bytes(wav_bytes(NOISE, channels=64))
    (tmp_path / "channels-65.wav").write_bytes(wav_bytes(NOISE, channels=65))
    found = scan(tmp_path, "--channels", "mix")
    assert found["one-sample.wav"][0].duration_s == pytest.approx(1 / RATE_HZ)
    assert found["channels-64.wav"][0].duration_s == pytest.approx(N / 64 / RATE_HZ)
    assert codes(found["channels-65.wav"]) == {"unsupported-audio"}


def test_a_flac_header_that_claims_years(tmp_path: Path, scan: Scan) -> None:
    """All 36 bits of the number of samples: 50 days at 16 kHz."""
    path = encode(tmp_path / "a.flac", noise(N), RATE_HZ, "flac", "flac")
    data = bytearray(path.read_bytes())
    facts = int.from_bytes(data[18:26]) | (1 << 36) - 1
    data[18:26] = facts.to_bytes(8)
    path.write_bytes(data)
    (finding,) = scan(path)["a.flac"]
    assert finding.duration_s == pytest.approx(5.0)
    assert "truncated" in codes([finding])
