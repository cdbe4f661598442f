"""What examines: jobs of the store and the files of requests that wait for their result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from spoofcheck.schema import ScanDocument
from spoofcheck.serve.errors import ApiError
from spoofcheck.serve.models import FileProgress, Job, JobOptions, Upload
from spoofcheck.serve.settings import Settings

if TYPE_CHECKING:
    from spoofcheck.detect.scan import Scanner
    from spoofcheck.serve.jobs import JobStore

RETRY_AFTER_S = 5.0


class Engine:
    """Examines files, with a bounded queue.

    Args:
        settings: of the server.
        store: of the jobs that `submit` is given.
    """

    def __init__(self, settings: Settings, store: JobStore) -> None:
        self._settings = settings
        self._store = store
        self._scanner: Scanner | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Load the model.

        Raises:
            ModelError, UsageError: as `detect.scan.Scanner`.
        """
        self._scanner = await asyncio.to_thread(self._load)

    async def submit(self, job: Job) -> None:
        """Take a queued job of the store; it is examined in the background.

        Raises:
            ApiError: 429, too much is waiting; 503, the server is about to stop.
        """
        self._make_room(len(job.files))
        self._tasks[job.id] = asyncio.create_task(self._run(job))

    async def examine(self, uploads: Sequence[Upload], options: JobOptions) -> ScanDocument:
        """Examine files and wait for the result; cancelling the call cancels the examination.

        Returns:
            The document that `spoofcheck scan --json` would write, with the files by their display names.

        Raises:
            ApiError: 429, too much is waiting; 503, the server is about to stop; 504, it took too long.
        """
        self._make_room(len(uploads))
        return await self._examined(uploads, options)

    def progress(self, job_id: str) -> tuple[FileProgress, ...]:  # noqa: ARG002
        """How far the files of a running job have come, in their order; empty for any other."""
        return ()

    async def cancel(self, job_id: str) -> None:
        """Stop examining a job."""
        task = self._tasks.pop(job_id, None)
        if task is not None:
            task.cancel()

    async def drain(self) -> None:
        """Take nothing any more, let what runs finish within the grace period, give the rest back to the store."""
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=self._settings.shutdown_grace_s)
        for job_id, task in self._tasks.items():
            if task.cancel():
                self._store.requeue(job_id)

    def _make_room(self, files: int) -> None:
        if self._waiting + files > self._settings.queue_limit:
            raise ApiError(429, "Too many recordings are waiting; try again later.", RETRY_AFTER_S)

    async def _run(self, job: Job) -> None:
        from spoofcheck.render.json import render

        self._store.claim(job.id)
        document = await self._examined(job.files, job.options)
        result = self._settings.jobs_dir / job.id / "result.json"
        await asyncio.to_thread(_write, result, render(document))
        self._store.finish(job.id, result)
        self._tasks.pop(job.id, None)

    async def _examined(self, uploads: Sequence[Upload], options: JobOptions) -> ScanDocument:
        self._waiting += len(uploads)
        try:
            async with self._turn:
                return await asyncio.to_thread(self._scan, uploads, options)
        finally:
            self._waiting -= len(uploads)

    def _load(self) -> Scanner:
        from spoofcheck.detect.evidence import EvidenceOptions
        from spoofcheck.detect.scan import Scanner, ScanOptions

        evidence = EvidenceOptions(acoustics=True, pictures=True)
        return Scanner(self._settings.model, ScanOptions(evidence=evidence))

    def _scan(self, uploads: Sequence[Upload], options: JobOptions) -> ScanDocument:  # noqa: ARG002
        from spoofcheck.detect.provenance import build_document

        assert self._scanner is not None
        started_at = datetime.now(UTC)
        names = {upload.path: upload.display_name for upload in uploads}
        examined = self._scanner.examined([upload.path for upload in uploads])
        findings = [finding.model_copy(update={"path": names[path]}) for path, finding in examined]
        return build_document(self._scanner, findings, started_at=started_at, complete=True, command_line=())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8", newline="")
    beside.replace(path)
