"""`spoofcheck eval`: measure a detector or tracer on a protocol, or the score files of any system."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.measuring import (
    MapMethod,
    Metrics,
    Part,
    Request,
    ScoreKind,
    Windows,
    check_request,
    contenders_of,
    measure,
)
from spoofcheck.cli.options import batch_size_option, device_option, parse_batch_size, workers_option
from spoofcheck.cli.output import STDOUT, check_outputs, write_output
from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import OutputError

if TYPE_CHECKING:
    from spoofcheck.evalschema import Comparison, EvaluationDocument
    from spoofcheck.evaluation.document import Subject

_TRIALS = "Trials"
_SCORING = "Scoring"
_FIGURES = "Figures"
_OUTPUTS = "Outputs"
_KIND_PATH = "KIND PATH"


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Model to measure, as for scan: a name, a directory, hub:OWNER/NAME.",
            show_default="the shipped default, unless there are score files",
        ),
    ] = None,
    protocol: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar=_KIND_PATH,
            help="Label file or folder to measure on: manifest, multiapi, asvspoof2019-la, asvspoof2021-la, "
            "asvspoof2021-df, asvspoof5, in-the-wild, mlaad, for, wavefake, labels, folders.",
            rich_help_panel=_TRIALS,
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the audio of all protocols.",
            rich_help_panel=_TRIALS,
            show_default="each protocol's own",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only this part of the protocol.", rich_help_panel=_TRIALS, show_default="all"
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What the data are called.", rich_help_panel=_TRIALS, show_default="by the files"
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Measure these scores instead of a model: 'filename cm-score', higher is human; a 'cm-label' column "
            "makes --keys needless.",
            rich_help_panel=_TRIALS,
            show_default=False,
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Labels of the scored trials: 'filename cm-label' and, where known, system, speaker, codec, language.",
            rich_help_panel=_TRIALS,
            show_default=False,
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL|FILE",
            help="Put models or score files side by side on the trials that all have scored; repeatable.",
            rich_help_panel=_TRIALS,
            show_default=False,
        ),
    ] = None,
    train_protocol: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar=_KIND_PATH,
            help="What was trained on: refuses shared recordings, tells seen systems from unseen ones.",
            rich_help_panel=_TRIALS,
            show_default=False,
        ),
    ] = None,
    train_split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only this part of --train-protocol.", rich_help_panel=_TRIALS, show_default="all"
        ),
    ] = None,
    windows: Annotated[
        Windows,
        typer.Option(
            help="first: the first window of each recording, as published protocols do. all: every window with speech, "
            "pooled as scan does.",
            rich_help_panel=_SCORING,
        ),
    ] = Windows.ALL,
    device: Annotated[str, device_option(_SCORING)] = "auto",
    devices: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Processes on this node, one device each; changes no result.",
            rich_help_panel=_SCORING,
            show_default="1, or torchrun's",
        ),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Nodes that run this same command, by torchrun or Slurm.",
            rich_help_panel=_SCORING,
            show_default="1, or torchrun's",
        ),
    ] = None,
    batch_size: Annotated[str, batch_size_option(_SCORING)] = "auto",
    workers: Annotated[int | None, workers_option(_SCORING)] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep every score here as it comes: a stopped run goes on where it was. With several nodes, a folder "
            "that all of them see.",
            rich_help_panel=_SCORING,
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        Metrics,
        typer.Option(
            help="asvspoof5: the challenge's evaluation plan. multiapi: as the MultiAPI paper's code counts.",
            rich_help_panel=_FIGURES,
        ),
    ] = Metrics.ASVSPOOF5,
    scores_are: Annotated[
        ScoreKind | None,
        typer.Option(
            help="llr: score files hold natural-log likelihood ratios. raw: any other scores; no actual cost, no Cllr.",
            rich_help_panel=_FIGURES,
            show_default="llr",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="Threshold fixed elsewhere: at or above it a trial counts as human.",
            rich_help_panel=_FIGURES,
            show_default="the model's own",
        ),
    ] = None,
    dev_scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Fix the threshold at the EER of these scores of a dev set.",
            rich_help_panel=_FIGURES,
            show_default=False,
        ),
    ] = None,
    dev_keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Labels of --dev-scores.", rich_help_panel=_FIGURES, show_default=False),
    ] = None,
    dev_protocol: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar=_KIND_PATH,
            help="Fix the threshold at the EER on these clips, scored by the same model.",
            rich_help_panel=_FIGURES,
            show_default=False,
        ),
    ] = None,
    dev_split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only this part of --dev-protocol.", rich_help_panel=_FIGURES, show_default="all"
        ),
    ] = None,
    map_method: Annotated[
        MapMethod,
        typer.Option("--map", help="Map of a tracer's embeddings, for the report.", rich_help_panel=_FIGURES),
    ] = MapMethod.NONE,
    bootstrap: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Resampled sets behind each 95 % interval; 0: none.", rich_help_panel=_FIGURES
        ),
    ] = 1_000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the resampling.", rich_help_panel=_FIGURES)] = 0,
    json_to: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE|-", help="Write all figures as JSON.", rich_help_panel=_OUTPUTS),
    ] = None,
    report_to: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE.html", help="Write the self-contained report.", rich_help_panel=_OUTPUTS
        ),
    ] = None,
    scores_to: Annotated[
        Path | None,
        typer.Option(
            "--write-scores",
            metavar="FILE",
            help="Write the scores in ASVspoof 5's form.",
            rich_help_panel=_OUTPUTS,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No tables, progress or summary.", rich_help_panel=_OUTPUTS)
    ] = False,
    debug: Annotated[  # noqa: ARG001  cli.run reads it from the command line
        bool, typer.Option("--debug", help="Show where an error came from.", rich_help_panel=_OUTPUTS)
    ] = False,
) -> int:
    """Measure a model on labelled recordings, or score files: EER, costs, Cllr, per system, with intervals.

    Exits with 0 when done, 2 when it cannot be done, 3 when some trials have no score, 130 when interrupted. Example:
    spoofcheck eval compact-detector --protocol manifest corpus.tsv --split eval --report eval.html
    """
    outputs = [target for target in (json_to, report_to, scores_to) if target is not None]
    check_outputs(outputs)
    request = Request(
        contenders=contenders_of(model, scores, compare or ()),
        is_comparison=bool(compare),
        protocol=protocol,
        root=root,
        split=split,
        name=name,
        keys=keys,
        train=Part(train_protocol, train_split, "--train"),
        dev=Part(dev_protocol, dev_split, "--dev"),
        windows=windows,
        device=device,
        batch_windows=parse_batch_size(batch_size),
        workers=workers,
        work=work,
        metrics=metrics,
        scores_are=scores_are,
        threshold=threshold,
        dev_scores=dev_scores,
        dev_keys=dev_keys,
        map_method=map_method,
        bootstrap=bootstrap,
        seed=seed,
        quiet=quiet,
    )
    check_request(request, scores_to)

    from spoofcheck.evaluation.shards import join_team

    team = join_team(device, devices, nodes) if request.models else None
    try:
        document, subjects = measure(request, team)
    except KeyboardInterrupt:
        if team is None or team.is_first:
            _say(_interrupted(work))
        return ExitStatus.INTERRUPTED
    if team is not None and not team.is_first:
        return ExitStatus.CLEAR
    _write(document, subjects, json_to, report_to, scores_to)
    if not quiet and STDOUT not in outputs:
        from rich.console import Console

        from spoofcheck.render.evaluation.console import EvaluationTables

        Console().print(EvaluationTables(document))
    return ExitStatus.INCOMPLETE if document.data.unscored else ExitStatus.CLEAR


def _write(
    document: EvaluationDocument | Comparison,
    subjects: Sequence[Subject],
    json_to: Path | None,
    report_to: Path | None,
    scores_to: Path | None,
) -> None:
    """Write every output that can be written, then complain of the others."""
    from spoofcheck.evaluation.scorefiles import score_text
    from spoofcheck.render.json import escape_unsafe

    texts: tuple[tuple[Path | None, Callable[[], str]], ...] = (
        (json_to, lambda: escape_unsafe(document.model_dump_json(indent=2)) + "\n"),
        (report_to, lambda: _page(document)),
        (scores_to, lambda: score_text(subjects[0].trials)),
    )
    problems = []
    for target, text in texts:
        if target is None:
            continue
        try:
            write_output(target, text())
        except OutputError as error:
            problems.append(str(error))
    if problems:
        raise OutputError("; ".join(problems))


def _page(document: EvaluationDocument | Comparison) -> str:
    from spoofcheck.evalschema import Comparison
    from spoofcheck.render.evaluation.html import comparison_page, evaluation_page

    return comparison_page(document) if isinstance(document, Comparison) else evaluation_page(document)


def _interrupted(work: Path | None) -> str:
    if work is None:
        return "interrupted; nothing is kept (--work DIR makes a run that can go on)"
    return f"interrupted; the scores so far are in {work}, and the same command goes on from there"


def _say(message: str) -> None:
    from spoofcheck.render.text import printable

    print(f"spoofcheck: {printable(message)}", file=sys.stderr)
