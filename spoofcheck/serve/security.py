"""What holds for every request and every answer: which hosts and origins may ask, headers, request ids, errors.

On a loopback server two attacks come from the user's own browser. A page of another site may send requests here (they
carry an `Origin`, or `Sec-Fetch-Site`, that is not ours), and its host name may be made to resolve to this machine
(then the `Host` is not ours). Both are refused before anything is read; programs that are no browsers send neither.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spoofcheck.errors import UsageError
from spoofcheck.serve.access import Access
from spoofcheck.serve.errors import ErrorBody
from spoofcheck.serve.settings import Settings
from spoofcheck.serve.uploads import BodyBudget, UploadLimits

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Of our page and of every answer that names no policy of its own: scripts and styles come from files of ours alone."""

REPORT_POLICY: Final = "sandbox allow-scripts allow-modals allow-downloads; base-uri 'none'; frame-ancestors 'self'"
"""Of an evidence report, which allows its own script and style by hash: it gets an origin that is nobody's."""

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": PAGE_POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), display-capture=()",
    "Cache-Control": "no-store",
}

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LINGER_S: Final = 2.0
"""How long a refused client may go on sending, so that it reads the answer: what is sent to a closed connection resets
it."""
_LARGE_BODIES: Final = 4
"""Bodies of the largest JSON that are held in memory at a time."""
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?")
_PORT: Final = re.compile(r":\d*$")
_LOG = logging.getLogger("spoofcheck.serve")


def install(app: FastAPI, settings: Settings) -> None:
    """Guard an application: every request passes here first, every answer last.

    Raises:
        UsageError: as `serve.access.Access`; or a prior or an origin that is none.
    """
    for origin in settings.cors_origins:
        if not _ORIGIN.fullmatch(origin):  # '*' would open a server without keys to every page
            raise UsageError(f"--cors-origin {origin}: name one origin, like https://lab.example.org")
    if not 0 < settings.prior_synthetic < 1:
        raise UsageError(f"the prior of synthetic speech is {settings.prior_synthetic:g}; it lies between 0 and 1")
    app.state.access = Access(settings)
    app.state.limits = limits = UploadLimits.of(settings)
    app.state.body_budget = BodyBudget(_LARGE_BODIES * limits.json_bytes)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type", "x-api-key"],
            expose_headers=["retry-after", "x-request-id"],
        )
    app.add_middleware(Guard, settings=settings)


class Guard:
    """The outermost layer: refuses hosts and origins that are not ours, sets headers, answers what nobody caught."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        has_begun = False

        body = _Body(receive, Headers(scope=scope))

        async def guarded(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                if message["status"] >= 400 and not await body.was_read(lingers=message["status"] != 408):
                    MutableHeaders(scope=message)["Connection"] = "close"
                _set_headers(message, request_id)
            await send(message)

        refusal = refused(scope["method"], Headers(scope=scope), self._settings)
        if refusal is not None:
            await _answer(*refusal, scope, body.receive, guarded)
            return
        try:
            await self._app(scope, body.receive, guarded)
        except Exception:
            if has_begun:
                raise
            _LOG.exception("unexpected error", extra={"request_id": request_id})
            await _answer(500, "The server failed to answer; its log says more.", scope, body.receive, guarded)


class _Body:
    """Knows whether a request's body was read to its end."""

    def __init__(self, receive: Receive, headers: Headers) -> None:
        self._receive = receive
        # A client that waits for leave to send has nothing under way.
        self._may_linger = "expect" not in headers
        self._is_over = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"

    async def receive(self) -> Message:
        """As an ASGI application's."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._is_over = True
        return message

    async def was_read(self, *, lingers: bool) -> bool:
        """Whether it was, or is now: a moment may be waited for what is still under way, and that is passed over."""
        if self._is_over or not (lingers and self._may_linger):
            return self._is_over
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while not self._is_over:
                    await self.receive()
        return self._is_over


def refused(method: str, headers: Mapping[str, str], settings: Settings) -> tuple[int, str] | None:
    """Status and message when a request is refused for its host or its origin; None when it may pass.

    Args:
        method: in upper case.
        headers: by names in lower case, or case-insensitive.
        settings: of the server.
    """
    host = headers.get("host", "")
    if not _is_our_host(host, settings):
        return 421, "This server is not called by that name; the option --allowed-host adds one."
    if method in _SAFE_METHODS:
        return None
    origin = headers.get("origin")
    if origin is None:
        # Browsers say where a request comes from, even where they keep the origin to themselves.
        is_foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    else:
        is_foreign = origin not in settings.cors_origins and not _is_same(origin, host)
    return (403, "Pages of other sites may not use this server from a browser.") if is_foreign else None


def _is_our_host(host: str, settings: Settings) -> bool:
    """Elsewhere than on loopback any name may lead here, unless the operator listed them: keys are asked for."""
    allowed = {name.lower() for name in settings.allowed_hosts}
    if settings.is_loopback:
        bound = f"[{settings.host}]" if ":" in settings.host else settings.host
        allowed |= {"localhost", "127.0.0.1", "[::1]", bound.lower()}
    elif not allowed:
        return True
    return _PORT.sub("", host.lower()) in allowed


def _is_same(origin: str, host: str) -> bool:
    """Whether an origin is this server by the name it was called by; a proxy may speak TLS before it."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return False
    default = ":80" if parts.scheme == "http" else ":443"
    return parts.netloc.lower().removesuffix(default) == host.lower().removesuffix(default)


def _set_headers(message: Message, request_id: str) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    headers["X-Request-Id"] = request_id
    if message["status"] == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="spoofcheck"')
    if headers["Content-Security-Policy"] == REPORT_POLICY:
        headers["X-Frame-Options"] = "SAMEORIGIN"


async def _answer(status: int, message: str, scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse(ErrorBody(message=message).model_dump(), status)(scope, receive, send)
