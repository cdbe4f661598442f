"""`spoofcheck report`: render a saved result again, without analysing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spoofcheck.errors import OutputError, UsageError


def report(
    result: Annotated[Path, typer.Argument(metavar="SCAN.json", help="A result written by 'scan --json'.")],
    html_to: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE|-", help="Write the self-contained report.", show_default=False),
    ] = None,
    pdf_to: Annotated[
        Path | None,
        typer.Option(
            "--pdf", metavar="FILE.pdf", help="Print the report through an installed Chromium.", show_default=False
        ),
    ] = None,
    csv_to: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE|-", help="Write one row per finding.", show_default=False),
    ] = None,
    jsonl_to: Annotated[
        Path | None,
        typer.Option("--jsonl", metavar="FILE|-", help="Write one JSON line per finding.", show_default=False),
    ] = None,
    parquet_to: Annotated[
        Path | None,
        typer.Option(
            "--parquet",
            metavar="FILE",
            help="Write one row per finding, windows nested; needs the extra 'cluster'.",
            show_default=False,
        ),
    ] = None,
    duckdb_to: Annotated[
        Path | None,
        typer.Option(
            "--duckdb",
            metavar="FILE",
            help="Write a database with findings, windows and run; needs the extra 'cluster'.",
            show_default=False,
        ),
    ] = None,
    labels_to: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="DIR",
            help="Write label tracks for Audacity, Praat, RTTM and CSV; the folder is made when missing.",
            show_default=False,
        ),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Add an entry on this report to a case ledger; made when missing.",
            show_default=False,
        ),
    ] = None,
    reproducible: Annotated[
        bool,
        typer.Option(
            "--reproducible", help="Leave times and the machine's name out, so that two reports are the same bytes."
        ),
    ] = False,
) -> None:
    """Render a saved result again; no audio and no model is needed.

    Without an output option, the table of 'scan' is printed. Example: spoofcheck report scan.json --html report.html
    """
    from rich.console import Console

    from spoofcheck.cli.writing import Outputs, enter, table_targets, write_all
    from spoofcheck.document import load_document
    from spoofcheck.ledger import Kind
    from spoofcheck.render import Format
    from spoofcheck.render.canonical import reproducible as without_times
    from spoofcheck.render.console import ScanTable

    wanted = {Format.HTML: html_to, Format.CSV: csv_to, Format.JSONL: jsonl_to}
    outputs = Outputs(
        forms={form: target for form, target in wanted.items() if target is not None},
        labels=labels_to,
        pdf=pdf_to,
        tables=table_targets(parquet_to, duckdb_to),
        ledger=ledger,
    )
    if ledger is not None and html_to is None and pdf_to is None:
        raise UsageError("--ledger: there is no report to enter; write one with --html or --pdf")
    outputs.check()
    outputs.check_spare([result])
    document = load_document(result)
    if reproducible:
        document = without_times(document)
    written = write_all(document, outputs)
    if ledger is not None and (written.report_sha256 or written.pdf_sha256):
        written.problems += enter(ledger, Kind.REPORT, document, written)
    if written.problems:
        raise OutputError("; ".join(written.problems))
    if not outputs.forms and not outputs.tables and pdf_to is None and labels_to is None:
        Console().print(ScanTable(document))
