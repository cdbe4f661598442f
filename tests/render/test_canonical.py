"""The canonical spelling of a document, its number, and the element that carries it in a page."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofcheck.document import parse_document
from spoofcheck.errors import UsageError
from spoofcheck.render.canonical import (
    ELEMENT_ID,
    canonical_json,
    document_sha256,
    embedded,
    extract,
    report_id,
    report_id_of,
    reproducible,
    script_element,
)
from spoofcheck.render.html import render as html
from spoofcheck.render.json import render as json_text
from spoofcheck.schema import CustodyCheck, ScanDocument, Verdict
from tests.support.documents import document, finding, sample_document, sha256

HOSTILE = "</script><script>alert(1)</script><!-- --> & \u2028\u2029 \x7f \x1b é \U0001f600"


def hostile() -> ScanDocument:
    return document([finding(HOSTILE, Verdict.SPOOF, 3.2, [3.0])])


def page(text: str) -> str:
    return f"<!DOCTYPE html><html><head><title>x</title></head><body><p>x</p>{text}</body></html>\n"


def test_it_is_sorted_without_blanks_and_ascii() -> None:
    text = canonical_json(hostile())
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).replace("<", "\\u003c").replace(
        ">", "\\u003e"
    ).replace("&", "\\u0026").replace("\x7f", "\\u007f")
    assert all(0x20 <= ord(char) < 0x7F for char in text)
    assert not set("<>&") & set(text)
    assert json.loads(text)["findings"][0]["path"] == HOSTILE


def test_it_survives_being_saved_and_read() -> None:
    for each in (sample_document(), hostile()):
        for saved in (json_text(each), canonical_json(each)):
            assert canonical_json(parse_document(saved)) == canonical_json(each)


def test_a_number_that_json_lacks_is_refused() -> None:
    each = sample_document()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(each.model_copy(update={"run": each.run.model_copy(update={"elapsed_s": float("inf")})}))


def test_the_number_is_the_beginning_of_the_hash() -> None:
    each = sample_document()
    digest = hashlib.sha256(canonical_json(each).encode()).hexdigest()
    assert document_sha256(each) == digest
    assert report_id(each) == report_id_of(digest) == f"SC-{digest[:4]}-{digest[4:8]}-{digest[8:12]}".upper()
    assert report_id(each.model_copy(update={"note": "x"})) != report_id(each)


def run_at(second: int, host: str, *arguments: str) -> ScanDocument:
    made = sample_document()
    custody = CustodyCheck(checked_at=f"2026-11-21T09:14:{second:02d}+00:00", sha256=sha256("x"), unchanged=True)
    return made.model_copy(
        update={
            "run": made.run.model_copy(
                update={
                    "started_at": f"2026-11-21T08:14:{second:02d}+00:00",
                    "finished_at": f"2026-11-21T09:14:{second:02d}+00:00",
                    "elapsed_s": float(second),
                    "host": host,
                }
            ),
            "tool": made.tool.model_copy(update={"command_line": ("spoofcheck", "scan", *arguments)}),
            "findings": tuple(each.model_copy(update={"custody": custody}) for each in made.findings),
        }
    )


def test_reproducible_runs_give_the_same_bytes() -> None:
    first = run_at(
        3, "lab-1", "calls", "--model", "/home/a/m", "--json", "a.json", "--report=/tmp/a.html", "--hop", "2"
    )
    more = ("--workers", "3", "--workers=2")
    second = run_at(
        9, "lab-2", "calls", "--model", "/srv/m", *more, "--json", "b.json", "--report=/tmp/b.html", "--hop", "2"
    )
    assert canonical_json(first) != canonical_json(second)
    assert html(first) != html(second)
    blank = reproducible(first)
    assert blank.tool.command_line == (
        *("spoofcheck", "scan", "calls", "--model", "m", "--json", "FILE", "--report=FILE", "--hop", "2"),
    )
    assert canonical_json(blank) == canonical_json(reproducible(second))
    assert json_text(blank) == json_text(reproducible(second))
    assert html(blank) == html(reproducible(second))
    assert "not recorded to" not in html(blank)
    assert reproducible(blank) == blank


def test_reproducible_keeps_all_that_is_evidence() -> None:
    """Exactly the documented fields change."""

    def leaves(value: object, place: str = "") -> dict[str, object]:
        if isinstance(value, dict):
            return {k: v for key, each in value.items() for k, v in leaves(each, f"{place}.{key}").items()}
        if isinstance(value, list):
            return {k: v for i, each in enumerate(value) for k, v in leaves(each, f"{place}[{i}]").items()}
        return {place: value}

    made = run_at(3, "lab-1", "/cases/calls", "--json", "a.json")
    before, after = (leaves(each.model_dump(mode="json")) for each in (made, reproducible(made)))
    assert before.keys() == after.keys()
    changed = {place for place in before if before[place] != after[place]}
    custody = {f".findings[{i}].custody.checked_at" for i in range(len(made.findings))}
    run = {".run.started_at", ".run.finished_at", ".run.elapsed_s", ".run.host"}
    assert changed == custody | run | {".tool.command_line[2]", ".tool.command_line[4]"}


@pytest.mark.parametrize("each", [sample_document(), hostile()], ids=["sample", "hostile"])
def test_what_is_embedded_is_read_back(each: ScanDocument) -> None:
    held = extract(page(script_element(each)))
    assert held.content.decode() == embedded(each) == canonical_json(each)
    assert held.sha256 == held.claimed_sha256 == document_sha256(each)
    assert parse_document(held.content) == each


def test_a_changed_byte_does_not_fit_the_hash() -> None:
    text = page(script_element(sample_document()))
    changed = text.replace('"spoof_llr":5', '"spoof_llr":4', 1)
    assert changed != text
    held = extract(changed)
    assert held.sha256 != held.claimed_sha256 == document_sha256(sample_document())


GOOD = f'<script type="application/json" id="{ELEMENT_ID}" data-sha256="{"0" * 64}">{{}}</script>'


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD + GOOD,
        GOOD.replace("</script>", ""),
        GOOD.replace("application/json", "text/javascript"),
        GOOD.replace("application/json", "module"),
        GOOD.replace("0" * 64, "0" * 63),
        GOOD.replace("0" * 64, "A" * 64),
        GOOD.replace(" data-sha256", " data-sha512"),
        GOOD.replace("<script ", "<script src=x "),
        GOOD.replace("<script ", "<script type=module "),
        GOOD.replace("<script ", "<div ").replace("</script>", "</div>"),
        GOOD.replace(ELEMENT_ID, ELEMENT_ID.upper()),
        GOOD + f'<p id="{ELEMENT_ID}">x</p>',
        GOOD + f"<p title='<' ID = {ELEMENT_ID}>",
        GOOD.replace("{}", "{<!-- -->}"),
        GOOD.replace("</script>", "</SCRIPT>"),
    ],
)
def test_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        extract(page(text))


def test_a_page_of_any_kind_is_read_or_refused() -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.text(alphabet="<>!/-[]&;=\"'scriptid ", max_size=60))
    def check(text: str) -> None:
        try:
            held = extract(page(text + script_element(hostile())))
        except UsageError:
            return
        assert held.sha256 == held.claimed_sha256

    check()


@pytest.mark.parametrize(
    "junk",
    ["<", "<a ", "<!--", "<a b='", "&#", "<![", "</", "<script>", "<a id=", "<a id ", " id", "<id= ", f"{ELEMENT_ID} "],
)
def test_junk_takes_no_time(junk: str) -> None:
    text = junk * (1_000_000 // len(junk)) + ">" + GOOD + junk * 1_000
    begun = time.process_time()
    assert extract(text).content == b"{}"
    assert time.process_time() - begun < 2.0


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoofcheck.render.canonical.MAX_PAGE_CHARS", 100)
    with pytest.raises(UsageError, match="larger than any report"):
        extract(page(GOOD))
