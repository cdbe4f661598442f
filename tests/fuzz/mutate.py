"""Mutants of recordings: the same seed and number give the same bytes, on any machine."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fuzz.seeds import Seed
from tests.fuzz.structure import Field, elements_of, fields_of, mended

LARGEST_BYTES = 1 << 19
"""Mutants are cut here: what is tried is structure, not patience."""

_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 15, 16, 24, 32, 33, 63, 64, 65, 127, 128, 255, 256, 1_000, 4_000, 8_000, 22_050)
_LARGE = (32_767, 32_768, 65_535, 65_536, 192_000, 768_001, 10**6, 10**9, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_HUGE = (2**32, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 8)
_DEPTH = 300
_TOKENS = (
    b"RIFF", b"RF64", b"WAVE", b"fmt ", b"data", b"ds64", b"FORM", b"AIFF", b"AIFC", b"COMM", b"SSND", b"caff", b"fLaC",
    b"OggS", b"OpusHead", b"OpusTags", b"\x01vorbis", b"\x03vorbis", b"\x05vorbis", b"ID3\x04", b"TAG", b"APETAGEX",
    b"moov", b"mdat", b"ftypM4A ", b"stsd", b"dref", b"alis", b"cmov", b"\x1a\x45\xdf\xa3", b"#!AMR\n", b"#!AMR-WB\n",
    b"\xff\xfb\x90\x64", b"\xff\xf1\x50\x80", b"wvpk", b"TTA1", b"MAC ", b"FLV\x01", b"#EXTM3U\n",
    b"ffconcat version 1.0\n", b"file:///etc/passwd", b"%d%n%s", b"\x1b[2J\x1b]0;x\x07", b"\xe2\x80\xae",
    b"\n\nerror\n", b"\0" * 16, b"\xff" * 16, b"Stream mapping:\n  Stream #0:0 -> #0:0 (evil (x) -> y)\n", b"nan",
    b"-1", b"1e309",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """A damaged recording.

    Attributes:
        number: of the mutant in its campaign; with the campaign's seed it makes the same bytes again.
        seed: what it was made from.
        how: names of the mutations, in their order.
    """

    number: int
    seed: Seed
    how: tuple[str, ...]
    data: bytes

    @property
    def file_name(self) -> str:
        """Sorts by number; the extension is that of the original."""
        return f"{self.number:06d}-{self.seed.name}-{self.how[-1]}.{self.seed.extension}"


def mutant(campaign_seed: int, number: int, seeds: Sequence[Seed]) -> Mutant:
    """The mutant of that number; the seeds take turns.

    Args:
        campaign_seed: another one gives other mutants.
        number: from 0.
        seeds: of all formats, in a fixed order.
    """
    chance = random.Random(f"spoofcheck {campaign_seed} {number}")
    seed = seeds[number % len(seeds)]
    data, how = mutated(chance, seed.data, seed.container, seeds)
    return Mutant(number, seed, how, data)


def mutated(chance: random.Random, data: bytes, container: str, seeds: Sequence[Seed]) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a recording after one to three mutations, and their names.

    Args:
        chance: what decides.
        data: a recording, or what is left of one.
        container: how its structure is read.
        seeds: others, to splice it with.
    """
    how = []
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3))):
        name = chance.choice(_WEIGHTED)
        how.append(name)
        data = _MUTATIONS[name](chance, data, container, seeds)[:LARGEST_BYTES]
    if container == "ogg" and chance.random() < 0.8:
        data = mended("ogg", data)
    return data, tuple(how)


def mutation_names() -> list[str]:
    """All of them."""
    return list(_MUTATIONS)


_Mutate = Callable[[random.Random, bytes, str, Sequence[Seed]], bytes]


def _place(chance: random.Random, data: bytes) -> int:
    """An offset; every other time it is in the head, where what decides lies."""
    limit = len(data) if chance.random() < 0.5 else min(len(data), 512)
    return chance.randrange(limit + 1)


def _span(chance: random.Random, data: bytes) -> tuple[int, int]:
    start = _place(chance, data)
    length = int(2 ** chance.uniform(0, 14))
    return start, min(len(data), start + length)


def _flip_bits(chance: random.Random, data: bytes, _: str, __: Sequence[Seed]) -> bytes:
    changed = bytearray(data)
    for _ in range(int(2 ** chance.uniform(0, 8)) if changed else 0):
        at = min(len(changed) - 1, _place(chance, data))
        changed[at] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(chance: random.Random, data: bytes, _: str, __: Sequence[Seed]) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + chance.randbytes(end - start) + data[end:]


def _fill(chance: random.Random, data: bytes, _: str, __: Sequence[Seed]) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + bytes([chance.choice((0, 0, 0xFF, 0x7F, 0x80))]) * (end - start) + data[end:]


def _truncate(chance: random.Random, data: bytes, _: str, __: Sequence[Seed]) -> bytes:
    return data[: _place(chance, data)]


def _behead(chance: random.Random, data: bytes, _: str, __: Sequence[Seed]) -> bytes:
    return data[_place(chance, data) :]


def _insert(chance: random.Random, data: bytes, _: str, __: Sequence[Seed]) -> bytes:
    at = _place(chance, data)
    return data[:at] + chance.randbytes(int(2 ** chance.uniform(0, 12))) + data[at:]


def _token(chance: random.Random, data: bytes, _: str, __: Sequence[Seed]) -> bytes:
    at, token = _place(chance, data), chance.choice(_TOKENS)
    return data[:at] + token + data[at + (len(token) if chance.random() < 0.5 else 0) :]


def _delete(chance: random.Random, data: bytes, _: str, __: Sequence[Seed]) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + data[end:]


def _repeat(chance: random.Random, data: bytes, _: str, __: Sequence[Seed]) -> bytes:
    start, end = _span(chance, data)
    return data[:end] + data[start:end] * chance.choice((1, 2, 16)) + data[end:]


def _swap(chance: random.Random, data: bytes, _: str, __: Sequence[Seed]) -> bytes:
    cuts = sorted(_place(chance, data) for _ in range(4))
    first, second, third, fourth = cuts
    return data[:first] + data[third:fourth] + data[second:third] + data[first:second] + data[fourth:]


def _splice(chance: random.Random, data: bytes, _: str, seeds: Sequence[Seed]) -> bytes:
    """The head of one format, the body of another."""
    other = chance.choice(seeds).data
    return data[: _place(chance, data)] + other[_place(chance, other) :]


def _wrap(chance: random.Random, data: bytes, _: str, seeds: Sequence[Seed]) -> bytes:
    """One format in the middle of another, or behind it."""
    other = chance.choice(seeds).data
    at = chance.choice((0, len(data), _place(chance, data)))
    return data[:at] + other + data[at:]


def _put(data: bytearray, field: Field, value: int) -> None:
    value &= (1 << 8 * field.length) - 1
    data[field.offset : field.offset + field.length] = value.to_bytes(field.length, field.order)


def _value(chance: random.Random, field: Field, data: bytes) -> int:
    """A number to put in: an extreme one of its size, one near what was there, or one that has to do with the file."""
    there = int.from_bytes(data[field.offset : field.offset + field.length], field.order)
    top = 1 << 8 * field.length
    kind = chance.random()
    if kind < 0.3:
        return chance.choice((0, 1, top - 1, top - 2, top // 2, top // 2 - 1, top - len(data)))
    if kind < 0.6:
        return chance.choice((*_NUMBERS, *_LARGE) if field.length < 8 else (*_NUMBERS, *_LARGE, *_HUGE))
    if kind < 0.8:
        return there + chance.choice((-8, -2, -1, 1, 2, 8, 255, there, -(there // 2)))
    return chance.choice((len(data), len(data) - field.offset, field.offset, chance.randrange(top)))


def _of_role(role: str) -> _Mutate:
    def mutate(chance: random.Random, data: bytes, container: str, seeds: Sequence[Seed]) -> bytes:
        fields = [field for field in fields_of(container, data) if field.role == role]
        if not fields:
            return _flip_bits(chance, data, container, seeds)
        changed = bytearray(data)
        # The first numbers of a file decide the most; later ones repeat them page after page.
        near = fields[:24] if chance.random() < 0.6 else fields
        for field in chance.sample(near, min(len(near), chance.choice((1, 1, 2, 4)))):
            _put(changed, field, _value(chance, field, data))
        return bytes(changed)

    return mutate


def _element(chance: random.Random, data: bytes, container: str, seeds: Sequence[Seed]) -> bytes:
    """A chunk, page or atom dropped, repeated, moved to the front of another, or swapped with it."""
    elements = elements_of(container, data)
    if len(elements) < 2:
        return _swap(chance, data, container, seeds)
    first, second = sorted(chance.sample(elements, 2))
    a, b = data[first[0] : first[1]], data[second[0] : second[1]]
    match chance.randrange(4):
        case 0:
            return data[: first[0]] + data[first[1] :]
        case 1:
            return data[: first[1]] + a * chance.choice((1, 3, 50)) + data[first[1] :]
        case 2:
            return data[: first[0]] + b + data[first[0] :]
        case _ if first[1] <= second[0]:
            return data[: first[0]] + b + data[first[1] : second[0]] + a + data[second[1] :]
        case _:
            return data[: first[0]] + b + data[first[1] :]


def _bomb(chance: random.Random, data: bytes, container: str, seeds: Sequence[Seed]) -> bytes:
    """Metadata without end: many entries, or a few that claim gigabytes."""
    make = _BOMBS.get(container)
    return _nested(chance, data, container, seeds) if make is None else make(chance, data)


def _riff_bomb(chance: random.Random, data: bytes) -> bytes:
    order = ">" if data[:4] in (b"FORM", b"RIFX") else "<"
    name = chance.choice((b"LIST", b"junk", b"bext", b"fmt ", b"COMM", b"MARK", b"id3 ", b"data", b"ds64", b"cue "))
    size = chance.choice((0, 1, 4, 2**31 - 1, 2**32 - 1))
    held = chance.randbytes(size) if size <= 4 else b""
    chunk = name + struct.pack(f"{order}I", size) + held + bytes(len(held) % 2)
    return data[:12] + chunk * chance.choice((1, 2, 3_000)) + data[12:]


def _flac_bomb(chance: random.Random, data: bytes) -> bytes:
    kind = chance.choice((1, 2, 3, 4, 4, 5, 6, 6, 126, 127))
    held = chance.choice(
        (
            b"",
            struct.pack("<I", 2**32 - 1),
            struct.pack("<I", 4) + b"name" + struct.pack("<I", 2**31),
            struct.pack("<II", 0, 5_000) + (struct.pack("<I", 3) + b"A=B") * 5_000,
            struct.pack(">II", 3, 2**32 - 1) + b"image/png" * 8,
            chance.randbytes(4_000),
        )
    )
    block = bytes([kind]) + len(held).to_bytes(3, "big") + held
    return data[:42] + block * chance.choice((1, 2, 100)) + data[42:]


def _ogg_bomb(chance: random.Random, data: bytes) -> bytes:
    """Comments that claim more than there is, in place of those of the second page."""
    for name, head in ((b"OpusTags", 8), (b"\x03vorbis", 7)):
        at = data.find(name)
        if at >= 0:
            claim = struct.pack("<II", chance.choice((0, 2**31, 2**32 - 1)), chance.choice((10**6, 2**32 - 1)))
            return data[: at + head] + claim + data[at + head + 8 :]
    page = data[: 27 + (data[26] if len(data) > 26 else 0)]
    return page * chance.choice((2, 2_000)) + data


def _synchsafe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def _id3_bomb(chance: random.Random, data: bytes) -> bytes:
    claimed, version = chance.choice((0, 1, 10, 2**20, 2**28 - 1)), chance.choice((2, 3, 4))
    names = (b"TIT2", b"COMM", b"APIC", b"GEOB", b"CHAP", b"TXXX", b"ULT", b"\0\0\0\0")
    frames = b"".join(
        chance.choice(names) + struct.pack(">I", chance.choice((0, 1, 10, 2**31, 2**32 - 1))) + chance.randbytes(8)
        for _ in range(chance.choice((1, 50, 5_000)))
    )
    if chance.random() < 0.3:
        frames = bytes(200_000)
        claimed = len(frames)
    tag = b"ID3" + bytes([version, 0, chance.choice((0, 0x10, 0x40, 0x80, 0xFF))]) + _synchsafe(claimed) + frames
    return tag * chance.choice((1, 1, 20)) + data


def _box_bomb(chance: random.Random, data: bytes) -> bytes:
    """Atoms in atoms, or tables with more entries than the file has bytes."""
    if chance.random() < 0.5:
        name = chance.choice((b"moov", b"trak", b"udta", b"meta", b"stbl", b"ilst", b"moof", b"wave", b"clip"))
        nest = b""
        for _ in range(_DEPTH * chance.choice((1, 10))):
            nest = struct.pack(">I4s", 8 + len(nest), name) + nest
            if len(nest) > LARGEST_BYTES // 4:
                break
        at = chance.choice((0, len(data)))
        return data[:at] + nest + data[at:]
    changed = bytearray(data)
    for name in (b"stts", b"stsc", b"stsz", b"stco", b"co64", b"elst", b"stss", b"trun", b"dref", b"stsd", b"ctts"):
        at = data.find(name)
        if at >= 0 and len(data) >= at + 20 and chance.random() < 0.6:
            offset = at + (12 if name == b"stsz" else 8)
            struct.pack_into(">I", changed, offset, chance.choice((0, 10**6, 10**8, 2**28, 2**31 - 1, 2**32 - 1)))
    at = data.find(b"stts")
    if at >= 0 and len(data) >= at + 20 and chance.random() < 0.5:
        struct.pack_into(">II", changed, at + 12, 10**6, chance.choice((1, 2**31 - 1)))
    return bytes(changed)


def _ebml_bomb(chance: random.Random, data: bytes) -> bytes:
    nest = b""
    identity = chance.choice(
        (b"\x18\x53\x80\x67", b"\x12\x54\xc3\x67", b"\x67\xc8", b"\x16\x54\xae\x6b", b"\xae", b"\xec")
    )
    for _ in range(_DEPTH):
        nest = identity + (0x10000000 | len(nest)).to_bytes(4, "big") + nest
    claim = identity + chance.choice((b"\x01" + b"\xff" * 7, b"\x01" + b"\xfe" * 7, b"\x08\xff\xff\xff\xff", b"\xff"))
    at = chance.choice((0, min(len(data), 36), min(len(data), 60), _place(chance, data)))
    return data[:at] + chance.choice((nest, claim, claim * 500)) + data[at:]


def _caf_bomb(chance: random.Random, data: bytes) -> bytes:
    name = chance.choice((b"strg", b"info", b"pakt", b"kuki", b"free", b"data", b"desc", b"mark", b"chan"))
    size = chance.choice((0, 4, 2**31, 2**63 - 1, 2**64 - 1))
    chunk = name + struct.pack(">Q", size) + (bytes(4) if size == 4 else b"")
    return data[:8] + chunk * chance.choice((1, 2, 2_000)) + data[8:]


_BOMBS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    **dict.fromkeys(("wav", "rf64", "aiff", "avi"), _riff_bomb),
    **dict.fromkeys(("m4a", "mp4", "mov", "3gp"), _box_bomb),
    **dict.fromkeys(("webm", "matroska"), _ebml_bomb),
    **dict.fromkeys(("mp3", "aac", "tta", "ac3"), _id3_bomb),
    "flac": _flac_bomb,
    "ogg": _ogg_bomb,
    "caf": _caf_bomb,
}


def _nested(chance: random.Random, data: bytes, _: str, __: Sequence[Seed]) -> bytes:
    """The file's own head again and again, or the whole of it in itself."""
    head = data[: chance.choice((4, 12, 44, 64, 200))]
    return head * chance.choice((2, 50, 1_000)) + data[chance.choice((0, len(head))) :]


def _trivial(chance: random.Random, data: bytes, _: str, __: Sequence[Seed]) -> bytes:
    return chance.choice(
        (b"", data[:1], data[:4], data[:12], data[:44], bytes(1), bytes(4_096), data[:4] + bytes(4_096), data[:64] * 8)
    )


_MUTATIONS: dict[str, _Mutate] = {
    "flip-bits": _flip_bits,
    "overwrite": _overwrite,
    "fill": _fill,
    "truncate": _truncate,
    "behead": _behead,
    "insert": _insert,
    "token": _token,
    "delete": _delete,
    "repeat": _repeat,
    "swap": _swap,
    "splice": _splice,
    "wrap": _wrap,
    "sizes": _of_role("size"),
    "header": _of_role("header"),
    "element": _element,
    "bomb": _bomb,
    "nested": _nested,
    "trivial": _trivial,
}
_RARE = frozenset({"trivial", "behead"})
_OFTEN = frozenset({"sizes", "header", "element", "bomb"})
_WEIGHTED = [name for name in _MUTATIONS for _ in range(1 if name in _RARE else 6 if name in _OFTEN else 2)]
