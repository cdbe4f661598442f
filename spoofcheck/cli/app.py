"""The Typer application: which commands there are."""

from __future__ import annotations

from typing import Annotated

import typer

from spoofcheck import __version__
from spoofcheck.cli import (
    case,
    corpus,
    doctor,
    evaluate,
    ledger,
    link,
    merge,
    models,
    report,
    scan,
    schema,
    serve,
    sources,
    store,
    train,
    verify,
    watch,
)

app = typer.Typer(
    name="spoofcheck",
    help="Is this recording synthetic speech, where in it, and how far can that be trusted?",
    epilog=(
        "Exit codes of scan: 0 nothing flagged, 1 something flagged, 2 could not do the job or a control misbehaved, "
        "3 nothing flagged but some input was not scored, 130 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command(name="scan")(scan.scan)
app.command(name="watch")(watch.watch)
app.command(name="report")(report.report)
app.command(name="merge")(merge.merge)
app.command(name="link")(link.link)
app.command(name="verify")(verify.verify)
app.add_typer(case.app, name="case")
app.add_typer(ledger.app, name="ledger")
app.add_typer(models.app, name="models")
app.add_typer(sources.app, name="sources")
app.add_typer(store.app, name="store")
app.add_typer(serve.app, name="serve")
app.command(name="train")(train.train)
app.command(name="eval")(evaluate.evaluate)
app.add_typer(corpus.app, name="corpus")
app.command(name="schema")(schema.schema)
app.command(name="doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spoofcheck {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Forensic analysis of recordings for synthetic speech, on this machine; nothing is sent elsewhere."""
