"""Label tracks: one file per exhibit for the tools that analysts open recordings with.

Each format has a module with `render(document, finding, name) -> str`; `names` gives every exhibit a file name of its
own that any system can hold. Positions are those of windows and of stretches of windows, never finer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING

from spoofcheck.render.labels.names import unique_names

if TYPE_CHECKING:
    from spoofcheck.schema import Finding, ScanDocument


class LabelFormat(StrEnum):
    """The forms in which labels can be written."""

    AUDACITY = "audacity"
    TEXTGRID = "textgrid"
    RTTM = "rttm"
    CSV = "csv"


WRITERS = {
    LabelFormat.AUDACITY: ("spoofcheck.render.labels.audacity", ".audacity.txt"),
    LabelFormat.TEXTGRID: ("spoofcheck.render.labels.textgrid", ".TextGrid"),
    LabelFormat.RTTM: ("spoofcheck.render.labels.rttm", ".rttm"),
    LabelFormat.CSV: ("spoofcheck.render.labels.csv", ".csv"),
}
"""The module that writes each format, and how its files end."""


def label_files(
    document: ScanDocument, formats: Iterable[LabelFormat] = tuple(LabelFormat)
) -> Iterator[tuple[str, str]]:
    """The label files of a scan.

    Args:
        document: what the scan found.
        formats: each is written once, in the order in which they are given first.

    Yields:
        A file name without a folder, and the file's text, ending in a newline: to be written as UTF-8 with newlines
        untranslated. Exhibits come in the document's order. Inputs that could not be examined have no labels.
    """
    wanted = list(dict.fromkeys(formats))
    exhibits = [finding for finding in document.findings if finding.duration_s is not None]
    for finding, name in zip(exhibits, unique_names(exhibits), strict=True):
        for fmt in wanted:
            module, ending = WRITERS[fmt]
            yield name + ending, _rendered(module, document, finding, name)


def _rendered(module: str, document: ScanDocument, finding: Finding, name: str) -> str:
    text: str = import_module(module).render(document, finding, name)
    return text
