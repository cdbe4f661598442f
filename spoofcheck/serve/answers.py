"""How errors stand in the API's description."""

from __future__ import annotations

from typing import Any

from spoofcheck.serve.errors import ErrorBody

_MESSAGES = {
    400: "The body is not well-formed multipart/form-data.",
    401: "Send your API key in the header x-api-key.",
    403: "webhook: the operator of this server has not listed that host.",
    404: "There is no such scan.",
    408: "The request came too slowly; send it again on a better connection.",
    409: "The scan is running: there is no result yet.",
    413: "Too large: at most 25 MB of audio in one request.",
    415: "Send the files as multipart/form-data.",
    421: "This server is not called by that name; the option --allowed-host adds one.",
    422: "channels: Input should be 'auto', 'mix' or 'each'",
    429: "Too many recordings are waiting; try again later.",
    500: "The server failed to answer; its log says more.",
    503: "The server is about to stop; try again later.",
}
_EVERYWHERE = (401, 421, 422, 429, 500)
_WITH_RETRY = {429, 503}


def errors(*statuses: int, open_to_all: bool = False, is_json: bool = True) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation: these statuses and those that every operation has.

    Args:
        statuses: beside those.
        open_to_all: whether no key is asked for, and no rate counted.
        is_json: whether the operation answers JSON where it succeeds; of others, too, errors are JSON.
    """
    everywhere = (421, 500) if open_to_all else _EVERYWHERE
    return {status: _error(status, is_json) for status in sorted({*statuses, *everywhere})}


def _error(status: int, is_json: bool) -> dict[str, Any]:
    example = {"status": "error", "message": _MESSAGES[status]}
    content: dict[str, Any] = {"example": example}
    answer: dict[str, Any] = {"description": _MESSAGES[status], "content": {"application/json": content}}
    if is_json:
        answer["model"] = ErrorBody
    else:  # FastAPI would put a model under the operation's own media type; other operations make it a component
        content["schema"] = {"$ref": f"#/components/schemas/{ErrorBody.__name__}"}
    if status in _WITH_RETRY:
        answer["headers"] = {
            "Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}},
        }
    return answer
