"""The pipeline: recordings are read ahead in threads or processes, their windows batched over files, scored and judged.

Data flows one way: `Path -> Window ... RecordingSummary -> WindowScore -> Decision -> Trace -> Evidence -> Finding`.
Findings come in the order of the inputs, whatever the number of readers. One bad input becomes one `skipped` finding;
it never ends a scan.
"""

from __future__ import annotations

import copy
import math
import os
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.inputs import find_inputs
from spoofcheck.detect.decision import decide, with_threshold
from spoofcheck.detect.evidence import EvidenceOptions, Gatherer, Judged, with_evidence
from spoofcheck.detect.exhibittracer import ExhibitTracer, Wanted, enrolled_sources, shipped_twin
from spoofcheck.detect.findings import recording_finding, skipped_finding
from spoofcheck.detect.isolation import ReaderProcesses
from spoofcheck.detect.limits import Isolation, ReadLimits
from spoofcheck.detect.progress import NoProgress, Progress
from spoofcheck.detect.readers import Readers, ReadItem
from spoofcheck.detect.reading import WindowReading
from spoofcheck.detect.runner import Runtime
from spoofcheck.detect.scorer import DeviceName, HeardWindow, WindowScorer
from spoofcheck.detect.tracing import Trace, windows_to_trace
from spoofcheck.detect.validity import window_llr
from spoofcheck.errors import InputError, UsageError
from spoofcheck.nets.bundle import Bundle, load_bundle, load_tracer
from spoofcheck.nets.index import find_model
from spoofcheck.nets.precision import Precision
from spoofcheck.schema import FLAGGED, Finding, Reason
from spoofcheck.types import (
    AudioFile,
    RecordingSummary,
    Skipped,
    Window,
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
    than threads can; `"auto"` takes them for a GPU."""
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

    def bare(self) -> Scanner:
        """This scanner with the same model, rule and options, but without tracing and without further evidence."""
        other = copy.copy(self)
        other.options = replace(
            self.options, trace=False, tracer=None, trace_all=False, sources=None, evidence=EvidenceOptions()
        )
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
        self, inputs: Iterable[Path | Skipped], progress: Progress | None = None
    ) -> Generator[tuple[Path, Finding]]:
        """As `findings`, each with the path of its input as it was given: that of a finding is for display."""
        with closing(self.examined_inputs(inputs, progress)) as examined:
            for path, findings in examined:
                for finding in findings:
                    yield path, finding

    def examined_inputs(
        self, inputs: Iterable[Path | Skipped], progress: Progress | None = None
    ) -> Generator[tuple[Path, tuple[Finding, ...]]]:
        """As `examined`, with all findings of an input together, as soon as it is done."""
        watcher = progress or NoProgress()
        entries = list(inputs)
        watcher.started([entry for entry in entries if isinstance(entry, Path)])
        files = {i: _FileInProgress(entry) for i, entry in enumerate(entries)}
        batch = _Batch(self.scorer)
        first_open = 0
        workers = self.options.workers or _default_workers(self.scorer.device.type)
        processes: AbstractContextManager[object] = self.processes or nullcontext()
        with processes, Readers(entries, self._read, workers, self.options.debug) as readers:
            for index, item in readers.items():
                file = files[index]
                if isinstance(item, AudioFile):
                    watcher.opened(item.path, item.header_duration_s)
                elif isinstance(item, Window):
                    file.add(item, batch)
                    watcher.heard(file.path, samples_to_seconds(item.end_sample))
                else:
                    file.outcome = item
                if len(batch) >= self.scorer.batch_windows:
                    batch.begin()
                while first_open in files and files[first_open].is_complete():
                    yield self._judge(files.pop(first_open), watcher)
                    first_open += 1
            batch.finish()
            for index in sorted(files):
                yield self._judge(files[index], watcher)

    def _read(self, path: Path, cancelled: Callable[[], bool]) -> Generator[ReadItem]:
        reading = WindowReading(
            window_samples=self.bundle.config.window_samples,
            hop_samples=self.hop_samples,
            channels=self.options.channels,
            vad=self.options.vad,
            min_window_speech_s=self.rule.min_window_speech_s,
        )
        return reading(path, cancelled) if self.processes is None else self.processes.read(reading, path, cancelled)

    def _judge(self, file: _FileInProgress, watcher: Progress) -> tuple[Path, tuple[Finding, ...]]:
        findings = []
        for finding in self._findings_of(file, watcher):
            watcher.finished(file.path, finding)
            findings.append(finding)
        return file.path, tuple(findings)

    def _findings_of(self, file: _FileInProgress, watcher: Progress) -> Iterator[Finding]:
        summary = file.outcome
        if isinstance(summary, Skipped):
            yield skipped_finding(summary)
            return
        if summary is None:
            raise RuntimeError(f"{file.path}: judged before it was read to its end")
        if not file.has_finite_scores():
            message = "The network gave no finite score; please report this file's properties."
            yield skipped_finding(Skipped(file.path, "score-not-finite", message))
            return
        config = self.bundle.config
        judged = []
        for channel in summary.channels:
            windows = [self._calibrated(window) for window in file.windows[channel.channel]]
            decision = decide(
                windows, summary.file, channel.quality, config.calibration, self.rule, config.validated, config.gate
            )
            judged.append(Judged(channel, windows, decision))
        wanted = {
            each.channel.channel: windows_to_trace(each.windows, self.rule.window_threshold_llr)
            for each in judged
            if self.options.trace_all or each.decision.verdict in FLAGGED
        }
        traces, not_traced = self._traced(summary, wanted, file)
        evidence = (
            self._gatherer.evidence(summary, judged, lambda position_s: watcher.heard_again(file.path, position_s))
            if self._gatherer is not None
            else {}
        )
        for each in judged:
            number = each.channel.channel
            warnings = not_traced if wanted.get(number) else ()
            finding = recording_finding(
                summary, each.channel, each.windows, each.decision, traces.get(number), warnings
            )
            yield with_evidence(finding, evidence[number]) if number in evidence else finding

    def _traced(
        self, summary: RecordingSummary, wanted: Wanted, file: _FileInProgress
    ) -> tuple[dict[int | None, Trace], tuple[Reason, ...]]:
        """The traces by channel, or why there are none."""
        if self.tracer is None or not any(wanted.values()):
            return {}, ()
        try:
            return self.tracer.traces(summary, wanted, file.heard(), self._read_again), ()
        except InputError as error:
            return {}, (Reason(code="not-traced", message=f"It could not be traced: {error.message}"),)

    def _read_again(self, summary: RecordingSummary) -> Generator[ReadItem]:
        # Every window with samples: which of them hold speech is known from the first reading.
        reading = WindowReading(
            window_samples=self.bundle.config.window_samples,
            hop_samples=self.hop_samples,
            channels="each" if summary.channel_mode == "each" else "mix",
            vad=False,
            min_window_speech_s=0.0,
        )
        path = summary.file.path
        return reading(path) if self.processes is None else self.processes.read(reading, path)

    def _calibrated(self, window: _OpenWindow) -> WindowScore:
        raw_score = None if window.heard is None else window.heard.raw_score
        distance = None if window.heard is None else window.heard.validity_distance
        return WindowScore(
            start_sample=window.start_sample,
            end_sample=window.end_sample,
            speech_s=window.speech_s,
            raw_score=raw_score,
            spoof_llr=None if raw_score is None else window_llr(raw_score, distance, self.bundle.config),
            not_scored="no-speech" if raw_score is None else None,
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


@dataclass(slots=True)
class _OpenWindow:
    """A window whose samples went to the network; the score comes later."""

    start_sample: int
    end_sample: int
    speech_s: float | None
    heard: HeardWindow | None = None


@dataclass(slots=True)
class _FileInProgress:
    entry: Path | Skipped
    windows: dict[int | None, list[_OpenWindow]] = field(default_factory=lambda: defaultdict(list))
    outcome: RecordingSummary | Skipped | None = None
    unscored: int = 0

    @property
    def path(self) -> Path:
        return self.entry.path if isinstance(self.entry, Skipped) else self.entry

    def add(self, window: Window, batch: _Batch) -> None:
        heard = _OpenWindow(window.start_sample, window.end_sample, window.speech_s)
        self.windows[window.channel].append(heard)
        if window.samples is not None:
            self.unscored += 1
            batch.add(self, heard, window.samples)

    def has_finite_scores(self) -> bool:
        every = (heard for windows in self.heard().values() for heard in windows)
        return all(
            math.isfinite(heard.raw_score) and math.isfinite(heard.validity_distance or 0.0)
            for heard in every
            if heard is not None
        )

    def heard(self) -> dict[int | None, list[HeardWindow | None]]:
        """What the network said of each window, by channel."""
        return {channel: [window.heard for window in windows] for channel, windows in self.windows.items()}

    def is_complete(self) -> bool:
        return self.outcome is not None and self.unscored == 0


class _Batch:
    """Windows of any files that wait for the network, and those that are on their way through it."""

    def __init__(self, scorer: WindowScorer) -> None:
        self._scorer = scorer
        self._owners: list[tuple[_FileInProgress, _OpenWindow]] = []
        self._waiting: list[NDArray[np.float32]] = []
        self._begun: deque[tuple[list[tuple[_FileInProgress, _OpenWindow]], Callable[[], list[HeardWindow]]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, file: _FileInProgress, window: _OpenWindow, samples: NDArray[np.float32]) -> None:
        self._owners.append((file, window))
        self._waiting.append(samples)

    def begin(self) -> None:
        """Send what waits on its way; an asynchronous device gets its next batch before the last one is read."""
        self._begun.append((self._owners, self._scorer.begin(self._waiting)))
        self._owners, self._waiting = [], []
        while len(self._begun) >= self._scorer.runner.in_flight:
            self._collect()

    def finish(self) -> None:
        """Score all that is left."""
        self.begin()
        while self._begun:
            self._collect()

    def _collect(self) -> None:
        owners, pending = self._begun.popleft()
        for (file, window), heard in zip(owners, pending(), strict=True):
            window.heard = heard
            file.unscored -= 1
