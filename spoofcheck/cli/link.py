"""`spoofcheck link`: were two recordings made by one source or by two, as a likelihood ratio."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.hearing import hear, load_named_tracer, why_not
from spoofcheck.cli.options import device_option
from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import UsageError

if TYPE_CHECKING:
    from spoofcheck.detect.linking import Heard
    from spoofcheck.nets.bundle import TracerBundle


def link(
    one: Annotated[Path, typer.Argument(metavar="A", help="A recording.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    tracer: Annotated[
        str | None,
        typer.Option(
            "--tracer",
            metavar="NAME|DIR|hub:OWNER/NAME",
            help="Tracer to compare with.",
            show_default="the shipped one",
        ),
    ] = None,
    sources: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Enrolled sources to compare each with too; they never change the ratio.",
            show_default="sources.json in the user's data directory, if it is there",
        ),
    ] = None,
    no_sources: Annotated[bool, typer.Option("--no-sources", help="Compare with the tracer's own alone.")] = False,
    device: Annotated[str, device_option()] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Write JSON to standard output instead of a table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Compare two synthetic recordings: did one source make both, or two? The answer is a calibrated likelihood ratio.

    It says nothing on whether they are synthetic: that is what scan examines. Exits with 0 when done, 2 when the
    recordings cannot be compared. Example: spoofcheck link call-1.wav call-2.wav
    """
    from rich.console import Console

    from spoofcheck.detect.exhibittracer import enrolled_sources
    from spoofcheck.detect.linking import link as compared
    from spoofcheck.detect.linking import require_link_calibration
    from spoofcheck.render.linking import link_json, link_view

    if no_sources and sources is not None:
        raise UsageError("--no-sources contradicts --sources: leave one of them out")
    started_at = datetime.now(UTC)
    hashes = (_hashed(one), _hashed(other))
    bundle = load_named_tracer(tracer)
    require_link_calibration(bundle)
    enrolled = None if no_sources else enrolled_sources(bundle, sources)
    document = compared(
        bundle,
        _heard(hashes, (one, other), bundle, device, quiet),
        enrolled,
        started_at=started_at,
        command_line=["spoofcheck", *sys.argv[1:]],
    )
    if json:
        typer.echo(link_json(document), nl=False)
    else:
        Console().print(link_view(document))
    return ExitStatus.CLEAR


def _hashed(path: Path) -> str:
    """SHA-256 of a recording. Raises UsageError when it is none."""
    from spoofcheck.audio.inputs import display_path, find_inputs
    from spoofcheck.nets.index import file_sha256
    from spoofcheck.types import Skipped

    if path.is_dir():
        raise UsageError(f"{display_path(path)}: a folder; name one recording")
    for found in find_inputs([path]):
        if isinstance(found, Skipped):
            raise UsageError(f"{display_path(path)}: {found.message}")
    try:
        return file_sha256(path)
    except OSError as error:
        raise UsageError(f"{display_path(path)}: it cannot be read ({error.strerror})") from error


def _heard(
    hashes: tuple[str, str], paths: tuple[Path, Path], bundle: TracerBundle, device: str, quiet: bool
) -> tuple[Heard, Heard]:
    """Both recordings as the tracer hears them. Raises UsageError when one holds nothing to compare, or both one."""
    import numpy as np

    from spoofcheck.audio.inputs import display_path
    from spoofcheck.detect.linking import Heard, require_two

    require_two(hashes, paths)
    heard = []
    for path, row in hear(dict(zip(hashes, paths, strict=True)), bundle, device, quiet):
        if row.embedding is None:
            raise UsageError(f"{display_path(path)}: nothing to compare: {why_not(row.problem)}")
        heard.append(Heard(display_path(path), row.name, row.windows, np.asarray(row.embedding)))
    first, second = heard
    return first, second
