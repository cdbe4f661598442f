"""Takes what a request brings, piece by piece: limits hold while it comes, files get names of our own.

What the client calls a file is data: it is cleaned, shown, and never a path. Sizes are checked before anything is
decoded; a client that sends too slowly, or stops, is let go.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import os
import re
import secrets
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import anyio.to_thread
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from spoofcheck.render.text import printable
from spoofcheck.serve.errors import ApiError
from spoofcheck.serve.models import Upload
from spoofcheck.serve.settings import Settings

MAX_NAME_CHARS = 200
"""Of a display name."""

_NAMELESS: Final = "recording"
_HEADER_BYTES = 8_192
_BASE64_SLACK_BYTES = 65_536
"""Of a JSON body beside its base64."""
_FOLD: Final = re.compile(r"[\r\n\t ]+")
_MOST_COMMAS: Final = 10_000
"""Of a JSON body: each is a further value, and an empty list of 3 bytes takes 64 in memory. Base64 has none."""
_LOG = logging.getLogger("spoofcheck.serve.uploads")


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What one request may bring. Sizes are bytes, times seconds."""

    total_bytes: int = 25_000_000
    """Of its files together, decoded; and of a multipart body."""
    files: int = 32
    fields: int = 32
    field_bytes: int = 16_384
    """Of a form field that is no file."""
    parts: int = 96
    """Of a multipart body, whatever they are."""
    idle_s: float = 15.0
    """The longest pause between two pieces of a body."""
    grace_s: float = 10.0
    """From here on the mean rate counts."""
    least_bytes_per_s: float = 2_048.0
    """The mean rate below which a body is refused."""
    body_s: float = 300.0
    """How long a body may take in all."""

    @property
    def json_bytes(self) -> int:
        """Of a JSON body: base64 writes 3 bytes as 4 characters."""
        return self.total_bytes * 4 // 3 + _BASE64_SLACK_BYTES

    @classmethod
    def of(cls, settings: Settings) -> UploadLimits:
        """Those that the operator chose."""
        body_s = settings.upload_timeout_s
        return cls(
            total_bytes=settings.max_upload_bytes,
            files=settings.max_files,
            idle_s=min(cls().idle_s, body_s),
            grace_s=min(cls().grace_s, body_s),
            body_s=body_s,
        )


class BodyBudget:
    """Memory that JSON bodies of all requests may take together; a multipart body takes none worth counting.

    Args:
        most_bytes: of all bodies that are being received or decoded.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._taken_bytes = 0

    def take(self, n_bytes: int) -> None:
        """Count bytes that were received.

        Raises:
            ApiError: 429, when they are too many together.
        """
        if self._taken_bytes + n_bytes > self._most_bytes:
            raise ApiError(429, "Too many large requests are being received at once; try again.", retry_after_s=2.0)
        self._taken_bytes += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """The bytes are no longer held."""
        self._taken_bytes -= n_bytes

    @property
    def taken_bytes(self) -> int:
        """Bytes held now."""
        return self._taken_bytes


@dataclass(slots=True)
class Form:
    """What a request brought.

    Attributes:
        files: `(field, file)` in their order.
        fields: the last value of every field that is no file.
    """

    files: list[tuple[str, Upload]] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)

    def uploads(self, *names: str) -> tuple[Upload, ...]:
        """The files of these fields, or of all fields."""
        return tuple(upload for name, upload in self.files if not names or name in names)


def display_name(name: str | bytes | None) -> str:
    """A client's name for a file, fit to be shown: no folders, no control characters, at most 200 characters.

    It stays hostile until a renderer escapes it, and is never a path.
    """
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else (name or "")
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", text))[-1].strip()
    shown = printable(last[: 4 * MAX_NAME_CHARS])
    if len(shown) > MAX_NAME_CHARS:
        shown = shown[: MAX_NAME_CHARS - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return shown if shown.strip(". ") else _NAMELESS


def limits_of(request: Request) -> UploadLimits:
    """Those of the application that a request is for."""
    limits: UploadLimits = request.app.state.limits
    return limits


def budget_of(request: Request) -> BodyBudget:
    """Likewise what its JSON bodies may take together."""
    budget: BodyBudget = request.app.state.body_budget
    return budget


def media_type(request: Request) -> str:
    """The type of the body, in lower case, without parameters; empty when none is named."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@asynccontextmanager
async def receive_form(request: Request, folder: Path, limits: UploadLimits) -> AsyncIterator[Form]:
    """Receive a `multipart/form-data` body; files lie in `folder` until the context ends, whatever ends it.

    A file that is to stay is moved elsewhere before that.

    Raises:
        ApiError: 400 for what is no such body, 408 when it comes too slowly, 413 when it is too large or holds too
            much, 415 for another type.
    """
    body = _FormBody(folder, limits, _boundary(request))
    try:
        try:
            async for chunk in _chunks(request, limits.total_bytes + _BASE64_SLACK_BYTES, limits):
                body.write(chunk)
            form = body.finish()
        except ValueError as error:  # the parser's own errors are of this kind, too
            raise ApiError(400, "The body is not well-formed multipart/form-data.") from error
        yield form
    finally:
        body.discard()


@asynccontextmanager
async def receive_json(request: Request, limits: UploadLimits, budget: BodyBudget) -> AsyncIterator[dict[str, Any]]:
    """Receive a JSON object, e.g. with files as base64; its memory counts until the context ends.

    Raises:
        ApiError: 400 for what is no JSON object, 408, 413 and 415 as `receive_form`, 429 when too much is being
            received at once.
    """
    kind = media_type(request)
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise ApiError(415, "Send the header 'content-type: application/json' and a JSON object.")
    _refuse_encoding(request)
    pieces: list[bytes] = []
    held_bytes = 0
    try:
        async for chunk in _chunks(request, limits.json_bytes, limits):
            budget.take(len(chunk))
            held_bytes += len(chunk)
            pieces.append(chunk)
        document = await anyio.to_thread.run_sync(_parsed, pieces)
        yield document
    finally:
        budget.give_back(held_bytes)


async def keep_base64(text: str, name: str | None, folder: Path, limits: UploadLimits) -> Upload:
    """Decode a file that came as base64 (RFC 4648, section 4; line breaks are passed over) into `folder`.

    Raises:
        ApiError: 400 for what is no base64 or holds nothing, 413 when it is too large.
    """
    return await anyio.to_thread.run_sync(_kept, text, name, folder, limits.total_bytes)


def discard(uploads: Iterable[Upload]) -> None:
    """Remove files; those that were moved are passed over."""
    for upload in uploads:
        upload.path.unlink(missing_ok=True)


def _kept(text: str, name: str | None, folder: Path, most_bytes: int) -> Upload:
    if len(text) * 3 // 4 > most_bytes + most_bytes // 16:  # line breaks are no content
        _too_large(most_bytes)
    plain = _FOLD.sub("", text) if any(char in text for char in "\r\n\t ") else text
    if len(plain) * 3 // 4 - plain.count("=", -2) > most_bytes:
        _too_large(most_bytes)
    if not plain:
        raise ApiError(400, "The base64 is empty; send a recording.")
    if plain.startswith("data:"):
        raise ApiError(400, "Send the base64 alone, without 'data:...;base64,' before it.")
    try:
        if len(plain) % 4:
            raise ValueError("a group is not whole")
        data = base64.b64decode(plain, validate=True)
    except ValueError as error:
        raise ApiError(400, "What should be base64 is not (RFC 4648, with padding).") from error
    part = _Part(folder, name)
    try:
        part.write(data)
        return part.finish()
    except BaseException:
        part.discard()
        raise


class _Part:
    """A file that is being written: 0600, by a random name."""

    def __init__(self, folder: Path, name: str | bytes | None) -> None:
        self.name = display_name(name)
        self.path = folder / secrets.token_hex(16)
        self._digest = hashlib.sha256()
        self.size_bytes = 0
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _no_room(error) from error
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=1 << 18)

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise _no_room(error) from error
        self._digest.update(data)
        self.size_bytes += len(data)

    def finish(self) -> Upload:
        try:
            self._file.close()
        except OSError as error:
            raise _no_room(error) from error
        return Upload(
            path=self.path, display_name=self.name, size_bytes=self.size_bytes, sha256=self._digest.hexdigest()
        )

    def discard(self) -> None:
        with suppress(OSError):  # the disk is full; the file goes anyway
            self._file.close()
        self.path.unlink(missing_ok=True)


class _FormBody:
    """Callbacks of the parser: what came of a multipart body so far."""

    def __init__(self, folder: Path, limits: UploadLimits, boundary: bytes) -> None:
        self._folder = folder
        self._limits = limits
        self._form = Form()
        self._open: _Part | None = None
        self._value: bytearray | None = None
        self._field = ""
        self._parts = 0
        self._file_bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._is_whole = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_part_data": self._part_data,
                "on_part_end": self._part_ends,
                "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_end,
                "on_end": self._ends,
            },
            max_header_count=8,
            max_header_size=_HEADER_BYTES,
        )

    def write(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def finish(self) -> Form:
        if not self._is_whole:
            raise ValueError("the last boundary is missing")
        return self._form

    def discard(self) -> None:
        if self._open is not None:
            self._open.discard()
        discard(self._form.uploads())

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > self._limits.parts:
            raise ApiError(413, f"More than {self._limits.parts} parts in one request.")
        self._headers = {}

    def _header_ends(self) -> None:
        self._headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _headers_end(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if disposition != b"form-data" or b"name" not in options:
            raise ValueError("a part without a name")
        self._field = options[b"name"].decode("utf-8", "strict")
        if len(self._field) > MAX_NAME_CHARS:
            raise ValueError("a field name without end")
        if b"filename" in options:
            if len(self._form.files) >= self._limits.files:
                raise ApiError(413, f"More than {self._limits.files} files in one request.")
            self._open = _Part(self._folder, options[b"filename"])
        else:
            if len(self._form.fields) >= self._limits.fields:
                raise ApiError(413, f"More than {self._limits.fields} fields in one request.")
            self._value = bytearray()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._open is not None:
            self._file_bytes += end - start
            if self._file_bytes > self._limits.total_bytes:
                _too_large(self._limits.total_bytes)
            self._open.write(data[start:end])
        elif self._value is not None:
            if len(self._value) + end - start > self._limits.field_bytes:
                raise ApiError(413, f"A form field is longer than {self._limits.field_bytes:,} bytes.")
            self._value += data[start:end]

    def _part_ends(self) -> None:
        if self._open is not None:
            part, self._open = self._open, None
            try:
                self._form.files.append((self._field, part.finish()))
            except BaseException:
                part.discard()
                raise
        elif self._value is not None:
            value, self._value = self._value, None
            self._form.fields[self._field] = bytes(value).decode("utf-8", "strict")

    def _ends(self) -> None:
        self._is_whole = True


async def _chunks(
    request: Request, most_bytes: int, limits: UploadLimits, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[bytes]:
    """The body, piece by piece. Only time spent waiting for the client counts against it."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > most_bytes:
        _too_large(limits.total_bytes)
    received_bytes, waited_s = 0, 0.0
    while True:
        asked_s = clock()
        try:
            async with asyncio.timeout(min(limits.idle_s, max(0.0, limits.body_s - waited_s))):
                message = await request.receive()
        except TimeoutError:
            raise _too_slow() from None
        waited_s += clock() - asked_s
        if message["type"] == "http.disconnect":
            raise ApiError(400, "The client left before the body was whole.")
        chunk: bytes = message.get("body", b"")
        received_bytes += len(chunk)
        if received_bytes > most_bytes:
            _too_large(limits.total_bytes)
        more = message.get("more_body", False)
        if more and waited_s > limits.grace_s and received_bytes < waited_s * limits.least_bytes_per_s:
            raise _too_slow()
        if chunk:
            yield chunk
        if not more:
            return


def _boundary(request: Request) -> bytes:
    if media_type(request) != "multipart/form-data":
        raise ApiError(415, "Send the files as multipart/form-data.")
    _refuse_encoding(request)
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:  # RFC 2046, section 5.1.1
        raise ApiError(400, "The content-type names no boundary of 1 to 70 characters.")
    return boundary


def _refuse_encoding(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise ApiError(415, "Send the body as it is, without a content-encoding.")


def _parsed(pieces: list[bytes]) -> dict[str, Any]:
    whole = b"".join(pieces)
    pieces.clear()  # once in memory is enough
    if whole.count(b",") > _MOST_COMMAS:
        raise ApiError(400, "The body holds too many values; send one request for each recording.")
    try:
        document = json.loads(whole, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "The body is not JSON.") from error
    if not isinstance(document, dict):
        raise ApiError(400, "The body is not a JSON object.")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _too_large(most_bytes: int) -> NoReturn:
    raise ApiError(413, f"Too large: at most {most_bytes / 1e6:g} MB of audio in one request.")


def _too_slow() -> ApiError:
    return ApiError(408, "The request came too slowly; send it again on a better connection.")


def _no_room(error: OSError) -> ApiError:
    # What is wrong with our disk is for the operator alone.
    _LOG.error("an upload cannot be kept", extra={"why": error.strerror or type(error).__name__})
    return ApiError(503, "The server cannot keep the upload now; try again later.", retry_after_s=30.0)
