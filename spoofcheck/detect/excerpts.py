"""Windows of an exhibit to listen to: those that speak most for its pooled direction, and those most against it.

`chosen_windows` chooses, `excerpts_of` reads and encodes. Excerpts are cut at the recording's own rate, so that a
listener hears what the file holds and not the 16 kHz that the network heard, and are kept as Opus at 32 kbit/s (4 s
take 16 kB), or as FLAC where that is smaller or libsndfile writes no Opus. They are for listening: scores are of the
recording.
"""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from spoofcheck.audio.decode import decode_blocks
from spoofcheck.errors import InputError
from spoofcheck.schema import Excerpt
from spoofcheck.types import RecordingSummary, WindowScore, samples_to_seconds

EXCERPTS = 2
"""In each direction."""

LONGEST_S = 10.0
"""Of an excerpt; only the begin of a longer window is kept."""

OPUS_BITS_PER_S = 32_000
_OPUS_RATES_HZ: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
_COMPRESSION_LEVEL = (256_000 - OPUS_BITS_PER_S) / 250_000
"""libsndfile goes from 256 kbit/s a channel at level 0 to 6 kbit/s at level 1."""

Direction = Literal["for", "against"]
MediaType = Literal["audio/flac", "audio/ogg"]


@dataclass(frozen=True, slots=True)
class ChosenWindow:
    """A window that is to be heard."""

    direction: Direction
    window: WindowScore
    spoof_llr: float


def chosen_windows(
    windows: Sequence[WindowScore], pooled_llr: float | None, most: int = EXCERPTS
) -> tuple[ChosenWindow, ...]:
    """The strongest windows for an exhibit's pooled direction and the strongest against it.

    A window is for or against by the sign of its own LLR; one at 0 is neither. None overlaps another that is chosen:
    two windows that share most of their samples would be one excerpt heard twice. At equal LLRs the earlier wins. A
    pooled LLR of 0 counts as support for synthetic.

    Args:
        windows: of the exhibit.
        pooled_llr: of the exhibit; None for one without a score, of which nothing is chosen.
        most: in each direction.

    Returns:
        Those for the direction, strongest first, then those against it; fewer, or none, where there are no more.
    """
    if pooled_llr is None:
        return ()
    sign = 1.0 if pooled_llr >= 0 else -1.0
    scored = [(window.spoof_llr * sign, window) for window in windows if window.spoof_llr is not None]
    chosen: list[ChosenWindow] = []
    directions: tuple[tuple[Direction, float], ...] = (("for", 1.0), ("against", -1.0))
    for direction, side in directions:
        found = 0
        for support, window in sorted(scored, key=lambda pair: (-side * pair[0], pair[1].start_sample)):
            if found == most or support * side <= 0:
                break
            if not any(_overlap(window, other.window) for other in chosen):
                chosen.append(ChosenWindow(direction, window, support * sign))
                found += 1
    return tuple(chosen)


def excerpts_of(
    summary: RecordingSummary, chosen: Mapping[int | None, Sequence[ChosenWindow]]
) -> dict[int | None, tuple[Excerpt, ...]]:
    """Read the chosen windows of a recording that was judged, and encode them.

    Args:
        summary: what its reading ended with.
        chosen: by channel; None is a mono file or the mix of all channels.

    Returns:
        Excerpts by channel, in the order of `chosen`.

    Raises:
        InputError: it cannot be read any more, or what is decoded is not what was judged (`changed-while-reading`).
    """
    if not any(chosen.values()):
        return dict.fromkeys(chosen, ())
    rate_hz = summary.file.sample_rate_hz
    cuts = [_Cut(channel, window, rate_hz) for channel, windows in chosen.items() for window in windows]
    pcm = sha256()
    position = 0
    with closing(decode_blocks(summary.file)) as blocks:
        for block in blocks:
            pcm.update(np.ascontiguousarray(block, "<f4").data)
            for cut in cuts:
                cut.take(block, position)
            position += len(block)
    if pcm.hexdigest() != summary.pcm_sha256:
        raise InputError("changed-while-reading", "The file changed after it was judged.")
    return {channel: tuple(cut.excerpt() for cut in cuts if cut.channel == channel) for channel in chosen}


class _Cut:
    """A stretch of one channel, gathered from blocks at the native rate."""

    def __init__(self, channel: int | None, chosen: ChosenWindow, rate_hz: int) -> None:
        self.channel = channel
        self._chosen = chosen
        self._rate_hz = rate_hz
        self._start_s = samples_to_seconds(chosen.window.start_sample)
        self._end_s = min(samples_to_seconds(chosen.window.end_sample), self._start_s + LONGEST_S)
        self._start, self._end = round(self._start_s * rate_hz), round(self._end_s * rate_hz)
        self._parts: list[NDArray[np.float32]] = []

    def take(self, block: NDArray[np.float32], position: int) -> None:
        """Keep what belongs to the stretch of a block `[frames, channels]` that begins at frame `position`."""
        part = block[max(0, self._start - position) : max(0, self._end - position)]
        if len(part):
            heard = part.mean(axis=1, dtype=np.float32) if self.channel is None else part[:, self.channel]
            self._parts.append(np.array(heard, np.float32))

    def excerpt(self) -> Excerpt:
        media_type, data = encoded(np.concatenate(self._parts), self._rate_hz)
        return Excerpt(
            direction=self._chosen.direction,
            start_s=self._start_s,
            end_s=self._end_s,
            spoof_llr=self._chosen.spoof_llr,
            media_type=media_type,
            data_base64=base64.b64encode(data).decode("ascii"),
        )


def encoded(samples: NDArray[np.float32], sample_rate_hz: int) -> tuple[MediaType, bytes]:
    """Samples `[n]` of one channel as Opus or FLAC, whichever is smaller; the same bytes whenever it is called.

    Opus knows five rates: another is brought to the next above it, or to 48 kHz. FLAC has 16 bits.
    """
    limited = np.clip(samples, -1.0, 1.0)
    flac = _written(limited, sample_rate_hz, "FLAC", "PCM_16")
    if "OPUS" not in soundfile.available_subtypes("OGG"):
        return "audio/flac", flac
    rate_hz = next((rate for rate in _OPUS_RATES_HZ if rate >= sample_rate_hz), _OPUS_RATES_HZ[-1])
    if rate_hz != sample_rate_hz:
        limited = np.clip(soxr.resample(limited, sample_rate_hz, rate_hz, quality="HQ"), -1.0, 1.0)
    opus = with_serial(_written(limited, rate_hz, "OGG", "OPUS", _COMPRESSION_LEVEL), 0)
    return ("audio/ogg", opus) if len(opus) < len(flac) else ("audio/flac", flac)


def _written(
    samples: NDArray[np.float32], sample_rate_hz: int, container: str, subtype: str, level: float | None = None
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate_hz, format=container, subtype=subtype, compression_level=level)
    return buffer.getvalue()


def with_serial(ogg: bytes, serial: int) -> bytes:
    """An Ogg stream whose pages carry another serial number (RFC 3533, 6).

    libsndfile draws it at random, and a report of the same recording must be the same bytes.
    """
    pages = []
    position = 0
    while position < len(ogg):
        segments = ogg[position + 26]
        end = position + 27 + segments + sum(ogg[position + 27 : position + 27 + segments])
        page = bytearray(ogg[position:end])
        struct.pack_into("<I", page, 14, serial)
        struct.pack_into("<I", page, 22, 0)  # the checksum is taken with itself as 0
        struct.pack_into("<I", page, 22, _ogg_checksum(page))
        pages.append(page)
        position = end
    return b"".join(pages)


def _checksum_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ 0x04C11DB7 if value & 0x80000000 else value << 1
        table.append(value & 0xFFFFFFFF)
    return tuple(table)


_CHECKSUM = _checksum_table()


def _ogg_checksum(page: Iterable[int]) -> int:
    """Ogg's CRC-32: generator 0x04c11db7, most significant bit first, from 0; zlib's goes the other way round."""
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _CHECKSUM[value >> 24 ^ byte]
    return value


def _overlap(a: WindowScore, b: WindowScore) -> bool:
    return a.start_sample < b.end_sample and b.start_sample < a.end_sample
