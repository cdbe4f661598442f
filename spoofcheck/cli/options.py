"""Options that several commands have: said once, so that they read the same everywhere."""

from __future__ import annotations

import re
from typing import Any, Final

import typer

from spoofcheck.errors import UsageError

DEVICES = "auto|cpu|cuda|cuda:N|mps"
BATCH_SIZE_HELP = "Windows per forward pass; never changes results."


_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smh]?)", re.ASCII)
_UNIT_S: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0}


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


def parse_duration_s(option: str, text: str) -> float:
    """Seconds of `90`, `60s`, `5m` or `1h`. Raises UsageError for anything else, and names the option."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(f"{option} {text}: neither seconds (90, 60s), minutes (5m) nor hours (1h)")
    return float(match[1]) * _UNIT_S[match[2]]


def parse_batch_size(text: str) -> int | None:
    """Windows per forward pass as `--batch-size` gives them, None for `auto`. Raises UsageError for anything else."""
    if text == "auto":
        return None
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"--batch-size {text}: neither 'auto' nor a number of windows above 0")
