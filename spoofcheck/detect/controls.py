"""Two bundled recordings of known origin, scored in the same run: does the tool do today what it did when it was built?

A control misbehaves when the human one is judged spoof or partial, when the synthetic one is judged bona fide, when one
gets no score, or when its file is not the shipped one. Then no result of the run can be relied on. `inconclusive` is no
misbehaviour: a verdict that is not given misleads nobody, and an analyst's own threshold may well lead to it.

An uncalibrated model gives no verdict that a control could contradict: whether it behaves is then not known, and that
is what the result says. That it is scored at all, and that its file is the shipped one, is looked at all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spoofcheck.audio.files import sha256_of
from spoofcheck.errors import InputError, ModelError
from spoofcheck.resources import controls_dir
from spoofcheck.schema import FLAGGED, ControlResult, Finding, Verdict
from spoofcheck.types import Skipped

_WORDS = {"bonafide": "human", "spoof": "synthetic"}


class Control(BaseModel):
    """A control as `controls.json` lists it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    truth: Literal["bonafide", "spoof"]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _List(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    controls: tuple[Control, ...] = Field(min_length=1)


class Scans(Protocol):
    """What scores the controls: `detect.scan.Scanner`."""

    def findings(self, inputs: Iterable[Path | Skipped], /) -> Iterator[Finding]:
        """One finding per mono recording, in the order of the inputs."""


def control_results(scanner: Scans, directory: Path | None = None) -> tuple[ControlResult, ...]:
    """Score the controls with a loaded model.

    Args:
        scanner: with the model, rule and options of the run.
        directory: with `controls.json` and its recordings; None for the shipped one.

    Returns:
        One result per control, in the order of the list.

    Raises:
        ModelError: a control or the list is missing or damaged.
    """
    folder = controls_dir() if directory is None else directory
    controls = read_controls(folder)
    results = []
    for control in controls:
        path = folder / control.file
        (finding,) = scanner.findings([path])
        try:
            sha256 = finding.sha256 or sha256_of(path)
        except InputError as error:
            raise ModelError(f"{path}: a control cannot be read ({error.message}) Install spoofcheck again.") from error
        results.append(judged_control(control, finding, sha256))
    return tuple(results)


def read_controls(folder: Path) -> tuple[Control, ...]:
    """The controls that a folder lists.

    Raises:
        ModelError: there is no list, or it is damaged.
    """
    path = folder / "controls.json"
    try:
        return _List.model_validate(json.loads(path.read_bytes())).controls
    except (OSError, ValueError, ValidationError) as error:
        raise ModelError(f"{path}: the list of controls is missing or damaged: install spoofcheck again") from error


def judged_control(control: Control, finding: Finding, sha256: str) -> ControlResult:
    """Whether a control's finding is what it should be, in one sentence.

    Args:
        control: as listed.
        finding: of its file.
        sha256: of the file that was scored.
    """
    problem = _problem(control, finding, sha256)
    name = f"The {_WORDS[control.truth]} control"
    as_expected: bool | None = problem is None
    if problem is not None:
        message = f"{name} {problem}: no result of this run can be relied on."
    elif finding.verdict is Verdict.UNCALIBRATED:
        as_expected = None
        message = f"{name} has the raw score {finding.raw_score:+.2f}; an uncalibrated model decides nothing about it."
    else:
        message = f"{name} is judged {_judged(finding)}, which does not contradict what it is."
    return ControlResult(
        name=control.file,
        truth=control.truth,
        sha256=sha256,
        verdict=finding.verdict,
        raw_score=finding.raw_score,
        spoof_llr=finding.spoof_llr,
        as_expected=as_expected,
        message=message,
    )


def _problem(control: Control, finding: Finding, sha256: str) -> str | None:
    if sha256 != control.sha256:
        return "is not the recording that was shipped"
    if finding.raw_score is None:
        why = finding.reasons[0].message.rstrip(".") if finding.reasons else "no reason given"
        return f"got no score ({why})"
    wrong = FLAGGED if control.truth == "bonafide" else {Verdict.BONAFIDE}
    return f"is judged {_judged(finding)}" if finding.verdict in wrong else None


def _judged(finding: Finding) -> str:
    return f"{finding.verdict} (LLR {finding.spoof_llr:+.2f})"
