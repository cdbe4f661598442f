"""Writes a document in every form that was asked for, and enters it in the case's ledger: for `scan` and `report`."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from spoofcheck.cli.output import STDOUT, check_outputs, check_spared, write_bytes, write_output
from spoofcheck.errors import OutputError, SpoofcheckError, UsageError

if TYPE_CHECKING:
    from spoofcheck.ledger import Kind
    from spoofcheck.render import Format
    from spoofcheck.schema import ScanDocument
    from spoofcheck.tables import TableForm

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go.

    Attributes:
        forms: a file or standard output by form.
        labels: folder for label tracks; made when missing.
        pdf: file for the printed report.
        ledger: of the case; made when missing.
        tables: a file by form of columns.
    """

    forms: Mapping[Format, Path]
    labels: Path | None = None
    pdf: Path | None = None
    ledger: Path | None = None
    tables: Mapping[TableForm, Path] = field(default_factory=dict)

    @property
    def _files(self) -> list[Path]:
        others = [each for each in (self.pdf, self.ledger) if each is not None]
        return [*self.forms.values(), *self.tables.values(), *others]

    def check(self, others: Sequence[Path] = ()) -> None:
        """Find out before the work whether all of it, and `others`, can be written.

        Raises:
            UsageError: two outputs name the same place, standard output for what is no text, a missing extra, or a
                broken ledger.
            OutputError: a folder is missing or not writable, or a name is taken.
        """
        from spoofcheck.tables import require_libraries

        tables = [(f"--{form}", place) for form, place in self.tables.items()]
        for option, place in (("--labels", self.labels), ("--pdf", self.pdf), ("--ledger", self.ledger), *tables):
            if place == STDOUT:
                raise UsageError(f"{option} -: cannot go to standard output; name a {_kind(option)}")
        for form in self.tables:
            require_libraries(form)
        labels = [] if self.labels is None else [_probe_of(self.labels)]
        check_outputs([*self._files, *others, *labels])
        if self.ledger is not None and self.ledger.exists():
            _check_ledger(self.ledger)

    def check_spare(self, inputs: Sequence[Path], others: Sequence[Path] = ()) -> None:
        """Refuse to write over what is read.

        Args:
            inputs: the files that are read.
            others: further outputs.

        Raises:
            UsageError: an output is one of the inputs, or a label track could be.
        """
        check_spared([*self._files, *others], inputs)
        if self.labels is not None:
            _check_labels_spare(self.labels, inputs)


def table_targets(parquet: Path | None, duckdb: Path | None) -> dict[TableForm, Path]:
    """Files of columns, by form, as far as they are wanted."""
    from spoofcheck.tables import TableForm

    wanted = {TableForm.PARQUET: parquet, TableForm.DUCKDB: duckdb}
    return {form: target for form, target in wanted.items() if target is not None}


@dataclass(slots=True)
class Written:
    """What became of the outputs: one line for each that could not be written, and the hashes of the reports."""

    problems: list[str] = field(default_factory=list)
    report_sha256: str | None = None
    pdf_sha256: str | None = None


def write_all(document: ScanDocument, outputs: Outputs) -> Written:
    """Write every output that can be written; the ledger is entered by `enter`."""
    from spoofcheck.render import Format, render
    from spoofcheck.tables import table_bytes

    written = Written()
    page_at: Path | None = None
    for form, target in outputs.forms.items():
        text = render(document, form)
        try:
            write_output(target, text)
        except OutputError as error:
            written.problems.append(str(error))
            continue
        if form is Format.HTML:
            written.report_sha256 = hashlib.sha256(text.encode()).hexdigest()
            page_at = None if target == STDOUT else target
    for kind, target in outputs.tables.items():
        try:
            write_bytes(target, table_bytes(document, kind))
        except OutputError as error:
            written.problems.append(str(error))
    if outputs.labels is not None:
        written.problems += _write_labels(document, outputs.labels)
    if outputs.pdf is not None:
        try:
            written.pdf_sha256 = _write_pdf(document, page_at, outputs.pdf)
        except SpoofcheckError as error:
            written.problems.append(f"--pdf: {error}")
    return written


def enter(ledger: Path, kind: Kind, document: ScanDocument, written: Written, remarks: Sequence[str] = ()) -> list[str]:
    """Add an entry on a document and its report to a ledger; the problem, if it cannot be.

    Args:
        ledger: of the case.
        kind: what was done.
        document: that was written.
        written: what became of it.
        remarks: for the entry's note.
    """
    from spoofcheck.ledger import MAX_NOTE_CHARS, Subjects, append_entry
    from spoofcheck.render.canonical import document_sha256

    printed = [] if written.pdf_sha256 is None else [f"PDF {written.pdf_sha256}"]
    exhibits = dict.fromkeys(finding.sha256 for finding in document.findings if finding.sha256)
    try:
        subjects = Subjects(
            document=document_sha256(document),
            report=written.report_sha256,
            exhibits=tuple(digest for digest in exhibits if _SHA256.fullmatch(digest)),
        )
        append_entry(ledger, kind, subjects, "; ".join([*printed, *remarks])[:MAX_NOTE_CHARS])
    except SpoofcheckError as error:
        return [str(error)]
    return []


def _kind(option: str) -> str:
    return "folder" if option == "--labels" else "file"


def _probe_of(folder: Path) -> Path:
    """A place that can be written where label tracks can: inside the folder, or the folder itself, not there yet.

    Raises:
        OutputError: there is a file of this name.
    """
    try:
        if folder.is_dir():
            return folder / "labels"
        is_taken = folder.exists()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from error
    if is_taken:
        raise OutputError(f"{folder}: is a file, not a folder for label tracks")
    return folder


def _check_labels_spare(folder: Path, inputs: Sequence[Path]) -> None:
    """Label tracks are named after recordings, so that a recording can have the name of another one's label track."""
    from spoofcheck.render.labels import WRITERS

    endings = tuple(ending.casefold() for _, ending in WRITERS.values())
    real_folder = folder.resolve()
    for path in inputs:
        if path.name.casefold().endswith(endings) and path.resolve().parent == real_folder:
            raise UsageError(f"--labels {folder}: a label track could overwrite the input {path}; name another folder")


def _check_ledger(ledger: Path) -> None:
    from spoofcheck.ledger import check_ledger

    problems = check_ledger(ledger)
    if problems:
        raise UsageError(
            f"{ledger}: the chain is broken, so nothing can be added: line {problems[0].line}: {problems[0].message}; "
            "keep the file as it is and name a new ledger with --ledger"
        )


def _write_labels(document: ScanDocument, folder: Path) -> list[str]:
    from spoofcheck.render.labels import label_files

    try:
        folder.mkdir(exist_ok=True)
        for name, text in label_files(document):
            # Names are UTF-8 in any locale: one of ASCII alone could not write them, and fsdecode gives what it can.
            write_output(folder / os.fsdecode(name.encode()), text)
    except OSError as error:
        return [f"{folder}: cannot be made ({error.strerror or error})"]
    except OutputError as error:
        return [str(error)]
    return []


def _write_pdf(document: ScanDocument, page: Path | None, target: Path) -> str:
    """Print the report, from the page that was written or from one that is thrown away; the PDF's SHA-256.

    Raises:
        SpoofcheckError: it cannot be printed.
    """
    from spoofcheck.pdf import html_to_pdf
    from spoofcheck.render import Format, render
    from spoofcheck.render.canonical import report_id

    try:
        if page is not None:
            html_to_pdf(page, target, report_id(document))
        else:
            # Beside the target, where a browser that may not look into other folders can read it.
            with tempfile.TemporaryDirectory(prefix="spoofcheck-report-", dir=target.absolute().parent) as folder:
                passing = Path(folder) / "report.html"
                write_output(passing, render(document, Format.HTML))
                html_to_pdf(passing, target, report_id(document))
        return hashlib.sha256(target.read_bytes()).hexdigest()
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error
