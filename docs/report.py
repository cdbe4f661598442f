"""Photograph the report of the example case for docs/report.md: `python -m docs.report`.

Scans `examples/recordings` with `examples/case.toml`, excerpts and the stability test (minutes on two cores), opens the
report in headless Chromium and keeps the pictures in `docs/images/`. `--report FILE --json FILE` takes a report and its
result document that are there already.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from spoofcheck.document import load_document
from spoofcheck.render.measures import examined
from spoofcheck.schema import ScanDocument
from tests.page.browser import Page, chromium, find_chromium

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SHOWN = "reading-with-statement.opus"
"""The recording whose findings are shown: human speech with a synthetic passage."""
COLOURS = 128
FINE = (0, 1, 3)
"""Exit codes of a scan that did its job."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """A picture of one element of the report.

    Attributes:
        selector: CSS; `EXHIBIT` stands for the section of the recording that is shown.
        height: cut here, in CSS pixels; None for all of it.
    """

    name: str
    selector: str
    width: int = 1280
    height: int | None = None
    dark: bool = False


PHOTOGRAPHS = (
    Photograph("report-cover", "header.cover", height=900),
    Photograph("report-summary", "#summary", height=900),
    Photograph("report-evidence", "#evidence", height=700),
    Photograph("report-findings", "EXHIBIT", height=1150),
    Photograph("report-position", "EXHIBIT .position"),
    Photograph("report-stability", "EXHIBIT .stability"),
    Photograph("report-acoustics", "EXHIBIT .acoustics", height=600),
    Photograph("report-opinion", "#opinion", height=900),
    Photograph("report-narrow", "EXHIBIT", width=400, height=900, dark=True),
)


def scan(folder: Path) -> tuple[Path, Path]:
    """The report of the example case and its result document."""
    report, saved = folder / "report.html", folder / "scan.json"
    command = [
        *(sys.executable, "-m", "spoofcheck", "scan", "examples/recordings", "--case", "examples/case.toml"),
        *("--excerpts", "--stability", "--quiet"),
        *("--report", str(report), "--json", str(saved), "--ledger", str(folder / "case.jsonl")),
    ]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}, check=False)
    if done.returncode not in FINE:
        raise SystemExit(f"the scan ended with {done.returncode}")
    return report, saved


def photograph(page: Page, report: Path, document: ScanDocument) -> None:
    """Take every picture; one whose element the report lacks is an error, so that no old one stays unseen."""
    paths = [finding.path for finding in examined(document.findings)]
    exhibit = next(number for number, path in enumerate(paths, start=1) if path.endswith(SHOWN))
    IMAGES.mkdir(exist_ok=True)
    for picture in PHOTOGRAPHS:
        selector = picture.selector.replace("EXHIBIT", f"#exhibit-{exhibit}")
        page.view(picture.width, dark=picture.dark)
        page.open(report)
        page.evaluate("document.querySelectorAll('.acoustics details').forEach(each => each.open = true)")
        target = IMAGES / f"{picture.name}.png"
        page.screenshot(target, selector, picture.height)
        target.write_bytes(_small(target.read_bytes()))
        print(target.relative_to(ROOT), f"{target.stat().st_size / 1e3:.0f} kB")


def _small(png: bytes) -> bytes:
    """The same picture with a palette: text and flat colours need no more."""
    file = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def main() -> None:
    """Scan unless a report is given, then photograph."""
    options = argparse.ArgumentParser(description="Photograph the report of the example case for docs/report.md.")
    options.add_argument("--report", type=Path, help="a report that is there already")
    options.add_argument("--json", type=Path, help="its result document")
    given = options.parse_args()
    if (given.report is None) != (given.json is None):
        options.error("--report and --json go together")
    browser = find_chromium()
    if browser is None:
        raise SystemExit("no chromium on this machine")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report, saved = scan(folder) if given.report is None else (given.report, given.json)
        with chromium(browser, folder / "profile") as page:
            photograph(page, report, load_document(saved))


if __name__ == "__main__":
    main()
