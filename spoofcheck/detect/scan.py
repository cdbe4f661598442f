"""The pipeline: recordings are read ahead in threads or processes, their windows batched over files, scored and judged.

Data flows one way: `Path -> Window ... RecordingSummary -> WindowScore -> Decision -> Trace -> Evidence -> Finding`.
Findings come in the order of the inputs, whatever the number of readers. One bad input becomes one `skipped` finding;
it never ends a scan.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from spoofcheck.audio.inputs import find_inputs
from spoofcheck.detect.budget import budget_reason, budget_windows
from spoofcheck.detect.decision import decide, with_threshold
from spoofcheck.detect.evidence import EvidenceOptions, Gatherer, Judged, with_evidence
from spoofcheck.detect.exhibittracer import ExhibitTracer, Wanted, enrolled_sources, shipped_twin
from spoofcheck.detect.findings import recording_finding, skipped_finding
from spoofcheck.detect.hearing import FindingStore, HeardRecording, Hearing, ScoredWindow, stored_first
from spoofcheck.detect.isolation import ReaderProcesses
from spoofcheck.detect.limits import MANY_INPUTS, Isolation, ReadLimits
from spoofcheck.detect.progress import NoProgress, Progress
from spoofcheck.detect.readers import Known, ReadItem
from spoofcheck.detect.reading import WindowReading
from spoofcheck.detect.runner import Runtime
from spoofcheck.detect.scorer import DeviceName, WindowScorer
from spoofcheck.detect.tracing import Trace, windows_to_trace
from spoofcheck.detect.validity import window_llr
from spoofcheck.errors import InputError, UsageError
from spoofcheck.nets.bundle import Bundle, load_bundle, load_tracer
from spoofcheck.nets.index import find_model
from spoofcheck.nets.precision import Precision
from spoofcheck.schema import FLAGGED, Finding, Reason
from spoofcheck.types import (
    RecordingSummary,
    Skipped,
    WindowScore,
    samples_to_seconds,
    seconds_to_samples,
)

_HOP_S = 4.0

ChannelMode = Literal["auto", "mix", "each"]

NO_TRACER = "no tracer with the front-end of {model} is shipped; name one with --tracer"
"""Why options on tracing cannot be honoured."""


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What an analyst may choose. Everything else belongs to the model's config."""

    hop_s: float | None = None
    """Distance between windows; None is 4 s, or the model's window where that is shorter."""
    channels: ChannelMode = "auto"
    vad: bool = True
    budget_s: float | None = None
    """Most seconds of audio that the network hears of an exhibit, in windows spread evenly; None is all of it."""
    threshold_llr: float | None = None
    device: DeviceName = "auto"
    precision: Precision = "auto"
    """What the networks compute in; `"auto"` is bfloat16 where the device has it and its shift was measured."""
    runtime: Runtime = "torch"
    """What runs the detector's network on a CPU, and with it a tracer that shares its front-end."""
    batch_windows: int | None = None
    workers: int | None = None
    isolation: Isolation = "auto"
    """Where recordings are read: `"processes"` survive what a hostile file does to a decoder, and keep a GPU busier
    than threads can; `"auto"` takes them for a GPU, and for a scan of many inputs (`limits.MANY_INPUTS`), which no
    single file must end."""
    limits: ReadLimits = field(default_factory=ReadLimits)
    """What reading one recording may take, where processes read."""
    trace: bool = True
    """Compare exhibits judged spoof or partial with the sources that a tracer knows."""
    tracer: str | Path | None = None
    """Which one; None is the shipped one, if the detector has its front-end: then tracing costs no second pass."""
    trace_all: bool = False
    """Trace every exhibit that has a scored window."""
    sources: Path | None = None
    """A store of enrolled sources to compare with too; None is the user's own, if there is one."""
    use_sources: bool = True
    """False: compare with the tracer's own sources alone."""
    evidence: EvidenceOptions = field(default_factory=EvidenceOptions)
    """What to make of every exhibit beside its verdict, in a further reading."""
    debug: bool = False
    """Raise what nobody foresaw instead of skipping the file it happened in."""


class Scanner:
    """A loaded model ready to judge recordings.

    Where processes read, `processes` has them: they live as long as a scan runs, or as long as somebody else holds
    them (`with scanner.processes: ...`), which spares every later scan their start.

    Args:
        model: a shipped model's name, a model directory, or None for the shipped default.
        options: see `ScanOptions`.

    Raises:
        ModelError: the model, the tracer or the store of sources is missing, damaged or not what it should be.
        UsageError: options that contradict each other, or that the model, the tracer or the machine cannot honour.
    """

    def __init__(self, model: str | Path | None = None, options: ScanOptions | None = None) -> None:
        self.options = options or ScanOptions()
        _check_options(self.options)
        self.bundle: Bundle = load_bundle(find_model(model))
        config = self.bundle.config
        self.hop_samples = hop_samples(self.options, config.window_samples)
        if config.calibration is None:
            _check_uncalibrated(self.options, config.name)
        budget_s = self.options.budget_s
        self.budget_windows = None if budget_s is None else budget_windows(budget_s, config.window_samples, config.name)
        self.rule = with_threshold(config.decision, self.options.threshold_llr)
        self.tracer = self._load_tracer()
        self.scorer = WindowScorer(
            self.bundle,
            self.options.device,
            self.options.batch_windows,
            None if self.tracer is None else self.tracer.shared_head,
            self.options.precision,
            self.options.runtime,
        )
        self.processes = ReaderProcesses(self.options.limits) if self._reads_in_processes() else None
        self._gatherer = self._load_gatherer() if self.options.evidence.is_any else None

    def _reads_in_processes(self) -> bool:
        isolation = self.options.isolation
        return isolation == "processes" or (isolation == "auto" and self.scorer.device.type == "cuda")

    @property
    def acoustic_reference_sha256(self) -> str | None:
        """Of what acoustic observations are compared with; None where none are made."""
        return None if self._gatherer is None else self._gatherer.reference_sha256

    def bare(self) -> Scanner:
        """This scanner with the same model, rule and options, but without tracing, budget and further evidence."""
        other = copy.copy(self)
        other.options = replace(
            self.options,
            budget_s=None,
            trace=False,
            tracer=None,
            trace_all=False,
            sources=None,
            evidence=EvidenceOptions(),
        )
        other.budget_windows = None
        other.tracer = None
        other._gatherer = None
        return other

    def varied(self, channels: ChannelMode, evidence: EvidenceOptions) -> Scanner:
        """This scanner with the same model, rule and tracing, but with other channels and evidence.

        Raises:
            ModelError: the acoustic reference is missing or damaged.
            UsageError: libsndfile lacks a codec of the stability test.
        """
        other = copy.copy(self)
        other.options = replace(self.options, channels=channels, evidence=evidence)
        other._gatherer = other._load_gatherer() if evidence.is_any else None
        return other

    def _load_gatherer(self) -> Gatherer:
        from spoofcheck.detect.stability import Judging

        options = self.options
        judging = Judging(
            score=self.scorer.score,
            batch_windows=self.scorer.batch_windows,
            config=self.bundle.config,
            rule=self.rule,
            hop_samples=self.hop_samples,
            vad=options.vad,
        )
        return Gatherer(options.evidence, judging, self._read_again, debug=options.debug)

    def _load_tracer(self) -> ExhibitTracer | None:
        options = self.options
        if not options.trace:
            return None
        if options.tracer is not None:
            bundle = load_tracer(find_model(options.tracer))
        else:
            shipped = shipped_twin(self.bundle)
            if shipped is None:
                for option, is_given in (
                    ("--trace-all", options.trace_all),
                    ("--sources", options.sources is not None),
                ):
                    if is_given:
                        raise UsageError(f"{option}: {NO_TRACER.format(model=self.bundle.config.name)}")
                return None
            bundle = shipped
        enrolled = enrolled_sources(bundle, options.sources) if options.use_sources else None
        return ExhibitTracer(self.bundle, bundle, enrolled, options.device, options.batch_windows, options.precision)

    def findings(self, inputs: Iterable[Path | Skipped], progress: Progress | None = None) -> Iterator[Finding]:
        """Judge inputs one by one, lazily; closing the iterator stops the readers.

        Yields:
            One finding per input, or per channel where channels are scored apart, in the order of `inputs`.
        """
        with closing(self.examined(inputs, progress)) as examined:
            for _, finding in examined:
                yield finding

    def examined(
        self, inputs: Iterable[Path | Skipped], progress: Progress | None = None, store: FindingStore | None = None
    ) -> Generator[tuple[Path, Finding]]:
        """As `findings`, each with the path of its input as it was given: that of a finding is for display."""
        with closing(self.examined_inputs(inputs, progress, store)) as examined:
            for path, findings in examined:
                for finding in findings:
                    yield path, finding

    def examined_inputs(
        self, inputs: Iterable[Path | Skipped], progress: Progress | None = None, store: FindingStore | None = None
    ) -> Generator[tuple[Path, tuple[Finding, ...]]]:
        """As `examined`, with all findings of an input together, as soon as it is done.

        Args:
            inputs: recordings, and what was left out before.
            progress: told what happens while it happens.
            store: knows the findings of recordings that were judged before, and keeps those of the others.
        """
        watcher = progress or NoProgress()
        entries = list(inputs)
        watcher.started([entry for entry in entries if isinstance(entry, Path)])
        hearing = Hearing(
            self.scorer,
            self._read if store is None else stored_first(store, self._read),
            self.options.workers or _default_workers(self.scorer.device.type),
            self.options.debug,
        )
        with self._reader_processes(len(entries)), closing(hearing.recordings(entries, watcher)) as recordings:
            for recording in recordings:
                findings = tuple(self.judged(recording, watcher))
                if store is not None and isinstance(recording.entry, Path):
                    store.keep(recording.entry, findings)
                for finding in findings:
                    watcher.finished(recording.path, finding)
                yield recording.path, findings

    @contextmanager
    def _reader_processes(self, inputs: int) -> Iterator[None]:
        """Hold the processes that read; where there are none yet and inputs are many, for this scan alone."""
        if self.processes is None and self.options.isolation == "auto" and inputs >= MANY_INPUTS:
            self.processes = ReaderProcesses(self.options.limits)
            try:
                with self.processes:
                    yield
            finally:
                self.processes = None
            return
        with self.processes or nullcontext():
            yield

    def first_reading(self) -> WindowReading:
        """How a recording is read to be heard; can be sent to another process."""
        return WindowReading(
            window_samples=self.bundle.config.window_samples,
            hop_samples=self.hop_samples,
            channels=self.options.channels,
            vad=self.options.vad,
            min_window_speech_s=self.rule.min_window_speech_s,
            budget_windows=self.budget_windows,
        )

    def _read(self, path: Path, cancelled: Callable[[], bool]) -> Generator[ReadItem]:
        reading = self.first_reading()
        return reading(path, cancelled) if self.processes is None else self.processes.read(reading, path, cancelled)

    def judged(self, recording: HeardRecording, watcher: Progress) -> Iterator[Finding]:
        """The findings of a recording that was heard: one, or one per channel where channels are scored apart."""
        summary = recording.outcome
        if isinstance(summary, Known):
            yield from summary.findings
            return
        if isinstance(summary, Skipped):
            yield skipped_finding(summary)
            return
        if not recording.has_finite_scores():
            message = "The network gave no finite score; please report this file's properties."
            yield skipped_finding(Skipped(recording.path, "score-not-finite", message))
            return
        config = self.bundle.config
        judged = []
        for channel in summary.channels:
            windows = [self._calibrated(window) for window in recording.windows.get(channel.channel, ())]
            decision = decide(
                windows, summary.file, channel.quality, config.calibration, self.rule, config.validated, config.gate
            )
            judged.append(Judged(channel, windows, decision))
        wanted = {
            each.channel.channel: windows_to_trace(each.windows, self.rule.window_threshold_llr)
            for each in judged
            if self.options.trace_all or each.decision.verdict in FLAGGED
        }
        traces, not_traced = self._traced(summary, wanted, recording)
        evidence = (
            self._gatherer.evidence(summary, judged, lambda position_s: watcher.heard_again(recording.path, position_s))
            if self._gatherer is not None
            else {}
        )
        for each in judged:
            number = each.channel.channel
            warnings = [*self._left_out(each.windows), *(not_traced if wanted.get(number) else ())]
            finding = recording_finding(
                summary, each.channel, each.windows, each.decision, traces.get(number), warnings
            )
            yield with_evidence(finding, evidence[number]) if number in evidence else finding

    def _left_out(self, windows: Sequence[WindowScore]) -> Iterator[Reason]:
        budget_s = self.options.budget_s
        reason = None if budget_s is None else budget_reason(windows, budget_s)
        if reason is not None:
            yield reason

    def _traced(
        self, summary: RecordingSummary, wanted: Wanted, recording: HeardRecording
    ) -> tuple[dict[int | None, Trace], tuple[Reason, ...]]:
        """The traces by channel, or why there are none."""
        if self.tracer is None or not any(wanted.values()):
            return {}, ()
        try:
            return self.tracer.traces(summary, wanted, recording.heard(), self._read_again), ()
        except InputError as error:
            return {}, (Reason(code="not-traced", message=f"It could not be traced: {error.message}"),)

    def _read_again(self, summary: RecordingSummary) -> Generator[ReadItem]:
        # Every window with samples: which of them hold speech, and were examined, is known from the first reading.
        reading = WindowReading(
            window_samples=self.bundle.config.window_samples,
            hop_samples=self.hop_samples,
            channels="each" if summary.channel_mode == "each" else "mix",
            vad=False,
            min_window_speech_s=0.0,
        )
        path = summary.file.path
        return reading(path) if self.processes is None else self.processes.read(reading, path)

    def _calibrated(self, window: ScoredWindow) -> WindowScore:
        raw_score = None if window.heard is None else window.heard.raw_score
        distance = None if window.heard is None else window.heard.validity_distance
        return WindowScore(
            start_sample=window.start_sample,
            end_sample=window.end_sample,
            speech_s=window.speech_s,
            raw_score=raw_score,
            spoof_llr=None if raw_score is None else window_llr(raw_score, distance, self.bundle.config),
            not_scored=window.not_scored,
            validity_distance=distance,
        )


def scan(
    paths: Sequence[str | Path],
    *,
    model: str | Path | None = None,
    options: ScanOptions | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    progress: Progress | None = None,
) -> Iterator[Finding]:
    """Scan files and folders and yield findings lazily, in sorted input order.

    Args:
        paths: files and folders (folders are searched recursively).
        model: a shipped model's name, a model directory, or None for the default.
        options: hop, channels, voice activity gate, threshold, device, batch size, workers, tracing.
        include: only names or relative paths matching one of these globs.
        exclude: no names or relative paths matching one of these globs.
        progress: told what happens while it happens.

    Raises:
        ModelError: the model cannot be loaded.
        UsageError: the options contradict each other or the machine.

    Example:
        >>> for finding in spoofcheck.scan(["./recordings"]):  # doctest: +SKIP
        ...     print(finding.path, finding.verdict, finding.spoof_llr)
    """
    scanner = Scanner(model, options)
    return scanner.findings(find_inputs([Path(p) for p in paths], include=include, exclude=exclude), progress)


def hop_samples(options: ScanOptions, window_samples: int) -> int:
    """Samples between windows.

    Raises:
        UsageError: a hop that would leave speech unheard.
    """
    hop_s = min(_HOP_S, samples_to_seconds(window_samples)) if options.hop_s is None else options.hop_s
    samples = seconds_to_samples(hop_s)
    if not 0 < samples <= window_samples:
        raise UsageError(
            f"--hop {hop_s:g}: must be above 0 and at most the model's window of "
            f"{samples_to_seconds(window_samples):g} s, or speech would go unheard"
        )
    return samples


def _check_options(options: ScanOptions) -> None:
    if options.threshold_llr is not None and not math.isfinite(options.threshold_llr):
        raise UsageError(f"--threshold {options.threshold_llr}: an LLR is a finite number")
    for option, is_given in (
        ("--tracer", options.tracer is not None),
        ("--trace-all", options.trace_all),
        ("--sources", options.sources is not None),
    ):
        if is_given and not options.trace:
            raise UsageError(f"--no-trace contradicts {option}: leave one of them out")
    if options.sources is not None and not options.use_sources:
        raise UsageError("--no-sources contradicts --sources: leave one of them out")


def _check_uncalibrated(options: ScanOptions, name: str) -> None:
    """Refuse what asks for a likelihood ratio that there will not be."""
    for option, is_given, why in (
        ("--threshold", options.threshold_llr is not None, "there is no LLR to compare it with"),
        ("--stability", options.evidence.stability, "there is no verdict that a change could turn over"),
    ):
        if is_given:
            raise UsageError(
                f"{option}: the model {name} is not calibrated, so {why}; see 'spoofcheck models calibrate --help'"
            )


def _default_workers(device_type: str) -> int:
    """A GPU takes what all cores can read; on a CPU the network needs them more."""
    return max(1, min(64 if device_type == "cuda" else 8, (os.cpu_count() or 1) - 1))
