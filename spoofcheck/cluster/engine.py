"""`scan --engine ray`: recordings are read and heard by actors of Ray Data and judged by others, as one scan.

    inputs -> readers (CPU) -> networks (GPU) -> here: chunks become recordings -> judges -> here: in input order

Ray Data streams: it reads ahead only as far as its memory goes, and starts again what was lost with a process or a
machine. What it hands over twice is taken once (`Assembly`); what it gave up is tried once more, alone; what is lost
then has a finding that says so. So every input has exactly one result, and that is the local engine's.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from spoofcheck import errors
from spoofcheck.audio.inputs import display_path
from spoofcheck.cluster.chunks import (
    CHUNK_WINDOWS,
    Assembled,
    Assembly,
    Case,
    Content,
    Failure,
    Hardware,
    HeardChunk,
    Refusal,
    Stored,
)
from spoofcheck.cluster.court import Court, Outcome
from spoofcheck.cluster.fetching import FetchLimits, sweep
from spoofcheck.cluster.judging import Judge, of_place
from spoofcheck.cluster.places import Entry, Place, Remote, RemoteSkipped, place_of, shown
from spoofcheck.cluster.plan import Plan
from spoofcheck.cluster.reading import ReadJob, RecordingReader
from spoofcheck.cluster.rows import rows_of, values_of
from spoofcheck.cluster.scoring import ChunkScorer
from spoofcheck.cluster.session import ClusterError
from spoofcheck.cluster.setup import Setup
from spoofcheck.detect.hearing import HeardRecording
from spoofcheck.detect.progress import NoProgress, Progress
from spoofcheck.detect.readers import ReadRecording
from spoofcheck.detect.runidentity import RunIdentity
from spoofcheck.errors import SpoofcheckError
from spoofcheck.schema import ControlResult, EngineInfo, Finding, ScanDocument
from spoofcheck.types import RecordingSummary, Skipped, samples_to_seconds

_ROWS_PER_PASS_GPU: Final = 64
"""Chunks that a network takes at once: with one window each they still fill a batch, with sixteen they take 250 MiB."""
_ROWS_PER_PASS_CPU: Final = 4
_FILES_PER_TASK: Final = 16
_TASKS_PER_READER: Final = 4
_BLOCK_BYTES: Final = 32 << 20
"""Ray Data passes rows on in blocks of about this size."""
_LOST = "worker-lost"
_LOST_MESSAGE = (
    "The processes that worked on it ended in every attempt, for want of memory or with their machine, so that it was "
    "given up."
)


class ContentStore(Protocol):
    """Findings of earlier scans with the same model and options, by content."""

    def contents(self) -> frozenset[tuple[str, str]] | None:
        """The contents `(SHA-256, extension)` whose findings are known; None when no content is of interest."""

    def find_content(self, sha256: str, extension: str) -> tuple[Finding, ...] | None:
        """The findings of a content, without path and time of modification."""

    def keep_content(self, sha256: str, extension: str, findings: tuple[Finding, ...]) -> None:
        """Keep what was found, durably."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the actors do, and how.

    Attributes:
        setup: what they load.
        read: how recordings are read; can be pickled.
        plan: how many there are.
        nodes: machines of the cluster.
        fetch: limits on fetching.
        chunk_windows: in a chunk; changes nothing but speed and memory.
        retries: of a task whose actor died, before it is given up.
    """

    setup: Setup
    read: ReadRecording
    plan: Plan
    nodes: int = 1
    fetch: FetchLimits = field(default_factory=FetchLimits)
    chunk_windows: int = CHUNK_WINDOWS
    retries: int = 2

    def survival(self) -> dict[str, int]:
        """What becomes of an actor that dies, and of what it was doing."""
        return {"max_restarts": -1, "max_task_retries": self.retries}


class RayEngine:
    """Scans with the actors of a Ray session; used inside it.

    Args:
        work: what they do.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._hardware: set[Hardware] = set()
        plan = work.plan
        self._court = Court(self._appointed, plan.judges)

    def examined_inputs(
        self, inputs: Sequence[Entry], progress: Progress | None = None, store: ContentStore | None = None
    ) -> Generator[tuple[Place, tuple[Finding, ...]]]:
        """All findings of every input, in the order of the inputs; see `Scanner.examined_inputs`.

        Raises:
            ModelError: a worker has not what the scan needs.
            UsageError: a worker cannot honour the options, or workers differ in what they compute with.
            ClusterError: Ray or a worker failed.
        """
        watcher = progress or NoProgress()
        entries = list(inputs)
        watcher.started([_label(entry) for entry in entries if isinstance(entry, Path | Remote)])
        done: dict[int, tuple[Finding, ...]] = {}
        first_open = 0
        with closing(self._outcomes(entries, watcher, store)) as outcomes:
            for number, findings in outcomes:
                done[number] = findings
                while first_open in done:
                    place = place_of(entries[first_open])
                    for finding in done[first_open]:
                        watcher.finished(_label(place), finding)
                    yield place, done.pop(first_open)
                    first_open += 1
        if not self._hardware:  # nothing was heard
            self._met(self._asked(lambda judge: judge.hardware.remote()))

    def control_results(self) -> tuple[ControlResult, ...]:
        """The controls, scored where the recordings are; errors as for `examined_inputs`."""
        controls: tuple[ControlResult, ...] = self._asked(lambda judge: judge.controls.remote())
        return controls

    def run_identity(self) -> RunIdentity:
        """The fingerprint of what the actors would find, for a store; errors as for `examined_inputs`."""
        identity: RunIdentity = self._asked(lambda judge: judge.run_identity.remote())
        return identity

    def described(self, document: ScanDocument) -> ScanDocument:
        """A document with what computed it: engine, actors, device and precision, as far as the scan came to that."""
        from importlib.metadata import version

        plan = self._work.plan
        engine = EngineInfo(
            version=version("ray"),
            readers=plan.readers,
            networks=plan.networks,
            judges=plan.judges,
            nodes=self._work.nodes,
        )
        told = document.model_copy(update={"run": document.run.model_copy(update={"engine": engine})})
        for hardware in self._hardware:
            extras = ["onnxruntime"] if hardware.runtime == "onnx" else []
            libraries = {**told.tool.libraries, **{name: version(name) for name in extras}}
            computed = {"device": hardware.device, "dtype": hardware.dtype, "runtime": hardware.runtime}
            told = told.model_copy(
                update={
                    "tool": told.tool.model_copy(update={"libraries": libraries}),
                    "options": told.options.model_copy(update=computed),
                }
            )
        return told

    def close(self) -> None:
        """Send the actors away."""
        self._court.close()
        sweep()

    def _outcomes(
        self, entries: Sequence[Entry], watcher: Progress, store: ContentStore | None
    ) -> Generator[tuple[int, tuple[Finding, ...]]]:
        """Findings by number of the input, as they come."""
        readable: dict[int, Place] = {}
        for number, entry in enumerate(entries):
            match entry:
                case Skipped(path=path, code=code, message=message):
                    yield number, (Finding.skipped(display_path(path), code, message),)
                case RemoteSkipped(place=remote, code=code, message=message):
                    yield number, (Finding.skipped(remote.shown, code, message),)
                case _:
                    readable[number] = entry
        contents: dict[int, Content] = {}
        assembly = Assembly(list(readable))
        known = None if store is None else store.contents()
        for is_retry in (False, True):
            if not assembly.missing:
                break
            if is_retry and known is not None:
                known = frozenset()
            places = {number: readable[number] for number in assembly.missing}
            for chunk in self._heard(places, known, is_retry):
                self._tell(watcher, readable[chunk.input], chunk)
                whole = assembly.add(chunk)
                if whole is not None:
                    if whole.content is not None:
                        contents[chunk.input] = whole.content
                    findings = self._settled(chunk.input, readable[chunk.input], whole, store)
                    if findings is not None:
                        yield chunk.input, findings
                    elif isinstance(whole.end, Stored):  # its entry is damaged
                        assembly.reopen(chunk.input)
                yield from self._judged(self._court.done(wait=self._court.is_full), readable, contents, store)
        yield from self._judged(self._court.drain(), readable, contents, store)
        for number in assembly.missing:
            yield number, (Finding.skipped(shown(readable[number]), _LOST, _LOST_MESSAGE),)

    def _settled(
        self, number: int, place: Place, whole: Assembled, store: ContentStore | None
    ) -> tuple[Finding, ...] | None:
        """The findings of what needs no judge; None for what was given to one, and for what the store has lost."""
        match whole.end:
            case Failure() as failure:
                raise _error(failure)
            case Refusal(code=code, message=message):
                findings = (Finding.skipped(shown(place), code, message),)
                if store is not None and whole.content is not None:
                    store.keep_content(whole.content.sha256, whole.content.extension, findings)
                return findings
            case Stored():
                content = whole.content
                if store is None or content is None:
                    raise AssertionError("only a store knows contents")
                known = store.find_content(content.sha256, content.extension)
                return known and tuple(of_place(finding, shown(place), content.modified_at_s) for finding in known)
            case RecordingSummary() as summary:
                self._court.submit(number, _case(place, whole, summary))
                return None

    def _judged(
        self,
        outcomes: Iterator[tuple[int, Outcome]],
        places: dict[int, Place],
        contents: dict[int, Content],
        store: ContentStore | None,
    ) -> Iterator[tuple[int, tuple[Finding, ...]]]:
        for number, outcome in outcomes:
            if isinstance(outcome, Failure):
                raise _error(outcome)
            if outcome is None:
                yield number, (Finding.skipped(shown(places[number]), _LOST, _LOST_MESSAGE),)
                continue
            content = contents.pop(number, None)
            if store is not None and content is not None:
                store.keep_content(content.sha256, content.extension, outcome)
            yield number, outcome

    def _heard(
        self, places: dict[int, Place], known: frozenset[tuple[str, str]] | None, is_retry: bool
    ) -> Iterator[HeardChunk]:
        """Chunks of these recordings, each at least once unless Ray gave it up.

        Args:
            places: by number of the input.
            known: contents that need not be read.
            is_retry: every recording is a task of its own, alone on its actor: one that ends its actor takes no other
                with it.
        """
        import ray
        from ray.data import ActorPoolStrategy, DataContext
        from ray.exceptions import RayError

        plan = self._work.plan
        job = ReadJob(
            read=self._work.read,
            limits=self._work.setup.options.limits,
            fetch=self._work.fetch,
            chunk_windows=self._work.chunk_windows,
            known=None if known is None else ray.put(known),
            debug=self._work.setup.options.debug,
        )
        tasks = len(places)
        if not is_retry:
            tasks = min(tasks, max(plan.readers * _TASKS_PER_READER, -(-tasks // _FILES_PER_TASK)))
        in_flight = 1 if is_retry else 2
        context = DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # what a task had is missing at the end, and tried again
        context.target_max_block_size = _BLOCK_BYTES
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        with warnings.catch_warnings(), DataContext.current(context):
            # Ray would have retries named one by one, but has no name for those of actors, and retries for ever.
            warnings.simplefilter("ignore")
            inputs: Any = ray.data.from_arrow(_parts(places, tasks))
            heard = inputs.map_batches(
                RecordingReader,
                fn_constructor_args=(job,),
                batch_size=None,
                batch_format="pyarrow",
                compute=ActorPoolStrategy(size=min(plan.readers, tasks), max_tasks_in_flight_per_actor=in_flight),
                num_cpus=plan.reader_cpus,
                ray_remote_args_fn=self._work.survival,
            ).map_batches(
                ChunkScorer,
                fn_constructor_args=(self._work.setup,),
                batch_size=_ROWS_PER_PASS_GPU if plan.network_gpus else _ROWS_PER_PASS_CPU,
                batch_format="pyarrow",
                compute=ActorPoolStrategy(size=min(plan.networks, tasks), max_tasks_in_flight_per_actor=in_flight),
                num_cpus=plan.network_cpus or None,
                num_gpus=plan.network_gpus or None,
                ray_remote_args_fn=self._work.survival,
            )
        try:
            for table in heard.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
                yield from values_of(table, HeardChunk)
        except RayError as error:
            raise ClusterError(f"Ray gave up: {type(error).__name__}: {str(error).splitlines()[0]}") from error

    def _tell(self, watcher: Progress, place: Place, chunk: HeardChunk) -> None:
        if chunk.hardware is not None:
            self._met(chunk.hardware)
        if chunk.opened is not None:
            watcher.opened(_label(place), chunk.opened.header_duration_s)
        if chunk.windows:
            watcher.heard(_label(place), samples_to_seconds(chunk.windows[-1][1].end_sample))

    def _met(self, hardware: Hardware) -> None:
        """Results of networks that compute in different types are not those of one scan."""
        self._hardware.add(hardware)
        if len(self._hardware) > 1:
            kinds = ", ".join(sorted(f"{each.device} in {each.dtype}" for each in self._hardware))
            raise errors.UsageError(f"the cluster's networks compute differently ({kinds}): say --precision float32")

    def _asked(self, question: Callable[[Any], Any]) -> Any:
        import ray
        from ray.exceptions import RayError

        try:
            answer = ray.get(question(self._court.judge()))
        except RayError as error:
            raise ClusterError(f"Ray gave up: {type(error).__name__}: {str(error).splitlines()[0]}") from error
        if isinstance(answer, Failure):
            raise _error(answer)
        return answer

    def _appointed(self) -> Any:
        import ray

        plan = self._work.plan
        remote: Any = ray.remote(Judge)
        options = remote.options(num_cpus=plan.judge_cpus, num_gpus=plan.judge_gpus, **self._work.survival())
        return options.remote(self._work.setup, self._work.fetch)


def _parts(places: dict[int, Place], tasks: int) -> list[Any]:
    """The inputs in so many tables, neighbours far apart: a folder's long files do not all fall to one actor."""
    numbers = list(places)
    return [
        rows_of((number, places[number]) for number in numbers[first::tasks])
        for first in range(min(tasks, len(numbers)))
    ]


def _case(place: Place, whole: Assembled, summary: RecordingSummary) -> Case:
    if isinstance(place, Path):
        return Case(HeardRecording(place, whole.windows, summary))
    modified_at_s = None if whole.content is None else whole.content.modified_at_s
    return Case(HeardRecording(summary.file.path, whole.windows, summary), place, modified_at_s)


def _label(place: Place) -> Path:
    """For those who watch: they show a name, and open nothing."""
    return Path(place.shown) if isinstance(place, Remote) else place


def _error(failure: Failure) -> SpoofcheckError:
    kind = getattr(errors, failure.kind, None)
    if (
        isinstance(kind, type)
        and issubclass(kind, SpoofcheckError)
        and kind not in (SpoofcheckError, errors.InputError)
    ):
        return kind(failure.message)
    return ClusterError(
        f"a worker failed with an unexpected {failure.kind}: {failure.message}; please report it with this line"
    )
