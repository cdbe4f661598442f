"""Which files took part in an examination, and whether they are still what they were. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from spoofcheck.render.conditions import number_ranges
from spoofcheck.render.text import count, printable
from spoofcheck.schema import CaseExhibit, CustodyCheck, Finding, ScanDocument


@dataclass(frozen=True, slots=True)
class Recording:
    """One examined file.

    Attributes:
        numbers: of its exhibits in the report, e.g. `"2, 3"`.
        first: number of the first of them.
        reference: what the case calls it; None where the case has no name for it.
        description: of the case file; empty without one.
        name: its path, without the folder that all share.
        finding: the first of its findings.
        custody: the check after the run; None without one.
    """

    numbers: str
    first: int
    reference: str | None
    description: str
    name: str
    finding: Finding
    custody: CustodyCheck | None

    @property
    def outcome(self) -> str:
        """What the check after the run found, in a word."""
        if self.custody is None:
            return "not checked"
        if self.custody.unchanged:
            return "unchanged"
        return "changed" if self.custody.sha256 is not None else "not readable any more"


def recordings(exhibits: Mapping[int, Finding], names: Mapping[str, str], document: ScanDocument) -> list[Recording]:
    """The examined files in the order of the report; channels of one file are one.

    Args:
        exhibits: by their number in the report.
        names: of paths, as the report shows them.
        document: with the case.
    """
    grouped: dict[str, list[int]] = {}
    for number, finding in exhibits.items():
        grouped.setdefault(finding.path, []).append(number)
    described = {named.reference: named.description for named in _case_exhibits(document)}
    made = []
    for path, numbers in grouped.items():
        findings = [exhibits[number] for number in numbers]
        checks = [finding.custody for finding in findings if finding.custody is not None]
        reference = findings[0].exhibit
        made.append(
            Recording(
                numbers=number_ranges(numbers),
                first=numbers[0],
                reference=reference,
                description=described.get(reference, "") if reference else "",
                name=names[path],
                finding=findings[0],
                # One changed channel is a changed file.
                custody=next((check for check in checks if not check.unchanged), checks[0] if checks else None),
            )
        )
    return made


def missing_exhibits(exhibits: Mapping[int, Finding], document: ScanDocument) -> list[CaseExhibit]:
    """What the case file names and no examined recording has as its reference."""
    seen = {finding.exhibit for finding in exhibits.values()}
    return [named for named in _case_exhibits(document) if named.reference not in seen]


def _case_exhibits(document: ScanDocument) -> tuple[CaseExhibit, ...]:
    return document.case.exhibits if document.case is not None else ()


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One hash: of what, and what it is."""

    what: str
    name: str
    sha256: str


def manifest(files: list[Recording], document: ScanDocument) -> list[ManifestRow]:
    """Every hash that the report rests on: recordings first, then whatever else took part."""
    return [*_of_recordings(files), *_of_the_rest(document)]


def _of_recordings(files: list[Recording]) -> Iterator[ManifestRow]:
    for item in files:
        if item.finding.sha256 is not None:
            yield ManifestRow("recording, file", item.finding.path, item.finding.sha256)
        if item.finding.media is not None:
            yield ManifestRow("recording, decoded PCM", item.finding.path, item.finding.media.pcm_sha256)


def _of_the_rest(document: ScanDocument) -> Iterator[ManifestRow]:
    model, tracer, store = document.model, document.tracer, document.enrolled
    if document.case is not None:
        yield ManifestRow("case file", f"case {document.case.number}", document.case.sha256)
    yield ManifestRow("model, weights", f"{model.name} {model.version}", model.weights_sha256)
    yield ManifestRow("model, configuration", f"{model.name} {model.version}", model.config_sha256)
    if tracer is not None:
        yield ManifestRow("tracer, weights", f"{tracer.name} {tracer.version}", tracer.weights_sha256)
        yield ManifestRow("tracer, configuration", f"{tracer.name} {tracer.version}", tracer.config_sha256)
    if store is not None:
        yield ManifestRow("enrolled sources, content", store.path, store.sha256)
    for part in document.merged.parts if document.merged is not None else ():
        yield ManifestRow("joined result", part.name, part.sha256)
    for control in document.controls:
        yield ManifestRow("control", control.name, control.sha256)
    references = {
        finding.acoustics.reference_sha256: finding.acoustics.reference
        for finding in document.findings
        if finding.acoustics is not None
    }
    for digest, reference in references.items():
        yield ManifestRow("acoustic reference", reference, digest)


def alarms(files: list[Recording], document: ScanDocument) -> list[tuple[str, str]]:
    """What must be seen before anything else: a headline and a sentence each."""
    found = []
    failed = [control for control in document.controls if control.as_expected is False]
    if failed:
        told = " ".join(f"{printable(control.name)}: {control.message}" for control in failed)
        found.append(
            (
                "A control is not as expected.",
                f"No result of this run can be relied on, and no opinion may rest on it. {told}",
            )
        )
    changed = [item for item in files if item.custody is not None and not item.custody.unchanged]
    if changed:
        which = ", ".join(f"{printable(item.name)} ({item.outcome})" for item in changed[:_NAMED])
        more = f" and {count(len(changed) - _NAMED, 'other')}" if len(changed) > _NAMED else ""
        found.append(
            (
                "A file is not what it was when it was examined.",
                f"Its hash was taken again after the run: {which}{more}. The results are of the file as it was read; "
                "what is at that place now is another file, or none.",
            )
        )
    return found


_NAMED = 10
