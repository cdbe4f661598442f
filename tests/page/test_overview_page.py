"""The table of all exhibits in a real browser: it sorts, filters and searches, by mouse and by keyboard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from spoofcheck.render import Format, render
from spoofcheck.render.overview import report_script
from tests.page.browser import Page
from tests.page.conftest import Save
from tests.page.marks import PAGE
from tests.support.documents import document, large_document, sample_document, traced_document

pytestmark = PAGE

NUMBERS = "[...document.querySelectorAll('#overview tbody tr:not([hidden]) th')].map(cell => cell.textContent.trim())"


def opened(page: Page, path: Path) -> None:
    page.view(1280)
    page.open(path)


def shown(page: Page) -> tuple[list[str], str]:
    """The exhibits that the table shows, and what it says of their number."""
    return page.evaluate(NUMBERS), page.evaluate("document.querySelector('.shown').textContent")


def choose(page: Page, control: str, value: str) -> None:
    page.evaluate(
        f"(() => {{ const control = document.querySelector('.filters {control}'); control.value = {value!r};"
        "control.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )


def press_heading(page: Page, title: str) -> None:
    page.evaluate(
        "[...document.querySelectorAll('#overview thead button')]"
        f".find(button => button.textContent.trim() === {title!r}).click()"
    )


def sorting(page: Page) -> list[Any]:
    found = page.evaluate(
        "[...document.querySelectorAll('#overview th[aria-sort]')]"
        ".map(head => [head.textContent.trim(), head.getAttribute('aria-sort')])"
    )
    return list(found)


@pytest.mark.parametrize(
    ("title", "first"),
    [
        ("Exhibit", ["1", "2", "3", "4", "5", "6", "7", "8", "9"]),
        ("Verdict", ["3", "4", "5", "7", "8", "9", "1", "2", "6"]),
        # Exhibit 9 has no LLR: it stays last either way.
        ("LLR", ["3", "4", "8", "7", "5", "6", "2", "1", "9"]),
        ("Flagged", ["3", "5", "4", "1", "2", "6", "7", "8", "9"]),
        ("Duration", ["5", "1", "6", "2", "3", "8", "9", "4", "7"]),
        ("Reasons", ["8", "2", "4", "5", "1", "3", "6", "7", "9"]),
    ],
)
def test_a_heading_sorts_by_its_column(page: Page, save: Save, title: str, first: list[str]) -> None:
    opened(page, save(sample_document()))
    press_heading(page, title)
    assert page.evaluate(NUMBERS) == first
    order = "ascending" if title in ("Exhibit", "Verdict") else "descending"
    assert sorting(page) == [[title, order]]


def test_the_second_press_turns_the_order(page: Page, save: Save) -> None:
    opened(page, save(sample_document()))
    press_heading(page, "LLR")
    press_heading(page, "LLR")
    assert page.evaluate(NUMBERS) == ["1", "2", "6", "5", "7", "8", "4", "3", "9"]
    assert sorting(page) == [["LLR", "ascending"]]


def test_every_column_has_a_button(page: Page, save: Save) -> None:
    opened(page, save(traced_document()))
    heads, buttons = page.evaluate(
        "[document.querySelectorAll('#overview thead th').length,"
        " document.querySelectorAll('#overview thead th > button').length]"
    )
    assert heads == buttons == 8


def test_filters_narrow_together_and_say_how_many(page: Page, save: Save) -> None:
    opened(page, save(sample_document()))
    assert shown(page)[1] == "9 of 9 shown"
    choose(page, "[name=verdict]", "spoof")
    assert shown(page) == (["3", "4"], "2 of 9 shown")
    choose(page, "input", "XTTS")
    assert shown(page) == (["3"], "1 of 9 shown")
    choose(page, "input", "xtts nowhere")
    assert shown(page) == ([], "0 of 9 shown")
    page.evaluate("document.querySelector('.filters button').click()")
    assert shown(page)[1] == "9 of 9 shown"


def test_the_source_filter_takes_the_decision(page: Page, save: Save) -> None:
    opened(page, save(traced_document()))
    options = page.evaluate("[...document.querySelector('[name=source]').options].map(each => each.textContent)")
    assert options[1] == "Unknown-1 (2)"
    choose(page, "[name=source]", "0")
    assert shown(page) == (["6", "7"], "2 of 9 shown")


def test_search_knows_no_case_and_takes_words_in_any_order(page: Page, save: Save) -> None:
    opened(page, save(sample_document()))
    choose(page, "input", "  SECURITY calls ")
    assert shown(page)[0] == ["2", "3"]
    choose(page, "input", "録音")
    assert shown(page)[0] == ["6"]


def test_all_of_it_works_by_keyboard(page: Page, save: Save) -> None:
    opened(page, save(sample_document()))
    page.evaluate("document.querySelector('.filters input').focus()")
    for key in "note":
        page.press(key, f"Key{key.upper()}", key)
    assert shown(page)[0] == ["7"]
    for _ in range(3):
        page.press("Tab", "Tab")
    assert page.evaluate("document.activeElement.textContent") == "Show all"
    page.press("Enter", "Enter", "\r")
    assert shown(page)[1] == "9 of 9 shown"
    assert page.evaluate("document.activeElement.type") == "search"
    for _ in range(4):
        page.press("Tab", "Tab")
    assert page.evaluate("document.activeElement.textContent") == "Exhibit"
    page.press("Enter", "Enter", "\r")
    page.press(" ", "Space", " ")
    assert page.evaluate(NUMBERS)[0] == "9"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_number_leads_to_its_exhibit(page: Page, save: Save) -> None:
    opened(page, save(large_document(40, 4)))
    page.evaluate("document.querySelector('#overview a[href=\"#exhibit-37\"]').click()")
    # Sections above are laid out only now, one frame later.
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("location.hash") == "#exhibit-37"
    top = page.evaluate("document.querySelector('#exhibit-37').getBoundingClientRect().top")
    assert 0 <= top < 300


def test_without_the_script_all_is_there(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    text = render(sample_document(), Format.HTML)
    without = text.replace(f"<script>{report_script()[0]}</script>", "")
    assert without != text
    path.write_text(without, encoding="utf-8")
    opened(page, path)
    assert len(page.evaluate(NUMBERS)) == 9
    assert page.evaluate("document.querySelectorAll('#overview button').length") == 0
    assert page.evaluate("getComputedStyle(document.querySelector('.filters')).display") == "none"


def test_five_exhibits_are_a_plain_table(page: Page, save: Save) -> None:
    opened(page, save(document(sample_document().findings[:5])))
    assert len(page.evaluate(NUMBERS)) == 5
    assert page.evaluate("document.querySelectorAll('#overview button, .filters').length") == 0


def test_five_hundred_exhibits_answer_at_once(page: Page, save: Save) -> None:
    opened(page, save(large_document(500, 15)))
    assert shown(page)[1] == "500 of 500 shown"
    started = time.perf_counter()
    choose(page, "[name=verdict]", "partial")
    press_heading(page, "LLR")
    numbers, said = shown(page)
    page.evaluate("document.querySelector('#overview').getBoundingClientRect().height")
    assert time.perf_counter() - started < 3
    assert (len(numbers), said) == (125, "125 of 500 shown")
    assert page.complaints() == []
