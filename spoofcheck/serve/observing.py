"""Counts and logs every request: method, route, status, time. No address, no query, no name."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spoofcheck.serve.metrics import Metrics

_LOG = logging.getLogger("spoofcheck.serve.requests")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observer:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.monotonic()
        status, answered_s = 500, None

        async def watched(message: Message) -> None:
            nonlocal status, answered_s
            if message["type"] == "http.response.start":
                status, answered_s = message["status"], time.monotonic()
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            took_s = (answered_s or time.monotonic()) - began_s
            # What is no route of ours is one label: a stranger must not make up new ones.
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, status).inc()
            self._metrics.latency.labels(method, route).observe(took_s)
            request_id = scope.get("state", {}).get("request_id")
            facts = {"method": method, "route": route, "status": status, "ms": round(took_s * 1e3, 1)}
            _LOG.info("request", extra=facts | {"request_id": request_id})
