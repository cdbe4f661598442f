"""Renderers: pure functions from a result document to text, one module per format.

A renderer never reads a recording, never prints and never imports torch. All text that came from outside
passes `render.text.printable` on its way to a terminal, a page or a spreadsheet. A format's own libraries are
imported when it is first used.
"""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spoofcheck.schema import ScanDocument


class Format(StrEnum):
    """The forms in which a result can be written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    HTML = "html"


RENDERERS = {
    Format.TABLE: "spoofcheck.render.console",
    Format.JSON: "spoofcheck.render.json",
    Format.JSONL: "spoofcheck.render.jsonl",
    Format.CSV: "spoofcheck.render.csv",
    Format.HTML: "spoofcheck.render.html",
}
"""The module whose `render(document) -> str` writes each format."""


def render(document: ScanDocument, fmt: Format) -> str:
    """The whole document in one format, ending in a newline; write it as UTF-8 with newlines untranslated."""
    text: str = import_module(RENDERERS[fmt]).render(document)
    return text
