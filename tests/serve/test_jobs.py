from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings as budget
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError

from spoofcheck.errors import UsageError
from spoofcheck.serve.datafolder import DataFolder
from spoofcheck.serve.jobs import MAX_ATTEMPTS, JobStore, new_id
from spoofcheck.serve.models import JobOptions, JobState, Upload
from spoofcheck.serve.settings import Settings
from spoofcheck.serve.v1 import JsonScan


def upload(folder: Path, name: str = "a.wav") -> Upload:
    return Upload(path=folder / "0123", display_name=name, size_bytes=5, sha256="0" * 64)


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "jobs.sqlite")


def test_a_job_is_kept_as_it_was_given(store: JobStore, tmp_path: Path) -> None:
    options = JobOptions(channels="each", excerpts=True)
    hostile = upload(tmp_path, "<b>\udcff'; DROP TABLE job; --")
    made = store.create("me", options, [hostile], webhook_url="https://x.example/", webhook_secret="0123456789abcdef")
    store.close()
    again = JobStore(tmp_path / "jobs.sqlite").get(made.id, "me")
    assert again == made
    assert again is not None
    assert again.state is JobState.QUEUED
    assert again.options == options
    assert again.files[0].display_name == "<b>\\xff'; DROP TABLE job; --"
    assert again.created_at.utcoffset() == timedelta(0)
    assert "0123456789abcdef" not in repr(again)


def test_errors_quote_nothing_that_a_log_must_not_hold(store: JobStore, tmp_path: Path) -> None:
    files, secret = [upload(tmp_path, "the accused.wav")], "0123456789abcdef"
    store.create("me", JobOptions(), files, job_id="twice")
    with pytest.raises(IntegrityError) as error:
        store.create("me", JobOptions(), files, job_id="twice", webhook_secret=secret)
    assert "job.id" in str(error.value)
    assert secret not in str(error.value)
    assert "accused" not in str(error.value)


def test_values_do_not_quote_what_they_reject() -> None:
    for reject in (JsonScan.model_validate, JobOptions.model_validate):
        with pytest.raises(ValidationError) as error:
            reject({"files": "UklGRg==", "channels": "UklGRg=="})
        assert "UklGRg" not in str(error.value)


def test_jobs_are_their_owners(store: JobStore, tmp_path: Path) -> None:
    mine = store.create("me", JobOptions(), [upload(tmp_path)])
    other = store.create("you", JobOptions(), [upload(tmp_path)])
    assert store.get(mine.id, "you") is None
    assert store.get(mine.id, "") is None
    assert [job.id for job in store.of_owner("me")] == [mine.id]
    assert store.known_ids() == {mine.id, other.id}


def test_ids_are_long_and_safe_in_addresses() -> None:
    ids = {new_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(len(each) == 22 and each.replace("-", "a").replace("_", "a").isalnum() for each in ids)


def test_what_ran_when_the_process_ended_waits_again_but_not_for_ever(store: JobStore, tmp_path: Path) -> None:
    job = store.create("me", JobOptions(), [upload(tmp_path)], webhook_url="https://x.example/")
    for attempt in range(1, MAX_ATTEMPTS):
        assert store.claim(job.id)
        assert store.requeue_running() == ([job.id], [])
        assert [(each.id, each.attempts, each.started_at) for each in store.queued()] == [(job.id, attempt, None)]
    assert store.claim(job.id)
    assert store.requeue_running() == ([], [job.id])
    failed = store.get(job.id)
    assert failed is not None
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert str(MAX_ATTEMPTS) in failed.error
    assert [each.id for each in store.webhooks_pending()] == [job.id]


def test_an_interruption_on_purpose_does_not_count(store: JobStore, tmp_path: Path) -> None:
    job = store.create("me", JobOptions(), [upload(tmp_path)])
    for _ in range(2 * MAX_ATTEMPTS):
        assert store.claim(job.id)
        assert store.requeue(job.id)
    assert store.requeue_running() == ([], [])
    again = store.get(job.id)
    assert again is not None
    assert (again.state, again.attempts) == (JobState.QUEUED, 0)


def test_a_receiver_is_told_of_done_and_failed_jobs_once(store: JobStore, tmp_path: Path) -> None:
    def job(url: str | None) -> str:
        made = store.create("me", JobOptions(), [upload(tmp_path)], webhook_url=url, webhook_secret="s" * 16)
        assert store.claim(made.id)
        return made.id

    first, second, third = (job("https://x.example/") for _ in range(3))
    silent = job(None)
    assert store.finish(first, tmp_path / "result.json")
    assert store.fail(second, "no")
    assert store.cancel(third)
    assert store.finish(silent, tmp_path / "result.json")
    assert {each.id for each in store.webhooks_pending()} == {first, second}
    store.webhook_told(first)
    assert {each.id for each in store.webhooks_pending()} == {second}
    told = store.get(first)
    assert told is not None
    assert told.webhook_secret is None


def test_jobs_expire_once_they_are_over(store: JobStore, tmp_path: Path) -> None:
    waiting = store.create("me", JobOptions(), [upload(tmp_path)])
    over = store.create("me", JobOptions(), [upload(tmp_path)])
    store.claim(over.id)
    store.finish(over.id, tmp_path / "result.json")
    assert store.expired(3_600) == []
    assert store.expired(-1) == [over.id]
    assert store.delete(over.id)
    assert not store.delete(over.id)
    assert store.known_ids() == {waiting.id}


ALLOWED = {
    "claim": ({JobState.QUEUED}, JobState.RUNNING),
    "finish": ({JobState.RUNNING}, JobState.DONE),
    "fail": ({JobState.QUEUED, JobState.RUNNING}, JobState.FAILED),
    "cancel": ({JobState.QUEUED, JobState.RUNNING}, JobState.CANCELLED),
    "requeue": ({JobState.RUNNING}, JobState.QUEUED),
}
"""The states that each move may come from, and where it leads."""


class Moves(RuleBasedStateMachine):
    """The store against a model of one job."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spoofcheck-test-"))
        self.store = JobStore(self.folder / "jobs.sqlite")
        self.id = self.store.create("me", JobOptions(), [upload(self.folder)]).id
        self.state = JobState.QUEUED

    @rule(move=st.sampled_from(sorted(ALLOWED)))
    def moves(self, move: str) -> None:
        arguments = {"finish": (self.folder / "result.json",), "fail": ("no",)}.get(move, ())
        from_states, to = ALLOWED[move]
        assert getattr(self.store, move)(self.id, *arguments) == (self.state in from_states)
        if self.state in from_states:
            self.state = to

    @invariant()
    def the_store_agrees(self) -> None:
        job = self.store.get(self.id)
        assert job is not None
        assert job.state is self.state
        assert (job.finished_at is not None) == (self.state in ("done", "failed", "cancelled"))
        assert (job.started_at is not None) <= (self.state is not JobState.QUEUED)
        assert (job.result_path is not None) == (self.state is JobState.DONE)
        assert (job.error is not None) == (self.state is JobState.FAILED)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


TestMoves = Moves.TestCase
TestMoves.settings = budget(max_examples=15, stateful_step_count=10, deadline=None)


def test_one_server_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with DataFolder(settings), pytest.raises(UsageError, match="another server"), DataFolder(settings):
        pass
    with DataFolder(settings) as again:
        assert again.database.parent == settings.data_dir


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "my novel.txt").touch()
    with pytest.raises(UsageError, match="other files"), DataFolder(Settings(data_dir=tmp_path)):
        pass
    assert (tmp_path / "jobs" / "my novel.txt").exists()


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").touch()
    with DataFolder(settings) as folder:
        assert folder.clean(set()) == 0
        (settings.incoming_dir / "half").touch()
        (settings.temporary_dir / "decoded").mkdir()
        (settings.jobs_dir / "known").mkdir()
        (settings.jobs_dir / "unknown").mkdir()
        (settings.jobs_dir / "unknown" / "upload").touch()
        (settings.jobs_dir / "link").symlink_to(outside)
        assert folder.clean({"known"}) == 4
    left = sorted(str(path.relative_to(settings.data_dir)) for path in settings.data_dir.rglob("*"))
    assert left == ["incoming", "jobs", "jobs/known", "spoofcheck-serve.lock", "tmp"]
    assert (outside / "keep").exists()
