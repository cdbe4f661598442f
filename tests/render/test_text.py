from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofcheck.render.text import (
    MISSING,
    channel_label,
    count,
    format_bytes,
    format_llr,
    format_percent,
    format_ratio,
    format_span,
    format_time,
    isolated,
    printable,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.wav", "plain name.wav"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("c1 \x9b31m \x85", r"c1 \x9b31m \x85"),
        ("del \x7f nul \x00", r"del \x7f nul \x00"),
        ("gnp\u202evaw.exe", r"gnp\u202evaw.exe"),
        ("\u2066isolate\u2069", r"\u2066isolate\u2069"),
        ("zero\u200bwidth\u200d\ufeff", r"zero\u200bwidth\u200d\ufeff"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("no-break\u00a0space", r"no-break\xa0space"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("private\ue000", r"private\ue000"),
        ("hangul filler\u3164", r"hangul filler\u3164"),
        ("selector\U000e0100", r"selector\U000e0100"),
        ("byte \udce9", r"byte \xe9"),
        ("lone \ud800", r"lone \ud800"),
        ("録音 第3回\u3000終.wav", "録音 第3回\u3000終.wav"),
        ("emoji ❤️ 🎧", "emoji ❤️ 🎧"),
        ("שיחה", "שיחה"),
        (r"already \x1b", r"already \x1b"),
    ],
)
def test_printable_shows_what_would_act_or_hide(text: str, shown: str) -> None:
    assert printable(text) == shown


@settings(deadline=None)
@given(st.text(st.characters(codec=None)))
def test_printable_leaves_nothing_that_acts_and_is_idempotent(text: str) -> None:
    shown = printable(text)
    assert all(char.isprintable() or char == "\u3000" for char in shown)
    assert printable(shown) == shown
    shown.encode()


def test_right_to_left_text_is_closed_so_that_numbers_stay_on_their_side() -> None:
    assert isolated("שיחה") == "שיחה\u200e"
    assert isolated("call.wav") == "call.wav"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, MISSING),
        (0, "0:00.0"),
        (0.04, "0:00.0"),
        (0.05001, "0:00.1"),
        (59.94, "0:59.9"),
        (59.96, "1:00.0"),
        (3599.94, "59:59.9"),
        (3599.96, "1:00:00"),
        (3600, "1:00:00"),
        (3661.4, "1:01:01"),
        (36_000, "10:00:00"),
        (360_000, "100:00:00"),
    ],
)
def test_format_time(seconds: float | None, text: str) -> None:
    assert format_time(seconds) == text


@pytest.mark.parametrize(
    ("llr", "bound", "text"),
    [
        (None, 6.9, MISSING),
        (6.42, 6.9, "+6.42"),
        (-4.214, 6.9, "-4.21"),
        (0.0, 6.9, "0.00"),
        (-0.001, 6.9, "0.00"),
        (6.9, 6.9, "≥ +6.9"),
        (-6.9, 6.9, "≤ -6.9"),
        (8.0, 6.9, "≥ +6.9"),
        (6.96, 6.96, "≥ +6.9"),
        (6.89, 6.9, "+6.89"),
        (6.9, None, "+6.90"),
    ],
)
def test_format_llr(llr: float | None, bound: float | None, text: str) -> None:
    assert format_llr(llr, bound) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (1.0, "1.0"),
        (1.29, "1.2"),
        (9.99, "9.9"),
        (10.0, "10"),
        (99.9, "99"),
        (100.0, "100"),
        (992.3, "990"),
        (1000.0, "1,000"),
        (123_456.0, "120,000"),
    ],
)
def test_a_ratio_is_cut_never_rounded_up(ratio: float, text: str) -> None:
    assert format_ratio(ratio) == text


@settings(deadline=None)
@given(st.floats(0, 15))
def test_a_printed_ratio_never_claims_more(llr: float) -> None:
    ratio = math.exp(llr)
    shown = float(format_ratio(ratio).replace(",", ""))
    assert ratio * 0.9 <= shown <= ratio * (1 + 1e-6)


def test_small_words() -> None:
    assert format_span(12, 28.04) == "0:12.0-0:28.0"
    assert format_percent(0.1256) == "12.6 %"
    assert format_percent(None) == MISSING
    assert format_bytes(999) == "999 bytes"
    assert format_bytes(1_234_567) == "1,234,567 bytes (1.2 MB)"
    assert count(1, "input") == "1 input"
    assert count(1_200, "input") == "1,200 inputs"


@pytest.mark.parametrize(
    ("channel", "channels", "text"),
    [
        (None, 1, ""),
        (None, 2, ""),
        (0, 2, "channel 1 of 2 (left)"),
        (1, 2, "channel 2 of 2 (right)"),
        (5, 6, "channel 6 of 6"),
        (0, None, "channel 1"),
    ],
)
def test_channels_are_counted_from_one(channel: int | None, channels: int | None, text: str) -> None:
    assert channel_label(channel, channels) == text
