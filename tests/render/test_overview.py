"""The table of all exhibits: what its rows hold, what filters offer, when it needs a script, and what is escaped."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from spoofcheck.render import Format, render
from spoofcheck.render.overview import INTERACTIVE_FROM, NOT_TRACED, overview, report_script
from spoofcheck.render.text import MISSING
from spoofcheck.render.timeline import Level
from spoofcheck.schema import ScanDocument, Verdict
from tests.support.documents import (
    BOUND_LLR,
    HOSTILE_NAMES,
    document,
    finding,
    hostile_document,
    sample_document,
    skipped,
    traced_document,
)


def few(number: int) -> ScanDocument:
    return document([finding(f"{index}.wav", Verdict.SPOOF, 3.0, [3.0]) for index in range(number)])


def policy(page: str) -> str:
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert found is not None
    return found[1]


def test_rows_are_the_examined_exhibits_in_order() -> None:
    rows = overview(sample_document()).rows
    assert [row.number for row in rows] == list(range(1, 10))
    third = rows[2]
    assert (third.name, third.channel) == ("calls/2026-10-30 bank-security.flac", "2 of 2 (right)")
    assert (third.llr, third.llr_value, third.duration) == ("≥ +6.9", BOUND_LLR, "1:24.0")
    assert (third.flagged, third.flagged_s, third.flagged_time, third.reasons) == (1, 84.0, "1:24.0", 1)
    assert (rows[-1].llr, rows[-1].llr_value, rows[-1].bar) == (MISSING, None, None)


def test_a_case_gives_exhibits_their_references() -> None:
    plain = finding("a.wav", Verdict.SPOOF, 3.0, [3.0])
    rows = overview(document([plain.model_copy(update={"exhibit": "EX-7"}), plain])).rows
    assert [row.reference for row in rows] == ["EX-7", "2"]


@pytest.mark.parametrize(
    ("llr", "bar"),
    [
        (BOUND_LLR, ("50%", "50%", Level.SYNTHETIC)),
        (-BOUND_LLR / 2, ("25%", "25%", Level.HUMAN)),
        (0.0, ("50%", "1%", Level.UNDECIDED)),
        (1.5, ("50%", "10.87%", Level.SYNTHETIC)),
        (-1.5, ("39.13%", "10.87%", Level.HUMAN)),
        (1.4999, ("50%", "10.87%", Level.UNDECIDED)),
    ],
)
def test_a_bar_reaches_from_zero_to_the_llr(llr: float, bar: tuple[str, str, Level]) -> None:
    drawn = overview(document([finding("a.wav", Verdict.INCONCLUSIVE, llr, [llr])])).rows[0].bar
    assert drawn is not None
    assert (drawn.x, drawn.width, drawn.kind) == bar


def test_filters_offer_what_occurs_with_its_number() -> None:
    view = overview(traced_document())
    assert view.verdicts == ((Verdict.SPOOF, 8), (Verdict.BONAFIDE, 1))
    assert view.sources[0] == ("Unknown-1", 2)
    assert view.sources[-1] == (NOT_TRACED, 2)
    assert sum(number for _, number in view.sources) == len(view.rows)
    assert [view.sources[row.source][0] for row in view.rows][:3] == [NOT_TRACED, "piper", "kokoro or kittentts"]
    assert [row.number for row in view.rows if row.channel_failed] == [4]


def test_columns_that_would_be_empty_are_left_out() -> None:
    view = overview(document([finding("a.wav", Verdict.SPOOF, 3.0, [3.0])]))
    assert (view.with_channels, view.with_sources) == (False, False)
    assert overview(sample_document()).with_channels
    assert "Channel</th>" not in render(few(1), Format.HTML)


@pytest.mark.parametrize("number", [0, 1, INTERACTIVE_FROM - 1])
def test_a_handful_stays_a_plain_table(number: int) -> None:
    example = document([*few(number).findings, skipped("x.wav")])
    page = render(example, Format.HTML)
    assert not overview(example).interactive
    assert "script-src" not in policy(page)
    assert "data-filters" not in page
    assert 'id="overview"' in page or number == 0


def test_many_get_one_script_let_in_by_its_hash() -> None:
    page = render(few(INTERACTIVE_FROM), Format.HTML)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert scripts == [str(report_script()[0])]
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert re.search(r"script-src ([^;]*);", policy(page)) is not None
    assert f"script-src 'sha256-{digest}';" in policy(page)
    assert "unsafe" not in policy(page).replace("style-src 'unsafe-inline'", "")


def test_the_script_knows_no_way_out_of_the_page() -> None:
    script = str(report_script()[0])
    for word in ("fetch", "XMLHttp", "import", "eval", "innerHTML", "location", "cookie", "Storage", "open(", "http"):
        assert word not in script


def test_hostile_names_stay_text_in_cells_and_choices() -> None:
    page = render(hostile_document(), Format.HTML)
    table = page[page.index('data-filters="overview"') : page.index("</table>", page.index('id="overview"'))]
    assert "<script" not in table
    assert "<img" not in table
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.wav" in table
    assert "\x1b" not in table
    assert "{{ 7 * 7 }}" in table
    assert table.count("<tr ") == len(HOSTILE_NAMES)


def test_a_strip_is_the_whole_timeline() -> None:
    llrs = [3.0, 3.0, -3.0, None]
    (row,) = overview(document([finding("a.wav", Verdict.SPOOF, 3.0, llrs)])).rows
    assert [(cell.x, cell.width, cell.kind) for cell in row.strip] == [
        ("0%", "50%", Level.SYNTHETIC),
        ("50%", "25%", Level.HUMAN),
        ("75%", "25%", Level.NOT_SCORED),
    ]
