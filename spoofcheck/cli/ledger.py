"""`spoofcheck ledger`: what was done in a case, in a file in which changes are found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import UsageError

if TYPE_CHECKING:
    from spoofcheck.ledger import Entry, Ledger

app = typer.Typer(
    name="ledger", help="Case ledgers, hash-chained and append-only: check, show, head, note.", no_args_is_help=True
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A ledger, e.g. case.jsonl.")]


@app.command("check")
def check(
    file: File,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="SHA256",
            help="Hash of an entry that was written down elsewhere; without it, a cut-off end cannot be seen.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Find entries that were changed, removed, put in or moved.

    Exits with 0 when the chain is whole, 1 when it is not, 2 when it cannot be read.
    """
    from spoofcheck.ledger import read_ledger
    from spoofcheck.render.text import count

    ledger = read_ledger(file, checked_head(head))
    for problem in ledger.problems:
        typer.echo(f"line {problem.line}: {problem.message}")
    if ledger.problems:
        return ExitStatus.FLAGGED
    typer.echo(f"whole: {count(len(ledger.entries), 'entry', 'entries')}, head {ledger.head}")
    return ExitStatus.CLEAR


@app.command("show")
def show(
    file: File,
    json: Annotated[bool, typer.Option("--json", help="Write JSON lines, as they are kept.")] = False,
) -> int:
    """List the entries; exits with 1 when the chain is broken (see 'ledger check')."""
    from rich.console import Console

    from spoofcheck.ledger import read_ledger

    ledger = read_ledger(file)
    if json:
        for entry in ledger.entries:
            typer.echo(_json_line(entry))
    else:
        Console().print(_table(ledger))
    return _status(file, ledger)


@app.command("head")
def head(file: File) -> int:
    """Print the number and hash of the last entry, to be written down elsewhere; exits with 1 on a broken chain."""
    from spoofcheck.ledger import read_ledger

    ledger = read_ledger(file)
    if not ledger.problems:
        typer.echo(f"{len(ledger.entries)} {ledger.head}")
    return _status(file, ledger)


@app.command("note")
def note(
    file: File,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to note, up to 4,000 characters.")],
) -> int:
    """Add a note at the end; makes the ledger when there is none."""
    from spoofcheck.ledger import Kind, append_entry

    if not text.strip():
        raise UsageError("ledger note: the text is empty")
    entry = append_entry(file, Kind.NOTE, note=text)
    typer.echo(f"{file}: entry {entry.index}, {entry.sha256}", err=True)
    return ExitStatus.CLEAR


def checked_head(head: str | None) -> str | None:
    """A head as the user typed it, as a ledger holds it. Raises UsageError when it is no SHA-256."""
    if head is None:
        return None
    digits = head.strip().lower()
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise UsageError(f"--head {head[:80]}: not a SHA-256 (64 hexadecimal digits), as 'ledger head' prints it")
    return digits


def _status(file: Path, ledger: Ledger) -> ExitStatus:
    if not ledger.problems:
        return ExitStatus.CLEAR
    first = ledger.problems[0]
    typer.echo(f"{file}: the chain is broken: line {first.line}: {first.message}", err=True)
    return ExitStatus.FLAGGED


def _json_line(entry: Entry) -> str:
    from spoofcheck.ledger import canonical

    return canonical(entry.model_dump(mode="json"))


def _table(ledger: Ledger) -> object:
    from rich.table import Table
    from rich.text import Text

    from spoofcheck.render.templating import format_date
    from spoofcheck.render.text import count, printable

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("entry", "time", "what", "of", "note", "hash"):
        table.add_column(heading, justify="right" if heading == "entry" else "left", overflow="fold")
    for entry in ledger.entries:
        subjects = entry.subjects
        named = [
            f"{name} {digest[:12]}"
            for name, digest in (("document", subjects.document), ("report", subjects.report))
            if digest is not None
        ]
        if subjects.exhibits:
            named.append(count(len(subjects.exhibits), "exhibit"))
        cells = (format_date(entry.time), entry.kind, ", ".join(named), entry.note, entry.sha256[:12])
        table.add_row(str(entry.index), *(Text(printable(cell)) for cell in cells))
    return table
