"""A process that hosts the loaded models and examines what the server sends it.

`python -m spoofcheck.serve.modelprocess FD`, started by `serve.pool` in a process group of its own. It ends, with all
that it started, when the server does: whichever way that ends, its side of the connection is closed then.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spoofcheck.detect.progress import NoProgress
from spoofcheck.errors import ModelError, SpoofcheckError, UsageError
from spoofcheck.resources import controls_dir
from spoofcheck.serve.messages import (
    Cancel,
    Examine,
    Examined,
    Heard,
    Item,
    LoadedModel,
    PassOver,
    Ready,
    Refused,
    Setup,
    receive_in_process,
    send,
)
from spoofcheck.serve.models import JobOptions

if TYPE_CHECKING:
    from spoofcheck.detect.evidence import EvidenceOptions
    from spoofcheck.detect.scan import Scanner

_TELL_EVERY_S = 0.2


class _StoppedError(Exception):
    """A recording of the pass is not wanted any more."""


class _Inbox:
    """Reads what the server says in a thread, so that the end of the server is noticed whatever is going on."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._passes: queue.Queue[Examine] = queue.Queue()
        self.cancelled: set[int] = set()

    def listen(self) -> None:
        threading.Thread(target=self._listen, name="spoofcheck-inbox", daemon=True).start()

    def next_pass(self) -> Examine:
        return self._passes.get()

    def _listen(self) -> None:
        try:
            while True:
                message = receive_in_process(self._connection)
                if isinstance(message, Cancel):
                    self.cancelled.add(message.key)
                elif isinstance(message, Examine):
                    self._passes.put(message)
        except (EOFError, OSError):
            os.killpg(os.getpgrp(), signal.SIGKILL)  # this process and the readers it started


class _Watcher(NoProgress):
    """Tells the server how far recordings have come, and stops the pass when one is not wanted any more."""

    def __init__(self, connection: Connection, inbox: _Inbox, items: Sequence[Item], cost: float) -> None:
        self._connection = connection
        self._inbox = inbox
        self._keys = {Path(item.path): item.key for item in items}
        self._durations: dict[Path, float | None] = {}
        self._first_share = 1 / (1 + cost)
        self._told: dict[Path, float] = {}
        self.open = set(self._keys.values())

    def opened(self, path: Path, duration_s: float | None) -> None:
        self._durations[path] = duration_s
        self._tell(path, 0.0)

    def heard(self, path: Path, position_s: float) -> None:
        self._tell(path, self._first_share * self._done(path, position_s))

    def heard_again(self, path: Path, position_s: float) -> None:
        self._tell(path, self._first_share + (1 - self._first_share) * self._done(path, position_s))

    def _done(self, path: Path, position_s: float) -> float:
        duration_s = self._durations.get(path)
        return min(1.0, position_s / duration_s) if duration_s else 0.0

    def _tell(self, path: Path, share: float) -> None:
        if self._inbox.cancelled & self.open:
            raise _StoppedError
        now = time.monotonic()
        if now - self._told.get(path, 0.0) >= _TELL_EVERY_S:
            self._told[path] = now
            send(self._connection, Heard(key=self._keys[path], share=share, duration_s=self._durations.get(path)))


class _Examiner:
    """The loaded models, as different requests want them used."""

    def __init__(self, scanners: Sequence[Scanner]) -> None:
        self._scanners = {scanner.bundle.config.name: scanner for scanner in scanners}
        self._default = scanners[0]
        self._variants: dict[JobOptions, Scanner] = {}

    def scanner(self, options: JobOptions) -> Scanner:
        if options not in self._variants:
            model = self._default if options.model is None else self._scanners[options.model]
            self._variants[options] = model.varied(options.channels, _evidence(options))
        return self._variants[options]

    def warm_up(self) -> None:
        """Let the first request find loaded and compiled what all of them need."""
        from spoofcheck.detect.controls import read_controls

        folder = controls_dir()
        for _ in self.scanner(JobOptions()).findings([folder / read_controls(folder)[0].file]):
            pass

    def run(self, connection: Connection, inbox: _Inbox, wanted: Examine) -> None:
        """One pass; sends what it finds, and at last that it is over."""
        scanner = self.scanner(wanted.options)
        keys = {Path(item.path): item.key for item in wanted.items}
        watcher = _Watcher(connection, inbox, wanted.items, scanner.options.evidence.cost)
        try:
            with closing(scanner.examined_inputs(list(keys), watcher)) as examined:
                for path, findings in examined:
                    watcher.open.discard(keys[path])
                    send(connection, Examined(key=keys[path], findings=findings))
        except _StoppedError:
            pass
        send(connection, PassOver())


def _evidence(options: JobOptions) -> EvidenceOptions:
    from spoofcheck.detect.evidence import EvidenceOptions

    return EvidenceOptions(
        acoustics=options.acoustics, pictures=options.pictures, excerpts="all" if options.excerpts else "none"
    )


def _loaded(setup: Setup) -> list[Scanner]:
    """The scanners, the default one first.

    Raises:
        SpoofcheckError: a model cannot be used, or two have the same name.
    """
    from spoofcheck.detect.limits import ReadLimits
    from spoofcheck.detect.scan import Scanner, ScanOptions

    options = ScanOptions(
        threshold_llr=setup.threshold_llr,
        device=setup.device,
        isolation="processes",
        limits=ReadLimits(audio_s=setup.max_duration_s),
    )
    scanners = [Scanner(model, options) for model in setup.models]
    for scanner in scanners:
        if scanner.scorer.device.type == "cpu":
            # There is a process like this one on every core.
            scanner.options = replace(scanner.options, workers=1)
    names = [scanner.bundle.config.name for scanner in scanners]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--model: {name} is named twice")
    return scanners


def _described(scanner: Scanner, with_controls: bool) -> LoadedModel:
    """What the server says of a model.

    Raises:
        SpoofcheckError: a control misbehaves.
    """
    from spoofcheck.detect.controls import control_results
    from spoofcheck.detect.provenance import build_document

    controls = control_results(scanner.bare()) if with_controls else ()
    wrong = [control.message for control in controls if not control.as_expected]
    if wrong:
        raise ModelError(f"{scanner.bundle.config.name}: {wrong[0]} (--no-controls serves it nevertheless)")
    document = build_document(
        scanner, (), started_at=datetime.now(UTC), complete=True, command_line=(), controls=controls
    )
    link = None if scanner.tracer is None else scanner.tracer.bundle.config.link_calibration
    return LoadedModel(document=document, link_calibration=link)


def main(arguments: Sequence[str]) -> None:
    """Serve the connection whose file descriptor is the argument, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection: Connection[Any, Any] = Connection(int(arguments[0]))
    setup = receive_in_process(connection)
    if not isinstance(setup, Setup):
        raise RuntimeError(f"the first message is {setup.kind!r}")
    inbox = _Inbox(connection)
    inbox.listen()
    with ExitStack() as kept:
        try:
            scanners = _loaded(setup)
            for scanner in scanners:
                if scanner.processes is not None:
                    kept.enter_context(scanner.processes)  # from one pass to the next
            ready = Ready(models=tuple(_described(scanner, setup.controls) for scanner in scanners))
        except SpoofcheckError as error:
            send(connection, Refused(message=str(error)))
            return
        examiner = _Examiner(scanners)
        examiner.warm_up()
        send(connection, ready)
        while True:
            examiner.run(connection, inbox, inbox.next_pass())


if __name__ == "__main__":
    main(sys.argv[1:])
