"""What is said of a job to its owner."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic import ConfigDict, Field, JsonValue

from spoofcheck.schema import OutsideText
from spoofcheck.serve.models import FileProgress, Job, JobOptions, JobState, Value

EXAMPLE_ID = "mR8oYw1tQ2m0U100lD4s8g"


_EXAMPLE: Final[dict[str, JsonValue]] = {
    "id": EXAMPLE_ID,
    "state": "running",
    "created_at": "2026-11-21T20:40:03.396796Z",
    "started_at": "2026-11-21T20:40:03.407200Z",
    "finished_at": None,
    "attempts": 1,
    "progress": 0.42,
    "files": [
        {
            "name": "voicemail.mp3",
            "size_bytes": 122036,
            "sha256": "9d0c2dbf6c0e8ab6a30ae02fbd3f5a4d4d9fd2a3d4a7c4b2f5a5b3c3a0d7a1c2",
            "progress": 0.42,
            "duration_s": 10.2,
            "done": False,
        }
    ],
    "options": {
        "model": None,
        "channels": "auto",
        "acoustics": True,
        "pictures": True,
        "excerpts": False,
    },
    "error": None,
    "status_url": f"/v1/scans/{EXAMPLE_ID}/status",
    "result_url": f"/v1/scans/{EXAMPLE_ID}",
    "report_url": f"/v1/scans/{EXAMPLE_ID}/report.html",
    "events_url": f"/v1/scans/{EXAMPLE_ID}/events",
}


class FileStatus(Value):
    """One file of a job."""

    name: OutsideText = Field(description="as it was sent, cleaned for display")
    size_bytes: int = Field(ge=0, description="as received")
    sha256: str = Field(description="as received")
    progress: float = Field(ge=0, le=1, description="0 to 1")
    duration_s: float | None = Field(description="as its header claims; null when it does not say, or is not read yet")
    done: bool = Field(description="whether it was examined, or skipped")


class JobStatus(Value):
    """A job, without its result."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str = Field(description="of the job")
    state: JobState = Field(description="where it is; done, failed and cancelled are final")
    created_at: datetime = Field(description="when it was taken, UTC")
    started_at: datetime | None = Field(description="when it was begun (last), UTC; null while it waits")
    finished_at: datetime | None = Field(description="when it was over, UTC; null before")
    attempts: int = Field(ge=0, description="how often it was begun; more than once when the server was interrupted")
    progress: float = Field(ge=0, le=1, description="0 to 1")
    files: tuple[FileStatus, ...] = Field(description="in the order sent")
    options: JobOptions = Field(description="as asked for")
    error: str | None = Field(description="why it failed; null else")
    status_url: str = Field(description="of this answer")
    result_url: str = Field(description="of the result, once it is done")
    report_url: str = Field(description="of the evidence report, once it is done")
    events_url: str = Field(description="of server-sent progress")


class JobList(Value):
    """The caller's jobs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"scans": [_EXAMPLE]}]})

    scans: tuple[JobStatus, ...] = Field(description="newest first, at most a hundred")


def job_status(job: Job, progress: Sequence[FileProgress] = ()) -> JobStatus:
    """What is said of a job.

    Args:
        job: as the store has it.
        progress: of its files, in their order; empty when the engine does not have it.
    """
    is_done = job.state is JobState.DONE
    known = tuple(progress) or (FileProgress(share=float(is_done), done=is_done),) * len(job.files)
    files = tuple(
        FileStatus(
            name=file.display_name,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            progress=1.0 if is_done else each.share,
            duration_s=each.duration_s,
            done=is_done or each.done,
        )
        for file, each in zip(job.files, known, strict=True)
    )
    path = scan_path(job.id)
    return JobStatus(
        id=job.id,
        state=job.state,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        attempts=job.attempts,
        progress=_mean([file.progress for file in files]),
        files=files,
        options=job.options,
        error=job.error,
        status_url=f"{path}/status",
        result_url=path,
        report_url=f"{path}/report.html",
        events_url=f"{path}/events",
    )


def scan_path(job_id: str) -> str:
    """Where a job is found."""
    return f"/v1/scans/{job_id}"


def _mean(shares: Sequence[float]) -> float:
    return sum(shares) / len(shares) if shares else 0.0
