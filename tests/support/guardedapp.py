"""The contracts behind their guards on a real socket, with an engine that only says what it was told to say."""

from __future__ import annotations

import asyncio
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Request

from spoofcheck.schema import Finding, ScanDocument, Verdict
from spoofcheck.serve import contracts, security
from spoofcheck.serve.access import Caller, caller
from spoofcheck.serve.app import error_response
from spoofcheck.serve.connections import PatientProtocol
from spoofcheck.serve.errors import ApiError
from spoofcheck.serve.models import JobOptions, Upload
from spoofcheck.serve.settings import Settings
from spoofcheck.serve.uploads import BodyBudget, limits_of, receive_form
from tests.support.documents import document, document_of, finding, of_verdict


@dataclass
class ToldEngine:
    """Answers with one finding, and remembers what it was given."""

    told: Finding
    seen: list[tuple[Upload, bytes, int]] = field(default_factory=list)
    """Every upload with its bytes, and the permissions of its file."""
    asked: list[JobOptions] = field(default_factory=list)
    waits: bool = False
    is_full: bool = False
    was_cancelled: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    budget: BodyBudget | None = None
    """Of the application it is in, for tests that look."""

    def check_room(self, files: int) -> None:
        assert files == 1
        if self.is_full:
            raise ApiError(429, "Too many recordings are waiting; try again later.", 5.0)

    async def examine(self, uploads: Sequence[Upload], options: JobOptions) -> ScanDocument:
        self.asked.append(options)
        for upload in uploads:
            self.seen.append((upload, upload.path.read_bytes(), stat.S_IMODE(upload.path.stat().st_mode)))
        if self.error is not None:
            raise self.error
        try:
            while self.waits:
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise
        if self.told.verdict is Verdict.UNCALIBRATED:
            return document_of(Verdict.UNCALIBRATED)
        return document([self.told])


def spoof() -> Finding:
    """A flagged exhibit of LLR 3.2."""
    return of_verdict(Verdict.SPOOF)


def human() -> Finding:
    """One of LLR -3.2."""
    return of_verdict(Verdict.BONAFIDE)


def undecided(llr: float) -> Finding:
    """An inconclusive exhibit."""
    return finding("x.wav", Verdict.INCONCLUSIVE, llr, [llr] * 3)


def guarded_app(settings: Settings, engine: ToldEngine) -> FastAPI:
    """The application: the contracts, `/who` for callers alone, `/form` for uploads, `/broken`."""
    app = FastAPI()
    app.state.settings = settings
    app.state.service = SimpleNamespace(engine=engine)
    app.include_router(contracts.router)

    @app.get("/who")
    async def who(by: Annotated[Caller, Depends(caller)]) -> dict[str, str]:
        return {"name": by.name}

    @app.post("/form")
    async def form(request: Request) -> dict[str, Any]:
        async with receive_form(request, settings.incoming_dir, limits_of(request)) as received:
            return {
                "files": [[name, upload.display_name, upload.sha256] for name, upload in received.files],
                "fields": received.fields,
                "on_disk": len(list(settings.incoming_dir.iterdir())),
            }

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the secret of the matter")

    @app.exception_handler(ApiError)
    async def own(_request: Request, error: ApiError) -> Any:
        retry = None if error.retry_after_s is None else {"Retry-After": str(int(error.retry_after_s) + 1)}
        return error_response(error.status, error.message, retry)

    security.install(app, settings)
    settings.incoming_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return app


@contextmanager
def listening(app: FastAPI, protocol: type[PatientProtocol] = PatientProtocol) -> Iterator[int]:
    """The application on a free port of this machine; yields the port."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, http=protocol, log_config=None, server_header=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended before it began"
            thread.join(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)


def leftovers(settings: Settings) -> list[Path]:
    """Uploads that nobody removed."""
    return list(settings.incoming_dir.iterdir())
