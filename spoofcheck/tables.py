"""A result as columns, for data tools: Apache Parquet, or a DuckDB database. Needs the extra `cluster`.

`findings` has a row per finding with the columns of the CSV, and `finding`, its number from 0. Numbers stay numbers,
what is empty there is null here, and paths and reasons are as in the JSON. `window_scores` (in Parquet) and the table
`windows` (in DuckDB) have every window. What is true of the whole scan is the table `run`, or the schema's metadata
`spoofcheck` in Parquet: the JSON document without its findings.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spoofcheck.errors import UsageError
from spoofcheck.render.csv import COLUMNS, Cell
from spoofcheck.schema import Finding, ScanDocument

if TYPE_CHECKING:
    import pyarrow as pa


class TableForm(StrEnum):
    """The forms of columns in which a result can be written."""

    PARQUET = "parquet"
    DUCKDB = "duckdb"


INTEGERS: Final = frozenset(
    {
        "bit_depth",
        "channel",
        "channels",
        "sample_rate_hz",
        "trace_windows",
        "windows",
        "windows_over_budget",
        "windows_scored",
    }
)
NUMBERS: Final = frozenset(
    {
        "bandwidth_hz",
        "clipping_share",
        "closest_llr",
        "closest_similarity",
        "duration_s",
        "examined_s",
        "raw_score",
        "silence_share",
        "snr_db",
        "speech_s",
        "spoof_llr",
        "spoofed_s",
        "trace_threshold",
        "validity_distance",
    }
)
"""Columns of the CSV that are numbers; the others but `INTEGERS` are text."""
WINDOW_COLUMNS: Final = ("start_s", "end_s", "speech_s", "raw_score", "spoof_llr", "not_scored", "validity_distance")
METADATA_KEY: Final = b"spoofcheck"

_UNESCAPED: dict[str, Callable[[Finding], Cell]] = {
    "path": lambda f: f.path,
    "reason": lambda f: f.reasons[0].message if f.reasons else None,
}
"""What the CSV guards against spreadsheets, which do not read these."""


def require_libraries(form: TableForm) -> None:
    """Find out before the work whether a form can be written.

    Raises:
        UsageError: what it needs is not installed.
    """
    needed = ["pyarrow", *(["duckdb"] if form is TableForm.DUCKDB else [])]
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise UsageError(f"--{form}: needs {' and '.join(missing)}: pip install 'spoofcheck[cluster]'")


def table_bytes(document: ScanDocument, form: TableForm) -> bytes:
    """The file of a document in one form.

    Raises:
        UsageError: see `require_libraries`.
    """
    require_libraries(form)
    return _parquet(document) if form is TableForm.PARQUET else _duckdb(document)


def findings_table(document: ScanDocument) -> pa.Table:
    """A row per finding, its windows nested, and the rest of the document in the schema's metadata."""
    import pyarrow as pa

    findings = document.findings
    arrays = [pa.array(range(len(findings)), pa.int64())]
    arrays += [pa.array([_cell(document, finding, name) for finding in findings], _type(name)) for name in COLUMNS]
    windows = [[_window(window) for window in finding.windows] for finding in findings]
    arrays.append(pa.array(windows, pa.list_(pa.struct(_window_fields()))))
    table = pa.table(arrays, names=["finding", *COLUMNS, "window_scores"])
    return table.replace_schema_metadata({METADATA_KEY: _without_findings(document).encode()})


def windows_table(document: ScanDocument) -> pa.Table:
    """A row per window of every finding: the finding's number, its own from 0, and what it holds."""
    import pyarrow as pa

    rows = [
        {"finding": number, "window": place, **_window(window)}
        for number, finding in enumerate(document.findings)
        for place, window in enumerate(finding.windows)
    ]
    fields = [pa.field("finding", pa.int64()), pa.field("window", pa.int64()), *_window_fields()]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def run_table(document: ScanDocument) -> pa.Table:
    """One row on the scan; `document` is the JSON without its findings."""
    import pyarrow as pa

    run, model = document.run, document.model
    return pa.Table.from_pylist(
        [
            {
                "started_at": run.started_at,
                "finished_at": run.finished_at,
                "elapsed_s": run.elapsed_s,
                "host": run.host,
                "complete": run.complete,
                "model": model.name,
                "model_version": model.version,
                "weights_sha256": model.weights_sha256,
                "tool_version": document.tool.version,
                "document": _without_findings(document),
            }
        ]
    )


def _parquet(document: ScanDocument) -> bytes:
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(findings_table(document), buffer, compression="zstd")
    return buffer.getvalue()


def _duckdb(document: ScanDocument) -> bytes:
    import duckdb

    findings = findings_table(document)
    parts = {
        "findings": findings.drop_columns(["window_scores"]),
        "windows": windows_table(document),
        "run": run_table(document),
    }
    with tempfile.TemporaryDirectory(prefix="spoofcheck-duckdb-") as folder:
        path = Path(folder) / "result.duckdb"
        # It must look for nothing on any network, nor run on more threads than there is work for.
        config: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "threads": "1",
        }
        with duckdb.connect(str(path), config=config) as database:
            for name, table in parts.items():
                database.register("arrived", table)
                database.execute(f'CREATE TABLE "{name}" AS SELECT * FROM arrived')
                database.unregister("arrived")
        return path.read_bytes()


def _cell(document: ScanDocument, finding: Finding, name: str) -> Cell:
    unescaped = _UNESCAPED.get(name)
    value = COLUMNS[name](document, finding) if unescaped is None else unescaped(finding)
    if value is None or value == "":
        return None
    return float(value) if name in NUMBERS else value


def _type(name: str) -> Any:
    import pyarrow as pa

    return pa.int64() if name in INTEGERS else pa.float64() if name in NUMBERS else pa.string()


def _window(window: Any) -> dict[str, Any]:
    return {name: getattr(window, name) for name in WINDOW_COLUMNS}


def _window_fields() -> list[Any]:
    import pyarrow as pa

    return [pa.field(name, pa.string() if name == "not_scored" else pa.float64()) for name in WINDOW_COLUMNS]


def _without_findings(document: ScanDocument) -> str:
    return json.dumps(document.model_dump(mode="json", exclude={"findings"}), sort_keys=True, ensure_ascii=True)
