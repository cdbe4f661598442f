"""The sections of a report: which there are, in which order, and under which number. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import ascii_uppercase

from spoofcheck.schema import ScanDocument


@dataclass(frozen=True, slots=True)
class Section:
    """One section: `id` is its anchor, `number` what its title begins with (a letter for appendices)."""

    id: str
    number: str
    title: str

    @property
    def appendix(self) -> bool:
        """Whether it is one."""
        return self.number in ascii_uppercase


def sections(document: ScanDocument) -> Mapping[str, Section]:
    """The sections by their id, in order; those with nothing to show are left out."""
    body = [Section(name, str(number), title) for number, (name, title) in enumerate(_body(document), start=1)]
    appendices = [
        Section(name, letter, title) for letter, (name, title) in zip(ascii_uppercase, _APPENDICES, strict=False)
    ]
    return {section.id: section for section in (*body, *appendices)}


_APPENDICES = (
    ("windows", "Window tables"),
    ("manifest", "Hash manifest"),
    ("verification", "How to check this report"),
)


def _body(document: ScanDocument) -> Iterator[tuple[str, str]]:
    yield "propositions", "Question and propositions"
    yield "summary", "Summary of results"
    yield "evidence", "Evidence and custody"
    yield "condition", "Condition and suitability"
    yield "method", "Method and provenance"
    yield "validation", "Validation of the model"
    if document.controls:
        yield "controls", "Controls"
    yield "exhibits", "Findings"
    yield "skipped", "Inputs not examined"
    if document.tracer is not None:
        yield "tracing", "Source tracing"
    yield "opinion", "Opinion"
    if document.note:
        yield "note", "Examiner's note"
    yield "limitations", "Limitations"
    yield "glossary", "Glossary"
    yield "review", "Review"
