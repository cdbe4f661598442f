"""What the page is told of a result: plain JSON, in the report's words, nothing in it that could act on a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from spoofcheck.render.text import printable
from spoofcheck.render.wording import VERDICT_WORDS, meanings
from spoofcheck.schema import ScanDocument, Verdict
from spoofcheck.serve.page.view import page_view, page_words
from tests.support.casework import filled
from tests.support.documents import hostile_document, sample_document, traced_document, uncalibrated

DOCUMENTS = {
    "filled": filled(sample_document(), excerpts=True),
    "traced": filled(traced_document()),
    "hostile": hostile_document(),
}


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_every_exhibit_is_there_as_json_fit_to_be_shown(document: ScanDocument) -> None:
    view = json.loads(json.dumps(page_view(document), allow_nan=False))
    examined = [finding for finding in document.findings if finding.verdict is not Verdict.SKIPPED]
    assert [each["word"].lower() for each in view["exhibits"]] == [VERDICT_WORDS[each.verdict] for each in examined]
    assert len(view["exhibits"]) + len(view["skipped"]) == len(document.findings)
    for shown, finding in zip(view["exhibits"], examined, strict=True):
        assert [each["start_s"] for each in shown["windows"]] == [window.start_s for window in finding.windows]
        assert shown["reasons"] == [printable(reason.message) for reason in finding.reasons]
        assert (shown["marker_x"] is None) == (finding.spoof_llr is None)
        assert (shown["trace"] is None) == (finding.trace is None)
        assert (shown["acoustics"] is None) == (finding.acoustics is None)
    assert [text for text in strings(view) if text != printable(text)] == []


def test_a_traced_exhibit_comes_with_its_caveats() -> None:
    traced = [each["trace"] for each in page_view(DOCUMENTS["traced"])["exhibits"] if each["trace"]]
    assert any(trace["channel_warning"] for trace in traced)
    assert all(trace["headline"] and trace["rule"] for trace in traced)


def test_a_thousand_windows_are_a_few_hundred_bars() -> None:
    document = DOCUMENTS["filled"]
    first = document.findings[0]
    window = first.windows[0]
    many = tuple(window.model_copy(update={"start_s": 4.0 * n, "end_s": 4.0 * n + 4}) for n in range(1_000))
    longer = first.model_copy(update={"windows": many, "spans": (), "duration_s": 4_000.0, "excerpts": ()})
    (shown,) = page_view(document.model_copy(update={"findings": (longer,)}))["exhibits"]
    assert len(shown["windows"]) == 1_000
    assert len(shown["chart"]["bars"]) <= 600


def test_an_uncalibrated_result_has_no_scale_and_no_opinion() -> None:
    view = page_view(uncalibrated(sample_document()))
    assert (view["scale"], view["score"]) == (None, "raw score")
    shown = next(each for each in view["exhibits"] if each["verdict"] == Verdict.UNCALIBRATED)
    assert shown["figures"][0][0] == "Mean raw score"
    assert shown["marker_x"] is None
    assert shown["decided"] == "Not decided"
    assert any(window["score"] not in ("", "\N{EN DASH}") for window in shown["windows"])


def test_the_page_explains_every_verdict_and_the_whole_scale() -> None:
    words = page_words()
    assert {each["verdict"]: each["meaning"] for each in words["verdicts"]} == meanings(calibrated=True)
    assert [step["ratio"] for step in words["scale"]][::5] == ["1 to 2", "over 10,000"]
