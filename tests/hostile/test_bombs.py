"""Small files that unfold: hours of sound in kilobytes, tables that want gigabytes. Memory stays flat, and all ends."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from spoofcheck.audio import decode, ffmpeg
from spoofcheck.audio.decode import decode_blocks
from spoofcheck.audio.probe import probe
from spoofcheck.errors import InputError
from tests.hostile.conftest import Scan, codes
from tests.hostile.crafted import repeating_mov, silent_flac, silent_wav, sparse_table_mov
from tests.support.audio import encode, tone

MOST_BYTES = 16 << 20
"""What decoding may hold at any time: a few blocks of two seconds."""


@pytest.mark.parametrize("kind", ["sparse.wav", "bomb.flac"])
def test_hours_of_silence_are_decoded_in_little_memory(kind: str, tmp_path: Path) -> None:
    """Two hours here; what 24 take is in docs/hostile.md, from `python -m bench.hostile`."""
    seconds = 7_200
    path = (silent_wav if kind == "sparse.wav" else silent_flac)(tmp_path / kind, seconds)
    stored = path.stat().st_blocks * 512
    assert stored < 20_000, "115 MB of samples"
    tracemalloc.start()
    try:
        file = probe(path)
        frames = sum(len(block) for block in decode_blocks(file))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert frames >= seconds * file.sample_rate_hz
    assert peak < MOST_BYTES


def test_silence_is_scanned_to_its_end(tmp_path: Path, scan: Scan) -> None:
    silent_flac(tmp_path / "bomb.flac", 120)
    silent_wav(tmp_path / "sparse.wav", 120)
    for findings in scan(tmp_path, "--vad").values():
        assert findings[0].verdict == "inconclusive"
        assert codes(findings) >= {"no-speech"}
        assert (findings[0].duration_s or 0) >= 120


def test_sound_that_is_declared_a_thousand_times_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scan: Scan
) -> None:
    """One chunk of a QuickTime file, pointed at over and over, would be years; here the limit is a minute."""
    movie = encode(tmp_path / "a.mov", tone(5, 8_000), 8_000, "mov", "pcm_mulaw")
    movie.write_bytes(repeating_mov(movie.read_bytes(), 1_000))
    assert movie.stat().st_size < 50_000
    assert decode.MAX_RECORDING_S == 48 * 3_600
    monkeypatch.setattr(decode, "MAX_RECORDING_S", 60)
    assert codes(scan(movie)["a.mov"]) == {"too-long"}


def test_a_table_that_wants_more_memory_than_a_decoder_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 million entries that take no room on the disk; a tenth of the memory that decoders have."""
    movie = encode(tmp_path / "a.mov", tone(5, 8_000), 8_000, "mov", "pcm_mulaw").read_bytes()
    bomb = sparse_table_mov(tmp_path / "bomb.mov", movie, 40_000_000)
    assert bomb.stat().st_blocks * 512 < 100_000
    monkeypatch.setattr(ffmpeg, "_MEMORY_BYTES", 200 << 20)
    with pytest.raises(InputError) as error:
        list(decode_blocks(probe(bomb)))
    assert error.value.code == "decode-memory"
