"""A report of 500 exhibits: how long it takes, how large it is, and how quickly a browser opens and filters it.

The findings are made up (`tests.support`), their pictures and sounds made from the example recordings. `python -m
bench.report` prints the figures; `python -m bench.all report` puts them into the results.
"""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.measure import SPOOFCHECK, Measurement, run, show
from bench.speech import SAMPLE_RATE_HZ, STEP_S, human_pool
from spoofcheck.detect.excerpts import encoded
from spoofcheck.detect.views import Painter
from spoofcheck.schema import FLAGGED, Excerpt, Finding, Pictures, ScanDocument
from tests.page.browser import Page, chromium, find_chromium
from tests.support.casework import filled
from tests.support.documents import WINDOW_S, large_document
from tests.support.traces import channel_test, prototype_tracer, source_store, with_trace

EXHIBITS = 500
EXHIBIT_WINDOWS = 60
MAX_RENDER_S = 10.0
MAX_MB = 40.0
MINUTES = 10
MAX_MB_PER_TEN_MINUTES = 1.5
EXCERPTS = 4
RUNS = 3

_PAINTINGS = 8
_FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"


def measure(model: str | None = None) -> list[Measurement]:  # noqa: ARG001
    """Every figure; those of a browser only where there is a Chromium. Of no model: nothing is scored."""
    pool = human_pool()
    with tempfile.TemporaryDirectory(prefix="spoofcheck-bench-") as name:
        folder = Path(name)
        case = _case(EXHIBITS, EXHIBIT_WINDOWS, paint(pool, EXHIBIT_WINDOWS * WINDOW_S, _PAINTINGS))
        wall_s, size_mb = _rendered(case, folder / "case")
        rows = [
            Measurement(
                f"report of {EXHIBITS} exhibits",
                wall_s,
                "s",
                MAX_RENDER_S,
                note=f"best of {RUNS}; {EXHIBIT_WINDOWS * WINDOW_S / 60:g} minutes each, with pictures, no excerpts",
            ),
            Measurement(f"its size, {EXHIBITS} exhibits", size_mb, "MB", MAX_MB),
        ]
        windows = round(MINUTES * 60 / WINDOW_S)
        one = _case(1, windows, paint(pool, MINUTES * 60, 1))
        heard = one.findings[0].model_copy(update={"excerpts": cut(pool, one.findings[0])})
        _, one_mb = _rendered(one.model_copy(update={"findings": (heard,)}), folder / "one", runs=1)
        rows.append(
            Measurement(
                f"report of {MINUTES} minutes",
                one_mb,
                "MB",
                MAX_MB_PER_TEN_MINUTES,
                note=f"one exhibit with pictures and {EXCERPTS} excerpts of {WINDOW_S:g} s",
            )
        )
        executable = find_chromium()
        if executable is not None:
            with chromium(executable, folder / "profile") as page:
                rows += _in_browser(page, folder / "case.html")
    return rows


def paint(pool: NDArray[np.float32], duration_s: float, number: int) -> list[Pictures]:
    """Pictures of stretches of human speech `[samples]` at 16 kHz, no two alike."""
    paintings = []
    for index in range(number):
        painter = Painter(duration_s)
        start = round(index * STEP_S * SAMPLE_RATE_HZ)
        for second in range(round(duration_s)):
            first = start + second * SAMPLE_RATE_HZ
            painter.push(np.take(pool, np.arange(first, first + SAMPLE_RATE_HZ), mode="wrap"))
        paintings.append(painter.finish())
    return paintings


def cut(pool: NDArray[np.float32], finding: Finding) -> tuple[Excerpt, ...]:
    """Excerpts of the length of a window, encoded as a scan encodes them."""
    samples = round(WINDOW_S * SAMPLE_RATE_HZ)
    excerpts = []
    for index in range(EXCERPTS):
        window = finding.windows[index]
        media_type, data = encoded(pool[index * samples : (index + 1) * samples], SAMPLE_RATE_HZ)
        excerpts.append(
            Excerpt(
                direction="for" if index < EXCERPTS / 2 else "against",
                start_s=window.start_s,
                end_s=window.end_s,
                spoof_llr=window.spoof_llr or 0.0,
                media_type=media_type,
                data_base64=base64.b64encode(data).decode("ascii"),
            )
        )
    return tuple(excerpts)


def _case(exhibits: int, windows: int, pictures: Sequence[Pictures]) -> ScanDocument:
    """A made-up case in which every flagged exhibit was traced."""
    document = large_document(exhibits, windows)
    findings = tuple(
        with_trace(
            finding,
            [("piper", 0.81, 4.6), ("kokoro", 0.42, -2.1), ("matcha", -0.08, -4.6)],
            test=channel_test("piper"),
        )
        if finding.verdict in FLAGGED
        else finding
        for finding in document.findings
    )
    traced = {"findings": findings, "tracer": prototype_tracer(), "enrolled": source_store()}
    return filled(document.model_copy(update=traced), pictures)


def _rendered(document: ScanDocument, place: Path, runs: int = RUNS) -> tuple[float, float]:
    """Seconds that `spoofcheck report` takes from start to end, the best of some runs, and megabytes of the page."""
    saved, html = place.with_suffix(".json"), place.with_suffix(".html")
    saved.write_text(document.model_dump_json(), encoding="utf-8")
    command = [*SPOOFCHECK, "report", str(saved), "--html", str(html)]
    wall_s = min(run(command, frozenset({0})).wall_s for _ in range(runs))
    return wall_s, html.stat().st_size / 1e6


def _in_browser(page: Page, html: Path) -> list[Measurement]:
    """Seconds as a reader waits them: until the page has been drawn."""
    page.view(1280)
    started = time.perf_counter()
    page.open(html)
    page.evaluate(_FRAMES)
    rows = [Measurement("opened in Chromium", time.perf_counter() - started, "s", note="until drawn")]
    for what, action in (
        ("filtered by verdict", _choose("[name=verdict]", "partial")),
        ("searched for a name", _choose("input", "agent-0001")),
        ("all shown again", "document.querySelector('.filters button').click()"),
        ("sorted by LLR", "document.querySelector('.overview th.llr-column button').click()"),
        ("gone to the last exhibit", f"location.hash = 'exhibit-{EXHIBITS}'"),
    ):
        took_ms = page.evaluate(
            f"(async () => {{ const started = performance.now(); {action}; return await {_FRAMES} - started }})()"
        )
        rows.append(Measurement(f"{what} in Chromium", took_ms / 1e3, "s", note="until drawn"))
    if page.complaints():
        raise RuntimeError(f"the browser complained: {page.complaints()}")
    return rows


def _choose(control: str, value: str) -> str:
    return (
        f"const control = document.querySelector('.filters {control}'); control.value = '{value}';"
        "control.dispatchEvent(new Event('input'))"
    )


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
