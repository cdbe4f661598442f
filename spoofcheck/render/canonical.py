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
from itertools import islice
from typing import Final

from spoofcheck.errors import UsageError
from spoofcheck.schema import CustodyCheck, Finding, MergeInfo, RunInfo, ScanDocument

ELEMENT_ID: Final = "spoofcheck-document"
"""Of the `<script>` that carries the document."""
MAX_PAGE_CHARS: Final = 256 << 20
"""No report is larger: 500 exhibits take about 40 MB."""
BLANK_TIME: Final = ""
"""Stands for every time of the run in a reproducible document; a page prints it as "not recorded"."""

_MEDIA_TYPE = "application/json"
# Outside text is escaped in a page: a `<` before these words was written by us, or by a forger.
_ANY_OF_OUR_ID = re.compile(rf"<[^<>]*?\bid\s{{0,20}}=\s{{0,20}}[\"']?{ELEMENT_ID}", re.IGNORECASE)
_START_TAG = re.compile(rf'<script type="{_MEDIA_TYPE}" id="{ELEMENT_ID}" data-sha256="([0-9a-f]{{64}})">')
_UNSAFE_IN_PAGE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\x7f": "\\u007f"}
_UNSAFE = re.compile("[<>&\x7f]")
_OUTPUT_OPTIONS = frozenset(
    {"--json", "--jsonl", "--csv", "--parquet", "--duckdb", "--report", "--html", "--pdf", "--labels", "--ledger"}
)
_ELSEWHERE = "FILE"
_WITHOUT_EFFECT = frozenset({"--workers", "--store", "--engine", "--ray-address", "--networks"})
_FLAGS_WITHOUT_EFFECT = frozenset({"--fresh", "--no-store"})


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
    text, `run.elapsed_s` and `run.from_store` by 0, `run.host` by an empty text, `run.engine` by null, and in
    `tool.command_line` the values of options that only say where results go (`--json out.json`: `--json FILE`) and
    absolute paths (by their last part). `--workers`, `--store`, `--fresh`, `--no-store`, `--engine`, `--ray-address`
    and `--networks`, which never change results, are left out of it. In a joined document the same is replaced in its
    parts, whose hashes stay: join results that were written reproducibly.

    What the run examined and with what stays: paths and modification times of recordings, hashes, options, versions,
    device and platform. Two machines that differ in these do not give the same bytes, and should not.
    """
    return document.model_copy(
        update={
            "run": _without_time_and_place(document.run),
            "merged": None if document.merged is None else _without_runs(document.merged),
            "tool": document.tool.model_copy(update={"command_line": _without_places(document.tool.command_line)}),
            "findings": tuple(_without_custody_time(finding) for finding in document.findings),
        }
    )


def _without_time_and_place(run: RunInfo) -> RunInfo:
    return run.model_copy(
        update={
            "started_at": BLANK_TIME,
            "finished_at": BLANK_TIME,
            "elapsed_s": 0.0,
            "host": "",
            "from_store": 0,
            "engine": None,
        }
    )


def _without_runs(merged: MergeInfo) -> MergeInfo:
    parts = (
        part.model_copy(
            update={"run": _without_time_and_place(part.run), "command_line": _without_places(part.command_line)}
        )
        for part in merged.parts
    )
    return merged.model_copy(update={"parts": tuple(parts)})


def _without_custody_time(finding: Finding) -> Finding:
    if finding.custody is None:
        return finding
    custody: CustodyCheck = finding.custody.model_copy(update={"checked_at": BLANK_TIME})
    return finding.model_copy(update={"custody": custody})


def _without_places(arguments: tuple[str, ...]) -> tuple[str, ...]:
    kept: list[str] = []
    for place, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if argument in _FLAGS_WITHOUT_EFFECT or option in _WITHOUT_EFFECT:
            continue
        if place > 0 and arguments[place - 1] in _WITHOUT_EFFECT:
            continue
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
    return script_element_of(embedded(document))


def script_element_of(text: str) -> str:
    """The same, of what `embedded` gave."""
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

    Only the exact form that `script_element` writes is taken, from whatever surrounds it: that the page around it is
    the right one is for a comparison with the page that its document makes. The search takes time in proportion to the
    page, whatever is in it (the standard library's parser of HTML takes minutes for a megabyte of `<a <a <a`).

    Raises:
        UsageError: too large, no such element, more than one, or one of another form.
    """
    if len(page) > MAX_PAGE_CHARS:
        raise UsageError(f"larger than any report ({MAX_PAGE_CHARS >> 20} MB)")
    starts = [match.start() for match in islice(_ANY_OF_OUR_ID.finditer(page), 2)]
    if len(starts) != 1:
        number = "no" if not starts else "more than one"
        raise UsageError(
            f"carries {number} element '{ELEMENT_ID}'; give a report that this version of spoofcheck wrote"
        )
    tag = _START_TAG.match(page, starts[0])
    end = page.find("<", tag.end()) if tag is not None else -1
    if tag is None or not page.startswith("</script>", end) or end < 0:
        raise UsageError(f"the element '{ELEMENT_ID}' is not as spoofcheck writes it")
    return Embedded(page[tag.end() : end].encode("utf-8", "surrogatepass"), tag[1])
