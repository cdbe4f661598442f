"""`spoofcheck train`: rebuild a model from its recipe."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.status import ExitStatus

if TYPE_CHECKING:
    from rich.console import Console

    from spoofcheck.training.recipe import Recipe
    from spoofcheck.training.run import Plan
    from spoofcheck.training.trainer import Accelerator as MachineKind


class Accelerator(StrEnum):
    """Where training runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Precision(StrEnum):
    """Number formats of training."""

    FULL = "32-true"
    BF16 = "bf16-mixed"
    FP16 = "16-mixed"


_SHOWN = 20
_SYSTEMS_SHOWN = 12


def train(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", help="A recipe (YAML), or a folder with config.yaml.", show_default=False),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a key, e.g. training.epochs=3; repeatable.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the run.", show_default="runs/NAME of the recipe"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in DIR after it was stopped.")] = False,
    devices: Annotated[int, typer.Option(min=1, help="Devices per node; the batch is divided among them.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes, each started by torchrun or SLURM.")] = 1,
    accelerator: Annotated[Accelerator, typer.Option(help="Where training runs.")] = Accelerator.AUTO,
    precision: Annotated[
        Precision | None,
        typer.Option(help="Number format; sets training.precision.", show_default="the recipe's"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that prepare data; never changes results.", show_default="one per core"),
    ] = None,
    prepared: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of prepared windows, shared by runs of recipes with the same data section.",
            show_default="DIR/data of the run",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the recipe and the data, show the plan, and stop.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no tables.")] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> ExitStatus:
    """Train a model from a recipe and write a model directory that 'scan' loads.

    The best epoch, the calibration and the thresholds are chosen on the dev split alone. A run that was stopped goes on
    with --resume and ends with the same weights as an unbroken one.
    """
    from rich.console import Console

    from spoofcheck.training.ensemblerecipe import is_ensemble
    from spoofcheck.training.recipe import read_recipe

    overrides = [*(set_ or ()), *([f"training.precision={precision.value}"] if precision is not None else [])]
    console = Console(stderr=True, quiet=quiet)
    if is_ensemble(recipe, overrides):
        return _train_ensemble(recipe, overrides, out, console, dry_run, prepared, workers, accelerator.value)
    rules = read_recipe(recipe, overrides)
    if dry_run:
        from spoofcheck.training.run import plan

        _show_plan(Console(quiet=quiet), rules, plan(rules))
        return ExitStatus.CLEAR
    folder = out or Path("runs") / rules.name
    from spoofcheck.cli.steps import RichSteps
    from spoofcheck.training.run import RunOptions, run
    from spoofcheck.training.trainer import Machine

    machine = Machine(accelerator.value, devices, nodes)
    options = RunOptions(
        machine, resume=resume, workers=workers, prepared=prepared, bar=console.is_terminal and not quiet
    )
    try:
        model = run(rules, folder, options, RichSteps(console))
    except KeyboardInterrupt:
        console.print(
            f"Stopped. The run goes on from its last whole epoch with --resume --out {folder}",
            markup=False,
            soft_wrap=True,
        )
        return ExitStatus.INTERRUPTED
    if model is not None:
        console.print(
            f"The model is {model}; its card with all figures is {model / 'README.md'}", markup=False, soft_wrap=True
        )
    return ExitStatus.CLEAR


def _train_ensemble(
    path: Path, overrides: list[str], out: Path | None, console: Console, dry_run: bool, prepared: Path | None,
    workers: int | None, accelerator: MachineKind,
) -> ExitStatus:  # fmt: skip
    """Fuse detectors that are there; nothing of a network is learnt, so that nothing is resumed."""
    from spoofcheck.training.ensemblerecipe import read_ensemble_recipe

    rules, base = read_ensemble_recipe(path, overrides)
    if dry_run:
        from spoofcheck.training.run import plan

        _show_plan(console, base, plan(base))
        return ExitStatus.CLEAR
    from spoofcheck.cli.steps import RichSteps
    from spoofcheck.training.ensemble import run_ensemble
    from spoofcheck.training.run import RunOptions
    from spoofcheck.training.trainer import Machine

    folder = out or Path("runs") / next(iter(rules.models))
    options = RunOptions(Machine(accelerator), workers=workers, prepared=prepared)
    for model in run_ensemble(rules, base, folder, options, RichSteps(console)):
        console.print(
            f"The model is {model}; its card with all figures is {model / 'README.md'}", markup=False, soft_wrap=True
        )
    return ExitStatus.CLEAR


def _show_plan(console: Console, recipe: Recipe, planned: Plan) -> None:
    from collections import Counter

    from rich.table import Table

    from spoofcheck.cli.corpus_tables import cell
    from spoofcheck.render.text import printable

    data = planned.data
    console.print(f"{recipe.name} {printable(recipe.version)}: what would be trained on", markup=False, highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("split", "label", "system", "clips"):
        table.add_column(name, justify="right" if name == "clips" else "left")
    for split, clips in (("train", data.train), ("dev", data.dev), ("test", data.test)):
        counts = Counter((clip.label, clip.system) for clip in clips).most_common()
        for (label, system), count in counts[:_SYSTEMS_SHOWN]:
            table.add_row(split, label, cell(system), f"{count:,}")
        if len(counts) > _SYSTEMS_SHOWN:
            rest = sum(count for _, count in counts[_SYSTEMS_SHOWN:])
            table.add_row(split, "", f"{len(counts) - _SYSTEMS_SHOWN} more systems", f"{rest:,}")
    console.print(table)
    if planned.parameters:
        console.print(
            f"{planned.parameters / 1e6:.2f} M parameters, {planned.trained_parameters / 1e6:.2f} M of them trained"
        )
    if data.classes is not None:
        console.print(
            f"{len(data.classes)} classes: {', '.join(printable(name) for name in data.classes)}", markup=False
        )
    for problem in data.problems[:_SHOWN]:
        console.print(
            f"left out: {printable(str(problem.path))}: {printable(problem.message)}", markup=False, soft_wrap=True
        )
    if len(data.problems) > _SHOWN:
        console.print(f"... and {len(data.problems) - _SHOWN} more files that are missing or broken")
    for warning in data.overlap.warnings:
        console.print(f"warning: {printable(warning)}", markup=False, soft_wrap=True)
