"""`spoofcheck verify`: is a report, or a result document, still what was written, and does it still hold?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.output import write_output
from spoofcheck.errors import UsageError

if TYPE_CHECKING:
    from spoofcheck.cli.verifying import Check, Difference, Evidence
    from spoofcheck.detect.runner import Runtime
    from spoofcheck.detect.scorer import DeviceName
    from spoofcheck.nets.precision import Precision
    from spoofcheck.schema import Finding, ScanDocument

_SHOWN_DIFFERENCES = 200
_SHA256 = re.compile(r"[0-9a-f]{64}")


def verify(
    file: Annotated[Path, typer.Argument(metavar="REPORT.html|SCAN.json", help="What to verify.")],
    exhibits: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Look here for the recordings, by their hashes.", show_default=False),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Scan the recordings again and compare every score.")
    ] = False,
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Compare with the case ledger, and add this verification.", show_default=False
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="SHA256", help="A head of the ledger, written down elsewhere.", show_default=False),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record/--no-record", help="Add an entry on this verification to the ledger.")
    ] = True,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="The model.", show_default="the shipped one of the recorded name"),
    ] = None,
    tracer: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="The tracer.", show_default="the shipped one of the recorded name"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON to standard output instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Check the hashes of a report, its text, the recordings and the model; nothing in the file is run.

    Exits with 0 when all is as it was, 1 when something differs, 2 when something cannot be checked. Example:
    spoofcheck verify report.html --exhibits recordings --ledger case.jsonl
    """
    from spoofcheck.cli import verifying
    from spoofcheck.cli.ledger import checked_head

    if recompute and exhibits is None:
        raise UsageError("--recompute: say with --exhibits where the recordings are")
    if head is not None and ledger is None:
        raise UsageError("--head: there is no ledger; name it with --ledger")
    known_head = checked_head(head)
    evidence = verifying.read_evidence(file)
    check, document = verifying.check_document(evidence)
    checks: list[Check] = [check]
    differing: list[Difference] = []
    if document is None:
        text = "the result document cannot be read, so nothing else can be checked"
        checks.append(verifying.Check("all else", verifying.Outcome.CANNOT, text))
    else:
        more, differing = _checks(evidence, document, exhibits, recompute, model, tracer, quiet)
        checks += more
    if ledger is not None:
        checks += verifying.check_entries(evidence, ledger, known_head)
    status = verifying.worst(checks)
    if json:
        write_output(Path("-"), _json(evidence, checks, differing, status))
    else:
        _show(evidence, checks, differing, status)
    if ledger is not None and record:
        _record(ledger, evidence, document, checks)
    return status


def _checks(
    evidence: Evidence,
    document: ScanDocument,
    exhibits: Path | None,
    recompute: bool,
    model: str | None,
    tracer: str | None,
    quiet: bool,
) -> tuple[list[Check], list[Difference]]:
    """All checks that need a document, in the order of the table."""
    from spoofcheck.cli import verifying
    from spoofcheck.render import Format, render

    checks = []
    if evidence.page is not None:
        checks.append(verifying.check_page(evidence, document, lambda each: render(each, Format.HTML)))
    found: dict[str, Path] = {}
    if exhibits is None:
        checks.append(verifying.Check("exhibits", verifying.Outcome.NOT_ASKED, "name their folder with --exhibits"))
    else:
        of_exhibits, found = verifying.check_exhibits(document, exhibits)
        checks += of_exhibits
    check, directory = verifying.check_model(document.model, "model", model)
    checks.append(check)
    if document.tracer is not None:
        checks.append(verifying.check_model(document.tracer, "tracer", tracer)[0])
    if not recompute:
        text = "scores were not computed again; --recompute does"
        checks.append(verifying.Check("scores", verifying.Outcome.NOT_ASKED, text))
        return checks, []
    if directory is None or not found:
        lacking = "the model that scored" if directory is None else "any of the recordings as they were examined"
        text = f"scores cannot be computed again without {lacking}"
        checks.append(verifying.Check("scores", verifying.Outcome.CANNOT, text))
        return checks, []
    check, differing = _recomputed(document, directory, found, quiet)
    return [*checks, check], differing


def _recomputed(
    document: ScanDocument, model: Path, found: Mapping[str, Path], quiet: bool
) -> tuple[Check, list[Difference]]:
    """Scan the recordings again, with the recorded options, and compare. Sources are not traced again."""
    import platform

    from rich.console import Console

    from spoofcheck.cli.progress import RichProgress
    from spoofcheck.cli.verifying import (
        check_scores,
        differences,
        exhibit_labels,
        same_kind_of_machine,
        stated_differences,
    )
    from spoofcheck.detect.evidence import EvidenceOptions
    from spoofcheck.detect.provenance import model_info, options_info, runtime_libraries
    from spoofcheck.detect.scan import Scanner, ScanOptions
    from spoofcheck.detect.toolinfo import tool_info
    from spoofcheck.nets.config import DecisionConfig

    options = document.options
    scanner = Scanner(
        model,
        ScanOptions(
            hop_s=options.hop_s,
            channels=options.channels,
            vad=options.vad,
            budget_s=options.budget_s,
            threshold_llr=options.spoof_threshold_llr,
            device=_device(options.device),
            precision=_precision(options.dtype, _device(options.device)),
            runtime=_runtime(options.runtime),
            # A verdict that a flip made inconclusive comes out again only with the same test.
            evidence=EvidenceOptions(stability=any(finding.stability for finding in document.findings)),
            trace=False,
        ),
    )
    with RichProgress(Console(stderr=True), not quiet, scanner.options.evidence.cost) as progress:
        again = list(scanner.findings(found.values(), progress))
    labels = exhibit_labels(document)
    in_force = options_info(scanner)
    rule = {name: getattr(in_force, name) for name in DecisionConfig.model_fields}
    differing = list(stated_differences(document, model_info(scanner.bundle), rule))
    for path, recorded in _by_path(finding for finding in document.findings if finding.sha256 in found).items():
        digest = recorded[0].sha256
        differing += differences(labels[path], recorded, [finding for finding in again if finding.sha256 == digest])
    libraries = tool_info((), runtime_libraries(scanner)).libraries
    same = same_kind_of_machine(document, str(scanner.scorer.device), platform.platform(), libraries)
    same = same and (in_force.dtype, in_force.runtime) == (options.dtype, options.runtime)
    return check_scores(differing, len(found), same_kind=same, dtype=options.dtype), differing


def _by_path(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """The findings of each recording: one, or one per channel."""
    grouped: dict[str, list[Finding]] = {}
    for finding in findings:
        grouped.setdefault(finding.path, []).append(finding)
    return grouped


def _device(recorded: str) -> DeviceName:
    """The kind of device that the document names, where this machine has it; else the CPU."""
    import torch

    if recorded.startswith("cuda") and torch.cuda.is_available():
        return "cuda"
    return "mps" if recorded.startswith("mps") and torch.backends.mps.is_available() else "cpu"


def _precision(recorded: str, device: DeviceName) -> Precision:
    """What the document's scores were computed in, where this machine has it; else float32."""
    from spoofcheck.nets.precision import has_native_bf16

    return "bf16" if recorded != "float32" and (device == "cuda" or has_native_bf16()) else "float32"


def _runtime(recorded: Runtime) -> Runtime:
    """The runtime that the document names, where its packages are installed; else torch."""
    from importlib.util import find_spec

    return recorded if recorded == "torch" or (find_spec("onnx") and find_spec("onnxruntime")) else "torch"


def _show(evidence: Evidence, checks: Sequence[Check], differing: Sequence[Difference], status: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from spoofcheck.cli.verifying import Outcome
    from spoofcheck.render.text import printable

    styles = {Outcome.OK: "green", Outcome.DIFFERS: "bold red", Outcome.CANNOT: "yellow", Outcome.NOT_ASKED: "dim"}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("check", "outcome", "what was found"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "outcome")
    for check in checks:
        cells = (Text(printable(check.what)), Text(check.outcome, style=styles[check.outcome]))
        table.add_row(*cells, Text(printable(check.message)))
    console = Console()
    console.print(table)
    if differing:
        figures = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("exhibit", "figure", "recorded", "computed again", "difference"):
            figures.add_column(heading, overflow="fold", justify="right" if heading == "difference" else "left")
        for each in differing[:_SHOWN_DIFFERENCES]:
            size = f"{each.size:.2g}" if each.size != float("inf") else ""
            texts = (each.exhibit, each.what, _figure(each.recorded), _figure(each.found), size)
            figures.add_row(*(Text(printable(text)) for text in texts))
        console.print()
        console.print(figures)
        if len(differing) > _SHOWN_DIFFERENCES:
            console.print(f"and {len(differing) - _SHOWN_DIFFERENCES:,} more (--json has all)", highlight=False)
    verdicts = {
        0: "all that was checked is as it was",
        1: "SOMETHING DIFFERS: do not rely on this file before it is explained",
        2: "something could not be checked",
    }
    console.print()
    console.print(Text(f"{evidence.name}: {verdicts[status]}"))


def _figure(value: float | str | None) -> str:
    return "none" if value is None else f"{value:+.7f}" if isinstance(value, float) else value[:64]


def _json(evidence: Evidence, checks: Sequence[Check], differing: Sequence[Difference], status: int) -> str:
    import json
    import math

    from spoofcheck.render.canonical import report_id_of
    from spoofcheck.render.json import escape_unsafe
    from spoofcheck.schema import escape_undecodable

    sizes = [each.size for each in differing if math.isfinite(each.size)]
    document = {
        "file": evidence.name,
        "file_sha256": evidence.sha256,
        "report_id": report_id_of(evidence.document_sha256),
        "document_sha256": evidence.document_sha256,
        "exit_code": status,
        "checks": [{"what": check.what, "outcome": check.outcome, "message": check.message} for check in checks],
        "largest_difference": max(sizes, default=None),
        "differences": [
            {"exhibit": each.exhibit, "what": each.what, "recorded": each.recorded, "found": each.found}
            for each in differing
        ],
    }
    return escape_unsafe(escape_undecodable(json.dumps(document, indent=2, ensure_ascii=False))) + "\n"


def _record(ledger: Path, evidence: Evidence, document: ScanDocument | None, checks: Sequence[Check]) -> None:
    """Add an entry on this verification; a ledger whose chain is broken takes none."""
    from spoofcheck.cli.verifying import Outcome
    from spoofcheck.ledger import Kind, Subjects, append_entry, check_ledger

    if check_ledger(ledger):
        typer.echo(f"{ledger}: the chain is broken, so this verification is not entered", err=True)
        return
    unlike = [check.what for check in checks if check.outcome is Outcome.DIFFERS]
    unsure = [check.what for check in checks if check.outcome is Outcome.CANNOT]
    parts = [
        *([f"differs: {', '.join(unlike[:20])}"] if unlike else []),
        *([f"could not be checked: {', '.join(unsure[:20])}"] if unsure else []),
    ]
    note = "; ".join(parts) or f"as it was: {', '.join(c.what for c in checks if c.outcome is Outcome.OK)}"
    hashes = dict.fromkeys(f.sha256 for f in document.findings if f.sha256) if document else {}
    subjects = Subjects(
        document=evidence.document_sha256,
        report=evidence.sha256 if evidence.page is not None else None,
        exhibits=tuple(digest for digest in hashes if _SHA256.fullmatch(digest)),
    )
    append_entry(ledger, Kind.VERIFICATION, subjects, note[:1_000], must_exist=True)
