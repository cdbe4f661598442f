"""The report in a real browser: it renders, asks for nothing, complains of nothing, and fits the screen."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoofcheck.render import Format, render
from spoofcheck.schema import ScanDocument
from tests.page.browser import Page, chromium, find_chromium
from tests.support.documents import document, hostile_document, sample_document, traced_document

pytestmark = [
    pytest.mark.page,
    pytest.mark.skipif(
        find_chromium() is None and os.environ.get("CI") != "true",
        reason="no chromium on this machine",
    ),
]

DOCUMENTS = {
    "sample": sample_document(),
    "traced": traced_document(),
    "hostile": hostile_document(),
    "empty": document([]),
}
WIDTHS = (400, 1280)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    executable = find_chromium()
    if executable is None:
        pytest.fail("CI must have a chromium: install it, for example with `apt-get install chromium`")
    with chromium(executable, tmp_path_factory.mktemp("browser") / "profile") as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Page:
    browser.events.clear()
    return browser


def saved(example: ScanDocument, folder: Path) -> Path:
    path = folder / "report.html"
    path.write_text(render(example, Format.HTML), encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_request_leaves_and_nothing_is_complained_of(page: Page, name: str, tmp_path: Path) -> None:
    path = saved(DOCUMENTS[name], tmp_path)
    page.view(1280)
    page.open(path)
    assert page.evaluate("document.querySelectorAll('h2').length") == (9 if name == "empty" else 10)
    asked = [url for url in page.requests() if not url.startswith("data:,")]
    assert asked == [path.as_uri()]
    assert page.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_overflows_sideways(page: Page, name: str, width: int, dark: bool, tmp_path: Path) -> None:
    page.view(width, dark=dark)
    page.open(saved(DOCUMENTS[name], tmp_path))
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # What scrolls inside its own frame may be wider; all else must lie on the screen.
    outside = page.evaluate(
        "[...document.querySelectorAll('main *')]"
        ".filter(item => !item.closest('.scroll, svg') && item.getBoundingClientRect().right > innerWidth + 1)"
        ".map(item => item.outerHTML.slice(0, 120))"
    )
    assert outside == []


def test_the_page_follows_the_readers_colour_scheme(page: Page, tmp_path: Path) -> None:
    path = saved(sample_document(), tmp_path)
    background = "getComputedStyle(document.querySelector('main')).backgroundColor"
    page.view(1280)
    page.open(path)
    light = page.evaluate(background)
    page.view(1280, dark=True)
    assert (light, page.evaluate(background)) == ("rgb(255, 255, 255)", "rgb(23, 27, 32)")


def test_bars_stand_where_their_windows_are(page: Page, tmp_path: Path) -> None:
    page.view(1280)
    page.open(saved(sample_document(), tmp_path))
    # Exhibit 5 runs for 278.3 s; its flagged stretch is 96 s to 128 s.
    left, right = page.evaluate(
        "(() => { const chart = document.querySelector('#exhibit-5 .chart').getBoundingClientRect();"
        "const bars = [...document.querySelectorAll('#exhibit-5 .bars .synthetic')]"
        ".map(bar => bar.getBoundingClientRect());"
        "return [(bars[0].left - chart.left) / chart.width * 278.3,"
        "(bars[bars.length - 1].right - chart.left) / chart.width * 278.3] })()"
    )
    assert left == pytest.approx(96, abs=0.5)
    assert right == pytest.approx(128, abs=0.5)


def test_similarities_stand_where_their_values_are(page: Page, tmp_path: Path) -> None:
    page.view(1280)
    page.open(saved(traced_document(), tmp_path))
    # Exhibit 2: cosines 0.81 and -0.08 on an axis from -1 to 1, threshold 0.55.
    ends = page.evaluate(
        "(() => [...document.querySelectorAll('#exhibit-2 .similarity')].map(chart => {"
        "const frame = chart.getBoundingClientRect();"
        "const at = x => (x - frame.left) / frame.width * 2 - 1;"
        "const bar = chart.querySelector('.accepted, .other').getBoundingClientRect();"
        "return [at(bar.left), at(bar.right), at(chart.querySelector('.threshold').getBoundingClientRect().left)] }))()"
    )
    assert ends[0] == pytest.approx([0, 0.81, 0.55], abs=0.01)
    assert ends[2] == pytest.approx([-0.08, 0, 0.55], abs=0.01)


def test_hostile_names_stay_text(page: Page, tmp_path: Path) -> None:
    page.view(1280)
    page.open(saved(hostile_document(), tmp_path))
    assert page.evaluate("document.querySelectorAll('script, img, iframe, object').length") == 0
    assert "<script>alert(1)</script>.wav" in page.evaluate("document.body.innerText")


def test_a_script_that_got_in_would_not_run(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "tampered.html"
    text = render(sample_document(), Format.HTML)
    injected = "<script>document.title = 'owned'</script><img src='http://127.0.0.1:9/x'>"
    path.write_text(text.replace("<main>", "<main>" + injected), encoding="utf-8")
    page.view(1280)
    page.open(path)
    assert page.evaluate("document.title").startswith("Report SC-")
    assert any("Content Security Policy" in complaint for complaint in page.complaints())


def test_the_report_prints_with_numbered_sheets(page: Page, tmp_path: Path) -> None:
    page.view(1280)
    page.open(saved(sample_document(), tmp_path))
    sheets = re.findall(rb"/Type\s*/Page\b", page.pdf())
    assert 10 <= len(sheets) <= 20
