from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from spoofcheck import tables
from spoofcheck.cli import run
from spoofcheck.render import Format, render
from spoofcheck.render.csv import COLUMNS
from spoofcheck.schema import ScanDocument
from spoofcheck.tables import METADATA_KEY, WINDOW_COLUMNS, TableForm, findings_table, table_bytes
from tests.support.documents import sample_document

pa = pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def document() -> ScanDocument:
    return sample_document()


def rows_of_csv(document: ScanDocument) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(document, Format.CSV))))


def test_a_row_says_what_the_csv_says(document: ScanDocument) -> None:
    table = findings_table(document).to_pylist()
    for number, (row, expected) in enumerate(zip(table, rows_of_csv(document), strict=True)):
        assert row["finding"] == number
        for name in COLUMNS.keys() - {"path", "reason"}:
            if expected[name] == "":
                assert row[name] is None, name
            elif name in tables.INTEGERS | tables.NUMBERS:
                assert row[name] == float(expected[name]), name
            else:
                assert row[name] == expected[name], name
        assert row["path"] == document.findings[number].path
        assert len(row["window_scores"]) == row["windows"]


def test_windows_are_whole_and_the_rest_is_in_the_metadata(document: ScanDocument, tmp_path: Path) -> None:
    import pyarrow.parquet

    target = tmp_path / "r.parquet"
    target.write_bytes(table_bytes(document, TableForm.PARQUET))
    table = pyarrow.parquet.read_table(target)
    for row, finding in zip(table.to_pylist(), document.findings, strict=True):
        assert row["window_scores"] == [{k: getattr(w, k) for k in WINDOW_COLUMNS} for w in finding.windows]
    told = json.loads(table.schema.metadata[METADATA_KEY])
    assert told == document.model_dump(mode="json", exclude={"findings"})


def query(database: Path, text: str) -> Sequence[tuple[object, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        rows: Sequence[tuple[object, ...]] = connection.execute(text).fetchall()
    return rows


def test_a_database_has_findings_windows_and_run(document: ScanDocument, tmp_path: Path) -> None:
    target = tmp_path / "r.duckdb"
    target.write_bytes(table_bytes(document, TableForm.DUCKDB))
    verdicts = query(target, "SELECT path, verdict FROM findings ORDER BY finding")
    assert verdicts == [(finding.path, finding.verdict.value) for finding in document.findings]
    counted = query(
        target,
        "SELECT count(w.finding) FROM findings f LEFT JOIN windows w USING (finding) GROUP BY f.finding ORDER BY 1",
    )
    assert [n for (n,) in counted] == sorted(len(finding.windows) for finding in document.findings)
    ((model, text),) = query(target, "SELECT model, document FROM run")
    assert model == document.model.name
    assert json.loads(str(text))["options"] == document.options.model_dump(mode="json")


def test_a_saved_result_is_written_in_columns(document: ScanDocument, tmp_path: Path) -> None:
    saved = tmp_path / "scan.json"
    saved.write_text(render(document, Format.JSON))
    targets = [tmp_path / "r.parquet", tmp_path / "r.duckdb"]
    assert run(["report", str(saved), "--parquet", str(targets[0]), "--duckdb", str(targets[1])]) == 0
    assert query(targets[1], f"SELECT count(*) FROM '{targets[0]}'") == [(len(document.findings),)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.duckdb", "r.parquet", "scan.json"]


@pytest.mark.parametrize("option", ["--parquet", "--duckdb"])
def test_columns_do_not_go_to_standard_output(
    document: ScanDocument, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "scan.json"
    saved.write_text(render(document, Format.JSON))
    assert run(["report", str(saved), option, "-"]) == 2
    assert f"{option} -" in capsys.readouterr().err


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "find_spec", lambda name: None if name == "duckdb" else object())
    tables.require_libraries(TableForm.PARQUET)
    with pytest.raises(tables.UsageError, match=r"--duckdb: needs duckdb: pip install 'spoofcheck\[cluster\]'"):
        tables.require_libraries(TableForm.DUCKDB)
