"""`spoofcheck serve`: the service on this machine, and its keys."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from spoofcheck.cli import servekeys
from spoofcheck.cli.options import device_option
from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import UsageError

app = typer.Typer(
    name="serve",
    help="Serve the API and the page on this machine: jobs, the contracts of two older services, keys.",
    invoke_without_command=True,
)
app.add_typer(servekeys.app, name="keys")

_MODEL = "Model"
_LIMITS = "Limits"
_DATA = "Data"
_REACH = "Who may call"
MB = 1_000_000


@app.callback()
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to bind; others than loopback need keys.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port to bind; 0 takes a free one.")] = 8000,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|DIR|hub:OWNER/NAME",
            help="Model to serve; repeatable, the first one is the default and requests may choose among them.",
            rich_help_panel=_MODEL,
            show_default="the shipped default",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Model processes.",
            rich_help_panel=_MODEL,
            show_default="one per core on a CPU, at most 8; one on a GPU",
        ),
    ] = None,
    device: Annotated[str, device_option(_MODEL)] = "auto",
    threshold: Annotated[
        float | None,
        typer.Option(metavar="LLR", help="LLR from which an exhibit is spoof.", rich_help_panel=_MODEL),
    ] = None,
    prior: Annotated[
        float,
        typer.Option(
            metavar="P",
            help="Prior of synthetic speech, between 0 and 1, that the older contracts state their score at.",
            rich_help_panel=_MODEL,
        ),
    ] = 0.5,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls/--no-controls",
            help="Score two recordings of known origin at start; do not serve when they misbehave.",
            rich_help_panel=_MODEL,
        ),
    ] = True,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for jobs, results and uploads; made when missing, used by one server at a time.",
            rich_help_panel=_DATA,
            show_default="spoofcheck/serve in the user's data directory",
        ),
    ] = None,
    keep_uploads: Annotated[
        bool,
        typer.Option(
            "--keep-uploads", help="Keep recordings until their scan is deleted or expires.", rich_help_panel=_DATA
        ),
    ] = False,
    keep_hours: Annotated[
        float, typer.Option(metavar="HOURS", min=0, help="How long results are kept.", rich_help_panel=_DATA)
    ] = 24.0,
    max_upload: Annotated[
        int, typer.Option(metavar="MB", min=1, help="Recordings of one request together.", rich_help_panel=_LIMITS)
    ] = 25,
    max_duration: Annotated[
        float, typer.Option(metavar="MINUTES", min=0.1, help="Of one recording.", rich_help_panel=_LIMITS)
    ] = 240.0,
    deadline: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=1, help="Of requests that wait for their result.", rich_help_panel=_LIMITS),
    ] = 300.0,
    queue: Annotated[
        int, typer.Option(metavar="N", min=1, help="Recordings that may wait.", rich_help_panel=_LIMITS)
    ] = 256,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="How long running scans may go on at the end.", rich_help_panel=_LIMITS
        ),
    ] = 20.0,
    rate: Annotated[
        int, typer.Option(metavar="N", min=1, help="Requests a minute of one key.", rich_help_panel=_LIMITS)
    ] = 120,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where keys are kept; see 'spoofcheck serve keys'.",
            rich_help_panel=_REACH,
            show_default="service-keys.json in the user's data directory",
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A further name the server is called by; repeatable.", rich_help_panel=_REACH
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN", help="Origin whose pages may call from a browser; repeatable.", rich_help_panel=_REACH
        ),
    ] = None,
    webhook_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[private:]HOST[:PORT]",
            help="Who may be told when a scan is over; repeatable.",
            rich_help_panel=_REACH,
        ),
    ] = None,
    _debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> ExitStatus | None:
    """Serve until it is stopped; nothing leaves this machine but answers, and messages to listed receivers.

    Example: spoofcheck serve --port 8000
    """
    if context.invoked_subcommand is not None:
        return None
    try:
        from spoofcheck.serve.keys import default_keys_file
        from spoofcheck.serve.server import run
        from spoofcheck.serve.settings import Settings, default_data_dir
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{error.name} is not installed; the service needs: pip install 'spoofcheck[serve]'"
        ) from error
    models = [_model(name) for name in model or ()]
    run(
        Settings(
            host=host,
            port=port,
            model=models[0] if models else None,
            more_models=tuple(models[1:]),
            device=device,
            workers=workers,
            threshold_llr=None if threshold is None else _finite("--threshold", threshold),
            prior_synthetic=prior,
            controls=controls,
            # Jobs keep paths; the next start may be from elsewhere.
            data_dir=default_data_dir() if data_dir is None else data_dir.absolute(),
            keep_uploads=keep_uploads,
            keep_results_s=_finite("--keep-hours", keep_hours) * 3600,
            max_upload_bytes=max_upload * MB,
            max_duration_s=_finite("--max-duration", max_duration) * 60,
            request_deadline_s=_finite("--deadline", deadline),
            queue_limit=queue,
            shutdown_grace_s=_finite("--grace", grace),
            rate_per_minute=rate,
            keys_file=default_keys_file() if keys is None else keys,
            allowed_hosts=tuple(allowed_host or ()),
            cors_origins=tuple(cors_origin or ()),
            webhook_hosts=tuple(webhook_host or ()),
        ),
        lambda address: typer.echo(f"spoofcheck: serving at {address} (Ctrl-C ends it)", err=True),
    )
    return ExitStatus.CLEAR


def _finite(option: str, value: float) -> float:
    """What passes every comparison with a bound, and none."""
    if not math.isfinite(value):
        raise UsageError(f"{option} {value}: not a finite number")
    return value


def _model(name: str) -> str | Path:
    """A folder is a path also for processes with another working directory."""
    path = Path(name)
    return path.resolve() if path.is_dir() and ("/" in name or name in (".", "..")) else name
