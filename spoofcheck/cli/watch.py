"""`spoofcheck watch`: judge recordings as they arrive in folders, until it is told to stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from spoofcheck.cli.findinglog import FindingLog
from spoofcheck.cli.flaggedreports import FlaggedReports, is_flagged
from spoofcheck.cli.options import batch_size_option, device_option, parse_batch_size, parse_duration_s, workers_option
from spoofcheck.cli.output import STDOUT, check_outputs
from spoofcheck.cli.scan import Channels, Precision, Runtime
from spoofcheck.cli.stopping import StopAtSignal
from spoofcheck.cli.store import check_store_options, result_store
from spoofcheck.cli.telling import control_warnings
from spoofcheck.cli.watchtelling import Tally, Teller
from spoofcheck.errors import UsageError

if TYPE_CHECKING:
    from spoofcheck.detect.folderwatch import FolderWatch
    from spoofcheck.detect.hearing import FindingStore
    from spoofcheck.detect.scan import Scanner
    from spoofcheck.schema import ControlResult, Finding

_WATCHING = "Watching"
_ANALYSIS = "Analysis"
_TRACING = "Tracing"
_STORE = "Result store"
_OUTPUTS = "Outputs"


def watch(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders to watch, with all that is in them.", show_default=False)
    ],
    settle: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="A file is read when it stayed the same for this long.",
            rich_help_panel=_WATCHING,
        ),
    ] = 2.0,
    new_only: Annotated[
        bool, typer.Option("--new-only", help="Leave out what is there at the start.", rich_help_panel=_WATCHING)
    ] = False,
    poll: Annotated[
        bool,
        typer.Option(
            "--poll",
            help="List the folders every 5 seconds instead of asking the kernel: for network folders.",
            rich_help_panel=_WATCHING,
        ),
    ] = False,
    rescan: Annotated[
        float,
        typer.Option(
            min=1.0,
            metavar="SECONDS",
            help="List all files this often, to find those that no event told of.",
            rich_help_panel=_WATCHING,
        ),
    ] = 60.0,
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
            help="auto: mix near-identical channels, else score each, as call legs are.", rich_help_panel=_ANALYSIS
        ),
    ] = Channels.AUTO,
    vad: Annotated[
        bool, typer.Option("--vad/--no-vad", help="Leave windows without speech unscored.", rich_help_panel=_ANALYSIS)
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
        bool,
        typer.Option(
            "--isolate/--no-isolate",
            help="Read in processes with limits on time and memory, so that a hostile file costs itself alone.",
            rich_help_panel=_ANALYSIS,
        ),
    ] = True,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls/--no-controls",
            help="Score two recordings of known origin first; do not begin when they misbehave.",
            rich_help_panel=_ANALYSIS,
        ),
    ] = True,
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
    jsonl_to: Annotated[
        Path | None,
        typer.Option(
            "--jsonl",
            metavar="FILE",
            help="Append a JSON line per finding; what is there already is not written again.",
            rich_help_panel=_OUTPUTS,
            show_default=False,
        ),
    ] = None,
    report_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a self-contained report of every flagged recording; the folder is made when missing.",
            rich_help_panel=_OUTPUTS,
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No line per finding, no summary.", rich_help_panel=_OUTPUTS)
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Stop at what nobody foresaw, with a traceback.", rich_help_panel=_OUTPUTS),
    ] = False,
) -> int:
    """Judge recordings as they arrive in folders, until Ctrl-C or SIGTERM.

    Example: spoofcheck watch ./incoming --jsonl findings.jsonl --report-dir ./flagged
    """
    roots = list(dict.fromkeys(folder.absolute() for folder in folders))
    batch_windows = parse_batch_size(batch_size)
    budget_s = None if budget is None else parse_duration_s("--budget", budget)
    if jsonl_to == STDOUT:
        raise UsageError("--jsonl -: findings are appended to a file; name one")
    check_store_options(store, fresh=fresh, no_store=no_store)
    jsonl_to, report_dir, store = (None if each is None else each.absolute() for each in (jsonl_to, report_dir, store))
    _check_outputs(jsonl_to, [report_dir, store], roots)

    from spoofcheck.detect.folderwatch import FolderWatch, WatchOptions, check_roots

    check_roots(roots)

    # Only now is torch worth its two seconds.
    from spoofcheck.detect.controls import control_results
    from spoofcheck.detect.provenance import build_document
    from spoofcheck.detect.scan import Scanner, ScanOptions

    with ExitStack() as stack:
        stop = stack.enter_context(StopAtSignal())
        scanner = Scanner(
            model,
            ScanOptions(
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
                isolation="processes" if isolate else "threads",
                trace=trace,
                tracer=tracer,
                debug=debug,
            ),
        )
        if scanner.processes is not None:
            stack.enter_context(scanner.processes)
        scored = control_results(scanner.bare()) if controls else ()
        _require_controls(scored)
        origin = build_document(
            scanner,
            [],
            started_at=datetime.now(UTC),
            complete=False,
            command_line=["spoofcheck", *sys.argv[1:]],
            controls=scored,
        )
        teller = Teller(origin, quiet=quiet)
        kept = None if no_store else result_store(scanner, store, fresh=fresh)
        if kept is not None:
            stack.enter_context(kept)
        log = None if jsonl_to is None else stack.enter_context(FindingLog(jsonl_to, origin))
        reports = None if report_dir is None else FlaggedReports(report_dir, scanner, origin)
        own = [each for each in (jsonl_to, report_dir, None if kept is None else kept.folder) if each is not None]
        options = WatchOptions(settle_s=settle, rescan_s=rescan, new_only=new_only, poll=poll)
        watching = stack.enter_context(FolderWatch(roots, options, own, teller.notice))
        teller.begin(roots)
        outlets = _Outlets(teller, log, reports)
        try:
            _run(scanner, watching, kept, stop, outlets)
        except KeyboardInterrupt:
            teller.end(outlets.tally, watching.vanished, watching.unexamined)
            return outlets.tally.status(unexamined=watching.unexamined)


@dataclass(slots=True)
class _Outlets:
    """Where findings go."""

    teller: Teller
    log: FindingLog | None
    reports: FlaggedReports | None
    tally: Tally = field(default_factory=Tally)

    def put(self, findings: Sequence[Finding]) -> None:
        """To the file first: what is told is on disk."""
        if self.log is not None:
            self.log.append(findings)
        self.tally.add(findings)
        self.teller.tell(findings)


def _check_outputs(jsonl_to: Path | None, folders: Sequence[Path | None], roots: Sequence[Path]) -> None:
    """Refuse what could not be written, or would have to be watched.

    Raises:
        UsageError: a folder of outputs that is or holds a watched one.
        OutputError: it cannot be written.
    """
    if jsonl_to is not None:
        check_outputs([jsonl_to])
    for folder in folders:
        for root in roots:
            if folder is not None and Path(os.path.realpath(root)).is_relative_to(os.path.realpath(folder)):
                raise UsageError(f"{folder}: what is written there would be watched; name a folder of its own")


def _require_controls(controls: Sequence[ControlResult]) -> None:
    """Raises UsageError when a control misbehaved: no result would be worth anything."""
    warnings = control_warnings(controls)
    if warnings:
        raise UsageError(f"{'; '.join(warnings)}; nothing is watched")


def _run(
    scanner: Scanner, watching: FolderWatch, store: FindingStore | None, stop: StopAtSignal, outlets: _Outlets
) -> NoReturn:
    """Judge what arrives until a signal raises KeyboardInterrupt."""
    while True:
        entries = watching.wait()
        flagged: list[tuple[Path, tuple[Finding, ...]]] = []
        with closing(scanner.examined_inputs(entries, store=store)) as examined:
            for path, findings in examined:
                with stop.held():
                    if watching.done(path, findings):
                        outlets.put(findings)
                        if outlets.reports is not None and is_flagged(findings):
                            flagged.append((path, findings))
                watching.notice()
        for path, findings in flagged:
            if outlets.reports is not None and outlets.reports.write(path, findings) is None:
                outlets.teller.notice(f"{findings[0].path}: no report: it is not any more what was judged")
