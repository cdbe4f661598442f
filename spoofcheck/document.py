"""Reads a saved result document back: the counterpart of `render.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spoofcheck import __version__
from spoofcheck.errors import UsageError, brief
from spoofcheck.render.text import printable
from spoofcheck.schema import SCHEMA_VERSION, ScanDocument
from spoofcheck.wholefile import read_whole

MAX_DOCUMENT_BYTES = 4 << 30


def load_document(path: Path) -> ScanDocument:
    """Read the result that `spoofcheck scan --json` saved at `path`.

    Raises:
        UsageError: no such file, not readable, or not a whole result of a schema this version knows.
    """
    name = printable(str(path))
    try:
        content = read_whole(path, MAX_DOCUMENT_BYTES, pipes=True)
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror or error}") from error
    return parse_document(content, name)


def parse_document(content: bytes | str, name: str = "standard input") -> ScanDocument:
    """Read a saved result from text; `name` says in messages where the text came from.

    Raises:
        UsageError: see `load_document`.
    """
    data = _parse_json(content, name)
    if not isinstance(data, dict) or "schema_version" not in data or "findings" not in data:
        raise UsageError(f"{name}: not a spoofcheck result; give a file that `spoofcheck scan --json` wrote")
    if data["schema_version"] != SCHEMA_VERSION:
        found = printable(str(data["schema_version"])[:20])
        raise UsageError(
            f"{name}: has result schema {found}, but spoofcheck {__version__} reads schema {SCHEMA_VERSION}; "
            "use the version of spoofcheck that wrote it"
        )
    try:
        return ScanDocument.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{name}: not a valid spoofcheck result: {_first_problem(error)}") from error


def _parse_json(content: bytes | str, name: str) -> Any:
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content.removeprefix("\ufeff")
        if not text.strip():
            raise UsageError(f"{name}: empty; give a file that `spoofcheck scan --json` wrote")
        return json.loads(text)
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not JSON (not UTF-8 text)") from error
    except json.JSONDecodeError as error:
        if _several_objects(text):
            raise UsageError(
                f"{name}: one finding per line (--jsonl) cannot be read back; give a --json file"
            ) from error
        raise UsageError(
            f"{name}: not JSON, or cut short (line {error.lineno}, column {error.colno}: {error.msg})"
        ) from error
    except (RecursionError, ValueError) as error:  # absurdly nested, or a number of thousands of digits
        raise UsageError(f"{name}: not a spoofcheck result; give a file that `spoofcheck scan --json` wrote") from error


def _several_objects(text: str) -> bool:
    try:
        first = json.loads(text.lstrip().split("\n", 1)[0])
    except ValueError:
        return False
    return isinstance(first, dict) and "weights_sha256" in first


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problems[0]["loc"])
    more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
    return f"{printable(brief(where.lstrip('.')))}: {printable(brief(problems[0]['msg']))}{more}"
