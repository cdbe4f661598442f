"""The one spelling of a result document that is hashed, numbered and carried inside a report.

Canonical JSON: keys sorted, no blanks, ASCII only, no number that JSON lacks, and `<`, `>` and `&` inside strings
written as `\\u003c`, `\\u003e` and `\\u0026`. Its bytes are safe between the tags of a page as they are, so the hash
can be checked by anybody who copies what stands between them into a file.

The hash finds damage and edits; it is no signature. Whoever forges a page on purpose can compute it anew, and a page
that is forged throughout looks whole from inside. Only a hash kept elsewhere (`spoofcheck.ledger`) tells the two apart.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final

from spoofcheck.errors import UsageError
from spoofcheck.schema import CustodyCheck, Finding, ScanDocument

ELEMENT_ID: Final = "spoofcheck-document"
"""Of the `<script>` that carries the document."""
MAX_PAGE_CHARS: Final = 256 << 20
"""No report is larger: 500 exhibits take about 40 MB."""
BLANK_TIME: Final = ""
"""Stands for every time of the run in a reproducible document; a page prints it as "not recorded"."""

_MEDIA_TYPE = "application/json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNSAFE_IN_PAGE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\x7f": "\\u007f"}
_UNSAFE = re.compile("[<>&\x7f]")
_OUTPUT_OPTIONS = frozenset({"--json", "--jsonl", "--csv", "--report", "--html", "--pdf", "--labels", "--ledger"})
_ELSEWHERE = "FILE"


def canonical_json(document: ScanDocument) -> str:
    """The canonical JSON of a document, without a newline at its end; the same document gives the same text.

    U+2028 and U+2029, which end a line in a script, are escaped like all that is not ASCII.
    """
    text = json.dumps(document.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)
    # These four occur in strings only, where an escape says the same.
    return _UNSAFE.sub(lambda match: _UNSAFE_IN_PAGE[match[0]], text)


def document_sha256(document: ScanDocument) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(document).encode("ascii")).hexdigest()


def report_id(document: ScanDocument) -> str:
    """The report's identifier, `SC-0123-4567-89AB`: the first 48 bits of `document_sha256`."""
    return report_id_of(document_sha256(document))


def report_id_of(sha256: str) -> str:
    """The identifier that belongs to a hash of `document_sha256`."""
    digits = sha256[:12].upper()
    return "SC-" + "-".join(digits[i : i + 4] for i in range(0, 12, 4))


def reproducible(document: ScanDocument) -> ScanDocument:
    """The document without what differs between two runs over identical input (`--reproducible`).

    Replaced, and nothing else: `run.started_at`, `run.finished_at` and each finding's `custody.checked_at` by an empty
    text, `run.elapsed_s` by 0, `run.host` by an empty text, and in `tool.command_line` the values of options that only
    say where results go (`--json out.json`: `--json FILE`) and absolute paths (by their last part).

    What the run examined and with what stays: paths and modification times of recordings, hashes, options, versions,
    device and platform. Two machines that differ in these do not give the same bytes, and should not.
    """
    return document.model_copy(
        update={
            "run": document.run.model_copy(
                update={"started_at": BLANK_TIME, "finished_at": BLANK_TIME, "elapsed_s": 0.0, "host": ""}
            ),
            "tool": document.tool.model_copy(update={"command_line": _without_places(document.tool.command_line)}),
            "findings": tuple(_without_custody_time(finding) for finding in document.findings),
        }
    )


def _without_custody_time(finding: Finding) -> Finding:
    if finding.custody is None:
        return finding
    custody: CustodyCheck = finding.custody.model_copy(update={"checked_at": BLANK_TIME})
    return finding.model_copy(update={"custody": custody})


def _without_places(arguments: tuple[str, ...]) -> tuple[str, ...]:
    kept: list[str] = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if kept and kept[-1] in _OUTPUT_OPTIONS:
            kept.append(_ELSEWHERE)
        elif equals and option in _OUTPUT_OPTIONS:
            kept.append(f"{option}={_ELSEWHERE}")
        elif equals and option.startswith("--"):
            kept.append(f"{option}={_last_part(value)}")
        else:
            kept.append(_last_part(argument))
    return tuple(kept)


def _last_part(argument: str) -> str:
    return (argument.rstrip("/").rpartition("/")[2] or "/") if argument.startswith("/") else argument


def embedded(document: ScanDocument) -> str:
    """What stands between the tags of the page's `<script type="application/json">`; safe there as it is."""
    return canonical_json(document)


def script_element(document: ScanDocument) -> str:
    """The whole element for the page, which `extract` reads back: put it in unescaped, once."""
    text = embedded(document)
    digest = hashlib.sha256(text.encode("ascii")).hexdigest()
    return f'<script type="{_MEDIA_TYPE}" id="{ELEMENT_ID}" data-sha256="{digest}">{text}</script>'


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a page carries: nothing of it has been checked.

    Attributes:
        content: the bytes between the tags.
        claimed_sha256: what the page says their SHA-256 is.
    """

    content: bytes
    claimed_sha256: str

    @property
    def sha256(self) -> str:
        """What their SHA-256 is."""
        return hashlib.sha256(self.content).hexdigest()


def extract(page: str) -> Embedded:
    """The document that a report carries, as text and unexamined; nothing in the page is run or fetched.

    Raises:
        UsageError: too large, no such element, more than one, or one that differs from what `script_element` writes.
    """
    if len(page) > MAX_PAGE_CHARS:
        raise UsageError(f"larger than any report ({MAX_PAGE_CHARS >> 20} MB)")
    reader = _Reader()
    try:
        reader.feed(page)
        reader.close()
    except (AssertionError, ValueError, RecursionError) as error:  # what html.parser does with broken declarations
        raise UsageError("not a page that can be read") from error
    if len(reader.found) != 1 or reader.inside is not None:
        number = "no" if not reader.found else "more than one"
        raise UsageError(
            f"carries {number} whole element '{ELEMENT_ID}'; give a report that this version of spoofcheck wrote"
        )
    return reader.found[0]


class _Reader(HTMLParser):
    """Collects the elements with our id; of those, only the exact form that we write is accepted."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Embedded] = []
        self.inside: str | None = None
        self._parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not any(name == "id" and value == ELEMENT_ID for name, value in attrs):
            return
        values = dict(attrs)
        claimed = values.get("data-sha256") or ""
        if (
            tag != "script"
            or len(attrs) != len(values)
            or values.keys() != {"type", "id", "data-sha256"}
            or values["type"] != _MEDIA_TYPE
            or not _SHA256.fullmatch(claimed)
        ):
            raise UsageError(f"the element '{ELEMENT_ID}' is not as spoofcheck writes it")
        self.inside = claimed
        self._parts = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        if self.inside is not None:
            self._parts.append(data)

    def handle_endtag(self, tag: str) -> None:
        if self.inside is not None and tag == "script":
            content = "".join(self._parts).encode("utf-8", "surrogatepass")
            self.found.append(Embedded(content, self.inside))
            self.inside = None
