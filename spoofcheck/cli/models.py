"""`spoofcheck models`: which there are, what they are made of, whether they are intact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.calibrate import calibrate
from spoofcheck.cli.export import export
from spoofcheck.cli.importing import import_, pull
from spoofcheck.cli.status import ExitStatus

if TYPE_CHECKING:
    from spoofcheck.nets.config import AnyModelConfig

app = typer.Typer(name="models", help="The models: list, show, verify, pull, import.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List the models: the shipped ones, the default first, then those you pulled or imported."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from spoofcheck.errors import ModelError
    from spoofcheck.nets.config import read_any_config
    from spoofcheck.nets.index import WEIGHTS_FILE, list_models, list_user_models, read_index
    from spoofcheck.render.text import printable
    from spoofcheck.resources import models_dir, user_models_dir

    index = read_index()
    own = list_user_models()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("model", "task", "version", "architecture", "size", "licence", ""):
        # A narrow terminal must break neither a name, which other commands take, nor a mark; the rest is not cut short.
        table.add_column(
            heading, justify="right" if heading == "size" else "left", no_wrap=heading in ("model", ""), overflow="fold"
        )
    for name in list_models():
        config = read_any_config(models_dir() / name)
        size_bytes = sum(entry.size_bytes for entry in index.models[name].files.values())
        table.add_row(
            name,
            config.task,
            config.version,
            _made_of(config),
            f"{size_bytes / 1e6:.1f} MB",
            config.licence,
            "default" if name == index.default else "uncalibrated" if _is_uncalibrated(config) else "",
        )
    for name in own:
        directory = user_models_dir() / name
        try:
            config = read_any_config(directory)
            size_bytes = (directory / WEIGHTS_FILE).stat().st_size
        except (ModelError, OSError) as error:
            table.add_row(name, "", "", Text(printable(f"damaged: {error}")), "", "", "yours")
            continue
        table.add_row(
            name,
            config.task,
            Text(printable(config.version)),
            _made_of(config),
            f"{size_bytes / 1e6:,.1f} MB",
            Text(printable(config.licence)),
            "yours, uncalibrated" if _is_uncalibrated(config) else "yours",
        )
    console = Console()
    console.print(table)
    if own:
        typer.echo(f"yours: in {user_models_dir()}")
    for name, entry in index.published.items():
        if name not in own:
            typer.echo(f"published: {name}, {entry.licence}: spoofcheck models pull {name}")


def _is_uncalibrated(config: AnyModelConfig) -> bool:
    return config.task == "detector" and config.calibration is None


def _made_of(config: AnyModelConfig) -> str:
    """The architecture; of an ensemble only its members, without weights and hashes."""
    if config.task == "detector" and config.back_end.kind == "ensemble":
        return f"ensemble of {', '.join(member.model for member in config.back_end.members)}"
    return config.architecture


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
    """Compare the files of the models, yours included, with the recorded sizes and SHA-256; exits with 2 on any
    difference.
    """
    from spoofcheck.nets.index import list_models, list_user_models, verify_model

    damaged = False
    for name in names or (*list_models(), *list_user_models()):
        problems = verify_model(name)
        damaged = damaged or bool(problems)
        typer.echo(f"{name}: {'; '.join(problems) if problems else 'intact'}")
    return ExitStatus.FAILED if damaged else ExitStatus.CLEAR


app.command("pull")(pull)
app.command("import")(import_)
app.command("export")(export)
app.command("calibrate")(calibrate)
