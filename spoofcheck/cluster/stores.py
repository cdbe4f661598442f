"""Object stores and web servers as fsspec's file systems, and what their errors mean for a recording."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

from spoofcheck.errors import InputError, UsageError

_LIBRARIES: Final = {
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "gcs": "gcsfs",
    "gs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "s3": "s3fs",
}
_CONNECT_S: Final = 30.0
_SILENCE_S: Final = 60.0
"""Longest wait for the next bytes of an answer."""
_DENIED: Final = frozenset({401, 403})
_MISSING: Final = frozenset({404, 410})


def require_libraries(schemes: set[str]) -> None:
    """Find out before the work whether what reads addresses of these schemes is installed.

    Raises:
        UsageError: it is not.
    """
    needed = {"fsspec", *(library for scheme, library in _LIBRARIES.items() if scheme in schemes)} if schemes else set()
    missing = sorted(library for library in needed if find_spec(library) is None)
    if missing:
        raise UsageError(
            f"{', '.join(sorted(schemes))}:// needs {', '.join(missing)}: pip install 'spoofcheck[cluster]'"
        )


def file_system_of(uri: str) -> tuple[Any, str]:
    """The file system of an address, and the address's path in it.

    Credentials come from where the store's own tools look for them: environment, configuration, the machine's role.
    """
    from fsspec import get_filesystem_class

    # Not `url_to_fs`: it takes `::` in a name for a chain of stores, and would read another object than the one named.
    scheme, _, rest = uri.partition("://")
    address = f"{scheme.lower()}://{rest}"
    kind = get_filesystem_class(scheme.lower())
    web = {"get_client": _web_client} if scheme.lower() in ("http", "https") else {}
    return kind(**{**kind._get_kwargs_from_urls(address), **web}), kind._strip_protocol(address)


async def _web_client(**options: Any) -> Any:
    """A client that follows no redirect to another scheme, and waits for as long as bytes come."""
    import aiohttp

    async def on_redirect(_session: Any, _context: Any, redirect: Any) -> None:
        place = redirect.response.headers.get("Location", "")
        scheme = urlsplit(place).scheme.lower()
        if scheme and scheme != redirect.url.scheme:
            raise InputError(
                "redirected", f"The server redirects to another scheme ({scheme}://), which is not followed."
            )

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(on_redirect)
    waits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
    return aiohttp.ClientSession(**{"timeout": waits, **options}, trace_configs=[trace])


def remote_error(error: BaseException) -> InputError:
    """What an error of a store means; never its own words, which may hold an address with its signature."""
    chain = list(_causes(error))
    for each in chain:
        if isinstance(each, InputError):
            return each
    # fsspec calls whatever a web server answers, or does not answer, a missing file.
    from_web = next((each for each in chain if type(each).__module__.startswith("aiohttp")), None)
    told = error if from_web is None else from_web
    status = getattr(told, "status", None)
    if status in _MISSING or (from_web is None and isinstance(told, FileNotFoundError)):
        return InputError("not-found", "There is no such object.")
    if status in _DENIED or isinstance(told, PermissionError) or "Credentials" in type(told).__name__:
        return InputError("permission-denied", "The store refuses access with the credentials at hand.")
    return InputError("fetch-failed", f"It could not be fetched ({type(told).__name__}).")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what led to it."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def is_final(error: InputError) -> bool:
    """Whether trying again cannot help."""
    return error.code != "fetch-failed"
