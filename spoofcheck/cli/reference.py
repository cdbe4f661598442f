"""`spoofcheck corpus reference`: measure the population that acoustic observations are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import UsageError
from spoofcheck.render.text import printable


def reference(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", help="Manifests.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write.", show_default=False)],
    most: Annotated[int, typer.Option(metavar="N", min=20, help="Recordings of each class.")] = 400,
    per_speaker: Annotated[int, typer.Option(metavar="N", min=1, help="Recordings of one speaker.")] = 10,
    split: Annotated[str, typer.Option(metavar="NAME", help="Only clips of this split.")] = "train",
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="OWNER/NAME", help="Leave this repository out; repeatable.", show_default="none"),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the draw.")] = 0,
) -> int:
    """Measure the acoustics of human and synthetic clips, drawn evenly over repositories, systems and speakers."""
    from rich.console import Console

    from spoofcheck.audio.files import sha256_of
    from spoofcheck.cli.steps import RichSteps
    from spoofcheck.detect.observations import reference_json
    from spoofcheck.evaluation.files import replace_file
    from spoofcheck.evaluation.protocols.manifest import read_manifest
    from spoofcheck.training.reference import build_reference, draw

    left_out = list(dict.fromkeys(without or []))
    clips = [clip for manifest in manifests for clip in read_manifest(manifest, splits=frozenset({split}))]
    unknown = sorted(set(left_out) - {clip.repo for clip in clips})
    if unknown:
        raise UsageError(f"--without {unknown[0]}: no clip of it in split {split}")
    clips = [clip for clip in clips if clip.repo not in left_out]
    watch = RichSteps(Console(stderr=True))
    human = draw([clip for clip in clips if not clip.is_spoof], most, per_speaker, seed, watch, "Measuring human clips")
    synthetic = draw(
        [clip for clip in clips if clip.is_spoof], most, per_speaker, seed, watch, "Measuring synthetic clips"
    )
    built = build_reference(
        human,
        synthetic,
        split=split,
        seed=seed,
        manifests=[("/".join(manifest.parts[-2:]), sha256_of(manifest)) for manifest in manifests],
        note=f"At most {most:,} recordings of each class with at least 2 s of speech, human ones from repositories in "
        f"turn, synthetic ones from systems in turn, speakers in turn within each and at most {per_speaker} of one"
        + (f"; left out: {', '.join(left_out)}" if left_out else ""),
    )
    replace_file(out, reference_json(built).encode("ascii"))
    typer.echo(
        printable(
            f"{out}: {len(human.measured):,} human and {len(synthetic.measured):,} synthetic recordings; "
            f"{human.passed_over + synthetic.passed_over:,} passed over"
        ),
        err=True,
    )
    return ExitStatus.CLEAR
