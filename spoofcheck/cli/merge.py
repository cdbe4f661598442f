"""`spoofcheck merge`: join the results of shards, or of several scans, into one; no audio and no network is needed."""

from __future__ import annotations

import gc
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.output import STDOUT, write_output
from spoofcheck.cli.status import ExitStatus, status_of
from spoofcheck.cli.telling import control_warnings, custody_warnings, show, warn
from spoofcheck.errors import OutputError, UsageError

if TYPE_CHECKING:
    from spoofcheck.merging import Part
    from spoofcheck.schema import ScanDocument, TracerInfo

_OUTPUTS = "Outputs"


def merge(
    results: Annotated[list[Path], typer.Argument(metavar="SCAN.json...", help="Results written by 'scan --json'.")],
    allow_gaps: Annotated[
        bool,
        typer.Option(
            "--allow-gaps", help="Join although shards are missing or were interrupted; the result says what is."
        ),
    ] = False,
    tracer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help="The tracer of the scans, whose calibration groups unknown exhibits.",
            show_default="the installed one of the recorded name",
        ),
    ] = None,
    unknowns: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the names of unknown sources here, the same over all scans of a case; made when missing.",
            show_default="names hold for this result",
        ),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Add an entry on the joined result to a case ledger; made when missing.",
            show_default=False,
        ),
    ] = None,
    reproducible: Annotated[
        bool,
        typer.Option(
            "--reproducible", help="Leave times and machines' names out, so that two runs write the same bytes."
        ),
    ] = False,
    json_to: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE|-", help="Write the whole result as JSON.", rich_help_panel=_OUTPUTS),
    ] = None,
    jsonl_to: Annotated[
        Path | None,
        typer.Option("--jsonl", metavar="FILE|-", help="Write one JSON line per finding.", rich_help_panel=_OUTPUTS),
    ] = None,
    csv_to: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE|-", help="Write one row per finding.", rich_help_panel=_OUTPUTS),
    ] = None,
    parquet_to: Annotated[
        Path | None,
        typer.Option(
            "--parquet",
            metavar="FILE",
            help="Write one row per finding, windows nested; needs the extra 'cluster'.",
            rich_help_panel=_OUTPUTS,
            show_default=False,
        ),
    ] = None,
    duckdb_to: Annotated[
        Path | None,
        typer.Option(
            "--duckdb",
            metavar="FILE",
            help="Write a database with findings, windows and run; needs the extra 'cluster'.",
            rich_help_panel=_OUTPUTS,
            show_default=False,
        ),
    ] = None,
    report_to: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE.html", help="Write the self-contained report.", rich_help_panel=_OUTPUTS
        ),
    ] = None,
    pdf_to: Annotated[
        Path | None,
        typer.Option(
            "--pdf",
            metavar="FILE.pdf",
            help="Print the report through an installed Chromium.",
            rich_help_panel=_OUTPUTS,
            show_default=False,
        ),
    ] = None,
    labels_to: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="DIR",
            help="Write label tracks for Audacity, Praat, RTTM and CSV; the folder is made when missing.",
            rich_help_panel=_OUTPUTS,
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No table or summary.", rich_help_panel=_OUTPUTS)
    ] = False,
) -> int:
    """Join the results of all shards of a scan, or of scans of different recordings, made in one and the same way.

    The joined result, and the exit code, are those of one scan of all recordings. Example: spoofcheck merge part-*.json
    --json result.json --report report.html
    """
    from spoofcheck.cli.writing import Outputs, enter, table_targets, write_all
    from spoofcheck.ledger import Kind
    from spoofcheck.merging import merge as joined
    from spoofcheck.render import Format
    from spoofcheck.render.canonical import reproducible as without_times
    from spoofcheck.render.division import merged_words

    wanted = {Format.JSON: json_to, Format.JSONL: jsonl_to, Format.CSV: csv_to, Format.HTML: report_to}
    if unknowns == STDOUT:
        raise UsageError("--unknowns -: the names are kept in a file")
    outputs = Outputs(
        forms={form: target for form, target in wanted.items() if target is not None},
        labels=labels_to,
        pdf=pdf_to,
        tables=table_targets(parquet_to, duckdb_to),
        ledger=ledger,
    )
    outputs.check([] if unknowns is None else [unknowns])
    outputs.check_spare(results, [] if unknowns is None else [unknowns])
    document = joined(_parts(results), ["spoofcheck", *sys.argv[1:]], allow_gaps=allow_gaps)
    document, case_json, warnings = _grouped(document, tracer, unknowns)
    kept = without_times(document) if reproducible else document
    written = write_all(kept, outputs)
    if unknowns is not None and case_json is not None:
        try:
            write_output(unknowns, case_json)
        except OutputError as error:
            written.problems.append(str(error))
    warnings += [*control_warnings(document.controls), *custody_warnings(document.findings)]
    if outputs.ledger is not None and document.merged is not None:
        remarks = [merged_words(document.merged), *warnings]
        written.problems += enter(outputs.ledger, Kind.SCAN, kept, written, remarks)
    if not quiet:
        show(document, table=STDOUT not in outputs.forms.values())
    warn(warnings)
    if written.problems:
        raise OutputError("; ".join(written.problems))
    status = status_of(document.findings, document.controls)
    # Nobody interrupted this: what is missing was not scored.
    return ExitStatus.INCOMPLETE if status is ExitStatus.CLEAR and not document.run.complete else status


def _parts(results: Sequence[Path]) -> list[Part]:
    """The documents with the hashes of their files; each file's text is let go as soon as it is read.

    Raises:
        UsageError: one cannot be read, or is no result.
    """
    parts = []
    # Millions of new objects, none of them garbage: looking for some would take longer than the reading.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for path in results:
            parts.append(_part(path))
    finally:
        if was_enabled:
            gc.enable()
    return parts


def _part(path: Path) -> Part:
    from spoofcheck.audio.inputs import display_path
    from spoofcheck.document import MAX_DOCUMENT_BYTES, parse_document
    from spoofcheck.merging import Part
    from spoofcheck.render.text import printable
    from spoofcheck.wholefile import read_whole

    name = display_path(path)
    try:
        content = read_whole(path, MAX_DOCUMENT_BYTES, pipes=True)
    except OSError as error:
        raise UsageError(f"{printable(name)}: cannot be read: {error.strerror or error}") from error
    return Part(name, hashlib.sha256(content).hexdigest(), parse_document(content, printable(name)))


def _grouped(
    document: ScanDocument, tracer: str | None, unknowns: Path | None
) -> tuple[ScanDocument, str | None, list[str]]:
    """The document with groups of unknown exhibits, the case's file as it is now, and why there are no groups.

    Raises:
        UsageError: `--unknowns`, but exhibits cannot be grouped, or the file is of another tracer.
        ModelError: the case's file is damaged.
    """
    info = document.tracer
    if info is None or info.link_calibration is None:
        if unknowns is not None:
            raise UsageError(
                "--unknowns: these results were made without a tracer that is calibrated to group exhibits"
            )
        return document, None, []
    embedded = [each for each in document.findings if each.trace is not None and each.trace.embedding is not None]
    if not embedded and unknowns is None:
        return document, None, []

    from spoofcheck.cli.verifying import check_model
    from spoofcheck.detect.caseunknowns import case_json, read_case
    from spoofcheck.detect.clusters import group_unknowns
    from spoofcheck.detect.sourcestore import StoreTracer
    from spoofcheck.nets.config import read_tracer_config

    check, directory = check_model(info, "tracer", tracer or _own_model(info))
    calibration = None if directory is None else read_tracer_config(directory).link_calibration
    if calibration is None:
        if unknowns is not None:
            raise UsageError(f"--unknowns: exhibits cannot be grouped: {check.message}")
        return document, None, [f"Unknown exhibits are not grouped: {check.message}"]
    identity = StoreTracer(name=info.name, version=info.version, weights_sha256=info.weights_sha256)
    case = None if unknowns is None else read_case(unknowns, identity)
    try:
        findings, groups, case = group_unknowns(document.findings, calibration, case)
    except ValueError as error:  # of a document that somebody changed
        raise UsageError(f"unknown exhibits cannot be grouped: {error}") from error
    grouped = document.model_copy(update={"findings": findings, "unknown_groups": groups})
    return grouped, None if case is None else case_json(case), []


def _own_model(info: TracerInfo) -> str | None:
    """The tracer's name where the user has installed one of that name; shipped ones are found by name anyway."""
    from spoofcheck.nets.index import list_user_models

    return info.name if info.name in list_user_models() else None
