"""On paper and as a PDF: every sheet has its number and the report's, nothing is cut, controls are gone."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from pypdf import PdfReader

from spoofcheck.errors import OutputError
from spoofcheck.pdf import html_to_pdf
from tests.page.browser import Page
from tests.page.conftest import Save
from tests.page.marks import PAGE
from tests.support.casework import filled
from tests.support.documents import document, large_document, sample_document

pytestmark = PAGE

PAPER_HEIGHT_PX = (297 - 18 - 17) / 25.4 * 96


def report_id(path: Path) -> str:
    found = re.search(r"<title>Report (SC-[0-9A-F-]+):", path.read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


def sheets(pdf: bytes) -> list[str]:
    return [sheet.extract_text() for sheet in PdfReader(io.BytesIO(pdf)).pages]


def numbered(texts: list[str], report: str) -> bool:
    return all(
        f"Page {number} of {len(texts)}" in text and f"Report {report}" in text
        for number, text in enumerate(texts, start=1)
    )


@pytest.mark.parametrize("exhibits", [1, 9])
def test_every_sheet_has_its_number_and_the_reports(page: Page, save: Save, exhibits: int) -> None:
    path = save(filled(document(sample_document().findings[:exhibits]), excerpts=True))
    page.view(1280)
    page.open(path)
    texts = sheets(page.pdf())
    assert len(texts) >= 4
    assert numbered(texts, report_id(path))


def test_a_pdf_file_is_the_report(save: Save, tmp_path: Path) -> None:
    path, pdf = save(filled(sample_document(), excerpts=True)), tmp_path / "Bericht № 1.pdf"
    html_to_pdf(path, pdf, report_id(path))
    texts = sheets(pdf.read_bytes())
    assert numbered(texts, report_id(path))
    whole = "\n".join(texts)
    for finding in sample_document().findings:
        if finding.sha256 is not None:
            assert finding.sha256 in re.sub(r"\s", "", whole)
    assert "Search" not in whole
    assert PdfReader(pdf).outline
    assert {each.name for each in tmp_path.iterdir()} == {"report.html", pdf.name}


def test_another_report_is_not_taken_for_it(save: Save, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is not report SC-0000-0000-0000"):
        html_to_pdf(save(document([])), tmp_path / "report.pdf", "SC-0000-0000-0000")
    assert not (tmp_path / "report.pdf").exists()


def test_a_filter_hides_nothing_on_paper(page: Page, save: Save) -> None:
    page.view(1280)
    page.open(save(sample_document()))
    page.evaluate(
        "(() => { const text = document.querySelector('.filters input'); text.value = 'nowhere';"
        "text.dispatchEvent(new Event('input')) })()"
    )
    assert "0 of 9 shown" in page.evaluate("document.body.innerText")
    whole = "\n".join(sheets(page.pdf()))
    assert whole.count("voicemail-accounts.mp3") >= 2
    assert "of 9 shown" not in whole


def test_nothing_drawn_can_be_cut(page: Page, save: Save) -> None:
    page.view(1280)
    page.open(save(filled(sample_document(), excerpts=True)))
    # As wide as a sheet without its margins.
    page.send("Emulation.setDeviceMetricsOverride", width=658, height=990, deviceScaleFactor=1, mobile=False)
    page.send("Emulation.setEmulatedMedia", media="print")
    try:
        drawn = page.evaluate(
            "[...document.querySelectorAll('figure, main svg, main img')].map(each =>"
            "[each.getBoundingClientRect().height, getComputedStyle(each).breakInside,"
            " each.getBoundingClientRect().right])"
        )
        hidden = page.evaluate(
            "[...document.querySelectorAll('.filters, audio')].map(each => getComputedStyle(each).display)"
        )
    finally:
        page.send("Emulation.setEmulatedMedia", media="")
    assert len(drawn) > 20
    assert all(height < PAPER_HEIGHT_PX for height, _, _ in drawn)
    assert {inside for _, inside, _ in drawn} == {"avoid"}
    assert max(right for _, _, right in drawn) <= 660
    assert set(hidden) == {"none"}


def test_a_large_case_prints(save: Save, tmp_path: Path) -> None:
    path, pdf = save(large_document(40, 8)), tmp_path / "report.pdf"
    html_to_pdf(path, pdf)
    texts = sheets(pdf.read_bytes())
    assert len(texts) > 40
    assert numbered(texts, report_id(path))
