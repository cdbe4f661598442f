"""`spoofcheck report`: render a saved result again, without analysing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spoofcheck.cli.output import check_outputs, write_output
from spoofcheck.errors import UsageError


def report(
    result: Annotated[Path, typer.Argument(metavar="SCAN.json", help="A result written by 'scan --json', or '-'.")],
    html_to: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE|-", help="Write the self-contained report.", show_default=False),
    ] = None,
    csv_to: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE|-", help="Write one row per finding.", show_default=False),
    ] = None,
    jsonl_to: Annotated[
        Path | None,
        typer.Option("--jsonl", metavar="FILE|-", help="Write one JSON line per finding.", show_default=False),
    ] = None,
) -> None:
    """Render a saved result again; no audio and no model is needed.

    Without an output option, the table of 'scan' is printed. Example: spoofcheck report scan.json --html report.html
    """
    from rich.console import Console

    from spoofcheck.document import load_document
    from spoofcheck.render import Format, render
    from spoofcheck.render.console import ScanTable

    wanted = {Format.HTML: html_to, Format.CSV: csv_to, Format.JSONL: jsonl_to}
    outputs = {form: target for form, target in wanted.items() if target is not None}
    check_outputs(outputs.values())
    if any(target.absolute() == result.absolute() for target in outputs.values()):
        raise UsageError(f"{result}: is the input; it would be overwritten")
    document = load_document(result)
    for form, target in outputs.items():
        write_output(target, render(document, form))
    if not outputs:
        Console().print(ScanTable(document))
