"""Photograph the page for docs/serve.md: `python -m docs.servepage`.

Starts a server with the shipped model (port 8000 must be free), gives its page two of the example recordings and keeps
the picture in `docs/images/`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from PIL import Image

from docs.examples import served
from docs.report import COLOURS, IMAGES, ROOT
from tests.page.browser import chromium, find_chromium
from tests.support.servedpage import Reader

SHOWN = ("voicemail-accounts.mp3", "reading-with-statement.opus")
WIDTH_PX = 1280
HEIGHT_PX = 1_800


def main() -> None:
    """Take the picture."""
    executable = find_chromium()
    if executable is None:
        raise SystemExit("chromium is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(folder, dict(os.environ)), chromium(executable, folder / "profile") as page:
            page.view(WIDTH_PX)
            reader = Reader(page, "http://127.0.0.1:8000")
            reader.arrive()
            reader.choose(*(ROOT / "examples" / "recordings" / each for each in SHOWN))
            reader.results(len(SHOWN))
            reader.until("[...document.querySelectorAll('audio')].every(each => each.readyState > 0)")
            page.screenshot(folder / "page.png")
        with Image.open(folder / "page.png") as picture:
            cut = picture.convert("RGB").crop((0, 0, WIDTH_PX, HEIGHT_PX))
            cut.quantize(COLOURS, dither=Image.Dither.NONE).save(IMAGES / "serve.png", optimize=True)


if __name__ == "__main__":
    main()
