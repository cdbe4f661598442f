"""The application: its routers, what starts and stops with it, and how every error is answered."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from spoofcheck import __version__
from spoofcheck.errors import SpoofcheckError
from spoofcheck.serve import contracts, page, security, v1
from spoofcheck.serve.errors import ApiError, ErrorBody
from spoofcheck.serve.metrics import Metrics
from spoofcheck.serve.observing import Observer
from spoofcheck.serve.service import Service, running, service
from spoofcheck.serve.settings import Settings

__all__ = ["Service", "build_app", "error_response", "service"]

_LOG = logging.getLogger("spoofcheck.serve")


def build_app(settings: Settings) -> FastAPI:
    """The whole service, not yet started: its lifespan is that of `serve.service.running`.

    What keeps it from starting is left in `app.state.failure`, too.

    Raises:
        UsageError: other machines could reach the server, and it has no keys; or the file of keys is none.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with running(settings, metrics) as app.state.service:
                yield
        except SpoofcheckError as error:
            app.state.failure = error
            raise

    app = FastAPI(
        title="spoofcheck",
        version=__version__,
        description="Is this recording synthetic speech, where in it, and how far can that be trusted?",
        lifespan=lifespan,
        # Their pages load scripts from elsewhere; the description itself is at /openapi.json.
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.failure = None
    for router in (v1.router, contracts.router, page.router):
        app.include_router(router)
    app.add_exception_handler(ApiError, _own)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)
    security.install(app, settings)
    app.add_middleware(Observer, metrics=metrics)
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
