"""Who calls: the name of the API key, or `local` on a loopback server without keys; and how often they may.

The header is `x-api-key: KEY`, or `Authorization: Bearer KEY`. A server that only this machine can reach and that has
no keys when it starts is open: whoever can run programs here may use it, as they may run `spoofcheck scan`. From the
moment a key is added it asks for one; a server that once asked for keys never opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv6Address, ip_address
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from spoofcheck.errors import UsageError
from spoofcheck.serve.datafolder import DATABASE
from spoofcheck.serve.errors import ApiError
from spoofcheck.serve.keys import LOCAL, KeyEntry, KeyRing
from spoofcheck.serve.models import Upload
from spoofcheck.serve.ratelimit import Quota, TokenBuckets
from spoofcheck.serve.settings import Settings

STRANGERS_PER_MINUTE = 30
"""Requests without a key that was checked before, from one address (an IPv6 network of 64 bits counts as one)."""

ALL_STRANGERS_PER_MINUTE = 600
"""The same from all addresses: what checking keys may cost at most."""

_HASHES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request came from.

    Attributes:
        name: of the key's holder; jobs belong to it.
        key: the entry of the key, None on an open server.
    """

    name: str
    key: KeyEntry | None = None


class Access:
    """Lets callers in, and counts.

    Args:
        settings: of the server.

    Raises:
        UsageError: the key file is no such file; or other machines could reach the server and there is no key.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ring = None if settings.keys_file is None else KeyRing(settings.keys_file)
        has_keys = self._ring is not None and self._ring.has_keys()
        if not settings.is_loopback and not has_keys:
            raise UsageError(
                f"--host {settings.host}: other machines could reach the server, and it has no keys; make one with "
                "`spoofcheck serve keys add NAME`, or leave --host out"
            )
        self._opened = not has_keys
        self._requests = TokenBuckets()
        self._strangers = TokenBuckets()

    @cached_property
    def quota(self) -> Quota:
        """What each key handed in today; the server's folder must be there."""
        return Quota(self._settings.data_dir / DATABASE)

    @cached_property
    def _hashing(self) -> anyio.CapacityLimiter:
        # Made inside the event loop that uses it.
        return anyio.CapacityLimiter(_HASHES_AT_ONCE)

    def is_open(self) -> bool:
        """Whether no key is asked for."""
        return self._opened and (self._ring is None or not (self._ring.has_keys() or self._ring.problem))

    async def admit(self, request: Request) -> Caller:
        """The caller of a request; takes one from their rate.

        Raises:
            ApiError: 401 without a valid key, 429 with `Retry-After` when they ask too often.
        """
        if self.is_open():
            return Caller(LOCAL)
        self._opened = False
        presented = presented_key(request)
        entry = None if self._ring is None or presented is None else self._ring.known(presented)
        if entry is None:
            entry = await self._check_stranger(request, presented)
        rate = entry.rate_per_minute or self._settings.rate_per_minute
        wait_s = self._requests.take(entry.id, rate)
        if wait_s:
            raise ApiError(429, f"More than {rate} requests a minute with this key; wait a moment.", wait_s)
        return Caller(entry.name, entry)

    async def charge(self, caller: Caller, uploads: Sequence[Upload]) -> None:
        """Count recordings against the caller's day.

        Raises:
            ApiError: 429 with `Retry-After` when that is more than their quota.
        """
        if caller.key is None:
            return
        size_bytes = sum(upload.size_bytes for upload in uploads)
        limits = caller.key.quota_per_day, self._settings.quota_bytes_per_day
        wait_s = await anyio.to_thread.run_sync(self.quota.take, caller.key.id, len(uploads), size_bytes, *limits)
        if wait_s:
            raise ApiError(429, "The day's quota of this key is used up; it begins anew at midnight UTC.", wait_s)

    async def _check_stranger(self, request: Request, presented: str | None) -> KeyEntry:
        """The token is taken before anything is computed: many at once gain nothing."""
        wait_s = max(
            self._strangers.take(_network(request), STRANGERS_PER_MINUTE),
            self._strangers.take("", ALL_STRANGERS_PER_MINUTE),
        )
        if wait_s:
            raise ApiError(429, "Too many requests without a valid key; wait a moment.", wait_s)
        if presented is None:
            raise ApiError(401, "Send your API key in the header x-api-key.")
        entry = None
        if self._ring is not None:
            entry = await anyio.to_thread.run_sync(self._ring.check, presented, limiter=self._hashing)
        if entry is None:
            raise ApiError(401, "The API key is not valid.")
        return entry


ShownKey = Annotated[str | None, Security(APIKeyHeader(name="x-api-key", scheme_name="ApiKey", auto_error=False))]
ShownToken = Annotated[
    HTTPAuthorizationCredentials | None, Security(HTTPBearer(scheme_name="Bearer", auto_error=False))
]
"""These describe the headers in the OpenAPI document; `presented_key` reads them."""


async def caller(request: Request, _key: ShownKey = None, _token: ShownToken = None) -> Caller:
    """Who sent the request; a dependency of every handler that is not open to all.

    Raises:
        ApiError: as `Access.admit`.
    """
    return await access_of(request).admit(request)


def access_of(request: Request) -> Access:
    """The gate of the application that a request is for."""
    access: Access = request.app.state.access
    return access


def presented_key(request: Request) -> str | None:
    """The key that a request shows, whatever it is worth; None without any."""
    key = request.headers.get("x-api-key", "").strip()
    if key:
        return key
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _network(request: Request) -> str:
    host = request.client.host if request.client is not None else "?"
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(IPv6Address(int(address) >> 64 << 64)) if address.version == 6 else str(address)
