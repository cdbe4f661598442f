"""The documents an evaluation leaves behind, with what is needed to repeat it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from spoofcheck.audio.inputs import display_path
from spoofcheck.detect.toolinfo import tool_info
from spoofcheck.errors import UsageError
from spoofcheck.evalschema import Caveat, DataInfo, EvaluationDocument, Tracing
from spoofcheck.evaluation.detection import DetectionOptions, measure_detection
from spoofcheck.evaluation.scorefiles import ScoredTrial
from spoofcheck.schema import ModelInfo, ToolInfo

_CHUNK_BYTES = 1 << 20
_LISTED = 3


@dataclass(frozen=True, slots=True)
class Unscored:
    """A trial without a score, and the code that says why."""

    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated: the trials that one model, or one score file, gave scores to.

    Attributes:
        name: of the model or the score file, as given.
        model: what scored; None for a score file.
        trials: with their scores, higher means bona fide.
        unscored: what got no score.
    """

    name: str
    model: ModelInfo | None
    trials: Sequence[ScoredTrial]
    unscored: Sequence[Unscored] = ()


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What all documents of one run share.

    Attributes:
        data_name: of the data set.
        protocol: kind of protocol, or `"scores"`.
        files: protocol, key and score files; folders among them have no hash and are left out.
        windows: which windows made a score.
        caveats: what is known about the data before anything is measured.
        command_line: as typed, or empty when called from Python.
        made_at: when, with time zone.
    """

    data_name: str
    protocol: str
    files: Sequence[Path]
    windows: Literal["first", "all", "given"]
    caveats: Sequence[Caveat] = ()
    command_line: Sequence[str] = ()
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def data_info(self, unscored: int) -> DataInfo:
        """What was measured on. Raises UsageError when a file cannot be read any more."""
        return DataInfo(
            name=self.data_name,
            protocol=self.protocol,
            files=file_hashes(self.files),
            windows=self.windows,
            unscored=unscored,
        )

    def tool_info(self) -> ToolInfo:
        """The program and how it was called."""
        return tool_info(self.command_line)

    def made_at_text(self) -> str:
        """ISO 8601, UTC."""
        return self.made_at.astimezone(UTC).isoformat(timespec="seconds")


def detection_document(subject: Subject, options: DetectionOptions, circumstances: Circumstances) -> EvaluationDocument:
    """Measure a detector and write down everything.

    Raises:
        UsageError: a class without a trial, or a file that cannot be read any more.
    """
    detection, caveats = measure_detection(subject.trials, options)
    overall = detection.overall
    return EvaluationDocument(
        tool=circumstances.tool_info(),
        made_at=circumstances.made_at_text(),
        model=subject.model,
        data=circumstances.data_info(len(subject.unscored)),
        warnings=(*circumstances.caveats, *unscored_caveats(subject.unscored, len(subject.trials)), *caveats),
        eer=overall.eer,
        min_dcf=overall.min_dcf,
        act_dcf=overall.act_dcf,
        cllr=overall.cllr,
        detection=detection,
    )


def tracing_document(
    tracing: Tracing, tracer: str, unscored: Sequence[Unscored], trials: int, circumstances: Circumstances
) -> EvaluationDocument:
    """The document of a tracer's figures; `tracer` is its name, version and hash, `trials` how many it judged.

    Raises:
        UsageError: a file that cannot be read any more.
    """
    return EvaluationDocument(
        tool=circumstances.tool_info(),
        made_at=circumstances.made_at_text(),
        model=None,
        tracer=tracer,
        data=circumstances.data_info(len(unscored)),
        warnings=(*circumstances.caveats, *unscored_caveats(unscored, trials)),
        tracing=tracing,
    )


def unscored_caveats(unscored: Sequence[Unscored], trials: int) -> tuple[Caveat, ...]:
    """A caveat when some trials have no score: figures of the others may flatter the model."""
    if not unscored:
        return ()
    by_problem: dict[str, list[str]] = {}
    for trial in unscored:
        by_problem.setdefault(trial.problem, []).append(trial.name)
    parts = [f"{problem}: {len(names)} ({_some(names)})" for problem, names in sorted(by_problem.items())]
    message = (
        f"{len(unscored)} of {trials + len(unscored)} trials have no score and are in no figure; {'; '.join(parts)}."
    )
    return (Caveat(code="unscored-trials", message=message),)


def file_hashes(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files, by path as given; folders are left out.

    Raises:
        UsageError: a file cannot be read.
    """
    hashes = {}
    for path in paths:
        if path.is_dir():
            continue
        digest = hashlib.sha256()
        try:
            with path.open("rb") as stream:
                while piece := stream.read(_CHUNK_BYTES):
                    digest.update(piece)
        except OSError as error:
            raise UsageError(f"{display_path(path)}: cannot be read ({error.strerror or error})") from error
        hashes[display_path(path)] = digest.hexdigest()
    return hashes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
