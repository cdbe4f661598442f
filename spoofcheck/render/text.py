"""Words and numbers as an analyst reads them, and outside text made harmless."""

from __future__ import annotations

import math
import re

MISSING = "\N{EN DASH}"
"""Stands where there is no value."""

# Letters by category, blank on screen: fillers, joiners, variation selectors (but for the two emoji use).
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\U000e0100-\U000e01ef]"
)
_IDEOGRAPHIC_SPACE = "\u3000"
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}
_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]")
_LEFT_TO_RIGHT_MARK = "\u200e"


def printable(text: str) -> str:
    r"""`text` with every character that could act on a terminal or hide on a page written out.

    Control characters (C0, C1, ESC), bidirectional and zero-width marks, line and paragraph separators, odd
    blanks, private-use and unassigned characters and lone surrogates become `\n`, `\x1b`, `\u202e` or
    `\U000e0001`; a surrogate that stands for an undecodable byte becomes `\xNN`. All else, CJK and emoji
    included, stays.
    """
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return "".join(char if _is_visible(char) else _escape(char) for char in text)


def _is_visible(char: str) -> bool:
    return char == _IDEOGRAPHIC_SPACE or (char.isprintable() and not _INVISIBLE.match(char))


def _escape(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def isolated(text: str) -> str:
    """`text`, closed by a left-to-right mark if it holds right-to-left letters.

    A terminal that reorders text would otherwise draw the numbers that follow on the wrong side of the name.
    """
    return text + _LEFT_TO_RIGHT_MARK if _RTL.search(text) else text


def format_time(seconds: float | None) -> str:
    """A position or duration: `m:ss.s` under an hour, `h:mm:ss` from there on, rounded to what is shown."""
    if seconds is None:
        return MISSING
    tenths = round(seconds * 10)
    if tenths < 36_000:
        minutes, tenths = divmod(tenths, 600)
        return f"{minutes}:{tenths // 10:02d}.{tenths % 10}"
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole:02d}"


def format_span(start_s: float, end_s: float) -> str:
    """A stretch of a recording, `0:12.0-0:28.0`."""
    return f"{format_time(start_s)}-{format_time(end_s)}"


def format_llr(llr: float | None, bound: float | None = None) -> str:
    """A natural-log LR with its sign; at the bound `≥ +6.9` or `≤ -6.9`: no more than that can be claimed.

    The bound is cut, not rounded, to one decimal, so that what is printed never exceeds it.
    """
    if llr is None:
        return MISSING
    if bound is not None and abs(llr) >= bound - 1e-6:
        cut = int(bound * 10 + 1e-6) / 10
        return f"≥ +{cut:.1f}" if llr > 0 else f"≤ -{cut:.1f}"
    text = f"{llr:+.2f}"
    return text if float(text) else text[1:]


def format_ratio(ratio: float) -> str:
    """A likelihood ratio to two significant digits, cut towards zero so that it never claims more."""
    exponent = math.floor(math.log10(ratio) + 1e-9)
    unit = 10.0 ** (exponent - 1)
    cut = math.floor(ratio / unit + 1e-6) * unit
    return f"{cut:,.{max(0, 1 - exponent)}f}"


def format_similarity(similarity: float) -> str:
    """A cosine or a share of a softmax, to two decimals and without a negative zero."""
    return f"{round(similarity, 2) + 0.0:.2f}"


def format_percent(share: float | None, digits: int = 1) -> str:
    """A share (0..1) in percent, `12.5 %`."""
    return MISSING if share is None else f"{share * 100:.{digits}f} %"


def format_bytes(size_bytes: int) -> str:
    """A size, exact and rounded: `1,234,567 bytes (1.2 MB)`; units are powers of 1,000."""
    exact = f"{size_bytes:,} bytes"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            return f"{exact} ({size_bytes / scale:.1f} {unit})"
    return exact


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 window`, `1,200 windows`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def channel_label(channel: int | None, channels: int | None) -> str:
    """A 0-based channel in words, counted from 1: `channel 1 of 2 (left)`; empty for mono and for the mix."""
    if channel is None:
        return ""
    if channels is None:
        return f"channel {channel + 1}"
    side = {0: " (left)", 1: " (right)"}.get(channel, "") if channels == 2 else ""
    return f"channel {channel + 1} of {channels}{side}"
