"""Joins result documents into one: the shards of a divided scan, or results of scans of different recordings.

Pure: documents in, a document out. What is joined must have been made in one way; a result that differs in model,
tracer, options or case from another is refused, not averaged away. Nothing of a finding is changed but the name of its
group of unknown exhibits, which can only be given over all findings together (`detect.clusters`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel

from spoofcheck import __version__
from spoofcheck.errors import UsageError
from spoofcheck.render.text import count, printable
from spoofcheck.schema import (
    ControlResult,
    Finding,
    MergedPart,
    MergeInfo,
    RunInfo,
    ScanDocument,
    ShardInfo,
)
from spoofcheck.sharding import inputs_sha256

TOLERANCE: Final = 1e-3
"""Scores of one control on different machines differ by less: sums of float32 in another order."""
BF16_TOLERANCE: Final = 0.1
"""The same in bfloat16, which each kind of processor rounds in its own way."""

_SHOWN_CHARS = 60
_SHOWN_SHARDS = 10


@dataclass(frozen=True, slots=True)
class Part:
    """A result document to join.

    Attributes:
        name: of its file, as it was given.
        sha256: of its file.
        document: its content.
    """

    name: str
    sha256: str
    document: ScanDocument

    @property
    def shown(self) -> str:
        """Its name in messages."""
        return printable(self.name)


def merge(parts: Sequence[Part], command_line: Sequence[str], *, allow_gaps: bool = False) -> ScanDocument:
    """One document with the findings of all parts, none of them in a group of unknown exhibits.

    Shards of one division come out as the scan that was not divided would have found them, in whatever order they are
    given; other results are joined in the order given.

    Args:
        parts: one or more.
        command_line: of the joining, as typed.
        allow_gaps: join although shards are missing or results were interrupted; the document is then incomplete.

    Raises:
        UsageError: parts that do not belong together, or not all of them; the message names field and files.
    """
    shards = [(part, part.document.shard) for part in parts if part.document.shard is not None]
    if 0 < len(shards) < len(parts):
        whole = next(part for part in parts if part.document.shard is None)
        raise UsageError(f"{shards[0][0].shown} is a shard, {whole.shown} is not: join the shards of each scan first")
    _check_no_file_twice(parts)
    _check_versions(parts)
    _check_agreement(parts)
    _check_exhibits(parts)
    if shards:
        division = _Division.of(shards)
        parts = division.parts
    _check_ends(parts, allow_gaps)
    if shards:
        info = division.info(allow_gaps)
        findings = division.findings()
        if not info["missing_inputs"]:
            division.check_paths()
    else:
        info = {}
        findings = tuple(_all_findings(parts))
    first = parts[0].document
    return ScanDocument(
        tool=first.tool.model_copy(update={"command_line": tuple(command_line)}),
        run=_run(parts, complete=not info.get("missing_inputs") and all(part.document.run.complete for part in parts)),
        model=first.model,
        tracer=first.tracer,
        enrolled=first.enrolled,
        options=first.options,
        case=first.case,
        note=first.note,
        controls=first.controls,
        merged=MergeInfo(parts=tuple(_merged_part(part, first) for part in parts), **info),
        findings=tuple(map(_without_group, findings)),
    )


@dataclass(frozen=True, slots=True)
class _Division:
    """The shards of one scan, in their order."""

    shards: tuple[tuple[Part, ShardInfo], ...]

    @classmethod
    def of(cls, given: Iterable[tuple[Part, ShardInfo]]) -> _Division:
        """Refuses shards of different divisions, and one shard in two results."""
        shards = sorted(given, key=lambda each: each[1].index)
        first, info = shards[0]
        for part, other in shards[1:]:
            for field in ("count", "inputs", "inputs_sha256", "evidence"):
                _require_equal(f"shard.{field}", getattr(info, field), getattr(other, field), first, part)
        for (part, one), (next_part, other) in pairwise(shards):
            if one.index == other.index:
                raise UsageError(
                    f"{part.shown} and {next_part.shown}: both hold shard {one.index} of {one.count}; give one of them"
                )
        return cls(tuple(shards))

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(part for part, _ in self.shards)

    def info(self, allow_gaps: bool) -> dict[str, Any]:
        """The fields of `MergeInfo` on the division; refuses missing shards."""
        whole = self.shards[0][1]
        there = {info.index for _, info in self.shards}
        missing = tuple(index for index in range(1, whole.count + 1) if index not in there)
        if missing and not allow_gaps:
            shown = ", ".join(map(str, missing[:_SHOWN_SHARDS]))
            more = f" and {count(len(missing) - _SHOWN_SHARDS, 'other')}" if len(missing) > _SHOWN_SHARDS else ""
            raise UsageError(
                f"no result is given of shard {shown}{more} of {whole.count}; give all, or join those that are there "
                "with --allow-gaps"
            )
        return {
            "shards": whole.count,
            "inputs": whole.inputs,
            "inputs_sha256": whole.inputs_sha256,
            "missing_shards": missing,
            "missing_inputs": whole.inputs - sum(len(set(info.input_numbers)) for _, info in self.shards),
        }

    def findings(self) -> tuple[Finding, ...]:
        """In the order of the inputs; those of one input stay in theirs."""
        numbered = [
            pair for part, info in self.shards for pair in zip(info.input_numbers, part.document.findings, strict=True)
        ]
        numbered.sort(key=lambda pair: pair[0])
        return tuple(finding for _, finding in numbered)

    def check_paths(self) -> None:
        """Refuses findings that are not of the inputs that were divided. Every input has one."""
        whole = self.shards[0][1]
        paths: dict[int, str] = {}
        for part, info in self.shards:
            for number, finding in zip(info.input_numbers, part.document.findings, strict=True):
                if paths.setdefault(number, finding.path) != finding.path:
                    raise UsageError(f"{part.shown}: an input has findings with different paths; it was changed")
        if inputs_sha256(paths[number] for number in range(whole.inputs)) != whole.inputs_sha256:
            raise UsageError(
                f"{self.shards[0][0].shown} and the others: the paths of the findings are not those of the list that "
                "the shards were divided from; a result was changed"
            )


def _check_no_file_twice(parts: Sequence[Part]) -> None:
    seen: dict[str, Part] = {}
    for part in parts:
        other = seen.setdefault(part.sha256, part)
        if other is not part:
            raise UsageError(f"{other.shown} and {part.shown}: the same result; give it once")


def _check_versions(parts: Sequence[Part]) -> None:
    for part in parts:
        version = part.document.tool.version
        if version != __version__:
            raise UsageError(
                f"{part.shown}: written by spoofcheck {printable(version[:20])}, this is {__version__}; join results "
                "with the version that scanned"
            )


def _check_agreement(parts: Sequence[Part]) -> None:
    """Refuse what was not made in one way."""
    first = parts[0]
    for other in parts[1:]:
        one, two = first.document, other.document
        _require_equal("tool.git_commit", one.tool.git_commit, two.tool.git_commit, first, other)
        for field in ("model", "tracer", "options", "case", "note"):
            _require_equal(field, getattr(one, field), getattr(two, field), first, other)
        # Where the store of sources lies is the machine's own business.
        _require_equal("enrolled", _store(one), _store(two), first, other)
        _check_controls(first, other)


def _store(document: ScanDocument) -> dict[str, Any] | None:
    return None if document.enrolled is None else document.enrolled.model_dump(mode="json", exclude={"path"})


def _check_controls(first: Part, other: Part) -> None:
    """The same controls with the same outcome; their scores may differ as those of two machines do."""
    words = ("name", "truth", "sha256", "verdict", "as_expected")
    told = [[each.model_dump(include=set(words)) for each in part.document.controls] for part in (first, other)]
    _require_equal("controls", told[0], told[1], first, other)
    tolerance = TOLERANCE if first.document.options.dtype == "float32" else BF16_TOLERANCE
    for one, two in zip(first.document.controls, other.document.controls, strict=True):
        for field in ("raw_score", "spoof_llr"):
            scores: tuple[float | None, float | None] = getattr(one, field), getattr(two, field)
            if None in scores or abs((scores[0] or 0.0) - (scores[1] or 0.0)) > tolerance:
                _require_equal(f"controls: {field} of {printable(one.name)}", *scores, first, other)


def _require_equal(field: str, one: Any, two: Any, first: Part, other: Part) -> None:
    """Refuse two values that differ; the message names the first inner field that does."""
    if one == two:
        return
    where, left, right = _first_difference(field, _plain(one), _plain(two))
    raise UsageError(
        f"{first.shown} and {other.shown}: they differ in {where} ({_short(left)} and {_short(right)}), so their "
        "results do not belong together"
    )


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _first_difference(field: str, one: Any, two: Any) -> tuple[str, Any, Any]:
    if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        name = next(name for name in one if one[name] != two[name])
        return _first_difference(f"{field}.{name}", one[name], two[name])
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        place = next(place for place in range(len(one)) if one[place] != two[place])
        return _first_difference(f"{field}[{place}]", one[place], two[place])
    return field, one, two


def _short(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, dict | list):
        return "some"
    text = printable(value if isinstance(value, str) else json.dumps(value, default=str))
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _check_ends(parts: Sequence[Part], allow_gaps: bool) -> None:
    if allow_gaps:
        return
    for part in parts:
        if not part.document.run.complete:
            shard = part.document.shard
            what = "" if shard is None else f"shard {shard.index} of {shard.count}, "
            raise UsageError(
                f"{part.shown}: {what}incomplete; scan it to its end, or join it as it is with --allow-gaps"
            )


def _all_findings(parts: Sequence[Part]) -> Iterator[Finding]:
    """In the order given. The same path in two results would be two exhibits under one name."""
    owners: dict[str, Part] = {}
    for part in parts:
        for finding in part.document.findings:
            owner = owners.setdefault(finding.path, part)
            if owner is not part:
                raise UsageError(
                    f"{owner.shown} and {part.shown}: both hold findings of {printable(finding.path)}; give one of them"
                )
            yield finding


def _check_exhibits(parts: Sequence[Part]) -> None:
    """Refuse two recordings under one reference: a name alone was the only one of each scan, not of all together."""
    owners: dict[str, tuple[Part, str]] = {}
    for part in parts:
        for finding in part.document.findings:
            if finding.exhibit is None:
                continue
            owner, path = owners.setdefault(finding.exhibit, (part, finding.path))
            if path != finding.path:
                raise UsageError(
                    f"{owner.shown} and {part.shown}: both {printable(path)} and {printable(finding.path)} are exhibit "
                    f"{printable(finding.exhibit)}; name exhibits by their paths in the case file"
                )


def _without_group(finding: Finding) -> Finding:
    if finding.trace is None or finding.trace.unknown_group is None:
        return finding
    return finding.model_copy(update={"trace": finding.trace.model_copy(update={"unknown_group": None})})


def _run(parts: Sequence[Part], *, complete: bool) -> RunInfo:
    """From the beginning of the first run to the end of the last; blank where a part says no times."""
    runs = [part.document.run for part in parts]
    hosts = {run.host for run in runs}
    started, finished = [_time(run.started_at) for run in runs], [_time(run.finished_at) for run in runs]
    host = runs[0].host if len(hosts) == 1 else ""
    engine = runs[0].engine if all(run.engine == runs[0].engine for run in runs) else None
    stored = sum(run.from_store for run in runs)
    begin, end = min(filter(None, started), default=None), max(filter(None, finished), default=None)
    if None in started or None in finished:
        begin = end = None
    return RunInfo(
        started_at="" if begin is None else begin.isoformat(timespec="seconds"),
        finished_at="" if end is None else end.isoformat(timespec="seconds"),
        elapsed_s=0.0 if begin is None or end is None else max(0.0, (end - begin).total_seconds()),
        host=host,
        engine=engine,
        from_store=stored,
        complete=complete,
    )


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if time.tzinfo is None else time


def _merged_part(part: Part, first: ScanDocument) -> MergedPart:
    document = part.document
    tool = {
        field: value
        for field in ("python", "platform", "libraries")
        if (value := getattr(document.tool, field)) != getattr(first.tool, field)
    }
    controls: tuple[ControlResult, ...] | None = document.controls if document.controls != first.controls else None
    return MergedPart(
        name=part.name.rpartition("/")[2],
        sha256=part.sha256,
        shard=None if document.shard is None else document.shard.index,
        parts=0 if document.merged is None else len(document.merged.parts),
        findings=len(document.findings),
        run=document.run,
        command_line=document.tool.command_line,
        controls=controls,
        **tool,
    )
