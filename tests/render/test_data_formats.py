"""JSON, JSON lines and CSV: what another program reads."""

from __future__ import annotations

import csv
import io
import json

import pytest

from spoofcheck.document import parse_document
from spoofcheck.render import Format, render
from spoofcheck.render.csv import COLUMNS, outside
from spoofcheck.schema import Finding, ScanDocument, Verdict
from tests.support.documents import (
    HOSTILE_NAMES,
    document,
    finding,
    hostile_document,
    large_document,
    sample_document,
    skipped,
    traced_document,
    tracer,
    windows,
)

DOCUMENTS = {
    "sample": sample_document(),
    "traced": traced_document(),
    "hostile": hostile_document(),
    "empty": document([]),
    "interrupted": document([skipped("a")], complete=False),
    "large": large_document(exhibits=20),
}
STEERING = "\x1b\x9b\x07\x7f\u202e\u200b\ufeff\u2028\u200d"


@pytest.fixture(params=DOCUMENTS)
def example(request: pytest.FixtureRequest) -> ScanDocument:
    return DOCUMENTS[request.param]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_json_reads_back_as_the_same_document_and_renders_the_same(example: ScanDocument) -> None:
    text = render(example, Format.JSON)
    again = parse_document(text)
    assert again == example
    assert render(again, Format.JSON) == text


def test_json_is_indented_ends_in_a_newline_and_keeps_the_models_order() -> None:
    text = render(sample_document(), Format.JSON)
    assert text.startswith('{\n  "schema_version": "1.0",\n  "tool": {')
    assert text.endswith("}\n")
    assert list(json.loads(text)["findings"][0]) == list(Finding.model_fields)
    assert "録音" in text


@pytest.mark.parametrize("fmt", [Format.JSON, Format.JSONL, Format.CSV])
def test_nothing_that_steers_a_terminal_is_written(fmt: Format) -> None:
    text = render(hostile_document(), fmt)
    assert not set(STEERING) & set(text)
    text.encode()


def test_json_keeps_hostile_names_as_they_are() -> None:
    paths = [f["path"] for f in json.loads(render(hostile_document(), Format.JSON))["findings"]]
    assert "esc\x1b[31mred\x1b]0;title\x07.wav" in "".join(paths)
    assert "separator\u2028next.wav" in paths
    assert r"in/latin1-\xe9t\xe9.wav" in paths


def test_every_jsonl_line_stands_alone(example: ScanDocument) -> None:
    lines = render(example, Format.JSONL).split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(example.findings)
    for line, expected in zip(lines, example.findings, strict=True):
        data = json.loads(line)
        assert data.pop("schema_version") == "1.0"
        assert data.pop("tool_version") == "0.1.0"
        assert data.pop("model") == "compact-detector"
        assert data.pop("model_version") == "1"
        assert data.pop("weights_sha256") == example.model.weights_sha256
        if example.tracer is not None:
            assert data.pop("tracer") == example.tracer.name
            assert data.pop("tracer_version") == example.tracer.version
            assert data.pop("tracer_weights_sha256") == example.tracer.weights_sha256
        if example.enrolled is not None:
            assert data.pop("sources_sha256") == example.enrolled.sha256
        assert Finding.model_validate(data) == expected


def test_csv_has_one_row_per_finding_on_one_line_each(example: ScanDocument) -> None:
    text = render(example, Format.CSV)
    assert text.count("\n") == len(example.findings) + 1
    assert text.endswith("\n")
    table = rows(text)
    assert [row["verdict"] for row in table] == [f.verdict.value for f in example.findings]
    assert all(list(row) == list(COLUMNS) for row in table)


def test_csv_values() -> None:
    example = document(
        [
            finding(
                "call.wav",
                Verdict.PARTIAL,
                -1.62,
                [-3.0, None, 2.5],
                channel=1,
                channels=2,
                spans=[(8.0, 12.0, 2.5), (10.0, 14.0, 2.5)],
                sources=[("VITS", 0.8)],
            ),
            skipped("bad.wav"),
        ],
        tracer=tracer(),
    )
    call, bad = rows(render(example, Format.CSV))
    assert float(call["spoof_llr"]) == -1.62
    assert (call["channel"], call["channels"], call["duration_s"]) == ("1", "2", "12.0")
    assert (call["windows"], call["windows_scored"]) == ("3", "2")
    assert float(call["spoofed_s"]) == 6.0
    assert (call["windows_over_budget"], bad["examined_s"]) == ("0", "")
    assert call["spans"] == "0:08.0-0:12.0; 0:10.0-0:14.0"
    assert call["reason_codes"] == "spoofed-passage"
    assert (call["closest_source"], call["closest_similarity"]) == ("VITS", "0.8")
    assert (call["trace"], call["trace_decision"]) == ("most similar to VITS of 4 known sources", "VITS")
    assert (call["trace_windows"], call["tracer"]) == ("1", "compact-tracer")
    assert call["tracer_weights_sha256"] == tracer().weights_sha256
    assert {bad[name] for name in ("trace", "trace_decision", "trace_windows", "closest_source")} == {""}
    assert call["weights_sha256"] == example.model.weights_sha256
    assert bad["verdict"] == "skipped"
    assert bad["reason"] == "No audio stream was found in it."
    assert {bad[name] for name in ("spoof_llr", "duration_s", "spoofed_s", "sha256", "snr_db")} == {""}


def test_csv_holds_the_whole_trace() -> None:
    example = traced_document()
    table = rows(render(example, Format.CSV))
    human, piper, group, failed, own, unknown, _, alone, untraced = table
    assert [row["trace_decision"] for row in table[:4]] == ["", "piper", "kokoro", "matcha"]
    assert [row["channel_test"] for row in table] == [
        "",
        "passed",
        "passed codec",
        "failed residue, codec",
        "passed",
        "not tested",
        "not tested",
        "not tested",
        "",
    ]
    assert group["trace_group"] == "kittentts; kokoro"
    assert group["trace"] == "most similar to kokoro or kittentts (not told apart) of 7 known sources"
    assert (piper["closest_llr"], failed["closest_llr"]) == ("4.6", "")
    assert failed["trace"].endswith("; follows the channel: no support")
    assert (piper["closest_origin"], own["closest_origin"]) == ("shipped", "enrolled")
    assert (unknown["unknown_group"], alone["unknown_group"]) == ("Unknown-1", "")
    assert unknown["trace"] == "unknown (Unknown-1); closest known source piper, of 7 known sources"
    assert (piper["trace_measure"], piper["trace_threshold"]) == ("cosine", "0.55")
    assert example.enrolled is not None
    assert {row["sources_sha256"] for row in table} == {example.enrolled.sha256}
    columns = list(COLUMNS)
    appended = columns[columns.index("tool_version") + 1 : columns.index("sources_sha256")]
    for row in (human, untraced):
        assert {row[name] for name in appended} == {""}


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", r"'\t=1"),
        ("\r=1", r"'\r=1"),
        ("\n=1", r"\n=1"),
        ("a=1", "a=1"),
        ("'", "'"),
    ],
)
def test_outside_text_is_never_a_formula(text: str, cell: str) -> None:
    assert outside(text) == cell


def test_no_hostile_cell_is_a_formula_even_where_semicolons_split_cells() -> None:
    text = render(document(finding(name, Verdict.SPOOF, 3.0, [3.0]) for name in HOSTILE_NAMES), Format.CSV)
    for row in rows(text):
        assert not row["path"].startswith(("=", "+", "-", "@"))
    for line in text.splitlines():
        assert line.startswith('"')  # a quoted field is not split at its semicolons


def test_no_cell_of_a_hostile_trace_is_a_formula() -> None:
    for row in rows(render(hostile_document(), Format.CSV)):
        for name in ("trace_decision", "trace_group", "unknown_group", "closest_source"):
            assert not row[name].startswith(("=", "+", "-", "@"))


def test_numbers_stay_numbers() -> None:
    text = render(document([finding("a", Verdict.BONAFIDE, -3.25, [-3.25])]), Format.CSV)
    assert ",-3.25," in text
    assert "'-3.25" not in text


def test_a_path_of_bytes_that_are_not_utf8_is_stored_escaped() -> None:
    assert finding("a\udcff.wav", Verdict.SPOOF, 1.0, [1.0]).path == r"a\xff.wav"


def test_windows_reach_every_format_that_holds_them() -> None:
    scored = windows(12.0, [1.0, None, -2.0])
    example = document([finding("a", Verdict.SPOOF, 2.0, [1.0, None, -2.0])])
    from_json = json.loads(render(example, Format.JSON))["findings"][0]["windows"]
    from_jsonl = json.loads(render(example, Format.JSONL))["windows"]
    assert from_json == from_jsonl == [window.model_dump() for window in scored]
    assert from_json[1] == {
        "start_s": 4.0,
        "end_s": 8.0,
        "speech_s": 0.1,
        "raw_score": None,
        "spoof_llr": None,
        "not_scored": "no-speech",
        "validity_distance": None,
    }
