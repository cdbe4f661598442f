"""Runs the application under uvicorn, and ends it in good order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from spoofcheck.errors import UsageError
from spoofcheck.serve.app import Service, build_app
from spoofcheck.serve.connections import PatientProtocol
from spoofcheck.serve.logs import configure
from spoofcheck.serve.settings import Settings

_KEEP_ALIVE_S = 15
_BACKLOG = 128


class _Server(uvicorn.Server):
    """Says when it listens, and lets the engine know at once when it is told to stop."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, listens: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._listens = listens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load, then listen."""
        await super().startup(sockets)
        self._listens()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM and SIGINT: stop accepting; a second SIGINT does not wait any more."""
        made: Service | None = getattr(self._app.state, "service", None)
        if made is not None:
            made.engine.begin_stop()  # what follows events would hold the server up
        super().handle_exit(sig, frame)


def run(settings: Settings, listens: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; returns when all has ended.

    Args:
        settings: of the server.
        listens: told the server's address once it answers.

    Raises:
        ModelError: the model cannot be used.
        UsageError: the settings cannot be honoured, or the address cannot be bound.
    """
    configure()
    os.umask(0o077)  # databases and results, too, are nobody else's
    app = build_app(settings)
    with _bound(settings) as sock:
        config = uvicorn.Config(
            app,
            http=PatientProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(settings.shutdown_grace_s)),
        )
        # What keeps the service from starting is raised below, in one line; uvicorn would log its traceback.
        logging.getLogger("uvicorn.error").addFilter(lambda _record: app.state.failure is None)
        # uvicorn passes signals on when it has ended: then there is nothing left to end.
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        try:
            asyncio.run(_Server(config, app, lambda: listens(_address(sock))).serve([sock]))
        except KeyboardInterrupt:
            pass
        except SystemExit:  # how uvicorn ends when the service cannot start
            if app.state.failure is None:
                raise
    if app.state.failure is not None:
        raise app.state.failure


def _bound(settings: Settings) -> socket.socket:
    """A socket at the address, before anything is loaded; it does not listen yet.

    Raises:
        UsageError: the address cannot be bound.
    """
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except BaseException:
            made.close()
            raise
    except OSError as error:
        raise UsageError(f"--host {settings.host} --port {settings.port}: {error.strerror or error}") from error
    return made


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
