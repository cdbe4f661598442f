"""The model processes: starts them, feeds them from one queue, starts them again when they end.

One thread per process waits for what it says. A file whose process ended while it was examined waits again, by itself;
after `MAX_ATTEMPTS` it is skipped. Results come by callbacks, from those threads.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from spoofcheck.errors import ModelError
from spoofcheck.schema import Finding
from spoofcheck.serve.messages import (
    Cancel,
    Examine,
    Examined,
    Heard,
    Item,
    PassOver,
    Ready,
    Refused,
    Setup,
    receive_in_server,
    send,
)
from spoofcheck.serve.models import JobOptions
from spoofcheck.serve.scheduling import PassLimits, Waiting, next_pass

_LOG = logging.getLogger("spoofcheck.serve.pool")

MAX_ATTEMPTS = 3
"""So often may a process end over one file."""

START_TIMEOUT_S = 300.0
"""A large model is read from a slow disk within this time."""

MOST_CPU_WORKERS = 8
"""Unless the operator says otherwise: each takes about 1 GB of memory with the process that reads for it."""

CPU_PASS = PassLimits(files=8, size_bytes=8_000_000)
GPU_PASS = PassLimits(files=64, size_bytes=200_000_000)

_GONE = (EOFError, OSError, ValueError)
"""What a connection raises when its process ended, stalled, or said what it must not."""


class Client(Protocol):
    """Who wants a file examined; called from the pool's threads."""

    def begun(self) -> None:
        """A model process has the file now."""

    def heard(self, share: float, duration_s: float | None) -> None:
        """The file has come so far, 0 to 1."""

    def done(self, findings: tuple[Finding, ...]) -> None:
        """The file was examined."""

    def gave_up(self, message: str) -> None:
        """The file could not be examined, and why."""


@dataclass(frozen=True, slots=True)
class _Task:
    """A file that waits or is examined."""

    waiting: Waiting
    path: Path
    client: Client
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How the pool runs.

    Attributes:
        setup: what the processes load.
        workers: processes; None is one per core on a CPU, at most 8, and one on a GPU.
        temporary_dir: where the processes may leave temporary files.
        stall_s: a process that says nothing for so long while it examines is ended.
        module: that the processes run.
        restart_after_s: before a process that keeps ending is started again; the last one for all further times.
    """

    setup: Setup
    workers: int | None
    temporary_dir: Path
    stall_s: float = 300.0
    module: str = "spoofcheck.serve.modelprocess"
    restart_after_s: tuple[float, ...] = (0.0, 1.0, 5.0, 30.0)


class ModelPool:
    """Examines files in model processes.

    Args:
        options: see `PoolOptions`.
        restarted: told that a process ended and another takes its place.
    """

    def __init__(self, options: PoolOptions, restarted: Callable[[], None] = lambda: None) -> None:
        self._options = options
        self._restarted = restarted
        self._changed = threading.Condition()
        self._waiting: dict[int, _Task] = {}
        self._running: dict[int, _Process] = {}
        self._cancelled: set[int] = set()
        self._keys = itertools.count()
        self._threads: list[threading.Thread] = []
        self._processes: set[_Process] = set()
        self._up = 0
        self._is_closed = False
        self._limits = CPU_PASS

    def start(self) -> Ready:
        """Start the processes and wait until the first of them has loaded the model.

        Raises:
            ModelError: the model cannot be used.
        """
        first = self._launched()
        try:
            ready = first.wait_until_ready()
        except _GONE as error:
            self._lost(first)
            raise ModelError("the model process ended while it loaded the model") from error
        except ModelError:
            self._lost(first)
            raise
        is_cpu = ready.models[0].document.options.device == "cpu"
        self._limits = CPU_PASS if is_cpu else GPU_PASS
        workers = self._options.workers or (min(_cores(), MOST_CPU_WORKERS) if is_cpu else 1)
        self._threads = [
            threading.Thread(
                target=self._work, args=(first if number == 0 else None,), name=f"spoofcheck-pool-{number}", daemon=True
            )
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()
        return ready

    @property
    def workers(self) -> int:
        """How many processes there should be."""
        return len(self._threads)

    @property
    def up(self) -> int:
        """How many have loaded the model and wait or work."""
        return self._up

    @property
    def waiting(self) -> int:
        """Files that no process has yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Files that a process has."""
        return len(self._running)

    def put(self, path: Path, size_bytes: int, options: JobOptions, client: Client) -> int:
        """Let a file be examined; returns its key, for `cancel`."""
        with self._changed:
            key = next(self._keys)
            self._waiting[key] = _Task(Waiting(key, size_bytes, options, time.monotonic()), path, client)
            self._changed.notify()
        return key

    def cancel(self, key: int) -> None:
        """A file is not wanted any more; its client hears no more of it."""
        with self._changed:
            if self._waiting.pop(key, None) is not None:
                return
            process = self._running.get(key)
            if process is not None:
                self._cancelled.add(key)
        if process is not None:
            process.cancel(key)

    def close(self) -> None:
        """End the processes at once; clients hear no more."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()
            processes = list(self._processes)
        for process in processes:
            process.kill()
        for thread in self._threads:
            thread.join()

    def _work(self, process: _Process | None) -> None:
        """One thread: keeps one process alive and busy."""
        failures = 0
        while True:
            if process is None:
                process = self._started_again()
            passes = 0
            if process is not None:
                passes = self._feed(process)
                self._lost(process)
                process = None
            failures = 0 if passes else failures + 1
            with self._changed:
                waits_s = self._options.restart_after_s
                if self._changed.wait_for(lambda: self._is_closed, waits_s[min(failures, len(waits_s) - 1)]):
                    return
            self._restarted()

    def _started_again(self) -> _Process | None:
        """A process that has loaded the model; None when it could not."""
        try:
            process = self._launched()
        except OSError as error:
            _LOG.error("a model process cannot be started", extra={"why": str(error)})
            return None
        try:
            process.wait_until_ready()
        except (ModelError, *_GONE) as error:
            if not self._is_closed:
                _LOG.error("a model process did not start", extra={"why": str(error)})
            self._lost(process)
            return None
        return process

    def _launched(self) -> _Process:
        process = _Process(self._options)
        with self._changed:
            self._processes.add(process)
            if self._is_closed:
                process.kill()
        return process

    def _feed(self, process: _Process) -> int:
        """Give a process pass after pass until it ends or the pool is closed; how many it came through."""
        passes = 0
        with self._changed:
            self._up += 1
        try:
            while tasks := self._taken(process):
                for task in tasks:
                    task.client.begun()
                self._run(process, tasks)
                passes += 1
        except _GONE as error:
            if not self._is_closed:
                _LOG.error("a model process ended", extra={"why": f"{type(error).__name__}: {error}"})
        finally:
            with self._changed:
                self._up -= 1
        return passes

    def _taken(self, process: _Process) -> list[_Task]:
        """The next pass, once there is one; empty when the pool is closed."""
        with self._changed:
            while not self._is_closed:
                waiting = [task.waiting for task in self._waiting.values()]
                chosen = next_pass(waiting, time.monotonic(), self._limits, self.workers)
                if chosen:
                    tasks = [self._waiting.pop(each.key) for each in chosen]
                    self._running |= {each.key: process for each in chosen}
                    return tasks
                self._changed.wait()
        return []

    def _run(self, process: _Process, tasks: Sequence[_Task]) -> None:
        """One pass.

        Raises:
            EOFError, OSError, ValueError: the process ended, stalled, or said what it must not.
        """
        left = {task.waiting.key: task for task in tasks}
        ended = True
        try:
            process.examine(tasks)
            while True:
                message = process.next_message(self._options.stall_s)
                if isinstance(message, PassOver):
                    ended = False
                    return
                if isinstance(message, Heard) and message.key in left:
                    if self._is_wanted(message.key):
                        left[message.key].client.heard(message.share, message.duration_s)
                elif isinstance(message, Examined) and message.key in left:
                    client = left.pop(message.key).client
                    if self._is_wanted(message.key, last=True):
                        client.done(message.findings)
        finally:
            self._left_over(left, ended)

    def _is_wanted(self, key: int, last: bool = False) -> bool:
        """Whether a client still wants to hear of its file; `last`: it was examined."""
        with self._changed:
            wanted = key not in self._cancelled and not self._is_closed
            if last:
                self._running.pop(key, None)
                self._cancelled.discard(key)
        return wanted

    def _left_over(self, left: dict[int, _Task], process_ended: bool) -> None:
        """What a pass did not do waits again; what ended its process does so by itself, and not for ever."""
        given_up = []
        with self._changed:
            for key, task in left.items():
                self._running.pop(key, None)
                if key in self._cancelled or self._is_closed:
                    self._cancelled.discard(key)
                    continue
                # Whatever ended the pass does not end this file's next one: others could hold it up for ever.
                waiting = replace(task.waiting, alone=True)
                task = replace(task, waiting=waiting, attempts=task.attempts + process_ended)
                if task.attempts >= MAX_ATTEMPTS:
                    given_up.append(task)
                else:
                    self._waiting[key] = task
            self._changed.notify_all()
        for task in given_up:
            task.client.gave_up(f"The process that examined it ended {MAX_ATTEMPTS} times; please report it.")

    def _lost(self, process: _Process) -> None:
        process.kill()
        process.close()
        with self._changed:
            self._processes.discard(process)


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Process:
    """One model process, from the server's side."""

    def __init__(self, options: PoolOptions) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", options.module, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,
                env=os.environ | {"TMPDIR": str(options.temporary_dir), "OMP_NUM_THREADS": "1"},
            )
        self._connection: Connection[Any, Any] = Connection(ours.detach())
        self._sending = threading.Lock()
        self._ending = threading.Lock()
        self._send(options.setup)

    def wait_until_ready(self) -> Ready:
        """Until the model is loaded.

        Raises:
            ModelError: it cannot be used.
            EOFError, OSError, ValueError: the process ended, stalled, or said what it must not.
        """
        message = self.next_message(START_TIMEOUT_S)
        if isinstance(message, Refused):
            raise ModelError(message.message)
        if not isinstance(message, Ready):
            raise ValueError(message.kind)
        return message

    def examine(self, tasks: Sequence[_Task]) -> None:
        items = tuple(Item(key=task.waiting.key, path=str(task.path)) for task in tasks)
        self._send(Examine(options=tasks[0].waiting.options, items=items))

    def cancel(self, key: int) -> None:
        with contextlib.suppress(OSError):  # it just ended: then the file is not examined any more
            self._send(Cancel(key=key))

    def next_message(self, within_s: float) -> Ready | Refused | Heard | Examined | PassOver:
        if not self._connection.poll(within_s):
            raise TimeoutError(f"nothing heard for {within_s:g} s")
        return receive_in_server(self._connection)

    def kill(self) -> None:
        """End the process and all that it started; from any thread."""
        with self._ending:
            # Until it is waited for, its number cannot become that of another group.
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def close(self) -> None:
        """Let go of the connection; only from the thread that reads it."""
        with self._sending:
            self._connection.close()

    def _send(self, message: Setup | Examine | Cancel) -> None:
        with self._sending:
            send(self._connection, message)
