"""What kind of file the first bytes say it is: pure functions, standard library only.

A file's name is a claim, its first bytes are evidence. The names are those an analyst knows a container by
(`"m4a"`, `"wav"`); what is inside is the decoder's business.
"""

from __future__ import annotations

HEAD_BYTES = 8_192
"""How much of a file `container_of` wants to see: two frames of any MPEG audio layer."""

AUDIO_EXTENSIONS = frozenset(
    {
        "3g2",
        "3ga",
        "3gp",
        "3gpp",
        "aac",
        "ac3",
        "aif",
        "aifc",
        "aiff",
        "amr",
        "ape",
        "asf",
        "au",
        "avi",
        "awb",
    }
    | {
        "bwf",
        "caf",
        "dss",
        "flac",
        "flv",
        "m2ts",
        "m4a",
        "m4b",
        "m4v",
        "mka",
        "mkv",
        "mov",
        "mp2",
        "mp3",
        "mp4",
    }
    | {"mpeg", "mpg", "mpga", "mts", "nist", "oga", "ogg", "ogv", "opus", "rf64", "snd", "sph", "spx", "tta"}
    | {"voc", "w64", "wav", "wave", "wax", "webm", "wma", "wmv", "wv"}
)
"""Lower-case file name extensions, without the dot, that claim to hold sound (`.ts` is mostly a program)."""

HEADERLESS_EXTENSIONS = frozenset({"al", "alaw", "g722", "gsm", "pcm", "raw", "slin", "sln", "u8", "ul", "ulaw", "vox"})
"""Extensions of recordings without a header: nothing in them says rate, channels or coding."""

_FIXED: tuple[tuple[int, bytes, str], ...] = (
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"caff", "caf"),
    (0, b".snd", "au"),
    (0, b"dns.", "au"),
    (0, b"#!AMR", "amr"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00", "w64"),
    (0, b"NIST_1A", "nist"),
    (0, b"Creative Voice File", "voc"),
    (0, b"FLV\x01", "flv"),
    (0, b"MAC ", "ape"),
    (0, b"wvpk", "wavpack"),
    (0, b"TTA1", "tta"),
    (0, b"\x02dss", "dss"),
    (0, b"\x03dss", "dss"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
    (0, b"ID3", "mp3"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"wide", "mov"),
)
_RIFF_LIKE = {
    (b"RIFF", b"WAVE"): "wav",
    (b"RIFX", b"WAVE"): "wav",
    (b"RF64", b"WAVE"): "rf64",
    (b"BW64", b"WAVE"): "rf64",
    (b"RIFF", b"AVI "): "avi",
    (b"FORM", b"AIFF"): "aiff",
    (b"FORM", b"AIFC"): "aiff",
}
_EBML = b"\x1a\x45\xdf\xa3"
_TS_PACKET_BYTES = 188
_BRANDS = {b"M4A ": "m4a", b"M4B ": "m4a", b"qt  ": "mov", b"3gp": "3gp", b"3g2": "3gp"}


def container_of(head: bytes) -> str | None:
    """The container that a file's first `HEAD_BYTES` bytes show, or None when they show none we know.

    An MP3 or AAC stream has no header of its own: it is known by two frames in a row (or by an ID3 tag, which
    an AAC stream may carry too).
    """
    riff_like = _RIFF_LIKE.get((head[:4], head[8:12]))
    if riff_like is not None:
        return riff_like
    if head[4:8] == b"ftyp":
        return next((name for brand, name in _BRANDS.items() if head[8:12].startswith(brand)), "mp4")
    if head.startswith(_EBML):
        return "webm" if b"webm" in head[:64] else "matroska"
    for offset, magic, name in _FIXED:
        if head[offset : offset + len(magic)] == magic:
            return name
    if _is_transport_stream(head):
        return "mpegts"
    return _elementary_stream(head)


def extension_of(name: str) -> str:
    """Lower-case extension of a file name, without the dot; empty when it has none."""
    stem, dot, extension = name.rpartition(".")
    return extension.lower() if dot and stem else ""


def _is_transport_stream(head: bytes) -> bool:
    starts = range(0, 4 * _TS_PACKET_BYTES, _TS_PACKET_BYTES)
    return len(head) > starts[-1] and all(head[start] == 0x47 for start in starts)


def _elementary_stream(head: bytes) -> str | None:
    """`"mp3"` or `"aac"` when the head starts with a frame followed by another, or by the end of the file."""
    for name, frame_bytes in (("mp3", _mpeg_frame_bytes), ("aac", _adts_frame_bytes)):
        length = frame_bytes(head)
        if length and (len(head) == length or frame_bytes(head[length:])):
            return name
    return None


_LAYER3_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG1_HZ = (44_100, 48_000, 32_000)


def _mpeg_frame_bytes(frame: bytes) -> int:
    """Length of the MPEG layer III frame at the start, 0 when there is none (ISO/IEC 11172-3, 2.4.1.3)."""
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return 0
    version, layer = frame[1] >> 3 & 3, frame[1] >> 1 & 3
    bitrate, rate, padding = frame[2] >> 4, frame[2] >> 2 & 3, frame[2] >> 1 & 1
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return 0
    is_mpeg1 = version == 3
    sample_rate_hz = _MPEG1_HZ[rate] // {3: 1, 2: 2, 0: 4}[version]
    return (144_000 if is_mpeg1 else 72_000) * _LAYER3_KBPS[is_mpeg1][bitrate] // sample_rate_hz + padding


def _adts_frame_bytes(frame: bytes) -> int:
    """Length of the ADTS frame at the start, 0 when there is none (ISO/IEC 14496-3, 1.A.2.2)."""
    if len(frame) < 7 or frame[0] != 0xFF or frame[1] & 0xF6 != 0xF0:
        return 0
    length = (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5
    return length if length >= 7 else 0
