"""`spoofcheck serve keys`: who may call a server that asks for keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import UsageError
from spoofcheck.render.text import printable

app = typer.Typer(
    name="keys",
    help="Keys of the service: add, list, revoke. A running server notices every change.",
    no_args_is_help=True,
)

Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="Where keys are kept.",
        show_default="service-keys.json in the user's data directory",
    ),
]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will hold it; shown in lists and logs.")],
    rate: Annotated[
        str | None,
        typer.Option(metavar="N/min", help="Requests a minute.", show_default="the server's own"),
    ] = None,
    quota: Annotated[
        str | None, typer.Option(metavar="N/day", help="Recordings a day (UTC).", show_default="no limit")
    ] = None,
    keys: Keys = None,
) -> int:
    """Make a key and print it once, alone on its line; only its hash is kept."""
    path = _file(keys)
    from spoofcheck.serve.keys import add_key

    key, entry = add_key(
        path,
        name,
        rate_per_minute=_count("--rate", rate, "min"),
        quota_per_day=_count("--quota", quota, "day"),
    )
    typer.echo(key)
    typer.echo(
        printable(
            f"{path}: added {entry.name} ({entry.id}); the key above is not kept and cannot be shown again. "
            "Send it as the header x-api-key."
        ),
        err=True,
    )
    return ExitStatus.CLEAR


@app.command("list")
def list_(
    keys: Keys = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON to standard output instead of a table.")] = False,
) -> int:
    """List keys, those that were revoked too; never the keys themselves, nor their hashes."""
    path = _file(keys)
    from rich.console import Console
    from rich.table import Table

    from spoofcheck.serve.keys import read_keys

    kept = read_keys(path)
    if json:
        typer.echo(kept.model_dump_json(indent=2, exclude={"keys": {"__all__": {"hash"}}}))
        return ExitStatus.CLEAR
    table = Table("name", "id", "added", "rate", "quota", "state")
    for entry in kept.keys:
        table.add_row(
            entry.name,
            entry.id,
            f"{entry.created_at:%Y-%m-%d %H:%M}",
            "default" if entry.rate_per_minute is None else f"{entry.rate_per_minute}/min",
            "none" if entry.quota_per_day is None else f"{entry.quota_per_day}/day",
            "valid" if entry.revoked_at is None else f"revoked {entry.revoked_at:%Y-%m-%d %H:%M}",
        )
    Console().print(table)
    if not kept.keys:
        typer.echo(printable(f"{path}: no keys; `spoofcheck serve keys add NAME` makes one"), err=True)
    return ExitStatus.CLEAR


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key.")],
    keys: Keys = None,
) -> int:
    """Revoke a key: a running server refuses it from its next request on."""
    path = _file(keys)
    from spoofcheck.serve.keys import revoke_key

    entry = revoke_key(path, name)
    typer.echo(printable(f"{path}: revoked the key of {entry.name} ({entry.id})"), err=True)
    return ExitStatus.CLEAR


def _file(named: Path | None) -> Path:
    try:
        from spoofcheck.serve.keys import default_keys_file
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{error.name} is not installed; the service needs: pip install 'spoofcheck[serve]'"
        ) from error
    return default_keys_file() if named is None else named


def _count(option: str, text: str | None, unit: str) -> int | None:
    """`60/min` or `60`.

    Raises:
        UsageError: anything else.
    """
    if text is None:
        return None
    number = text.removesuffix(f"/{unit}")
    if not (number.isascii() and number.isdigit()) or not 1 <= len(number) <= 9 or int(number) < 1:
        raise UsageError(f"{option} {text}: write a whole number above 0, like 60/{unit}")
    return int(number)
