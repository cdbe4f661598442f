"""The engine over processes that have no model: queue, deadline, cancelling, draining, what it leaves in the store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from spoofcheck.document import load_document
from spoofcheck.schema import Verdict
from spoofcheck.serve.engine import Engine
from spoofcheck.serve.errors import ApiError
from spoofcheck.serve.jobs import JobStore
from spoofcheck.serve.messages import Setup
from spoofcheck.serve.metrics import Metrics
from spoofcheck.serve.models import Job, JobOptions, JobState, Upload
from spoofcheck.serve.pool import ModelPool, PoolOptions
from spoofcheck.serve.settings import Settings

WAIT_S = 60.0


class Rig:
    """An engine with one process, and its store."""

    def __init__(self, folder: Path, **chosen: object) -> None:
        self.folder = folder
        self.settings = Settings(data_dir=folder, **chosen)  # type: ignore[arg-type]
        self.settings.jobs_dir.mkdir()
        self.store = JobStore(folder / "jobs.sqlite")
        self.metrics = Metrics()
        self.told: list[Job] = []
        setup = Setup(models=(None,), device="cpu", threshold_llr=None, controls=False, max_duration_s=60.0)
        options = PoolOptions(setup, 1, folder, module="tests.support.modelstandin", restart_after_s=(0.0,))
        self.engine = Engine(self.settings, self.store, self.metrics, ModelPool(options), self.told.append)

    def upload(self, text: str, name: str = "voice.wav") -> Upload:
        path = self.folder / hashlib.sha256(f"{text} {name}".encode()).hexdigest()
        path.write_text(text)
        return Upload(path=path, display_name=name, size_bytes=len(text), sha256="0" * 64)

    def job(self, *texts: str) -> Job:
        uploads = [self.upload(text, f"{number}.wav") for number, text in enumerate(texts)]
        job = self.store.create("me", JobOptions(), uploads)
        (self.settings.jobs_dir / job.id).mkdir()
        return job

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not holds():
                await asyncio.sleep(0.01)

    def state(self, job: Job) -> JobState:
        kept = self.store.get(job.id)
        assert kept is not None
        return kept.state


@asynccontextmanager
async def running(folder: Path, **chosen: object) -> AsyncIterator[Rig]:
    rig = Rig(folder, **chosen)
    await rig.engine.start()
    try:
        yield rig
    finally:
        await rig.engine.drain()
        rig.store.close()


def test_requests_wait_for_documents_with_their_own_names(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as rig:
            uploads = [rig.upload("first", "<b>.wav"), rig.upload("second", "../../etc/passwd")]
            document = await rig.engine.examine(uploads, JobOptions(channels="each"))
            assert [each.path for each in document.findings] == ["<b>.wav", "../../etc/passwd"]
            assert [each.reasons[0].message for each in document.findings] == ["first", "second"]
            assert document.options.channels == "each"
            assert document.model == rig.engine.document.model
            assert b'spoofcheck_findings_total{verdict="inconclusive"} 2.0' in rig.metrics.text()
            assert b"spoofcheck_audio_seconds_total 4.0" in rig.metrics.text()

    asyncio.run(scenario())


def test_a_job_leaves_its_result_and_no_upload(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as rig:
            job = rig.job("first", "second")
            await rig.engine.submit(job)
            await rig.until(lambda: bool(rig.told))
            (over,) = rig.told
            assert (over.id, over.state, over.attempts) == (job.id, JobState.DONE, 1)
            assert over.result_path is not None
            assert [each.path for each in load_document(over.result_path).findings] == ["0.wav", "1.wav"]
            assert not any(upload.path.exists() for upload in job.files)
            assert rig.engine.progress(job.id) == ()

    asyncio.run(scenario())


def test_uploads_stay_when_asked_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, keep_uploads=True) as rig:
            job = rig.job("first")
            await rig.engine.submit(job)
            await rig.until(lambda: bool(rig.told))
            assert all(upload.path.exists() for upload in job.files)

    asyncio.run(scenario())


def test_a_file_that_ends_processes_is_skipped_and_others_are_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as rig:
            document = await rig.engine.examine([rig.upload("die"), rig.upload("well")], JobOptions())
            assert [each.verdict for each in document.findings] == [Verdict.SKIPPED, Verdict.INCONCLUSIVE]
            assert document.findings[0].reasons[0].code == "internal-error"

    asyncio.run(scenario())


def test_too_much_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, queue_limit=2, shutdown_grace_s=0.0) as rig:
            slow = rig.job("slow")
            await rig.engine.submit(slow)
            await rig.until(lambda: rig.state(slow) is JobState.RUNNING)
            await rig.engine.submit(rig.job("slow", "slow"))
            await asyncio.sleep(0)
            for refused in (rig.engine.submit(rig.job("x")), rig.engine.examine([rig.upload("x")], JobOptions())):
                with pytest.raises(ApiError) as caught:
                    await refused
                assert (caught.value.status, bool(caught.value.retry_after_s)) == (429, True)

    asyncio.run(scenario())


def test_a_request_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, request_deadline_s=0.2) as rig:
            with pytest.raises(ApiError) as caught:
                await rig.engine.examine([rig.upload("slow")], JobOptions())
            assert caught.value.status == 503
            # Its process is free for the next one.
            job = rig.job("next")
            await rig.engine.submit(job)
            await rig.until(lambda: rig.state(job) is JobState.DONE)

    asyncio.run(scenario())


def test_a_cancelled_job_makes_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as rig:
            slow, waiting = rig.job("slow"), rig.job("waiting")
            await rig.engine.submit(slow)
            await rig.until(lambda: any(each.share for each in rig.engine.progress(slow.id)))
            (progress,) = rig.engine.progress(slow.id)
            assert (progress.share, progress.duration_s, progress.done) == (0.5, 10.0, False)
            await rig.engine.submit(waiting)
            assert rig.store.cancel(slow.id)
            await rig.engine.cancel(slow.id)
            await rig.until(lambda: bool(rig.told))
            assert rig.state(slow) is JobState.CANCELLED
            assert [job.id for job in rig.told] == [waiting.id]

    asyncio.run(scenario())


def test_stopping_finishes_what_it_can_and_gives_the_rest_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        rig = Rig(tmp_path, shutdown_grace_s=0.3)
        await rig.engine.start()
        slow, waiting = rig.job("slow"), rig.job("waiting")
        await rig.engine.submit(slow)
        await rig.until(lambda: rig.state(slow) is JobState.RUNNING)
        await rig.engine.submit(waiting)
        rig.engine.begin_stop()
        assert not rig.engine.is_ready
        with pytest.raises(ApiError) as caught:
            await rig.engine.submit(rig.job("late"))
        assert caught.value.status == 503
        await rig.engine.drain()
        for job in (slow, waiting):
            kept = rig.store.get(job.id)
            assert kept is not None
            assert (kept.state, kept.attempts) == (JobState.QUEUED, 0)
            assert all(upload.path.exists() for upload in kept.files)
        rig.store.close()

    asyncio.run(scenario())


def test_what_runs_at_the_end_may_finish(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as rig:
            job = rig.job("brief")
            await rig.engine.submit(job)
            await rig.until(lambda: rig.state(job) is JobState.RUNNING)
        assert [over.state for over in rig.told] == [JobState.DONE]

    asyncio.run(scenario())


def test_a_result_that_cannot_be_kept_fails_the_job(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as rig:
            job = rig.job("first")
            (rig.settings.jobs_dir / job.id).rmdir()
            await rig.engine.submit(job)
            await rig.until(lambda: bool(rig.told))
            assert rig.told[0].state is JobState.FAILED
            assert rig.told[0].error is not None
            assert str(tmp_path) not in rig.told[0].error

    asyncio.run(scenario())
