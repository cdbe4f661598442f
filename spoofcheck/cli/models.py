"""`spoofcheck models`: what is shipped, what it is made of, whether it is intact."""

from __future__ import annotations

from typing import Annotated

import typer

from spoofcheck.cli.export import export
from spoofcheck.cli.status import ExitStatus

app = typer.Typer(name="models", help="The models: list, show, verify.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List the shipped models; the default comes first."""
    from rich.console import Console
    from rich.table import Table

    from spoofcheck.nets.config import read_any_config
    from spoofcheck.nets.index import list_models, read_index
    from spoofcheck.resources import models_dir

    index = read_index()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("model", "task", "version", "architecture", "size", "licence", ""):
        # The name is what other commands take: a narrow terminal must not break it; the rest must not be cut short.
        table.add_column(
            heading, justify="right" if heading == "size" else "left", no_wrap=heading == "model", overflow="fold"
        )
    for name in list_models():
        config = read_any_config(models_dir() / name)
        size_bytes = sum(entry.size_bytes for entry in index.models[name].files.values())
        table.add_row(
            name,
            config.task,
            config.version,
            config.architecture,
            f"{size_bytes / 1e6:.1f} MB",
            config.licence,
            "default" if name == index.default else "",
        )
    Console().print(table)


@app.command("show")
def show(
    model: Annotated[str | None, typer.Argument(metavar="NAME|DIR", help="Model to show.", show_default=False)] = None,
) -> None:
    """Print a model's card: training data, figures, limits."""
    from rich.console import Console
    from rich.markdown import Markdown

    from spoofcheck.nets.config import read_model_file
    from spoofcheck.nets.index import CARD_FILE, find_model

    directory = find_model(model)
    card = read_model_file(directory, CARD_FILE).decode("utf-8", "replace")
    console = Console()
    # A pipe gets the card as it is written; only a terminal gets it typeset.
    if console.is_terminal:
        console.print(Markdown(card))
    else:
        typer.echo(card)


@app.command("verify")
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Models to check; all by default.")
    ] = None,
) -> int:
    """Compare the files of the shipped models with the recorded sizes and SHA-256; exits with 2 on any difference."""
    from spoofcheck.nets.index import list_models, verify_model

    damaged = False
    for name in names or list_models():
        problems = verify_model(name)
        damaged = damaged or bool(problems)
        typer.echo(f"{name}: {'; '.join(problems) if problems else 'intact'}")
    return ExitStatus.FAILED if damaged else ExitStatus.CLEAR


app.command("export")(export)
