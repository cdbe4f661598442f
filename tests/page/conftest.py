"""One headless Chromium for all page tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spoofcheck.render import Format, render
from spoofcheck.schema import ScanDocument
from tests.page.browser import Page, chromium, find_chromium

Save = Callable[[ScanDocument], Path]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    executable = find_chromium()
    if executable is None:
        pytest.fail("CI must have a chromium: install it, for example with `apt-get install chromium`")
    with chromium(executable, tmp_path_factory.mktemp("browser") / "profile") as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    browser.events.clear()
    yield browser
    browser.view(1280)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a document's report as the program does, and says where."""

    def save(document: ScanDocument) -> Path:
        path = tmp_path / "report.html"
        path.write_text(render(document, Format.HTML), encoding="utf-8", newline="")
        return path

    return save
