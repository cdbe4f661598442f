"""What runs a scan: this process, or actors of Ray; the command asks both the same."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from spoofcheck.cluster.places import Entry, Place, Remote, RemoteSkipped
from spoofcheck.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from spoofcheck.detect.progress import Progress
    from spoofcheck.detect.resultstore import ResultStore
    from spoofcheck.detect.runidentity import RunIdentity
    from spoofcheck.detect.scan import Scanner, ScanOptions
    from spoofcheck.schema import ControlResult, Finding, ScanDocument
    from spoofcheck.types import Skipped


class EngineName(StrEnum):
    """What runs a scan."""

    LOCAL = "local"
    RAY = "ray"


Examined = Generator[tuple[Place, tuple["Finding", ...]]]


class Engine(Protocol):
    """Runs a scan; used while its `with` lasts."""

    def run_identity(self) -> RunIdentity:
        """The fingerprint of what it would find."""

    def control_results(self) -> tuple[ControlResult, ...]:
        """The controls, scored where recordings are."""

    def examined_inputs(self, inputs: Sequence[Entry], progress: Progress, store: ResultStore | None) -> Examined:
        """All findings of every input, in the order of the inputs."""

    def described(self, document: ScanDocument) -> ScanDocument:
        """A document of the scan with what ran it; also after the `with`."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What the analyst chose.

    Attributes:
        name: of the engine.
        address: of a running Ray cluster; None starts one.
        networks: actors for the network; None for as many as suit the cluster.
    """

    name: EngineName = EngineName.LOCAL
    address: str | None = None
    networks: int | None = None

    def check(self, inputs: Sequence[Entry], isolate: bool | None) -> None:
        """Find out before the work whether it can be done.

        Args:
            inputs: all of them.
            isolate: as given.

        Raises:
            UsageError: options that it does not honour, inputs that it does not read, or a missing extra.
        """
        from spoofcheck.cluster.session import require_ray
        from spoofcheck.cluster.stores import require_libraries

        if self.name is EngineName.RAY:
            if isolate is False:
                raise UsageError("--no-isolate contradicts --engine ray: its readers always are processes of their own")
            require_ray()
            require_libraries({place.scheme for place in _remotes(inputs)})
            return
        for option, is_given in (
            ("--ray-address", self.address is not None),
            ("--networks", self.networks is not None),
        ):
            if is_given:
                raise UsageError(f"{option}: only with --engine ray")
        for remote in _remotes(inputs):
            raise UsageError(f"{remote.shown}: an address is read with --engine ray")

    def asking_options(self, options: ScanOptions) -> ScanOptions:
        """The options of this process's own scanner."""
        if self.name is EngineName.LOCAL:
            return options
        from spoofcheck.cluster.setup import asking_options

        return asking_options(options)

    @contextmanager
    def engine(self, scanner: Scanner, model: str | Path | None, options: ScanOptions) -> Iterator[Engine]:
        """The engine, ready to scan.

        Args:
            scanner: with `asking_options(options)`.
            model: as named.
            options: of the scan.

        Raises:
            SpoofcheckError: a cluster that is not there, or options that it cannot honour.
        """
        if self.name is EngineName.LOCAL:
            with scanner.processes or nullcontext():
                yield _Local(scanner)
            return
        from spoofcheck.cluster.engine import RayEngine, Work
        from spoofcheck.cluster.plan import planned
        from spoofcheck.cluster.session import ray_session
        from spoofcheck.cluster.setup import setup_for

        with ray_session(self.address) as resources:
            plan = planned(resources, options.workers, self.networks, options.device)
            setup = setup_for(scanner, model, options, plan.device)
            engine = RayEngine(Work(setup, scanner.first_reading(), plan, resources.nodes))
            try:
                yield engine
            finally:
                engine.close()


class _Local:
    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner

    def run_identity(self) -> RunIdentity:
        from spoofcheck.detect.runidentity import run_identity

        return run_identity(self._scanner)

    def control_results(self) -> tuple[ControlResult, ...]:
        from spoofcheck.detect.controls import control_results

        return control_results(self._scanner.bare())

    def examined_inputs(self, inputs: Sequence[Entry], progress: Progress, store: ResultStore | None) -> Examined:
        yield from self._scanner.examined_inputs(_local(inputs), progress, store)

    def described(self, document: ScanDocument) -> ScanDocument:
        return document


def _remotes(inputs: Sequence[Entry]) -> Iterator[Remote]:
    for entry in inputs:
        if isinstance(entry, Remote | RemoteSkipped):
            yield entry.place if isinstance(entry, RemoteSkipped) else entry


def _local(inputs: Sequence[Entry]) -> list[Path | Skipped]:
    """The inputs, of which `EngineChoice.check` has found none to be remote."""
    return [entry for entry in inputs if not isinstance(entry, Remote | RemoteSkipped)]
