"""The application: its routers, what starts and stops with it, and how every error is answered."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from spoofcheck import __version__
from spoofcheck.serve import contracts, page, security, v1
from spoofcheck.serve.engine import Engine
from spoofcheck.serve.errors import ApiError, ErrorBody
from spoofcheck.serve.jobs import JobStore
from spoofcheck.serve.settings import Settings

_LOG = logging.getLogger("spoofcheck.serve")


@dataclass(frozen=True, slots=True)
class Service:
    """What the handlers of a running application share: `service(request)`."""

    settings: Settings
    engine: Engine
    store: JobStore


def service(request: Request) -> Service:
    """The running service that a request is for."""
    made: Service = request.app.state.service
    return made


def build_app(settings: Settings) -> FastAPI:
    """The whole service, not yet started.

    Its lifespan opens the store, starts the engine, takes up the jobs that an earlier process left, and at its end
    drains the engine.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        for folder in (settings.jobs_dir, settings.incoming_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = JobStore(settings.data_dir / "jobs.sqlite")
        engine = Engine(settings, store)
        app.state.service = Service(settings, engine, store)
        await engine.start()
        store.requeue_running()
        for job in store.queued():
            await engine.submit(job)
        yield
        await engine.drain()
        store.close()

    app = FastAPI(
        title="spoofcheck",
        version=__version__,
        description="Is this recording synthetic speech, where in it, and how far can that be trusted?",
        lifespan=lifespan,
    )
    app.state.settings = settings
    for router in (v1.router, contracts.router, page.router):
        app.include_router(router)
    app.add_exception_handler(ApiError, _own)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)
    security.install(app, settings)
    return app


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The body that every error has."""
    return JSONResponse(ErrorBody(message=message).model_dump(), status, headers)


async def _own(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    retry = None if error.retry_after_s is None else {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    return error_response(error.status, error.message, retry)


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = error.detail if isinstance(error.detail, str) else HTTPStatus(error.status_code).phrase
    return error_response(error.status_code, message, dict(error.headers or {}))


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return error_response(422, f"{where}: {first['msg']}")


async def _unexpected(request: Request, error: Exception) -> Response:
    _LOG.error("unexpected error", exc_info=error, extra={"method": request.method})
    return error_response(500, "The server failed to answer; its log says more.")
