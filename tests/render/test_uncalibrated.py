"""What every output says of a scan with an uncalibrated model, and what none of them may say."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from html import unescape

import pytest

from spoofcheck.document import parse_document
from spoofcheck.render import RENDERERS, Format, console, html, render
from spoofcheck.render.labels import label_files
from spoofcheck.render.overview import overview
from spoofcheck.render.timeline import Level, strip
from spoofcheck.schema import ScanDocument, Verdict
from tests.support.documents import document, finding, sample_document, uncalibrated
from tests.support.evidence import evidence_document

EXAMPLE = uncalibrated(sample_document())
EVIDENCE = uncalibrated(evidence_document())

SAYS_A_RATIO = re.compile(
    "LLR\\s*[≥≤]?\\s*[+\N{MINUS SIGN}-]?\\d" r"|LR, H\d over|\bweak support|\bmoderate|very strong", re.IGNORECASE
)
"""A likelihood ratio with its value, or a phrase of the verbal scale."""


def text_of(page: str) -> str:
    """What a reader sees of a page."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def values(content: object, key: str) -> Iterator[object]:
    """Every value of a key, at whatever depth."""
    if isinstance(content, dict):
        for name, value in content.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(content, list):
        for item in content:
            yield from values(item, key)


@pytest.mark.parametrize("example", [EXAMPLE, EVIDENCE], ids=["sample", "evidence"])
@pytest.mark.parametrize("fmt", Format)
def test_no_output_states_a_likelihood_ratio(fmt: Format, example: ScanDocument) -> None:
    text = render(example, fmt)
    assert not SAYS_A_RATIO.search(text_of(text) if fmt is Format.HTML else text)
    assert "uncalibrated" in text.casefold()


def test_the_pattern_finds_what_a_calibrated_scan_says() -> None:
    assert SAYS_A_RATIO.search(text_of(html.render(sample_document())))
    assert SAYS_A_RATIO.search(render(sample_document(), Format.TABLE))


@pytest.mark.parametrize("fmt", [Format.JSON, Format.JSONL])
def test_ratios_are_null_and_raw_scores_are_not(fmt: Format) -> None:
    lines = [render(EXAMPLE, fmt)] if fmt is Format.JSON else render(EXAMPLE, fmt).splitlines()
    contents = [json.loads(line) for line in lines]
    assert {value for content in contents for value in values(content, "spoof_llr")} == {None}
    scored = [finding for finding in EXAMPLE.findings if finding.raw_score is not None]
    assert scored
    assert set(values(contents, "raw_score")) >= {finding.raw_score for finding in scored}
    assert not any(values(contents, "spans"))


def test_the_csv_has_empty_cells_where_a_ratio_would_be() -> None:
    rows = list(csv.DictReader(io.StringIO(render(EXAMPLE, Format.CSV))))
    scored = [row for row in rows if row["verdict"] == "uncalibrated"]
    assert scored
    for row in scored:
        assert (row["spoof_llr"], row["spoofed_s"], row["spans"]) == ("", "", "")
        assert float(row["raw_score"])
        assert int(row["windows_scored"]) > 0


def test_the_table_has_a_column_of_raw_scores() -> None:
    for width in (80, 120):
        text = console.render(EXAMPLE, width=width)
        header = next(line for line in text.splitlines() if line.startswith("File "))
        assert "Raw score" in header
        assert "LLR" not in text
        assert "Spoofed" not in header
    assert "-6.55" in text
    assert "no likelihood ratio, no verdict" in " ".join(text.split())


def test_the_summary_names_model_and_licence() -> None:
    lines = console.summary(EXAMPLE).splitlines()
    assert "8 uncalibrated" in lines[1]
    expected = "The model xlsr-nes2net-la is not calibrated: raw scores only, no likelihood ratio, no verdict"
    assert lines[-2:] == [expected, "Licence of xlsr-nes2net-la: CC BY-NC 4.0"]
    assert "Licence" not in console.summary(sample_document())
    assert "calibrated" not in console.summary(sample_document())


def test_the_page_says_so_first_and_gives_no_opinion() -> None:
    text = text_of(html.render(EXAMPLE))
    cover, _, rest = text.partition("Question and propositions")
    assert "Uncalibrated model. xlsr-nes2net-la gives raw scores only." in cover
    assert "No likelihood ratio can be given" in cover
    assert "CC BY-NC 4.0" in rest
    opinion = rest.rpartition("No likelihood ratio can be given.")[2]
    assert "spoofcheck models calibrate" in opinion
    for absent in (
        "The same phrases apply",
        "Window threshold",
        "The decision rule, in",
        "Pooled LLR",
        "Thresholds (LLR)",
        "Flagged time",
    ):
        assert absent.casefold() not in text.casefold()
    assert "Mean raw score \N{MINUS SIGN}6.55" in text


def test_the_page_is_that_of_the_saved_document() -> None:
    assert html.render(parse_document(render(EXAMPLE, Format.JSON))) == html.render(EXAMPLE)


def test_rows_are_sorted_by_raw_score_and_have_no_bar() -> None:
    view = overview(EXAMPLE)
    assert view.threshold_xs == ()
    scored = [row for row in view.rows if row.verdict is Verdict.UNCALIBRATED]
    assert scored
    assert all(row.bar is None and row.llr_value is not None and not row.flagged for row in scored)
    assert {cell.kind for row in view.rows for cell in row.strip} == {Level.RAW, Level.NOT_SCORED}


def test_the_chart_shows_raw_scores_without_a_threshold() -> None:
    example = uncalibrated(document([finding("a.wav", Verdict.BONAFIDE, -1.0, [-2.0, None, 1.0])]))
    assert strip(example.findings[0], example.options, 10) == [Level.RAW, Level.NOT_SCORED, Level.RAW]
    page = html.render(example)
    assert 'class="threshold"' not in page
    assert page.count('class="raw"') >= 3
    # A recording whose only score is 0 has an axis all the same.
    silent = example.findings[0].windows[0].model_copy(update={"raw_score": 0.0})
    flat = example.findings[0].model_copy(update={"windows": (silent,), "raw_score": 0.0})
    assert not re.search(r'"-?(nan|inf)', html.render(example.model_copy(update={"findings": (flat,)})))


def test_labels_carry_raw_scores() -> None:
    files = dict(label_files(uncalibrated(document([finding("a.wav", Verdict.SPOOF, 3.0, [3.0, None])]))))
    by_ending = {name.rpartition("a.wav")[2]: text for name, text in files.items()}
    assert "verdict uncalibrated, raw score +5.50" in by_ending[".audacity.txt"]
    assert "not scored: no-speech" in by_ending[".audacity.txt"]
    assert '"raw score"' in by_ending[".TextGrid"]
    assert '"LLR"' not in by_ending[".TextGrid"]
    assert by_ending[".rttm"] == ""
    assert all("LLR" not in text for ending, text in by_ending.items() if ending != ".csv")


def test_every_renderer_is_tried() -> None:
    assert set(RENDERERS) == set(Format)
