"""What a running application is made of, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request

from spoofcheck.serve.datafolder import DataFolder
from spoofcheck.serve.engine import Engine, model_pool, remove_job_files, remove_uploads
from spoofcheck.serve.jobs import JobStore
from spoofcheck.serve.metrics import Metrics
from spoofcheck.serve.models import Job
from spoofcheck.serve.settings import Settings
from spoofcheck.serve.status import job_status
from spoofcheck.serve.webhooks import Webhooks, parse_receivers

_LOG = logging.getLogger("spoofcheck.serve")

_EXPIRE_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """What the handlers of a running application share: `service(request)`."""

    settings: Settings
    engine: Engine
    store: JobStore
    metrics: Metrics
    webhooks: Webhooks


def service(request: Request) -> Service:
    """The running service that a request is for."""
    made: Service = request.app.state.service
    return made


@asynccontextmanager
async def running(settings: Settings, metrics: Metrics) -> AsyncIterator[Service]:
    """The service, started: it takes up the jobs that an earlier process left, and drains the engine at its end.

    Raises:
        ModelError: the model cannot be used.
        UsageError: the folder of the data cannot be used, or the list of receivers is none.
    """
    receivers = parse_receivers(settings.webhook_hosts)
    with DataFolder(settings) as folder:
        store = JobStore(folder.database)
        try:
            again, failed = store.requeue_running()
            removed = folder.clean(store.known_ids())
            webhooks = Webhooks(receivers, store, metrics, _message)
            engine = Engine(settings, store, metrics, model_pool(settings, metrics), webhooks.tell)
            made = Service(settings, engine, store, metrics, webhooks)
            await engine.start()
            served = {None, *(model.name for model in engine.models)}
            for job in store.queued():
                if job.options.model in served:
                    engine.resume(job)
                else:
                    _give_up(made, job)
            for job in store.webhooks_pending():
                webhooks.tell(job)
            _LOG.info("ready", extra={"jobs_again": len(again), "jobs_failed": len(failed), "files_removed": removed})
            keeper = asyncio.create_task(_expire(made))
            try:
                yield made
            finally:
                keeper.cancel()
                await engine.drain()
                await webhooks.stop()
        finally:
            store.close()


async def forget(made: Service, job_id: str) -> None:
    """Stop a job, remove its files and its result, and forget it."""
    await asyncio.to_thread(made.store.cancel, job_id)
    await made.engine.cancel(job_id)
    await asyncio.to_thread(remove_job_files, made.settings, job_id)
    await asyncio.to_thread(made.store.delete, job_id)


def _give_up(made: Service, job: Job) -> None:
    """A job waits for a model that this server was started without."""
    made.store.fail(job.id, f"The server was started again without the model {job.options.model}; send it once more.")
    if not made.settings.keep_uploads:
        remove_uploads(job)


async def _expire(made: Service) -> None:
    while True:
        try:
            for job_id in await asyncio.to_thread(made.store.expired, made.settings.keep_results_s):
                await forget(made, job_id)
        except Exception:  # a full disk, or a database that is held: the next round may do it
            _LOG.exception("results that are too old stay")
        await asyncio.sleep(_EXPIRE_EVERY_S)


def _message(job: Job) -> bytes:
    return job_status(job).model_dump_json().encode()
