"""`spoofcheck scan`: judge recordings and write what was found."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.output import STDOUT, check_outputs, write_output
from spoofcheck.cli.status import ExitStatus, status_of
from spoofcheck.errors import OutputError, UsageError

if TYPE_CHECKING:
    from spoofcheck.detect.caseunknowns import CaseUnknowns
    from spoofcheck.detect.scan import Scanner
    from spoofcheck.render import Format
    from spoofcheck.schema import Finding, ScanDocument, UnknownGroup
    from spoofcheck.types import Skipped


class Channels(StrEnum):
    """How the channels of a recording are examined."""

    AUTO = "auto"
    MIX = "mix"
    EACH = "each"


class Device(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


_INPUTS = "Inputs"
_ANALYSIS = "Analysis"
_TRACING = "Tracing"
_OUTPUTS = "Outputs"


def scan(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Recordings and folders (searched recursively).", show_default=False),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(help="Only files matching this glob; repeatable.", rich_help_panel=_INPUTS, show_default=False),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="No files matching this glob; repeatable.", rich_help_panel=_INPUTS, show_default=False),
    ] = None,
    files_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|-",
            help="Read paths from a file or standard input, one a line or NUL-separated.",
            rich_help_panel=_INPUTS,
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR|hub:OWNER/NAME",
            help="Model to use: see 'spoofcheck models list'.",
            rich_help_panel=_ANALYSIS,
            show_default="the shipped default",
        ),
    ] = None,
    hop: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Distance between windows.",
            rich_help_panel=_ANALYSIS,
            show_default="4, or the model's window where it is shorter",
        ),
    ] = None,
    channels: Annotated[
        Channels,
        typer.Option(
            help="auto: mix near-identical channels, else score each, as call legs are.",
            rich_help_panel=_ANALYSIS,
        ),
    ] = Channels.AUTO,
    vad: Annotated[
        bool,
        typer.Option("--vad/--no-vad", help="Leave windows without speech unscored.", rich_help_panel=_ANALYSIS),
    ] = True,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="LLR",
            help="Flag exhibits at or above this LLR.",
            rich_help_panel=_ANALYSIS,
            show_default="the model's own",
        ),
    ] = None,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace/--no-trace",
            help="Say which known source a flagged exhibit is most similar to.",
            rich_help_panel=_TRACING,
        ),
    ] = True,
    tracer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR|hub:OWNER/NAME",
            help="Tracer to compare with.",
            rich_help_panel=_TRACING,
            show_default="the shipped one, if it has the model's front-end",
        ),
    ] = None,
    trace_all: Annotated[
        bool,
        typer.Option(
            "--trace-all", help="Trace every scored exhibit, not only flagged ones.", rich_help_panel=_TRACING
        ),
    ] = False,
    sources: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Enrolled sources to compare with too: see 'spoofcheck sources'.",
            rich_help_panel=_TRACING,
            show_default="sources.json in the user's data directory, if it is there",
        ),
    ] = None,
    no_sources: Annotated[
        bool, typer.Option("--no-sources", help="Compare with the tracer's own alone.", rich_help_panel=_TRACING)
    ] = False,
    unknowns: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the names of unknown sources here, the same over all scans of a case; made when missing.",
            rich_help_panel=_TRACING,
            show_default="names hold for this scan",
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the network runs.", rich_help_panel=_ANALYSIS)] = Device.AUTO,
    batch_size: Annotated[
        str,
        typer.Option(
            metavar="auto|N",
            help="Windows per forward pass on a GPU; a CPU takes one at a time.",
            rich_help_panel=_ANALYSIS,
        ),
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads that read ahead; never changes results.",
            rich_help_panel=_ANALYSIS,
            show_default="by cores",
        ),
    ] = None,
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
    report_to: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE.html", help="Write the self-contained report.", rich_help_panel=_OUTPUTS
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No table, progress or summary.", rich_help_panel=_OUTPUTS)
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Stop at what nobody foresaw, with a traceback.", rich_help_panel=_OUTPUTS),
    ] = False,
) -> int:
    """Judge recordings: synthetic speech or not, where, and how strongly the evidence speaks.

    Example: spoofcheck scan ./recordings --json result.json --report report.html
    """
    from spoofcheck.render import Format

    wanted = {Format.JSON: json_to, Format.JSONL: jsonl_to, Format.CSV: csv_to, Format.HTML: report_to}
    outputs = {form: target for form, target in wanted.items() if target is not None}
    if unknowns == STDOUT:
        raise UsageError("--unknowns -: the names are kept in a file")
    if unknowns is not None and not trace:
        raise UsageError("--no-trace contradicts --unknowns: leave one of them out")
    check_outputs([*outputs.values(), *([] if unknowns is None else [unknowns])])
    batch_windows = parse_batch_size(batch_size)
    inputs = _inputs(paths or [], include or [], exclude or [], files_from)

    # Only now is torch worth its two seconds.
    from spoofcheck.detect.provenance import build_document
    from spoofcheck.detect.scan import Scanner, ScanOptions

    options = ScanOptions(
        hop_s=hop,
        channels=channels.value,
        vad=vad,
        threshold_llr=threshold,
        device=device.value,
        batch_windows=batch_windows,
        workers=workers,
        trace=trace,
        tracer=tracer,
        trace_all=trace_all,
        sources=sources,
        use_sources=not no_sources,
        debug=debug,
    )
    scanner = Scanner(model, options)
    case = _case(scanner, unknowns)
    started_at = datetime.now(UTC)
    findings, complete = _findings(scanner, inputs, quiet)
    findings, groups, case = _grouped(scanner, findings, case)
    document = build_document(
        scanner,
        findings,
        started_at=started_at,
        complete=complete,
        command_line=["spoofcheck", *sys.argv[1:]],
        unknown_groups=groups,
    )
    problems = _write(document, outputs)
    if unknowns is not None and case is not None:
        problems += _write_case(case, unknowns)
    if not quiet:
        _show(document, table=STDOUT not in outputs.values())
    if problems:
        raise OutputError("; ".join(problems))
    return status_of(findings) if complete else ExitStatus.INTERRUPTED


def parse_batch_size(text: str) -> int | None:
    """Windows per forward pass as `--batch-size` gives them, None for `auto`. Raises UsageError for anything else."""
    if text == "auto":
        return None
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"--batch-size {text}: neither 'auto' nor a number of windows above 0")


def _inputs(
    paths: Sequence[Path], include: Sequence[str], exclude: Sequence[str], files_from: Path | None
) -> list[Path | Skipped]:
    from spoofcheck.audio.inputs import find_inputs, read_file_list

    listed = read_file_list(files_from) if files_from is not None else []
    if not paths and files_from is None:
        raise UsageError("scan: name at least one recording or folder, or use --files-from")
    inputs = list(find_inputs([*paths, *listed], include=include, exclude=exclude))
    if not inputs:
        raise UsageError("scan: no recordings found in the given folders (see docs/formats.md for what is read)")
    return inputs


def _findings(scanner: Scanner, inputs: Sequence[Path | Skipped], quiet: bool) -> tuple[list[Finding], bool]:
    """All findings, and whether the scan came to its end; Ctrl-C keeps those that are done."""
    from rich.console import Console

    from spoofcheck.cli.progress import RichProgress

    findings: list[Finding] = []
    try:
        with RichProgress(Console(stderr=True), enabled=not quiet) as progress:
            for finding in scanner.findings(inputs, progress):
                findings.append(finding)
    except KeyboardInterrupt:
        return findings, False
    return findings, True


def _case(scanner: Scanner, unknowns: Path | None) -> CaseUnknowns | None:
    """The case's unknown exhibits of earlier scans; None when no file is named."""
    from spoofcheck.detect.caseunknowns import read_case
    from spoofcheck.detect.exhibittracer import identity_of
    from spoofcheck.detect.scan import NO_TRACER

    if unknowns is None:
        return None
    if scanner.tracer is None:
        raise UsageError(f"--unknowns: {NO_TRACER.format(model=scanner.bundle.config.name)}")
    config = scanner.tracer.bundle.config
    if config.link_calibration is None:
        raise UsageError(f"--unknowns: the tracer {config.name} {config.version} is not calibrated to group exhibits")
    return read_case(unknowns, identity_of(scanner.tracer.bundle))


def _grouped(
    scanner: Scanner, findings: list[Finding], case: CaseUnknowns | None
) -> tuple[list[Finding], tuple[UnknownGroup, ...], CaseUnknowns | None]:
    """The findings with the names of groups of unknown exhibits, and the case as it is now."""
    from spoofcheck.detect.clusters import group_unknowns

    calibration = None if scanner.tracer is None else scanner.tracer.bundle.config.link_calibration
    if calibration is None:
        return findings, (), case
    named, groups, case = group_unknowns(findings, calibration, case)
    return list(named), groups, case


def _write_case(case: CaseUnknowns, target: Path) -> list[str]:
    """Write the case's unknown exhibits, or say why not."""
    from spoofcheck.detect.caseunknowns import case_json

    try:
        write_output(target, case_json(case))
    except OutputError as error:
        return [str(error)]
    return []


def _write(document: ScanDocument, outputs: dict[Format, Path]) -> list[str]:
    """Write every output that can be written; the problems of the others."""
    from spoofcheck.render import render

    problems = []
    for form, target in outputs.items():
        try:
            write_output(target, render(document, form))
        except OutputError as error:
            problems.append(str(error))
    return problems


def _show(document: ScanDocument, table: bool) -> None:
    from rich.console import Console

    from spoofcheck.render.console import ScanTable, summary

    if table:
        Console().print(ScanTable(document))
    Console(stderr=True).print(summary(document), highlight=False, markup=False, end="")
