from __future__ import annotations

import json
from pathlib import Path

import pytest

from spoofcheck.document import load_document, parse_document
from spoofcheck.errors import UsageError
from spoofcheck.render import Format, render
from tests.support.documents import sample_document

SAVED = render(sample_document(), Format.JSON)


def changed(**fields: object) -> str:
    return json.dumps(json.loads(SAVED) | fields)


def test_a_saved_result_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "scan.json"
    path.write_text(SAVED, encoding="utf-8")
    assert load_document(path) == sample_document()


def test_a_byte_order_mark_does_no_harm() -> None:
    assert parse_document(b"\xef\xbb\xbf" + SAVED.encode()) == sample_document()
    assert parse_document("\ufeff" + SAVED) == sample_document()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("hello", "not JSON, or cut short (line 1, column 1"),
        (SAVED[:5000], "not JSON, or cut short"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"RIFF\x24\xff\xff\xffWAVEfmt ", "not UTF-8"),
        ("[]", "not a spoofcheck result"),
        ("null", "not a spoofcheck result"),
        ('{"findings": []}', "not a spoofcheck result"),
        ('{"schema_version": "1.0"}', "not a spoofcheck result"),
        ("[" * 100_000, "not a spoofcheck result"),
        ('{"schema_version": ' + "9" * 5_000 + ', "findings": []}', "not a spoofcheck result"),
        (changed(schema_version="2.0"), "result schema 2.0, but spoofcheck 0.1.0 reads schema 1.0"),
        (changed(schema_version=1.0), "result schema 1.0, but"),
        (changed(schema_version={"a\x1b": 1}), r"result schema {'a\x1b'"),
        (changed(findings=[{"path": 3}]), "not a valid spoofcheck result: findings[0].path: Input should be"),
        (changed(**{"odd\x1bkey": 1}), r"odd\x1bkey: Extra inputs are not permitted"),
        (changed(findings=[]).replace('"elapsed_s": 38.2', '"elapsed_s": NaN'), "run.elapsed_s"),
        (render(sample_document(), Format.JSONL), "--jsonl"),
    ],
)
def test_anything_else_is_one_clear_line(content: str | bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_document(content, "scan.json")
    text = str(caught.value)
    assert text.startswith("scan.json: ")
    assert message in text
    assert text.isprintable()


def test_a_single_jsonl_line_is_not_a_result() -> None:
    line = render(sample_document(), Format.JSONL).splitlines()[0]
    with pytest.raises(UsageError, match="not a spoofcheck result"):
        parse_document(line)


def test_a_file_that_is_not_there_or_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\\n\.json: cannot be read: No such file"):
        load_document(tmp_path / "gone\n.json")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_document(tmp_path)


def test_a_result_saved_before_there_were_tracers_is_read() -> None:
    saved = json.loads(SAVED)
    del saved["tracer"], saved["options"]["trace_all"]
    for finding in saved["findings"]:
        del finding["trace"]
        finding["sources"] = []
    document = parse_document(json.dumps(saved))
    assert document.tracer is None
    assert document.options.trace_all is False
    assert all(finding.trace is None for finding in document.findings)
    assert "Similar" not in render(document, Format.HTML)


def test_a_trace_without_sources_is_refused() -> None:
    saved = json.loads(SAVED)
    traced = next(finding for finding in saved["findings"] if finding["trace"])
    traced["sources"] = []
    with pytest.raises(UsageError, match="names the sources it was compared with"):
        parse_document(json.dumps(saved))
