"""Options that several commands have: said once, so that they read the same everywhere."""

from __future__ import annotations

from typing import Any

import typer

from spoofcheck.errors import UsageError

DEVICES = "auto|cpu|cuda|cuda:N|mps"
BATCH_SIZE_HELP = "Windows per forward pass; never changes results."


def device_option(panel: str | None = None, *names: str) -> Any:
    """Where the network runs; `names` where the parameter's own is not the option's."""
    return typer.Option(
        *names,
        metavar=DEVICES,
        help="Where the network runs; cuda: on every visible card, cuda:N: on one.",
        rich_help_panel=panel,
    )


def batch_size_option(panel: str, help_text: str = BATCH_SIZE_HELP) -> Any:
    """What `parse_batch_size` takes."""
    return typer.Option(metavar="auto|N", help=help_text, rich_help_panel=panel)


def workers_option(panel: str) -> Any:
    """How many threads read recordings."""
    return typer.Option(
        min=1, help="Threads that read ahead; never changes results.", rich_help_panel=panel, show_default="by cores"
    )


def parse_batch_size(text: str) -> int | None:
    """Windows per forward pass as `--batch-size` gives them, None for `auto`. Raises UsageError for anything else."""
    if text == "auto":
        return None
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"--batch-size {text}: neither 'auto' nor a number of windows above 0")
