"""`spoofcheck eval`: measure a detector or tracer on a protocol, or the score files of any system."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.output import STDOUT, check_outputs, write_output
from spoofcheck.cli.scan import Device, parse_batch_size
from spoofcheck.cli.status import ExitStatus
from spoofcheck.errors import OutputError, UsageError

if TYPE_CHECKING:
    from spoofcheck.evalschema import Caveat, Comparison, EvaluationDocument
    from spoofcheck.evaluation.clips import Clip
    from spoofcheck.evaluation.detection import FixedThreshold
    from spoofcheck.evaluation.document import Circumstances, Subject
    from spoofcheck.evaluation.scorefiles import Key
    from spoofcheck.evaluation.scoring import ClipScore
    from spoofcheck.evaluation.shards import Team
    from spoofcheck.evaluation.subjects import ScoringPlan


class Windows(StrEnum):
    """Which windows of a recording make its score."""

    FIRST = "first"
    ALL = "all"


class Metrics(StrEnum):
    """Whose definitions of the costs hold."""

    ASVSPOOF5 = "asvspoof5"
    MULTIAPI = "multiapi"


class ScoreKind(StrEnum):
    """What the numbers in a score file are."""

    LLR = "llr"
    RAW = "raw"


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
    device: Annotated[Device, typer.Option(help="Where the network runs.", rich_help_panel=_SCORING)] = Device.AUTO,
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
    batch_size: Annotated[
        str,
        typer.Option(
            metavar="auto|N", help="Windows per forward pass; never changes results.", rich_help_panel=_SCORING
        ),
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads that read ahead; never changes results.",
            rich_help_panel=_SCORING,
            show_default="by cores",
        ),
    ] = None,
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
    request = _Request(
        contenders=_contenders(model, scores, compare or ()),
        is_comparison=bool(compare),
        protocol=protocol,
        root=root,
        split=split,
        name=name,
        keys=keys,
        train=_Part(train_protocol, train_split, "--train"),
        dev=_Part(dev_protocol, dev_split, "--dev"),
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
        bootstrap=bootstrap,
        seed=seed,
        quiet=quiet,
    )
    _check(request, scores_to)

    from spoofcheck.evaluation.shards import join_team

    team = join_team(device.value, devices, nodes) if request.models else None
    try:
        document, subjects = _measure(request, team)
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


@dataclass(frozen=True, slots=True)
class _Contender:
    """A model or a score file, as named."""

    name: str
    model: Path | None
    scores: Path | None


@dataclass(frozen=True, slots=True)
class _Part:
    """Another part of the data: its protocol, which part of it, and the option it came from."""

    protocol: tuple[str, Path] | None
    split: str | None
    option: str


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked for."""

    contenders: Sequence[_Contender]
    is_comparison: bool
    protocol: tuple[str, Path] | None
    root: Path | None
    split: str | None
    name: str | None
    keys: Path | None
    train: _Part
    dev: _Part
    windows: Windows
    device: Device
    batch_windows: int | None
    workers: int | None
    work: Path | None
    metrics: Metrics
    scores_are: ScoreKind | None
    threshold: float | None
    dev_scores: Path | None
    dev_keys: Path | None
    bootstrap: int
    seed: int
    quiet: bool

    @property
    def models(self) -> list[_Contender]:
        """The contenders that have to score clips."""
        return [each for each in self.contenders if each.model is not None]

    @property
    def score_files(self) -> list[Path]:
        """The others."""
        return [each.scores for each in self.contenders if each.scores is not None]


def _contenders(model: str | None, scores: Path | None, compare: Sequence[str]) -> list[_Contender]:
    from spoofcheck.nets.index import find_model

    contenders = []
    if model is not None or (scores is None and not compare):
        directory = find_model(model)
        contenders.append(_Contender(model or directory.name, directory, None))
    if scores is not None:
        contenders.append(_Contender(str(scores), None, scores))
    for place in compare:
        is_file = Path(place).is_file()
        contenders.append(_Contender(place, None if is_file else find_model(place), Path(place) if is_file else None))
    if len(contenders) > 1 and not compare:
        raise UsageError("a model or --scores FILE, not both; --compare puts several side by side")
    return contenders


def _check(request: _Request, scores_to: Path | None) -> None:
    """Refuse options that contradict each other before anything is read."""
    if request.models and request.protocol is None:
        raise UsageError("eval: a model is measured on --protocol KIND PATH; scores are measured with --scores FILE")
    if request.keys is not None and request.protocol is not None:
        raise UsageError("--keys and --protocol: the labels come from one of them")
    if request.keys is not None and not request.score_files:
        raise UsageError("--keys: labels of score files, but there is none (--scores FILE)")
    for option, value in (("--root", request.root), ("--split", request.split)):
        if value is not None and request.protocol is None:
            raise UsageError(f"{option}: needs --protocol")
    for part in (request.train, request.dev):
        if part.split is not None and part.protocol is None:
            raise UsageError(f"{part.option}-split: needs {part.option}-protocol")
    fixed = [
        option
        for option, value in (
            ("--threshold", request.threshold),
            ("--dev-scores", request.dev_scores),
            ("--dev-protocol", request.dev.protocol),
        )
        if value is not None
    ]
    if len(fixed) > 1:
        raise UsageError(f"{fixed[0]} and {fixed[1]}: a threshold is fixed in one way")
    if request.dev_keys is not None and request.dev_scores is None:
        raise UsageError("--dev-keys: needs --dev-scores")
    if request.dev.protocol is not None and not request.models:
        raise UsageError("--dev-protocol: needs a model to score it; give --dev-scores FILE for score files")
    if request.is_comparison and request.dev_scores is not None:
        raise UsageError("--dev-scores: holds for one of the compared only; use --dev-protocol or --threshold")
    if request.is_comparison and scores_to is not None:
        raise UsageError("--write-scores: for one model; evaluate each by itself")
    if request.scores_are is not None and not request.score_files:
        raise UsageError("--scores-are: is about score files, but there is none (--scores FILE)")
    if request.train.protocol is not None and request.protocol is None:
        raise UsageError("--train-protocol: needs --protocol, to compare the recordings of both")


def _measure(request: _Request, team: Team | None) -> tuple[EvaluationDocument | Comparison, Sequence[Subject]]:
    from spoofcheck.evaluation.compare import compare
    from spoofcheck.evaluation.detection import DetectionOptions, check_options
    from spoofcheck.evaluation.document import detection_document
    from spoofcheck.evaluation.scorefiles import keys_of, read_keys

    clips = _clips(request.protocol, request.root, request.split)
    train = _clips(request.train.protocol, request.root, request.train.split)
    dev = _clips(request.dev.protocol, request.root, request.dev.split)
    options = DetectionOptions(
        metrics=request.metrics.value,
        scores_are_llrs=request.scores_are is not ScoreKind.RAW,
        threshold=_given_threshold(request),
        seen_systems=_seen_systems(train),
        draws=request.bootstrap,
        seed=request.seed,
    )
    check_options(options)
    circumstances = _circumstances(request, _overlap(clips, train, dev))
    keys: Mapping[str, Key] | None = keys_of(clips) if clips else None
    if request.keys is not None:
        keys = read_keys(request.keys)
    subjects, each_options = [], []
    for contender in request.contenders:
        subject, own = _subject(contender, request, clips, dev, keys, team)
        subjects.append(subject)
        own_options = options if options.threshold is not None else replace(options, threshold=own)
        each_options.append(own_options if contender.scores else replace(own_options, scores_are_llrs=True))
    if request.is_comparison:
        return compare(subjects, each_options, circumstances), subjects
    return detection_document(subjects[0], each_options[0], circumstances), subjects


def _subject(
    contender: _Contender,
    request: _Request,
    clips: Sequence[Clip],
    dev: Sequence[Clip],
    keys: Mapping[str, Key] | None,
    team: Team | None,
) -> tuple[Subject, FixedThreshold | None]:
    from spoofcheck.evaluation.subjects import file_subject, model_subject

    if contender.scores is not None:
        keys_name = str(request.keys or (request.protocol[1] if request.protocol else contender.scores))
        subject = file_subject(contender.name, contender.scores, keys, keys_name, partial=request.is_comparison)
        return subject, None
    if contender.model is None or team is None:
        raise UsageError(f"{contender.name}: neither a model nor a score file")
    plan = _plan(request, team)
    return model_subject(contender.name, contender.model, clips, dev, plan, _watch(request, contender, team))


def _plan(request: _Request, team: Team) -> ScoringPlan:
    from spoofcheck.evaluation.subjects import ScoringPlan

    return ScoringPlan(
        windows=request.windows.value,
        device=team.device,
        batch_windows=request.batch_windows,
        workers=request.workers,
        work=request.work,
        team=team,
    )


class _Watch:
    """Shows how far the scoring is."""

    def __init__(self, description: str, enabled: bool) -> None:
        self._description = description
        self._enabled = enabled

    def __call__(self, rows: Iterable[ClipScore], total: int) -> Iterable[ClipScore]:
        from rich.console import Console

        from spoofcheck.cli.steps import RichSteps

        return RichSteps(Console(stderr=True), self._enabled).over(rows, self._description, total)


def _watch(request: _Request, contender: _Contender, team: Team) -> _Watch:
    from rich.markup import escape

    from spoofcheck.render.text import printable

    return _Watch(f"Scoring {escape(printable(contender.name))}", not request.quiet and team.is_first)


def _clips(protocol: tuple[str, Path] | None, root: Path | None, split: str | None) -> list[Clip]:
    from spoofcheck.evaluation.protocols import read_protocol

    if protocol is None:
        return []
    kind, path = protocol
    return read_protocol(kind, path, root=root, split=split)


def _seen_systems(train: Sequence[Clip]) -> frozenset[str] | None:
    from spoofcheck.evaluation.audit import seen_systems

    return seen_systems(train) if train else None


def _overlap(clips: Sequence[Clip], train: Sequence[Clip], dev: Sequence[Clip]) -> tuple[Caveat, ...]:
    from spoofcheck.evaluation.subjects import overlap_caveats

    others = {name: part for name, part in (("train", train), ("dev", dev)) if part}
    return overlap_caveats({**others, "test": clips}, "test") if others and clips else ()


def _given_threshold(request: _Request) -> FixedThreshold | None:
    """The threshold that holds for whatever is measured; None where each has its own, or none."""
    from spoofcheck.evaluation.detection import FixedThreshold
    from spoofcheck.evaluation.scorefiles import read_keys
    from spoofcheck.evaluation.subjects import score_file_threshold

    if request.threshold is not None:
        return FixedThreshold(request.threshold, "the command line")
    if request.dev_scores is None:
        return None
    keys = read_keys(request.dev_keys) if request.dev_keys is not None else None
    return score_file_threshold(request.dev_scores, keys, str(request.dev_keys or request.dev_scores))


def _circumstances(request: _Request, caveats: Sequence[Caveat]) -> Circumstances:
    from spoofcheck.evaluation.document import Circumstances

    protocols = [part for part in (request.protocol, request.train.protocol, request.dev.protocol) if part is not None]
    files = [*request.score_files, request.keys, *(path for _, path in protocols), request.dev_scores, request.dev_keys]
    data = request.protocol[1] if request.protocol is not None else request.keys or request.score_files[0]
    part = f" ({request.split})" if request.split is not None else ""
    return Circumstances(
        data_name=request.name or f"{data.name or data}{part}",
        protocol=request.protocol[0] if request.protocol is not None else "scores",
        files=[file for file in files if file is not None],
        windows=request.windows.value if request.models else "given",
        caveats=caveats,
        command_line=["spoofcheck", *sys.argv[1:]],
    )


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
