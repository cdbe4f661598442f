"""Where the numbers of a recording's container lie: sizes, counts, rates, channels, bit depths.

Good enough to aim at, no parser to rely on: whatever does not look as it should ends the search, without an error.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

_MOST_FIELDS = 2_000
_MOST_DEPTH = 16

Role = Literal["size", "header"]
"""What a number says: how long something is or how many there are; or what the sound is like."""


@dataclass(frozen=True, slots=True)
class Field:
    """A number in a file.

    Attributes:
        offset: of its first byte.
        length: in bytes.
        order: of its bytes.
        role: see `Role`.
    """

    offset: int
    length: int
    order: Literal["little", "big"]
    role: Role


def fields_of(container: str, data: bytes) -> list[Field]:
    """The numbers in a file of this container, in their order; at most a few thousand, all inside the file."""
    find = _FINDERS.get(container)
    found: list[Field] = []
    if find is None:
        return found
    for field in find(data):
        if field.length > 0 and field.offset >= 0 and field.offset + field.length <= len(data):
            found.append(field)
        if len(found) >= _MOST_FIELDS:
            break
    return found


def mended(container: str, data: bytes) -> bytes:
    """The file with the check sums right that a reader would otherwise stop at: those of Ogg pages and FLAC heads."""
    return _with_ogg_checksums(data) if container == "ogg" else data


def elements_of(container: str, data: bytes) -> list[tuple[int, int]]:
    """Start and end of whole chunks, pages, atoms, frames: what can be repeated, swapped, dropped or nested."""
    find = _ELEMENTS.get(container)
    return (
        [] if find is None else [(start, end) for start, end in find(data) if start < end <= len(data)][:_MOST_FIELDS]
    )


def _number(data: bytes, offset: int, length: int, order: Literal["little", "big"]) -> int:
    return int.from_bytes(data[offset : offset + length], order)


def _run(start: int, lengths: str, order: Literal["little", "big"], role: Role = "header") -> Iterator[Field]:
    """Numbers that follow each other; one digit each gives their lengths."""
    for digit in lengths:
        yield Field(start, int(digit), order, role)
        start += int(digit)


def _riff_chunks(data: bytes, order: Literal["little", "big"]) -> Iterator[tuple[int, int]]:
    """Start and end of the top chunks behind the file's own header of 12 bytes."""
    start = 12
    while start + 8 <= len(data):
        size = _number(data, start + 4, 4, order)
        end = min(len(data), start + 8 + size + size % 2)
        yield start, end
        start = end


def _riff(data: bytes) -> Iterator[Field]:
    order: Literal["little", "big"] = "big" if data[:4] in (b"RIFX", b"FORM") else "little"
    yield Field(4, 4, order, "size")
    yield Field(8, 4, order, "header")
    for start, end in _riff_chunks(data, order):
        kind = data[start : start + 4]
        yield Field(start + 4, 4, order, "size")
        body = start + 8
        if kind == b"fmt ":
            yield from _run(body, "224422", order)
            yield from _run(body + 16, "2222", order)
        elif kind == b"ds64":
            yield from _run(body, "888", order, "size")
            yield Field(body + 24, 4, order, "size")
        elif kind == b"fact":
            yield Field(body, 4, order, "size")
        elif kind == b"COMM":
            yield Field(body, 2, order, "header")
            yield Field(body + 2, 4, order, "size")
            yield Field(body + 6, 2, order, "header")
            yield from _run(body + 8, "28", order)
            yield Field(body + 18, 4, order, "header")
        elif kind == b"SSND":
            yield from _run(body, "44", order, "size")
        elif kind in (b"LIST", b"bext", b"JUNK", b"MARK", b"INST"):
            for offset in range(body, min(end, body + 160) - 4, 4):
                yield Field(offset, 4, order, "size" if offset % 8 else "header")


def _w64_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    start = 40
    while start + 24 <= len(data):
        size = max(24, _number(data, start + 16, 8, "little"))
        end = min(len(data), start + (size + 7) // 8 * 8)
        yield start, end
        start = end


def _w64(data: bytes) -> Iterator[Field]:
    yield Field(16, 8, "little", "size")
    for start, _ in _w64_chunks(data):
        yield Field(start + 16, 8, "little", "size")
        if data[start : start + 4] == b"fmt ":
            yield from _run(start + 24, "2244222", "little")


def _caf_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    start = 8
    while start + 12 <= len(data):
        end = min(len(data), start + 12 + _number(data, start + 4, 8, "big"))
        yield start, end
        start = end


def _caf(data: bytes) -> Iterator[Field]:
    yield from _run(4, "22", "big")
    for start, end in _caf_chunks(data):
        yield Field(start + 4, 8, "big", "size")
        body = start + 12
        if data[start : start + 4] == b"desc":
            yield from _run(body, "8444444", "big")
        elif data[start : start + 4] in (b"pakt", b"kuki", b"chan", b"strg", b"info"):
            yield from _run(body, "8844", "big", "size")
            for offset in range(body, min(end, body + 64)):
                yield Field(offset, 1, "big", "header")


def _au(data: bytes) -> Iterator[Field]:
    yield from _run(4, "44", "big", "size")
    yield from _run(12, "444", "big")


def _nist(data: bytes) -> Iterator[Field]:
    for match in re.finditer(rb"\d+", data[:1024]):
        yield Field(match.start(), len(match[0]), "big", "header")


def _voc(data: bytes) -> Iterator[Field]:
    yield from _run(20, "222", "little")
    start = 26
    while start + 4 <= len(data):
        yield Field(start, 1, "little", "header")
        yield Field(start + 1, 3, "little", "size")
        yield from _run(start + 4, "11", "little")
        start += 4 + _number(data, start + 1, 3, "little")


def _flac_blocks(data: bytes) -> Iterator[tuple[int, int]]:
    start = 4
    while start + 4 <= len(data):
        end = start + 4 + _number(data, start + 1, 3, "big")
        yield start, end
        if data[start] & 0x80:
            break
        start = end


def _flac(data: bytes) -> Iterator[Field]:
    last = 4
    for start, end in _flac_blocks(data):
        yield Field(start, 1, "big", "header")
        yield Field(start + 1, 3, "big", "size")
        if data[start] & 0x7F == 0:
            yield from _run(start + 4, "22", "big")
            yield from _run(start + 8, "33", "big", "size")
            yield from _run(start + 14, "44", "big")
        else:
            yield from _run(start + 4, "4444", "little", "size")
        last = end
    for match in re.finditer(rb"\xff[\xf8\xf9]", data[last:]):
        yield from _run(last + match.start() + 2, "1111", "big")


def _ogg_pages(data: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    while len(data) >= start + 27 and data[start : start + 4] == b"OggS":
        lacing = data[start + 27 : start + 27 + data[start + 26]]
        end = min(len(data), start + 27 + len(lacing) + sum(lacing))
        yield start, end
        start = end


def _ogg(data: bytes) -> Iterator[Field]:
    for number, (start, end) in enumerate(_ogg_pages(data)):
        yield from _run(start + 4, "11", "little")
        yield Field(start + 6, 8, "little", "size")
        yield from _run(start + 14, "44", "little")
        yield Field(start + 26, 1, "little", "size")
        n_segments = data[start + 26] if start + 26 < len(data) else 0
        for segment in range(min(n_segments, 8)):
            yield Field(start + 27 + segment, 1, "little", "size")
        if number < 3:  # the codec's own headers: identification, comment, set-up
            body = start + 27 + n_segments
            for offset in range(body, min(end, body + 48)):
                yield Field(offset, 1, "little", "header")
            for offset in range(body + 7, min(end, body + 120) - 4, 4):
                yield Field(offset, 4, "little", "size")


_BOXES = frozenset(
    {
        b"moov",
        b"trak",
        b"mdia",
        b"minf",
        b"stbl",
        b"dinf",
        b"edts",
        b"udta",
        b"mvex",
        b"moof",
        b"traf",
        b"meta",
        b"ilst",
    }
)


def _boxes(data: bytes, start: int, end: int, depth: int = 0) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and name of every atom, nested ones included."""
    while start + 8 <= end and depth < _MOST_DEPTH:
        size, name = _number(data, start, 4, "big"), data[start + 4 : start + 8]
        head = 8
        if size == 1 and start + 16 <= end:
            size, head = _number(data, start + 8, 8, "big"), 16
        stop = min(end, start + size) if size >= head else end
        yield start, stop, name
        if name in _BOXES:
            yield from _boxes(data, start + head + (4 if name == b"meta" else 0), stop, depth + 1)
        start = stop


def _mp4(data: bytes) -> Iterator[Field]:
    for start, end, name in _boxes(data, 0, len(data)):
        yield Field(start, 4, "big", "size")
        yield Field(start + 4, 4, "big", "header")
        if name in _BOXES or name == b"mdat":
            continue
        for offset in range(start + 8, min(end, start + 120) - 3, 4):
            yield Field(offset, 4, "big", "size" if offset <= start + 20 else "header")
        for offset in range(start + 8, min(end, start + 80) - 1, 2):
            yield Field(offset, 2, "big", "header")


_MASTERS = frozenset(
    {
        0x1A45DFA3, 0x18538067, 0x114D9B74, 0x4DBB, 0x1549A966, 0x1654AE6B, 0xAE, 0xE1, 0x1F43B675, 0xA0,
        0x1C53BB6B, 0xBB, 0xB7, 0x1254C367, 0x7373, 0x63C0, 0x67C8,
    }
)  # fmt: skip


def _ebml(data: bytes) -> Iterator[Field]:
    yield from (field for field, _, _ in _ebml_elements(data, 0, len(data)))


def _vint_length(first: int) -> int:
    return 9 - first.bit_length() if first else 9


def _ebml_elements(data: bytes, start: int, end: int, depth: int = 0) -> Iterator[tuple[Field, int, int]]:
    """The numbers of every element, each with its element's start and end."""
    while start + 2 <= end and depth < _MOST_DEPTH:
        id_length = _vint_length(data[start])
        size_at = start + id_length
        if id_length > 4 or size_at >= end:
            return
        size_length = _vint_length(data[size_at])
        body = size_at + size_length
        if size_length > 8 or body > end:
            return
        coded = _number(data, size_at, size_length, "big") & ((1 << 7 * size_length) - 1)
        is_open = coded == (1 << 7 * size_length) - 1
        stop = end if is_open else min(end, body + coded)
        yield Field(start, id_length, "big", "header"), start, stop
        yield Field(size_at, size_length, "big", "size"), start, stop
        if _number(data, start, id_length, "big") in _MASTERS:
            yield from _ebml_elements(data, body, stop, depth + 1)
        elif stop - body <= 8:
            yield Field(body, stop - body, "big", "header"), start, stop
        else:
            for offset in range(body, min(stop, body + 24)):
                yield Field(offset, 1, "big", "header"), start, stop
        start = stop


def _tagged_frames(data: bytes) -> Iterator[Field]:
    """An MPEG or ADTS stream, with or without an ID3 tag in front."""
    start = 0
    if data[:3] == b"ID3":
        yield from _run(3, "111", "big")
        yield Field(6, 4, "big", "size")
        size = 0
        for byte in data[6:10]:
            size = size << 7 | byte & 0x7F
        frame, start = 10, min(len(data), 10 + size)
        while frame + 10 < start and data[frame]:
            yield Field(frame + 4, 4, "big", "size")
            yield from _run(frame + 8, "21", "big")
            frame += 10 + _number(data, frame + 4, 4, "big")
    for match in re.finditer(rb"\xff[\xe0-\xff]", data[start:]):
        yield from _run(start + match.start() + 1, "111111", "big")
    for match in re.finditer(rb"Xing|Info|LAME|VBRI", data[start : start + 4_000]):
        yield from _run(start + match.start() + 4, "4444", "big", "size")


def _amr(data: bytes) -> Iterator[Field]:
    yield from _run(0, "11111111", "big")
    sizes = (12, 13, 15, 17, 19, 20, 26, 31, 5)
    start = 6
    while start < len(data):
        yield Field(start, 1, "big", "header")
        kind = data[start] >> 3 & 15
        start += 1 + (sizes[kind] if kind < len(sizes) else 0)


def _asf(data: bytes) -> Iterator[Field]:
    start, end, is_top = 0, len(data), True
    while start + 24 <= end:
        yield Field(start, 4, "little", "header")
        yield Field(start + 16, 8, "little", "size")
        size = max(24, _number(data, start + 16, 8, "little"))
        for offset in range(start + 24, min(end, start + 24 + 120, start + size) - 3, 2):
            yield Field(offset, 2 if offset % 4 else 4, "little", "header")
        # The header object holds others, behind 30 bytes of its own.
        start, is_top = (start + 30, False) if is_top else (start + size, False)


def _flv(data: bytes) -> Iterator[Field]:
    yield from _run(3, "11", "big")
    yield Field(5, 4, "big", "size")
    start = 13
    while start + 11 <= len(data):
        yield Field(start, 1, "big", "header")
        yield Field(start + 1, 3, "big", "size")
        yield from _run(start + 4, "3131", "big")
        start += 15 + _number(data, start + 1, 3, "big")


def _packets(length: int) -> Callable[[bytes], Iterator[Field]]:
    def find(data: bytes) -> Iterator[Field]:
        for start in range(0, len(data), length):
            yield from _run(start, "11111111", "big")
            yield from _run(start + 8, "22", "big", "size")

    return find


def _program_stream(data: bytes) -> Iterator[Field]:
    for match in re.finditer(rb"\x00\x00\x01[\xb9-\xff]", data):
        yield Field(match.start() + 3, 1, "big", "header")
        yield Field(match.start() + 4, 2, "big", "size")
        yield from _run(match.start() + 6, "1111", "big")


def _words(length: int, order: Literal["little", "big"]) -> Callable[[bytes], Iterator[Field]]:
    """The head of a file taken as numbers of several sizes."""

    def find(data: bytes) -> Iterator[Field]:
        for offset in range(4, min(length, len(data))):
            yield Field(offset, 1, order, "header")
            if offset % 2 == 0:
                yield Field(offset, 2, order, "header")
            if offset % 4 == 0:
                yield Field(offset, 4, order, "size")

    return find


def _wavpack(data: bytes) -> Iterator[Field]:
    for match in re.finditer(rb"wvpk", data):
        yield Field(match.start() + 4, 4, "little", "size")
        yield from _run(match.start() + 8, "211", "little")
        yield from _run(match.start() + 12, "44444", "little", "size")
        yield from _run(match.start() + 32, "11221122", "little")


def _ac3(data: bytes) -> Iterator[Field]:
    for match in re.finditer(rb"\x0b\x77", data):
        yield from _run(match.start() + 2, "211111", "big")


_FINDERS: dict[str, Callable[[bytes], Iterator[Field]]] = {
    **dict.fromkeys(("wav", "rf64", "aiff", "avi"), _riff),
    **dict.fromkeys(("m4a", "mp4", "mov", "3gp"), _mp4),
    **dict.fromkeys(("webm", "matroska"), _ebml),
    **dict.fromkeys(("mp3", "aac"), _tagged_frames),
    "w64": _w64,
    "caf": _caf,
    "au": _au,
    "nist": _nist,
    "voc": _voc,
    "flac": _flac,
    "ogg": _ogg,
    "amr": _amr,
    "asf": _asf,
    "flv": _flv,
    "mpegts": _packets(188),
    "mpeg": _program_stream,
    "ac3": _ac3,
    "tta": _words(40, "little"),
    "wavpack": _wavpack,
    "ape": _words(80, "little"),
    "dss": _words(128, "little"),
}

_ELEMENTS: dict[str, Callable[[bytes], Iterator[tuple[int, int]]]] = {
    **dict.fromkeys(
        ("wav", "rf64", "avi"), lambda data: _riff_chunks(data, "big" if data[:4] == b"RIFX" else "little")
    ),
    "aiff": lambda data: _riff_chunks(data, "big"),
    "w64": _w64_chunks,
    "caf": _caf_chunks,
    "flac": _flac_blocks,
    "ogg": _ogg_pages,
    **dict.fromkeys(
        ("m4a", "mp4", "mov", "3gp"), lambda data: ((start, end) for start, end, _ in _boxes(data, 0, len(data)))
    ),
    **dict.fromkeys(
        ("webm", "matroska"),
        lambda data: dict.fromkeys((start, end) for _, start, end in _ebml_elements(data, 0, len(data))).__iter__(),
    ),
}


def _ogg_table() -> list[int]:
    table = []
    for byte in range(256):
        register = byte << 24
        for _ in range(8):
            register = (register << 1) ^ (0x04C11DB7 if register & 0x80000000 else 0)
        table.append(register & 0xFFFFFFFF)
    return table


_OGG_TABLE = _ogg_table()


def ogg_checksum(page: bytes) -> int:
    """CRC-32 of an Ogg page whose own field is 0 (RFC 3533, 6: polynomial 0x04C11DB7, not reflected, from 0)."""
    register = 0
    for byte in page:
        register = (register << 8 & 0xFFFFFFFF) ^ _OGG_TABLE[register >> 24 ^ byte]
    return register


def _with_ogg_checksums(data: bytes) -> bytes:
    mended_data = bytearray(data)
    for start, end in _ogg_pages(data):
        mended_data[start + 22 : start + 26] = bytes(4)
        struct.pack_into("<I", mended_data, start + 22, ogg_checksum(bytes(mended_data[start:end])))
    return bytes(mended_data)
