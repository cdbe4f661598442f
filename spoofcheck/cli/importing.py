"""`spoofcheck models pull` and `models import`: published checkpoints become models of the user's own."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.errors import ModelError, UsageError

if TYPE_CHECKING:
    from spoofcheck.nets.index import PublishedEntry
    from spoofcheck.nets.published import Imported


class Arch(StrEnum):
    """The published systems whose checkpoints can be imported."""

    XLSR_NES2NET_LA = "xlsr-nes2net-la"
    XLSR_NES2NET_X = "xlsr-nes2net-x"
    XLSR_AASIST = "xlsr-aasist"
    XLSR_TRACER = "xlsr-tracer"


_NOT_STATED = "not stated by whoever imported the weights"

_Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder of the model.", show_default="NAME in your models folder"),
]
_Sha256 = Annotated[
    str | None,
    typer.Option("--sha256", metavar="HASH", help="SHA-256 that the checkpoint must have.", show_default=False),
]


def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Published model, e.g. xlsr-nes2net-la.")],
    revision: Annotated[
        str | None,
        typer.Option(
            "--revision", metavar="COMMIT", help="Commit of the model's repository on the hub.", show_default=False
        ),
    ] = None,
    sha256: _Sha256 = None,
    trust_first_use: Annotated[
        bool,
        typer.Option("--trust-first-use", help="Take what the hub has now, and insist on the same file ever after."),
    ] = False,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the weights' licence, which is shown before the download.")
    ] = False,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            metavar="PATH",
            help="Checkpoint in the repository; needed where there are several.",
            show_default=False,
        ),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Take this file instead of downloading.", show_default=False),
    ] = None,
    out: _Out = None,
) -> None:
    """Download a published checkpoint and make a model of it; it can then be used by name."""
    from spoofcheck.nets.pulling import PullRequest, fetch, keep_pins, plan_pull

    request = PullRequest(name, revision, sha256, trust_first_use, file, from_, out)
    plan = plan_pull(request)
    if plan.present:
        typer.echo(f"{name}: already in {plan.out}, intact")
        return
    from spoofcheck.nets.published import Description, check_target, import_checkpoint

    check_target(name, plan.out)
    _accept(name, plan.entry, accept_license)
    arrived = fetch(plan, lambda text: typer.echo(text, err=True))
    pins = arrived.pins
    description = Description(
        name=name,
        arch=plan.entry.arch,
        licence=plan.entry.licence,
        training_data=plan.entry.training_data,
        limitations=plan.entry.limitations,
        source=plan.entry.source,
        repository=None if pins.revision is None else plan.entry.repository,
        revision=pins.revision,
        file=pins.file or arrived.path.name,
    )
    assert pins.sha256 is not None
    try:
        imported = import_checkpoint(arrived.path, plan.out, description, pins.sha256)
    except ModelError:
        if arrived.temporary:
            arrived.path.unlink(missing_ok=True)
        raise
    if plan.entry.sha256 is None:
        keep_pins(name, pins)
    if arrived.temporary:
        arrived.path.unlink(missing_ok=True)
    _tell(name, imported, plan.entry.licence)


def import_(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="A state_dict: .pth, .pt, .bin or .safetensors.", show_default=False),
    ],
    arch: Annotated[Arch, typer.Option(help="The published system whose weights these are.", show_default=False)],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call the model.", show_default="that of --arch")
    ] = None,
    out: _Out = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Licence of the weights.")] = _NOT_STATED,
    sha256: _Sha256 = None,
) -> None:
    """Make a model of a published checkpoint in a local file, without fairseq; nothing is downloaded."""
    from spoofcheck.nets.index import checked_sha256
    from spoofcheck.nets.published import Description, check_target, import_checkpoint
    from spoofcheck.resources import user_models_dir

    called = name or arch.value
    target = out or user_models_dir() / called
    check_target(called, target)
    digest = checked_sha256(checkpoint, None if sha256 is None else sha256.lower())
    description = Description(
        name=called,
        arch=arch.value,
        licence=licence,
        training_data="not known to spoofcheck: whoever imported the weights knows where they come from",
        limitations=("Not measured by spoofcheck's authors, who do not know these weights.",),
        source="",
        repository=None,
        revision=None,
        file=checkpoint.name,
    )
    _tell(called, import_checkpoint(checkpoint, target, description, digest), licence)


def _accept(name: str, entry: PublishedEntry, accepted: bool) -> None:
    """Show the licence, and go on only when it is accepted."""
    typer.echo(f"{name}: weights by {entry.repository}\nlicence: {entry.licence}, {entry.licence_url}", err=True)
    if accepted:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{name}: its licence has to be accepted first; read it and say --accept-license")
    if not typer.confirm("Do you accept this licence?", err=True):
        raise UsageError(f"{name}: not downloaded, as its licence was not accepted")


def _tell(name: str, imported: Imported, licence: str) -> None:
    from spoofcheck.render.text import printable

    origin = imported.origin
    rows = {
        "model": f"{name}, in {imported.directory}",
        "made from": f"{origin.file}, SHA-256 {origin.sha256}",
        "licence": licence,
        "loaded": _counts(origin.loaded),
        "dropped": _counts(origin.dropped),
    }
    for heading, text in rows.items():
        typer.echo(f"{heading:<9}  {printable(text)}")
    if origin.arch != "xlsr-tracer":
        typer.echo("uncalibrated: raw scores only, until 'spoofcheck models calibrate' fits likelihood ratios")


def _counts(groups: dict[str, int]) -> str:
    """`1,000 tensors (convolutions 28, position 3)`."""
    total = sum(groups.values())
    parts = ", ".join(f"{group} {count}" for group, count in groups.items())
    return f"{total:,} tensors ({parts})" if groups else "nothing"
