"""The report in a real browser: it renders, asks for nothing, complains of nothing, and fits the screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoofcheck.render import Format, render
from spoofcheck.render.overview import report_script
from tests.page.browser import Page
from tests.page.conftest import Save
from tests.page.marks import PAGE
from tests.support.casework import filled, with_long_references
from tests.support.documents import document, hostile_document, sample_document, traced_document

pytestmark = PAGE

DOCUMENTS = {
    "sample": sample_document(),
    "traced": traced_document(),
    "hostile": hostile_document(),
    "empty": document([]),
    "filled": filled(sample_document(), excerpts=True),
    "long": with_long_references(filled(sample_document())),
}
WIDTHS = (400, 800, 1280)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_request_leaves_and_nothing_is_complained_of(page: Page, name: str, save: Save) -> None:
    path = save(DOCUMENTS[name])
    page.view(1280)
    page.open(path)
    assert page.evaluate("document.querySelectorAll('h2').length") >= 9
    asked = [url for url in page.requests() if not url.startswith("data:")]
    assert asked == [path.as_uri()]
    assert page.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_overflows_sideways(page: Page, name: str, width: int, dark: bool, save: Save) -> None:
    page.view(width, dark=dark)
    page.open(save(DOCUMENTS[name]))
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # What scrolls inside its own frame may be wider; all else must lie on the screen.
    outside = page.evaluate(
        "[...document.querySelectorAll('main *')]"
        ".filter(item => !item.closest('.scroll, svg') && item.getBoundingClientRect().right > innerWidth + 1)"
        ".map(item => item.outerHTML.slice(0, 120))"
    )
    assert outside == []


def test_the_page_follows_the_readers_colour_scheme(page: Page, save: Save) -> None:
    path = save(sample_document())
    background = "getComputedStyle(document.querySelector('main')).backgroundColor"
    page.view(1280)
    page.open(path)
    light = page.evaluate(background)
    page.view(1280, dark=True)
    assert (light, page.evaluate(background)) == ("rgb(255, 255, 255)", "rgb(23, 27, 32)")


def test_bars_stand_where_their_windows_are(page: Page, save: Save) -> None:
    page.view(1280)
    page.open(save(sample_document()))
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


def test_similarities_stand_where_their_values_are(page: Page, save: Save) -> None:
    page.view(1280)
    page.open(save(traced_document()))
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


def test_hostile_names_stay_text(page: Page, save: Save) -> None:
    page.view(1280)
    page.open(save(hostile_document()))
    ours = "iframe, object, [onerror], img:not([src^='data:image/png;base64,'])"
    assert page.evaluate(f'document.querySelectorAll("{ours}").length') == 0
    # The document that the page carries is no script; the one that runs is let in by its hash.
    running = "[...document.scripts].filter(each => each.type !== 'application/json').map(each => each.textContent)"
    assert page.evaluate(running) == [str(report_script()[0])]
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
