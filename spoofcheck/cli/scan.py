"""`spoofcheck scan`: judge recordings and write what was found."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spoofcheck.cli.engine import EngineChoice, EngineName
from spoofcheck.cli.options import batch_size_option, device_option, parse_batch_size, parse_duration_s, workers_option
from spoofcheck.cli.output import STDOUT, write_output
from spoofcheck.cli.status import status_of
from spoofcheck.cli.store import check_store_options, result_store
from spoofcheck.cli.telling import control_warnings, custody_warnings, show, warn
from spoofcheck.cluster.places import Entry, Place, find_places, place_of, shown, without_secrets
from spoofcheck.errors import OutputError, UsageError

if TYPE_CHECKING:
    from spoofcheck.cli.engine import Engine
    from spoofcheck.detect.caseunknowns import CaseUnknowns
    from spoofcheck.detect.evidence import EvidenceOptions, ExcerptChoice
    from spoofcheck.detect.resultstore import ResultStore
    from spoofcheck.detect.scan import Scanner
    from spoofcheck.schema import CaseInfo, EvidenceKind, Finding, ScanDocument, ShardInfo, UnknownGroup
    from spoofcheck.sharding import Shard

LEDGER_NAME = "case.jsonl"
"""Of the ledger beside a case file."""
_MAX_NOTE_CHARS = 4_000


class Channels(StrEnum):
    """How the channels of a recording are examined."""

    AUTO = "auto"
    MIX = "mix"
    EACH = "each"


class Precision(StrEnum):
    """What the network computes in."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BF16 = "bf16"


class Runtime(StrEnum):
    """What runs the network."""

    TORCH = "torch"
    ONNX = "onnx"


_INPUTS = "Inputs"
_ANALYSIS = "Analysis"
_TRACING = "Tracing"
_MOST_WITH_EXCERPTS = 100
_EVIDENCE = "Evidence"
_STORE = "Result store"
_OUTPUTS = "Outputs"


def scan(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Recordings and folders (searched recursively); with --engine ray also addresses: s3://, gs://, "
            "az://, https://.",
            show_default=False,
        ),
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
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Scan only the I-th of N parts of the inputs; 'spoofcheck merge' joins the results.",
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
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Let the network hear only so much of each exhibit (60s, 5m, 1h), in windows spread evenly over the "
            "speech.",
            rich_help_panel=_ANALYSIS,
            show_default="all of it",
        ),
    ] = None,
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
    device: Annotated[str, device_option(_ANALYSIS)] = "auto",
    precision: Annotated[
        Precision,
        typer.Option(
            help="What the network computes in; auto: bf16 where the device has it and its error was measured.",
            rich_help_panel=_ANALYSIS,
        ),
    ] = Precision.AUTO,
    runtime: Annotated[
        Runtime,
        typer.Option(help="What runs the network; onnx needs the extra of that name.", rich_help_panel=_ANALYSIS),
    ] = Runtime.TORCH,
    batch_size: Annotated[
        str, batch_size_option(_ANALYSIS, "Windows per forward pass on a GPU; a CPU takes one at a time.")
    ] = "auto",
    workers: Annotated[int | None, workers_option(_ANALYSIS)] = None,
    isolate: Annotated[
        bool | None,
        typer.Option(
            "--isolate/--no-isolate",
            help="Read in processes with limits on time and memory, so that a hostile file costs itself alone.",
            rich_help_panel=_ANALYSIS,
            show_default="on a GPU, and for 20 inputs or more",
        ),
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(
            help="What runs the scan; ray, over all cores of this machine or a cluster, needs the extra 'cluster'.",
            rich_help_panel=_ANALYSIS,
        ),
    ] = EngineName.LOCAL,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="auto|HOST:PORT",
            help="Ray cluster to join.",
            rich_help_panel=_ANALYSIS,
            show_default="one of this machine's cores is started",
        ),
    ] = None,
    networks: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Actors that run the network with --engine ray; --workers are those that read.",
            rich_help_panel=_ANALYSIS,
            show_default="one a GPU, or half the cores",
        ),
    ] = None,
    case_file: Annotated[
        Path | None,
        typer.Option(
            "--case",
            metavar="CASE.toml",
            help="Case number, exhibits' references, chain of custody for the report: see 'spoofcheck case'.",
            rich_help_panel=_EVIDENCE,
            show_default=False,
        ),
    ] = None,
    note: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The examiner's own words for the report; refused when they say more than a report can.",
            rich_help_panel=_EVIDENCE,
            show_default=False,
        ),
    ] = None,
    acoustics: Annotated[
        bool | None,
        typer.Option(
            "--acoustics/--no-acoustics",
            help="Measure voice, spectrum and rhythm beside the network.",
            rich_help_panel=_EVIDENCE,
            show_default="with a report",
        ),
    ] = None,
    pictures: Annotated[
        bool | None,
        typer.Option(
            "--pictures/--no-pictures",
            help="Keep waveform, speech and spectrogram in the result.",
            rich_help_panel=_EVIDENCE,
            show_default="with a report or label tracks",
        ),
    ] = None,
    excerpts: Annotated[
        bool,
        typer.Option(
            "--excerpts",
            help="Keep the strongest windows for and against the conclusion, to listen to; of flagged exhibits alone "
            "with more than 100 inputs.",
            rich_help_panel=_EVIDENCE,
        ),
    ] = False,
    stability: Annotated[
        bool,
        typer.Option(
            "--stability",
            help="Judge exhibits again after eight changes that should not matter; ten times slower.",
            rich_help_panel=_EVIDENCE,
        ),
    ] = False,
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep findings here, and take those of recordings that the same run judged before: see 'spoofcheck "
            "store'.",
            rich_help_panel=_STORE,
            show_default="spoofcheck/results in the user's cache",
        ),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Judge everything anew; what is found replaces what was kept.", rich_help_panel=_STORE
        ),
    ] = False,
    no_store: Annotated[
        bool, typer.Option("--no-store", help="Neither take nor keep findings.", rich_help_panel=_STORE)
    ] = False,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls/--no-controls",
            help="Score two recordings of known origin first; exit with 2 when they misbehave.",
            rich_help_panel=_EVIDENCE,
        ),
    ] = True,
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Add an entry on this scan to a case ledger; made when missing.",
            rich_help_panel=_EVIDENCE,
            show_default=f"{LEDGER_NAME} beside the case file",
        ),
    ] = None,
    reproducible: Annotated[
        bool,
        typer.Option(
            "--reproducible",
            help="Leave times and the machine's name out, so that two runs write the same bytes.",
            rich_help_panel=_EVIDENCE,
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
    from spoofcheck.cli.writing import Outputs, enter, table_targets, write_all
    from spoofcheck.ledger import Kind
    from spoofcheck.render import Format
    from spoofcheck.sharding import parse_shard

    wanted = {Format.JSON: json_to, Format.JSONL: jsonl_to, Format.CSV: csv_to, Format.HTML: report_to}
    if unknowns == STDOUT:
        raise UsageError("--unknowns -: the names are kept in a file")
    if unknowns is not None and not trace:
        raise UsageError("--no-trace contradicts --unknowns: leave one of them out")
    part = None if shard is None else parse_shard(shard)
    if part is not None and unknowns is not None:
        raise UsageError("--shard contradicts --unknowns: give it to 'spoofcheck merge', which sees all of them")
    case_info = _case_info(case_file)
    note = _checked_note(note)
    outputs = Outputs(
        forms={form: target for form, target in wanted.items() if target is not None},
        labels=labels_to,
        pdf=pdf_to,
        tables=table_targets(parquet_to, duckdb_to),
        ledger=ledger or (None if case_file is None else case_file.parent / LEDGER_NAME),
    )
    outputs.check([] if unknowns is None else [unknowns])
    check_store_options(store, fresh=fresh, no_store=no_store)
    batch_windows = parse_batch_size(batch_size)
    budget_s = None if budget is None else parse_duration_s("--budget", budget)
    all_inputs = _inputs(paths or [], include or [], exclude or [], files_from)
    inputs = all_inputs if part is None else part.of(all_inputs)
    choice = EngineChoice(engine, ray_address, networks)
    choice.check(all_inputs, isolate)
    all_places = [place_of(entry) for entry in all_inputs]
    read = [*(each for each in all_places if isinstance(each, Path)), case_file, sources, files_from]
    outputs.check_spare([each for each in read if each is not None], [] if unknowns is None else [unknowns])

    # Only now is torch worth its two seconds.
    from spoofcheck.detect.evidence import EvidenceOptions
    from spoofcheck.detect.provenance import build_document, model_info
    from spoofcheck.detect.scan import Scanner, ScanOptions

    with_report = report_to is not None or pdf_to is not None
    options = ScanOptions(
        hop_s=hop,
        channels=channels.value,
        vad=vad,
        budget_s=budget_s,
        threshold_llr=threshold,
        device=device,
        precision=precision.value,
        runtime=runtime.value,
        batch_windows=batch_windows,
        workers=workers,
        isolation="auto" if isolate is None else "processes" if isolate else "threads",
        trace=trace,
        tracer=tracer,
        trace_all=trace_all,
        sources=sources,
        use_sources=not no_sources,
        evidence=EvidenceOptions(
            acoustics=with_report if acoustics is None else acoustics,
            pictures=(with_report or labels_to is not None) if pictures is None else pictures,
            excerpts=_excerpt_choice(excerpts, len(all_inputs)),
            stability=stability,
        ),
        debug=debug,
    )
    scanner = Scanner(model, choice.asking_options(options))
    model_of_run = model_info(scanner.bundle)
    case = _case(scanner, unknowns)
    started_at = datetime.now(UTC)
    with choice.engine(scanner, model, options) as running:
        results = None if no_store else result_store(running.run_identity(), store, fresh=fresh)
        with results or nullcontext():
            scored = running.control_results() if controls else ()
            examined, complete = _examined(running, options.evidence.cost, inputs, quiet, results)
    findings = [finding for _, found in examined for finding in found]
    groups: tuple[UnknownGroup, ...] = ()
    if part is None:  # else over the findings of all shards
        findings, groups, case = _grouped(scanner, findings, case)
    places = [path for path, found in examined for _ in found]
    if case_info is not None and case_file is not None:
        findings = _referenced(findings, places, all_places, case_info, case_file.parent)
    if with_report or json_to is not None:
        findings = _checked_again(findings, places)
    document = build_document(
        scanner,
        findings,
        started_at=started_at,
        complete=complete,
        command_line=["spoofcheck", *map(without_secrets, sys.argv[1:])],
        unknown_groups=groups,
        model=model_of_run,
        case=case_info,
        note=note,
        controls=scored,
        shard=None if part is None else _shard_info(part, all_places, examined, options.evidence),
        from_store=0 if results is None else results.from_store,
    )
    document = running.described(document)
    kept = _reproducible(document) if reproducible else document
    written = write_all(kept, outputs)
    if unknowns is not None and case is not None:
        written.problems += _write_case(case, unknowns)
    warnings = [*control_warnings(scored), *custody_warnings(findings)]
    if outputs.ledger is not None:
        written.problems += enter(outputs.ledger, Kind.SCAN, kept, written, warnings)
    if not quiet:
        show(document, table=STDOUT not in outputs.forms.values(), store=None if results is None else results.folder)
    warn(warnings)
    if written.problems:
        raise OutputError("; ".join(written.problems))
    return status_of(findings, scored, complete=complete, part=part is not None)


def _excerpt_choice(wanted: bool, inputs: int) -> ExcerptChoice:
    """A page with the sound of hundreds of exhibits would be too large to open."""
    if not wanted:
        return "none"
    return "all" if inputs <= _MOST_WITH_EXCERPTS else "flagged"


def _inputs(
    paths: Sequence[str], include: Sequence[str], exclude: Sequence[str], files_from: Path | None
) -> list[Entry]:
    from spoofcheck.audio.inputs import read_names

    listed = read_names(files_from) if files_from is not None else []
    if not paths and files_from is None:
        raise UsageError("scan: name at least one recording or folder, or use --files-from")
    inputs = list(find_places([*paths, *listed], include=include, exclude=exclude))
    if not inputs:
        raise UsageError("scan: no recordings found in the given folders (see docs/formats.md for what is read)")
    return inputs


def _case_info(case_file: Path | None) -> CaseInfo | None:
    from spoofcheck.casefile import read_case

    return None if case_file is None else read_case(case_file)


def _checked_note(note: str | None) -> str | None:
    """The examiner's note without blanks around it.

    Raises:
        UsageError: it is empty, too long, or says what a report must never say.
    """
    from spoofcheck.render.guard import check_note

    if note is None:
        return None
    text = note.strip()
    if not text:
        raise UsageError("--note: the text is empty")
    if len(text) > _MAX_NOTE_CHARS:
        raise UsageError(f"--note: {len(text):,} characters; at most {_MAX_NOTE_CHARS:,} are kept")
    check_note(text)
    return text


def _examined(
    engine: Engine, evidence_cost: float, inputs: Sequence[Entry], quiet: bool, store: ResultStore | None
) -> tuple[list[tuple[Place, tuple[Finding, ...]]], bool]:
    """Inputs with all their findings, and whether the scan came to its end; Ctrl-C keeps those that are done."""
    from rich.console import Console

    from spoofcheck.cli.progress import RichProgress

    examined: list[tuple[Place, tuple[Finding, ...]]] = []
    try:
        with RichProgress(Console(stderr=True), not quiet, evidence_cost) as progress:
            for pair in engine.examined_inputs(inputs, progress, store):
                examined.append(pair)
    except KeyboardInterrupt:
        return examined, False
    return examined, True


def _referenced(
    findings: Sequence[Finding], places: Sequence[Place], all_places: Sequence[Place], case: CaseInfo, folder: Path
) -> list[Finding]:
    """The findings with what the case file calls their recordings; a name alone must be the only one of all inputs."""
    from spoofcheck.casefile import exhibits_of

    named = exhibits_of(case, [place for place in all_places if isinstance(place, Path)], folder)
    exhibits = [named.get(place) if isinstance(place, Path) else None for place in places]
    return [
        finding if exhibit is None else finding.model_copy(update={"exhibit": exhibit.reference})
        for finding, exhibit in zip(findings, exhibits, strict=True)
    ]


def _checked_again(findings: Sequence[Finding], places: Sequence[Place]) -> list[Finding]:
    """The findings with the hashes of their files at the end of the run; Ctrl-C leaves the rest unchecked.

    Remote ones are not: they would have to be fetched again.
    """
    from spoofcheck.detect.custody import check_again, with_custody
    from spoofcheck.schema import CustodyCheck

    checks: dict[tuple[Path, str], CustodyCheck] = {}
    checked = list(findings)
    try:
        for number, (finding, place) in enumerate(zip(findings, places, strict=True)):
            if finding.sha256 is None or not isinstance(place, Path):
                continue
            key = (place, finding.sha256)
            if key not in checks:
                checks[key] = check_again(*key)
            checked[number] = with_custody(finding, checks[key])
    except KeyboardInterrupt:
        pass
    return checked


def _shard_info(
    part: Shard,
    all_places: Sequence[Place],
    examined: Sequence[tuple[Place, Sequence[Finding]]],
    evidence: EvidenceOptions,
) -> ShardInfo:
    asked: dict[EvidenceKind, bool] = {
        "acoustics": evidence.acoustics,
        "pictures": evidence.pictures,
        "excerpts": evidence.excerpts != "none",
        "stability": evidence.stability,
    }
    kinds = [kind for kind, is_asked in asked.items() if is_asked]
    return part.info([shown(place) for place in all_places], [len(found) for _, found in examined], kinds)


def _reproducible(document: ScanDocument) -> ScanDocument:
    from spoofcheck.render.canonical import reproducible

    return reproducible(document)


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
