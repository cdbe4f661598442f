"""Accessibility by axe-core (`tests/assets/axe`), and what it cannot see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.page.browser import Page
from tests.page.conftest import Save
from tests.page.marks import PAGE
from tests.support.casework import filled
from tests.support.documents import document, hostile_document, sample_document, traced_document

pytestmark = PAGE

AXE = Path(__file__).resolve().parents[1] / "assets" / "axe" / "axe.min.js"
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
DOCUMENTS = {
    "filled": filled(sample_document(), excerpts=True),
    "traced": filled(traced_document()),
    "hostile": hostile_document(),
    "few": document(sample_document().findings[:3]),
}


def violations(page: Page) -> list[str]:
    """One line per rule and element that axe objects to."""
    page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
    # What is far from the screen is laid out too: axe measures contrast on what is there.
    page.evaluate(
        "(() => { document.querySelectorAll('details').forEach(each => each.open = true);"
        "document.querySelectorAll('*').forEach(each => each.style.contentVisibility = 'visible') })()"
    )
    found: list[dict[str, Any]] = page.evaluate(
        f"axe.run(document, {{runOnly: {list(RULES)!r}, resultTypes: ['violations']}}).then(result =>"
        "result.violations.map(each => ({id: each.id, help: each.help,"
        "nodes: each.nodes.slice(0, 3).map(node => node.html.slice(0, 160) + ' ' + node.failureSummary)})))"
    )
    return [f"{each['id']}: {each['help']}: {node}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_axe_finds_nothing(page: Page, save: Save, name: str, dark: bool) -> None:
    page.view(1280, dark=dark)
    page.open(save(DOCUMENTS[name]))
    assert violations(page) == []


def test_axe_finds_nothing_on_a_narrow_screen(page: Page, save: Save) -> None:
    page.view(400)
    page.open(save(DOCUMENTS["filled"]))
    assert violations(page) == []


def test_axe_would_find_something(page: Page, save: Save) -> None:
    page.view(1280)
    page.open(save(DOCUMENTS["few"]))
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=\"data:,\">')")
    assert any(each.startswith("image-alt") for each in violations(page))


@pytest.mark.parametrize("dark", [False, True])
def test_pictures_are_told_apart_from_their_ground(page: Page, save: Save, dark: bool) -> None:
    """WCAG 1.4.11: 3 to 1 for what carries meaning; axe looks at text only."""
    page.view(1280, dark=dark)
    page.open(save(sample_document()))
    ratios = page.evaluate(
        "(() => { const part = value => (value /= 255) <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;"
        "const light = name => { const probe = document.createElement('i');"
        "probe.style.color = `var(${name})`; document.body.append(probe);"
        "const [r, g, b] = getComputedStyle(probe).color.match(/[0-9.]+/g).map(Number); probe.remove();"
        "return .2126 * part(r) + .7152 * part(g) + .0722 * part(b) };"
        "const ground = light('--tint');"
        "return ['--h1', '--h2', '--middle', '--ink'].map(name => {"
        "const [low, high] = [light(name), ground].sort((a, b) => a - b); return (high + .05) / (low + .05) }) })()"
    )
    assert min(ratios) >= 3
