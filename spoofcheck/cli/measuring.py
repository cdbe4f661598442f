"""What `spoofcheck eval` was asked for, and the way from there to a document."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from spoofcheck.errors import UsageError

if TYPE_CHECKING:
    from spoofcheck.evalschema import Caveat, Comparison, EvaluationDocument
    from spoofcheck.evaluation.clips import Clip
    from spoofcheck.evaluation.detection import FixedThreshold
    from spoofcheck.evaluation.document import Circumstances, Subject
    from spoofcheck.evaluation.scorefiles import Key
    from spoofcheck.evaluation.shards import Team
    from spoofcheck.evaluation.subjects import ScoringPlan
    from spoofcheck.evaluation.tracing import MapMethod as MethodName
    from spoofcheck.training.record import DataRecord

Row = TypeVar("Row")


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


class MapMethod(StrEnum):
    """How a map of a tracer's embeddings is made."""

    NONE = "none"
    TSNE = "t-sne"
    UMAP = "umap"


_MAPS: Mapping[MapMethod, MethodName | None] = {
    MapMethod.NONE: None,
    MapMethod.TSNE: "t-sne",
    MapMethod.UMAP: "umap",
}


@dataclass(frozen=True, slots=True)
class Contender:
    """A model's directory or a score file, as named; `is_tracer` tells a tracer from a detector."""

    name: str
    model: Path | None
    scores: Path | None
    is_tracer: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Another part of the data: its protocol, which part of it, and the option it came from."""

    protocol: tuple[str, Path] | None
    split: str | None
    option: str


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for."""

    contenders: Sequence[Contender]
    is_comparison: bool
    protocol: tuple[str, Path] | None
    root: Path | None
    split: str | None
    name: str | None
    keys: Path | None
    train: Part
    dev: Part
    windows: Windows
    device: str
    batch_windows: int | None
    workers: int | None
    work: Path | None
    metrics: Metrics
    scores_are: ScoreKind | None
    threshold: float | None
    dev_scores: Path | None
    dev_keys: Path | None
    map_method: MapMethod
    bootstrap: int
    seed: int
    quiet: bool

    @property
    def models(self) -> list[Contender]:
        """The contenders that have to score clips."""
        return [each for each in self.contenders if each.model is not None]

    @property
    def score_files(self) -> list[Path]:
        """The others."""
        return [each.scores for each in self.contenders if each.scores is not None]


def contenders_of(model: str | None, scores: Path | None, compare: Sequence[str]) -> list[Contender]:
    """What is measured, in the order of the command line; the shipped default model when nothing is named.

    Raises:
        UsageError: a model and a score file without `--compare`.
        ModelError: no such model, or a damaged one.
    """
    contenders = []
    if model is not None or (scores is None and not compare):
        contenders.append(_model_contender(model))
    if scores is not None:
        contenders.append(Contender(str(scores), None, scores))
    for place in compare:
        is_file = Path(place).is_file()
        contenders.append(Contender(place, None, Path(place)) if is_file else _model_contender(place))
    if len(contenders) > 1 and not compare:
        raise UsageError("a model or --scores FILE, not both; --compare puts several side by side")
    return contenders


def _model_contender(model: str | None) -> Contender:
    from spoofcheck.nets.config import TracerConfig, read_any_config
    from spoofcheck.nets.index import find_model

    directory = find_model(model)
    return Contender(
        model or directory.name, directory, None, is_tracer=isinstance(read_any_config(directory), TracerConfig)
    )


def check_request(request: Request, scores_to: Path | None) -> None:
    """Refuse options that contradict each other before anything is read.

    Raises:
        UsageError: two options contradict each other, or one lacks what it is about.
    """
    for is_wrong, message in (*_contradictions(request, scores_to), *_about_tracers(request, scores_to)):
        if is_wrong:
            raise UsageError(message)


def _contradictions(request: Request, scores_to: Path | None) -> Iterator[tuple[bool, str]]:
    """Whether something is wrong, and what to say then."""
    no_protocol = request.protocol is None
    yield (
        bool(request.models) and no_protocol,
        "eval: a model is measured on --protocol KIND PATH; scores are measured with --scores FILE",
    )
    has_keys = request.keys is not None
    yield has_keys and not no_protocol, "--keys and --protocol: the labels come from one of them"
    yield has_keys and not request.score_files, "--keys: labels of score files, but there is none (--scores FILE)"
    yield request.root is not None and no_protocol, "--root: needs --protocol"
    yield request.split is not None and no_protocol, "--split: needs --protocol"
    for part in (request.train, request.dev):
        lacks = part.split is not None and part.protocol is None
        yield lacks, f"{part.option}-split: needs {part.option}-protocol"
    fixed = [
        option
        for option, value in (
            ("--threshold", request.threshold),
            ("--dev-scores", request.dev_scores),
            ("--dev-protocol", request.dev.protocol),
        )
        if value is not None
    ]
    yield len(fixed) > 1, f"{' and '.join(fixed)}: a threshold is fixed in one way"
    yield request.dev_keys is not None and request.dev_scores is None, "--dev-keys: needs --dev-scores"
    yield (
        request.dev.protocol is not None and not request.models,
        "--dev-protocol: needs a model to score it; give --dev-scores FILE for score files",
    )
    yield (
        request.is_comparison and request.dev_scores is not None,
        "--dev-scores: holds for one of the compared only; use --dev-protocol or --threshold",
    )
    yield (
        request.is_comparison and scores_to is not None,
        "--write-scores: for one model; evaluate each by itself",
    )
    yield (
        request.scores_are is not None and not request.score_files,
        "--scores-are: is about score files, but there is none (--scores FILE)",
    )


def _about_tracers(request: Request, scores_to: Path | None) -> Iterator[tuple[bool, str]]:
    if not any(each.is_tracer for each in request.contenders):
        yield request.map_method is not MapMethod.NONE, "--map: draws a tracer's embeddings, and there is no tracer"
        return
    yield len(request.contenders) > 1, "--compare: tracers are measured one by one"
    for option, value in (
        ("--threshold", request.threshold),
        ("--dev-scores", request.dev_scores),
        ("--dev-protocol", request.dev.protocol),
        ("--write-scores", scores_to),
    ):
        yield value is not None, f"{option}: is about detectors, and {request.contenders[0].name} is a tracer"


def measure(request: Request, team: Team | None) -> tuple[EvaluationDocument | Comparison, Sequence[Subject]]:
    """The document that was asked for, and the trials it rests on (none of a tracer).

    Args:
        request: checked.
        team: the processes of this run; None where nothing but score files is measured.

    Raises:
        SpoofcheckError: whatever makes it impossible, in one line.
    """
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
    records = _records(request) if not train else {}
    caveats = [
        *_overlap(clips, train, dev),
        *_record_caveats(records, clips),
        *_calibration_caveats(request.models, clips),
    ]
    circumstances = _circumstances(request, caveats)
    if team is not None and request.contenders[0].is_tracer:
        return _tracer_document(request, clips, circumstances, team), ()
    keys: Mapping[str, Key] | None = keys_of(clips) if clips else None
    if request.keys is not None:
        keys = read_keys(request.keys)
    subjects, each_options = [], []
    for contender in request.contenders:
        subject, own_threshold = _subject(contender, request, clips, dev, keys, team)
        subjects.append(subject)
        own = replace(options, threshold=options.threshold or own_threshold)
        if contender.name in records:
            own = replace(own, seen_systems=frozenset(records[contender.name].seen_systems))
        if subject.model is not None:
            own = replace(own, scores_are_llrs=subject.model.calibration is not None)
        each_options.append(own)
    if request.is_comparison:
        return compare(subjects, each_options, circumstances), subjects
    return detection_document(subjects[0], each_options[0], circumstances), subjects


def _subject(
    contender: Contender,
    request: Request,
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
    return model_subject(contender.name, contender.model, clips, dev, plan, _Watch(request, contender, team))


def _tracer_document(
    request: Request, clips: Sequence[Clip], circumstances: Circumstances, team: Team
) -> EvaluationDocument:
    from spoofcheck.evaluation.cliptracing import ClipTracer, evaluate_tracer
    from spoofcheck.evaluation.document import tracing_document
    from spoofcheck.nets.bundle import load_tracer

    contender = request.models[0]
    if contender.model is None:
        raise UsageError(f"{contender.name}: no tracer")
    bundle = load_tracer(contender.model)
    method = _MAPS[request.map_method]
    tracer = ClipTracer(
        bundle,
        request.windows.value,
        team.device,
        request.batch_windows,
        request.workers,
        embeddings=method is not None,
    )
    tracing, unscored = evaluate_tracer(
        tracer,
        clips,
        team=team,
        work=request.work,
        watch=_Watch(request, contender, team),
        map_method=method,
        draws=request.bootstrap,
        seed=request.seed,
    )
    identity = f"{bundle.config.name} {bundle.config.version} (SHA-256 {bundle.weights_sha256})"
    return tracing_document(tracing, identity, unscored, tracing.overall.trials, circumstances)


def _plan(request: Request, team: Team) -> ScoringPlan:
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
    """Shows how far the scoring is, in the first process."""

    def __init__(self, request: Request, contender: Contender, team: Team) -> None:
        from rich.markup import escape

        from spoofcheck.render.text import printable

        self._description = f"Scoring {escape(printable(contender.name))}"
        self._enabled = not request.quiet and team.is_first

    def __call__(self, rows: Iterable[Row], total: int) -> Iterable[Row]:
        if total == 0:  # every score was in the work folder already
            return rows
        from rich.console import Console

        from spoofcheck.cli.steps import RichSteps

        return RichSteps(Console(stderr=True), self._enabled).over(rows, self._description, total)


def _clips(protocol: tuple[str, Path] | None, root: Path | None, split: str | None) -> list[Clip]:
    from spoofcheck.evaluation.protocols import read_protocol

    if protocol is None:
        return []
    kind, path = protocol
    return read_protocol(kind, path, root=root, split=split)


def _records(request: Request) -> dict[str, DataRecord]:
    """What the models' directories say of the data they were made from, where they say it."""
    from spoofcheck.training.record import read_record

    found = {each.name: read_record(each.model) for each in request.contenders if each.model is not None}
    return {name: record.data for name, record in found.items() if record is not None}


def _record_caveats(records: Mapping[str, DataRecord], clips: Sequence[Clip]) -> Iterator[Caveat]:
    """Look whether the clips are a model's own train or dev set, by the hash its directory keeps.

    Raises:
        UsageError: they are what a model was trained on.
    """
    from spoofcheck.evalschema import Caveat
    from spoofcheck.evaluation.audit import manifest_sha256

    labels = Counter(clip.label for clip in clips)
    for name, record in records.items():
        for part, sha256 in record.sha256.items():
            # Hashing is only worth its time where the numbers of clips agree.
            if part == "test" or record.clips.get(part) != labels or manifest_sha256(clips) != sha256:
                continue
            if part == "train":
                raise UsageError(f"{name} was trained on these very recordings: figures on them say nothing")
            message = f"These are the {part} data that chose {name}'s epoch, calibration and thresholds."
            yield Caveat(code="measured-on-dev", message=message)


def _calibration_caveats(models: Iterable[Contender], clips: Sequence[Clip]) -> Iterator[Caveat]:
    """Look whether the clips are those that a model was calibrated on by its user."""
    from spoofcheck.evalschema import Caveat
    from spoofcheck.evaluation.audit import manifest_sha256
    from spoofcheck.evaluation.calibrationrecord import present, read_calibration_record

    for each in models:
        record = None if each.model is None else read_calibration_record(each.model)
        if record is None:
            continue
        there = present(clips)
        # Hashing is only worth its time where the numbers of clips agree.
        if record.clips == Counter(clip.label for clip in there) and record.clips_sha256 == manifest_sha256(there):
            message = (
                f"{each.name} was calibrated on these very recordings: its LLRs fit them better than others. Its card "
                "has the figures of a cross-validation."
            )
            yield Caveat(code="measured-on-calibration-data", message=message)


def _seen_systems(train: Sequence[Clip]) -> frozenset[str] | None:
    from spoofcheck.evaluation.audit import seen_systems

    return seen_systems(train) if train else None


def _overlap(clips: Sequence[Clip], train: Sequence[Clip], dev: Sequence[Clip]) -> tuple[Caveat, ...]:
    from spoofcheck.evalschema import Caveat
    from spoofcheck.evaluation.subjects import overlap_caveats

    others = {name: part for name, part in (("train", train), ("dev", dev)) if part}
    if not others:
        return ()
    if not clips:
        message = "Score files name no recordings: whether training held the same ones was not looked at."
        return (Caveat(code="overlap-not-hashed", message=message),)
    return overlap_caveats({**others, "test": clips}, "test")


def _given_threshold(request: Request) -> FixedThreshold | None:
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


def _circumstances(request: Request, caveats: Sequence[Caveat]) -> Circumstances:
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
