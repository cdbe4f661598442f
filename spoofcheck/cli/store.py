"""`spoofcheck store`: what scans have kept, and how it is removed; and how `scan` opens its result store."""

from __future__ import annotations

import json as jsonlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from spoofcheck.detect.resultdatabase import ResultDatabase, StoredRun
    from spoofcheck.detect.resultstore import ResultStore
    from spoofcheck.detect.runidentity import RunIdentity
    from spoofcheck.detect.scan import Scanner

app = typer.Typer(
    name="store",
    help="The findings that scans have kept, so that only what is new is scored: stats, prune.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--store", metavar="DIR", help="Folder of the store.", show_default="spoofcheck/results in the user's cache"
    ),
]
_SHOWN_SHA256 = 12
_MAX_DAYS = 100_000


@app.command("stats")
def stats(
    store: Folder = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON to standard output instead of a table.")] = False,
) -> int:
    """Say what a store holds: recordings by model and run, with dates and sizes.

    A run is all that shapes a finding beside the recording: model, options, versions, kind of processor. Findings of
    one are never taken for another. Example: spoofcheck store stats --json
    """
    from rich.console import Console

    with _database(store) as database:
        runs, size = database.runs(), database.size_bytes()
    if json:
        typer.echo(_stats_json(database.path, size, runs), nl=False)
        return ExitStatus.CLEAR
    if runs:
        Console().print(_stats_table(runs))
    entries = sum(run.entries for run in runs)
    typer.echo(f"{_shown(database.path)}: {_recordings(entries)}, {_size(size)}", err=True)
    return ExitStatus.CLEAR


@app.command("prune")
def prune(
    store: Folder = None,
    older_than: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0, max=_MAX_DAYS, help="Remove what was kept longer ago.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Remove what this model found.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all there is.")] = False,
) -> int:
    """Remove findings from a store and give their space back; they are scored anew when they are needed.

    With both --older-than and --model, what meets both is removed. Example: spoofcheck store prune --older-than 90
    """
    if everything and (older_than is not None or model is not None):
        raise UsageError("--all contradicts --older-than and --model: leave one of them out")
    if not everything and older_than is None and model is None:
        raise UsageError("store prune: say what to remove with --older-than, --model or --all")
    before = None if older_than is None else datetime.now(UTC) - timedelta(days=older_than)
    with _database(store) as database:
        pruned = database.remove(model=model, kept_before=before)
        left = sum(run.entries for run in database.runs())
    typer.echo(
        f"{_shown(database.path)}: {_recordings(pruned.entries)} removed, {_size(pruned.freed_bytes)} freed; "
        f"{_recordings(left)} left",
        err=True,
    )
    return ExitStatus.CLEAR


def check_store_options(folder: Path | None, *, fresh: bool, no_store: bool) -> None:
    """Refuse options of `scan` on its store that contradict each other, or that name no folder.

    Raises:
        UsageError: they do.
    """
    for option, is_given in (("--store", folder is not None), ("--fresh", fresh)):
        if no_store and is_given:
            raise UsageError(f"--no-store contradicts {option}: leave one of them out")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"--store {folder}: is no folder")


def result_store(scan: Scanner | RunIdentity, folder: Path | None, *, fresh: bool) -> ResultStore | None:
    """The store that a scan asks first and keeps its findings in; None where there is no place for one.

    What is wrong with a store is told on standard error, and the scan goes on without.

    Args:
        scan: that asks, or what it is known by.
        folder: as the user named it; None for the default.
        fresh: know nothing, keep all.
    """
    from spoofcheck.cli.telling import warn
    from spoofcheck.detect.resultdatabase import UnusableStoreError, default_folder
    from spoofcheck.detect.resultstore import ResultStore
    from spoofcheck.detect.runidentity import RunIdentity, run_identity

    try:
        place = folder or default_folder()
    except UnusableStoreError as error:
        warn([f"{error}; name one with --store, or scan with --no-store"])
        return None
    identity = scan if isinstance(scan, RunIdentity) else run_identity(scan)
    return ResultStore.opened(place, identity, fresh=fresh, warn=lambda line: warn([line]))


def _database(folder: Path | None) -> ResultDatabase:
    """An existing store, opened.

    Raises:
        UsageError: there is none.
        SpoofcheckError: it cannot be used.
    """
    from spoofcheck.detect.resultdatabase import ResultDatabase, default_folder, exists

    place = folder or default_folder()
    if not exists(place):
        raise UsageError(f"{place}: there is no result store; 'spoofcheck scan' makes one")
    return ResultDatabase(place)


def _stats_json(path: Path, size_bytes: int, runs: list[StoredRun]) -> str:
    document = {
        "path": str(path),
        "size_bytes": size_bytes,
        "entries": sum(run.entries for run in runs),
        "runs": [
            {
                "run_sha256": run.run_sha256,
                "entries": run.entries,
                "payload_bytes": run.payload_bytes,
                "first_at": run.first_at.isoformat(timespec="seconds"),
                "last_at": run.last_at.isoformat(timespec="seconds"),
                "facts": run.facts,
            }
            for run in runs
        ],
    }
    return jsonlib.dumps(document, indent=1) + "\n"


def _stats_table(runs: list[StoredRun]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from spoofcheck.render.text import printable

    table = Table(box=None, pad_edge=False)
    for title, justify in (("Model", "left"), ("Run", "left"), ("Recordings", "right"), ("Size", "right")):
        table.add_column(title, justify="right" if justify == "right" else "left", overflow="fold")
    table.add_column("First", no_wrap=True)
    table.add_column("Last", no_wrap=True)
    for run in runs:
        table.add_row(
            Text(printable(f"{run.model} {run.model_version}".strip())),
            run.run_sha256[:_SHOWN_SHA256],
            f"{run.entries:,}",
            _size(run.payload_bytes),
            f"{run.first_at:%Y-%m-%d}",
            f"{run.last_at:%Y-%m-%d}",
        )
    return table


def _shown(path: Path) -> str:
    from spoofcheck.render.text import printable

    return printable(str(path))


def _recordings(number: int) -> str:
    return "1 recording" if number == 1 else f"{number:,} recordings"


def _size(size_bytes: int) -> str:
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1e3:.0f} kB"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes < 1e9 else f"{size_bytes / 1e9:.1f} GB"
