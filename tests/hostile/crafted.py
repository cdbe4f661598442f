"""Recordings made to attack their reader, byte by byte: absurd headers, sound that unfolds, containers that refer.

`python -m tests.hostile.crafted FILE.wav|FILE.flac HOURS` writes silence that takes no room on the disk.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

RATE_HZ = 16_000
_CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl")


def noise_bytes(seconds: float = 1.0, seed: int = 0) -> bytes:
    """White noise, 16 bit, 16 kHz, mono."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3_000, round(seconds * RATE_HZ)).astype("<i2").tobytes()


def wav_bytes(
    data: bytes,
    *,
    rate_hz: int = RATE_HZ,
    channels: int = 1,
    bits: int = 16,
    coding: int = 1,
    claimed_bytes: int | None = None,
) -> bytes:
    """A WAV file whose header says whatever it is told to say."""
    align = channels * bits // 8
    header = struct.pack("<HHIIHH", coding, channels, rate_hz, rate_hz * align & 0xFFFF_FFFF, align & 0xFFFF, bits)
    claimed = len(data) if claimed_bytes is None else claimed_bytes
    body = b"WAVEfmt " + struct.pack("<I", len(header)) + header + b"data" + struct.pack("<I", claimed) + data
    return b"RIFF" + struct.pack("<I", min(len(body) - len(data) + claimed, 0xFFFF_FFFF)) + body


def silent_wav(path: Path, seconds: float, rate_hz: int = 8_000) -> Path:
    """A WAV of silence that takes one block of the disk, however long it is."""
    n_bytes = round(seconds * rate_hz) * 2
    path.write_bytes(wav_bytes(b"", rate_hz=rate_hz, claimed_bytes=n_bytes))
    with path.open("r+b") as file:
        file.truncate(44 + n_bytes)
    return path


def silent_flac(path: Path, seconds: float, rate_hz: int = 8_000) -> Path:
    """A FLAC of silence in the largest blocks there are: 14 bytes hold eight seconds."""
    block = 65_535
    frames = -(-round(seconds * rate_hz) // block)
    facts = (rate_hz << 44 | 0 << 41 | 15 << 36 | frames * block).to_bytes(8, "big")
    info = struct.pack(">HH", block, block) + bytes(6) + facts + bytes(16)
    parts = [b"fLaC\x80" + len(info).to_bytes(3, "big") + info]
    for number in range(frames):
        head = b"\xff\xf8\x70\x00" + _coded_number(number) + struct.pack(">H", block - 1)
        frame = head + bytes([_crc(head, 8, 0x07)]) + bytes(3)
        parts.append(frame + struct.pack(">H", _crc(frame, 16, 0x8005)))
    path.write_bytes(b"".join(parts))
    return path


def repeating_mov(movie: bytes, times: int) -> bytes:
    """The QuickTime file of G.711 with its one chunk declared `times` times over: a few bytes are years of sound."""
    samples = 0

    def again(kind: bytes, body: bytes) -> bytes:
        nonlocal samples
        match kind:
            case b"stsz":
                size, samples = struct.unpack_from(">II", body, 4)
                return body[:4] + struct.pack(">II", size, min(samples * times, 0xFFFF_FFFF))
            case b"stts":
                return body[:4] + struct.pack(">III", 1, min(samples * times, 0xFFFF_FFFF), 1)
            case b"stsc":
                return body[:4] + struct.pack(">IIII", 1, 1, samples, 1)
            case b"stco":
                return body[:4] + struct.pack(">I", times) + body[8:12] * times
            case _:
                return body

    return with_boxes(with_boxes(movie.replace(b"edts", b"free"), again), again)


def sparse_table_mov(path: Path, movie: bytes, entries: int) -> Path:
    """The QuickTime file with a table of times (`stts`) of `entries` zeros, which take no room on the disk."""
    start, grown, parents = 0, bytearray(movie), []
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        while True:
            size, kind = struct.unpack_from(">I4s", movie, start)
            if kind == name:
                break
            start += size
        parents.append((start, size))
        start += 8
    place, size = parents[-1]
    whole = 16 + 8 * entries
    for position, old in parents:
        struct.pack_into(">I", grown, position, old + whole - size)
    struct.pack_into(">I", grown, place + 12, entries)
    path.write_bytes(bytes(grown[: place + 16]))
    with path.open("r+b") as file:
        file.truncate(place + whole)
    return path


def with_boxes(movie: bytes, change: Callable[[bytes, bytes], bytes]) -> bytes:
    """The MP4 or QuickTime file with `change(kind, body)` as the body of every box that holds no other boxes."""
    parts = []
    position = 0
    while position + 8 <= len(movie):
        size, kind = struct.unpack_from(">I4s", movie, position)
        body = movie[position + 8 : position + size]
        body = with_boxes(body, change) if kind in _CONTAINERS else change(kind, body)
        parts.append(struct.pack(">I4s", 8 + len(body), kind) + body)
        position += size
    return b"".join(parts)


def _coded_number(number: int) -> bytes:
    """As UTF-8 would code it (RFC 9639, 9.1.5)."""
    return chr(number).encode("utf-8", "surrogatepass")


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    top = 1 << (bits - 1)
    crc = 0
    for byte in data:
        crc ^= byte << (bits - 8)
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & top else crc << 1) & (1 << bits) - 1
    return crc


if __name__ == "__main__":
    place, hours = Path(sys.argv[1]), float(sys.argv[2])
    (silent_flac if place.suffix == ".flac" else silent_wav)(place, 3_600 * hours)
