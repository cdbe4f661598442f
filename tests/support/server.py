"""A `spoofcheck serve` in a process of its own, with a tiny model: to be stopped, and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

START_S = 600.0
"""On a machine that does much else."""


class ServerProcess:
    """A running server.

    Attributes:
        url: where it answers.
        log: what it wrote to standard error so far.
    """

    def __init__(self, data_dir: Path, model: Path, *options: str) -> None:
        command = [
            sys.executable, "-m", "spoofcheck", "serve", "--port", "0", "--model", str(model), "--no-controls",
            "--data-dir", str(data_dir), "--workers", "1", "--keys", str(data_dir.with_suffix(".keys")), *options,
        ]  # fmt: skip
        self.log: list[str] = []
        self.url = ""
        self._listens = threading.Event()
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listens.wait(START_S) or not self.url:
            self.kill()
            raise RuntimeError(f"the server did not start: {''.join(self.log)}")

    def client(self) -> httpx.Client:
        """A client of the server."""
        return httpx.Client(base_url=self.url, timeout=60.0, trust_env=False)

    def descendants(self) -> list[int]:
        """The processes that the server and its children started."""
        found, parents = [], [self._process.pid]
        while parents:
            tasks = Path(f"/proc/{parents[0]}/task")
            started = [int(pid) for task in tasks.glob("*") for pid in _children(task)]
            found += started
            parents = parents[1:] + started
        return found

    def kill(self) -> None:
        """As `kill -9`, or the power: no word of farewell."""
        self._process.kill()
        self._ended()

    def stop(self) -> int:
        """SIGTERM, and its exit code once it has ended."""
        self._process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self) -> int:
        code = self._process.wait(START_S)
        self._reader.join(START_S)
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            if line.startswith("spoofcheck: serving at "):
                self.url = line.split()[3]
                self._listens.set()
        self._listens.set()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None


@contextmanager
def server(data_dir: Path, model: Path, *options: str) -> Iterator[ServerProcess]:
    """A server that is killed at the end, should it still run."""
    made = ServerProcess(data_dir, model, *options)
    try:
        yield made
    finally:
        if made.is_running:
            made.kill()


def wait_for(client: httpx.Client, job_id: str, *states: str) -> dict[str, Any]:
    """Follow a job by its events until it is in one of the states; its status then."""
    while True:
        with client.stream("GET", f"/v1/scans/{job_id}/events", timeout=START_S) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    status: dict[str, Any] = json.loads(line.removeprefix("data:"))
                    if status["state"] in states:
                        return status
                    assert status["state"] in ("queued", "running"), status


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def _children(task: Path) -> list[str]:
    try:
        return (task / "children").read_text().split()
    except OSError:
        return []
