"""`spoofcheck case`: the case file, which names the exhibits and says who examines what for whom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spoofcheck.cli.status import ExitStatus

app = typer.Typer(name="case", help="Case files: new, check.", no_args_is_help=True)


@app.command("new")
def new(case_file: Annotated[Path, typer.Argument(metavar="CASE.toml", help="Where to write it.")]) -> int:
    """Write a case file with comments, to be filled in; a file that is there is never overwritten."""
    from spoofcheck.casefile import write_template

    write_template(case_file)
    typer.echo(f"{case_file}: written; fill it in, then run 'spoofcheck case check'", err=True)
    return ExitStatus.CLEAR


@app.command("check")
def check(case_file: Annotated[Path, typer.Argument(metavar="CASE.toml", help="A case file.")]) -> int:
    """Say whether a case file can be used, and what it holds; exits with 2 when it cannot.

    An exhibit that does not lie where the file says is no error: it may be named alone, or be handed in later.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from spoofcheck.casefile import not_found, read_case
    from spoofcheck.render.text import MISSING, count, printable

    case = read_case(case_file)
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("case", case.number),
        ("client", case.client),
        ("examiner", case.examiner),
        ("lab", case.lab),
        ("question", case.question),
        ("hand-over", count(len(case.hand_over), "step")),
        ("SHA-256", case.sha256),
    ):
        facts.add_row(Text(name, style="bold"), Text(printable(value) or MISSING))
    console = Console()
    console.print(facts)
    if case.exhibits:
        missing = {exhibit.reference for exhibit in not_found(case, case_file.parent)}
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("reference", "file", "description", ""):
            table.add_column(heading, overflow="fold")
        for exhibit in case.exhibits:
            cells = (exhibit.reference, exhibit.file, exhibit.description)
            state = "not at this place" if exhibit.reference in missing else "found"
            table.add_row(*(Text(printable(cell)) for cell in cells), Text(state))
        console.print()
        console.print(table)
    return ExitStatus.CLEAR
