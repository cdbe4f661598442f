"""Jobs on disk: SQLite in WAL mode, so that they survive the end of the process, however it comes.

A job moves queued -> running -> done | failed | cancelled, and back from running to queued when it was interrupted.
Every move names the states that it may come from in its own SQL statement: of two that race, one finds no row.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, text
from sqlalchemy import update as sql_update
from sqlmodel import JSON, Column, Field, Session, SQLModel, col, create_engine, select

from spoofcheck.serve.models import OVER, Job, JobOptions, JobState, Upload

MAX_ATTEMPTS = 3
"""A job that was interrupted so often is not begun again: it may be what ends the process."""

_ID_BYTES = 16
_BUSY_TIMEOUT_S = 10.0


class JobRow(SQLModel, table=True):
    """A row of the table `job`."""

    __tablename__ = "job"

    id: str = Field(primary_key=True)
    owner: str = Field(index=True)
    state: str = Field(index=True)
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    options: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    files: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))
    attempts: int = 0
    result_path: str | None = None
    error: str | None = None
    webhook_url: str | None = None
    webhook_secret: str | None = None
    webhook_pending: bool = False


class JobStore:
    """The jobs of one server; safe to use from several threads.

    Args:
        path: of the database file, made when missing.
    """

    def __init__(self, path: Path) -> None:
        self._engine: Engine = create_engine(
            f"sqlite:///{path}",
            connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_S},
            hide_parameters=True,  # errors are logged: no name of a file, no secret of a webhook
        )
        event.listen(self._engine, "connect", _prepare)
        SQLModel.metadata.create_all(self._engine, tables=[SQLModel.metadata.tables["job"]])

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def create(
        self,
        owner: str,
        options: JobOptions,
        files: Sequence[Upload],
        *,
        job_id: str | None = None,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
    ) -> Job:
        """Keep a new job, queued.

        Args:
            owner: name of the caller's key.
            options: of the examination.
            files: where they lie.
            job_id: from `new_id`, where the files already lie in the job's folder.
            webhook_url: who is told when it is over.
            webhook_secret: what the message is signed with.
        """
        row = JobRow(
            id=job_id or new_id(),
            owner=owner,
            state=JobState.QUEUED,
            created_at=_now(),
            options=options.model_dump(mode="json"),
            files=[file.model_dump(mode="json") for file in files],
            webhook_url=webhook_url,
            webhook_secret=webhook_secret,
        )
        with Session(self._engine) as session:
            session.add(row)
            session.commit()
            return _job(row)

    def get(self, job_id: str, owner: str | None = None) -> Job | None:
        """A job; None when there is none, or when it is not the owner's."""
        with Session(self._engine) as session:
            row = session.get(JobRow, job_id)
            return None if row is None or (owner is not None and row.owner != owner) else _job(row)

    def of_owner(self, owner: str, limit: int = 100) -> list[Job]:
        """The newest jobs of an owner, newest first."""
        query = select(JobRow).where(JobRow.owner == owner).order_by(col(JobRow.created_at).desc(), col(JobRow.id))
        return self._all(query.limit(limit))

    def queued(self) -> list[Job]:
        """What waits to be begun, oldest first."""
        return self._all(select(JobRow).where(JobRow.state == JobState.QUEUED).order_by(col(JobRow.created_at)))

    def webhooks_pending(self) -> list[Job]:
        """Jobs that are over and whose receiver was not told yet."""
        return self._all(select(JobRow).where(col(JobRow.webhook_pending)))

    def known_ids(self) -> set[str]:
        """The ids of all jobs."""
        with Session(self._engine) as session:
            return set(session.exec(select(JobRow.id)))

    def claim(self, job_id: str) -> bool:
        """Begin a queued job; False when it is not queued (any more)."""
        return self._move(
            job_id, {JobState.QUEUED}, state=JobState.RUNNING, started_at=_now(), attempts=JobRow.attempts + 1
        )

    def finish(self, job_id: str, result_path: Path) -> bool:
        """A running job is done; False when it is not running (any more)."""
        return self._over(job_id, {JobState.RUNNING}, JobState.DONE, result_path=str(result_path))

    def fail(self, job_id: str, error: str) -> bool:
        """A queued or running job failed; False when it is over already."""
        return self._over(job_id, {JobState.QUEUED, JobState.RUNNING}, JobState.FAILED, error=error)

    def cancel(self, job_id: str) -> bool:
        """A queued or running job is not wanted any more; False when it is over already."""
        return self._over(job_id, {JobState.QUEUED, JobState.RUNNING}, JobState.CANCELLED)

    def requeue(self, job_id: str) -> bool:
        """A running job was interrupted on purpose: this attempt does not count."""
        return self._move(
            job_id, {JobState.RUNNING}, state=JobState.QUEUED, started_at=None, attempts=JobRow.attempts - 1
        )

    def requeue_running(self) -> tuple[list[str], list[str]]:
        """At start: what was running when the process ended waits again.

        Returns:
            Ids of the jobs that wait again, and of those that failed because it was their last attempt.
        """
        again, failed = [], []
        for job in self._all(select(JobRow).where(JobRow.state == JobState.RUNNING)):
            if job.attempts >= MAX_ATTEMPTS:
                self.fail(job.id, f"The server ended {job.attempts} times while it examined this job; it gave up.")
                failed.append(job.id)
            elif self._move(job.id, {JobState.RUNNING}, state=JobState.QUEUED, started_at=None):
                again.append(job.id)
        return again, failed

    def delete(self, job_id: str) -> bool:
        """Forget a job; False when there is none."""
        with Session(self._engine) as session:
            row = session.get(JobRow, job_id)
            if row is None:
                return False
            session.delete(row)
            session.commit()
            return True

    def expired(self, keep_s: float) -> list[str]:
        """Ids of jobs that were over longer ago."""
        before = _now() - timedelta(seconds=keep_s)
        query = select(JobRow.id).where(col(JobRow.state).in_(OVER), col(JobRow.finished_at) < before)
        with Session(self._engine) as session:
            return list(session.exec(query))

    def webhook_told(self, job_id: str) -> None:
        """The receiver was told, or will not be: the secret is forgotten."""
        self._move(job_id, set(JobState), webhook_pending=False, webhook_secret=None)

    def is_writable(self) -> bool:
        """Whether the database answers."""
        with self._engine.connect() as connection:
            return connection.execute(text("SELECT 1")).scalar() == 1

    def _over(self, job_id: str, from_states: set[JobState], state: JobState, **values: Any) -> bool:
        # Nobody is told of a job that its owner took back.
        pending = False if state is JobState.CANCELLED else col(JobRow.webhook_url).is_not(None)
        return self._move(job_id, from_states, state=state, finished_at=_now(), webhook_pending=pending, **values)

    def _move(self, job_id: str, from_states: set[JobState], **values: Any) -> bool:
        statement = (
            sql_update(JobRow).where(col(JobRow.id) == job_id, col(JobRow.state).in_(from_states)).values(**values)
        )
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount == 1

    def _all(self, query: Any) -> list[Job]:
        with Session(self._engine) as session:
            return [_job(row) for row in session.exec(query)]


def new_id() -> str:
    """128 random bits, URL-safe: nobody finds another's job by trying."""
    return secrets.token_urlsafe(_ID_BYTES)


def _now() -> datetime:
    return datetime.now(UTC)


def _prepare(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _aware(moment: datetime | None) -> datetime | None:
    """SQLite drops the time zone; all of ours are UTC."""
    return None if moment is None else moment.replace(tzinfo=UTC)


def _job(row: JobRow) -> Job:
    created_at = _aware(row.created_at)
    assert created_at is not None
    return Job(
        id=row.id,
        owner=row.owner,
        state=JobState(row.state),
        created_at=created_at,
        started_at=_aware(row.started_at),
        finished_at=_aware(row.finished_at),
        options=JobOptions.model_validate(row.options),
        files=tuple(Upload.model_validate(file) for file in row.files),
        attempts=row.attempts,
        result_path=None if row.result_path is None else Path(row.result_path),
        error=row.error,
        webhook_url=row.webhook_url,
        webhook_secret=row.webhook_secret,
        webhook_pending=row.webhook_pending,
    )
