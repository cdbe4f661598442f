"""The third stage: actors that judge recordings that were heard, and read them again for traces and evidence."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from spoofcheck.cluster.chunks import Case, Failure, Hardware
from spoofcheck.cluster.fetching import Fetcher, FetchLimits
from spoofcheck.cluster.places import Remote
from spoofcheck.cluster.setup import Setup
from spoofcheck.detect.controls import control_results
from spoofcheck.detect.progress import NoProgress
from spoofcheck.detect.readers import ReadItem
from spoofcheck.detect.runidentity import RunIdentity, run_identity
from spoofcheck.detect.scan import Scanner
from spoofcheck.schema import ControlResult, Finding
from spoofcheck.types import RecordingSummary


class _Refetching(Scanner):
    """A scanner that fetches a remote recording, once, when it is read again."""

    _fetcher: Fetcher | None = None
    _remote: Remote | None = None
    _copy: Path | None = None
    _copies: ExitStack

    @contextmanager
    def judging(self, fetcher: Fetcher, remote: Remote | None) -> Iterator[None]:
        """While a recording is judged, which is remote or a file."""
        with ExitStack() as self._copies:
            self._fetcher, self._remote, self._copy = fetcher, remote, None
            yield

    def _read_again(self, summary: RecordingSummary) -> Generator[ReadItem]:
        if self._remote is not None and self._fetcher is not None:
            if self._copy is None:
                self._copy = self._copies.enter_context(self._fetcher.fetched(self._remote)).path
            summary = replace(summary, file=replace(summary.file, path=self._copy))
        yield from super()._read_again(summary)


class Judge:
    """Judges recordings, one at a time.

    Args:
        setup: of the scan.
        limits: on fetching a recording again.
    """

    def __init__(self, setup: Setup, limits: FetchLimits) -> None:
        self._failure: Failure | None = None
        self._fetcher = Fetcher(limits)
        try:
            self._scanner = setup.scanner(_Refetching)
        except Exception as error:
            self._failure = Failure(type(error).__name__, str(error))
            return
        if self._scanner.processes is not None:
            self._scanner.processes.__enter__()  # an actor is killed in the end, which its processes notice

    def close(self) -> None:
        """End the processes that it reads with."""
        if self._failure is None and self._scanner.processes is not None:
            self._scanner.processes.__exit__(None, None, None)

    def judged(self, case: Case) -> tuple[Finding, ...] | Failure:
        """The findings of a recording; a failure ends the scan."""
        if self._failure is not None:
            return self._failure
        try:
            with self._scanner.judging(self._fetcher, case.remote):
                findings = tuple(self._scanner.judged(case.recording, NoProgress()))
        except Exception as error:
            return Failure(type(error).__name__, str(error))
        if case.remote is None:
            return findings
        return tuple(of_place(finding, case.remote.shown, case.modified_at_s) for finding in findings)

    def controls(self) -> tuple[ControlResult, ...] | Failure:
        """What becomes of the controls on this device."""
        if self._failure is not None:
            return self._failure
        try:
            return control_results(self._scanner.bare())
        except Exception as error:
            return Failure(type(error).__name__, str(error))

    def run_identity(self) -> RunIdentity | Failure:
        """The fingerprint of what this machine would find."""
        if self._failure is not None:
            return self._failure
        try:
            return run_identity(self._scanner)
        except Exception as error:
            return Failure(type(error).__name__, str(error))

    def hardware(self) -> Hardware | Failure:
        """What its networks run on."""
        if self._failure is not None:
            return self._failure
        scorer = self._scanner.scorer
        return Hardware(str(scorer.device), str(scorer.dtype).removeprefix("torch."), scorer.runtime)


def of_place(finding: Finding, path: str, modified_at_s: float | None) -> Finding:
    """A finding of a copy as one of the original: its path or address, and its last change, where that is known."""
    changed = "" if modified_at_s is None else datetime.fromtimestamp(modified_at_s, UTC).isoformat(timespec="seconds")
    media = finding.media
    return finding.model_copy(
        update={"path": path, "media": None if media is None else media.model_copy(update={"modified_at": changed})}
    )
