"""The page at `/`: files that are served as they are, the report's own style sheet, and results as it shows them.

No address here names a file: what can be asked for is a fixed table. The page calls the same API as everybody else; of
its own it only asks `page/scans/ID` for a result in words and drawings (`serve.page.view`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response

from spoofcheck.document import load_document
from spoofcheck.render.html import SHEET_NOTE, SHEET_TITLE
from spoofcheck.render.templating import environment
from spoofcheck.serve.errors import ApiError
from spoofcheck.serve.models import JobState
from spoofcheck.serve.page.view import page_view, page_words
from spoofcheck.serve.v1 import OwnJob

router = APIRouter(include_in_schema=False)

_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES: Final = frozenset(path.name for path in _STATIC.iterdir() if path.suffix in _TYPES)
"""What may be asked for by name, beside what is made on the way."""


@router.get("/")
async def index(request: Request) -> Response:
    """The page itself."""
    return _answer(request, _read("index.html"), "text/html")


@router.get("/page/report.css")
async def report_style(request: Request) -> Response:
    """The report's style sheet, as its template makes it: page and report are one family."""
    return _answer(request, _report_style(), "text/css")


@router.get("/page/words.json")
async def words(request: Request) -> Response:
    """Verdicts and scale in the words of the report."""
    return _answer(request, _words(), "application/json")


@router.get("/page/scans/{scan_id}")
async def scan_view(job: OwnJob) -> Response:
    """A finished scan of the caller's as the page shows it.

    Raises:
        ApiError: 404, no such scan of this caller; 409, it has no result (yet).
    """
    if job.state is not JobState.DONE or job.result_path is None:
        raise ApiError(409, "The scan has no result to show.")
    shown = await asyncio.to_thread(_view, job.result_path)
    return Response(shown, media_type="application/json", headers={"Cache-Control": "no-store"})


@router.get("/page/{name}")
async def static_file(name: str, request: Request) -> Response:
    """One of the page's files.

    Raises:
        ApiError: 404, no such file.
    """
    if name not in FILES:
        raise ApiError(404, "There is no such file.")
    return _answer(request, _read(name), _TYPES[Path(name).suffix])


def _answer(request: Request, body: bytes, media_type: str) -> Response:
    """`body`, or 304 when the browser has it; it asks every time, since a new version keeps the names."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


@cache
def _read(name: str) -> bytes:
    return (_STATIC / name).read_bytes()


@cache
def _report_style() -> bytes:
    titles = {"sheet_title": SHEET_TITLE, "sheet_note": SHEET_NOTE, "report_id": ""}
    return environment().get_template("_report_style.css.j2").render(titles).encode()


@cache
def _words() -> bytes:
    return json.dumps(page_words(), ensure_ascii=False).encode()


def _view(result: Path) -> bytes:
    """Seconds for a long recording: not for the event loop."""
    return json.dumps(page_view(load_document(result)), ensure_ascii=False, allow_nan=False).encode()
