"""Connections that say nothing: uvicorn waits for the headers of a request as long as it takes; this one does not."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_S = 15.0
"""How long a connection may take from its begin, or from the first byte of a further request, to whole headers."""

UNHEARD_MS = 60_000
"""How long what was sent may go unacknowledged, or the peer may take nothing, before the system ends a connection."""


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that lets go of a client which does not finish its headers, or takes no answer. For `uvicorn.Config`.

    The body is the business of `serve.uploads`; an idle connection between requests that of `timeout_keep_alive`.
    """

    headers_s = HEADERS_S
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected."""
        super().connection_made(transport)
        connection: Any = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD_MS)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        """Bytes came, of headers or of a body."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._await_headers()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.headers_s, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
