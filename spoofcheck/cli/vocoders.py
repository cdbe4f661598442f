"""`spoofcheck corpus vocoders`: train the small neural vocoders that copies are made with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import UsageError
from spoofcheck.render.text import printable


def vocoders(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Clips to learn from.", show_default=False)],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the weights: ENGINES/neural.", show_default=False)
    ],
    vocoder: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="neural-hifigan, -melgan, -vocos, ...; repeatable.", show_default="all"),
    ] = None,
    split: Annotated[str, typer.Option(metavar="NAME,...", help="Only clips of these splits.")] = "train",
    most: Annotated[
        int, typer.Option(metavar="N", min=1, help="Clips, from repositories and speakers in turn.")
    ] = 1200,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Steps of each.", show_default="its kind's")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of weights and draws.")] = 0,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Processor threads; they change the last bits.")] = 1,
) -> int:
    """Train small neural vocoders and a codec on human clips. One that lies in DIR already is kept."""
    try:
        import torch
        from safetensors.torch import save_file

        from spoofcheck.training.vocoders import KINDS, fit_vocoder
        from spoofcheck.training.vocoders.lessons import choose_lessons
    except ModuleNotFoundError as error:
        raise UsageError(f"vocoders need {error.name}: pip install 'spoofcheck[train]'") from error
    from rich.console import Console

    from spoofcheck.cli.steps import RichSteps
    from spoofcheck.evaluation.protocols.manifest import read_manifest

    names = list(dict.fromkeys(vocoder or KINDS))
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise UsageError(f"--vocoder {unknown[0]!r}, expected one of {', '.join(KINDS)}")
    watch = RichSteps(Console(stderr=True))
    clips = read_manifest(manifest, splits=frozenset(split.split(",")))
    wanted = [name for name in names if not (out / f"{name}.safetensors").is_file()]
    waves = choose_lessons(clips, most, seed, watch) if wanted else []
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        losses: list[float] = []
        trained = fit_vocoder(name, waves, steps=steps or KINDS[name].steps, seed=seed, watch=watch, losses=losses)
        beside = out / f"{name}.safetensors.part"
        save_file(trained.state_dict(), beside)
        beside.replace(out / f"{name}.safetensors")
        tail = losses[-100:]
        typer.echo(printable(f"{name}: spectral loss {sum(tail) / len(tail):.2f} at the end"), err=True)
    return ExitStatus.CLEAR
