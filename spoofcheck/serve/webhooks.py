"""Tells receivers that a job is over: one signed POST, to hosts that the operator listed.

    POST /their/path
    X-Spoofcheck-Timestamp: 1763751234
    X-Spoofcheck-Signature: v1=<hex HMAC-SHA256 of "1763751234." + body, with the secret of the request>
    {"id": "...", "state": "done", ...}

An entry of the operator's list is `HOST[:PORT]`, over HTTPS, whose addresses must be public; `private:HOST[:PORT]`,
over HTTPS, may be any; `http://HOST[:PORT]` is plain HTTP to this machine. The address that was checked is the one
that is called, whatever a name resolves to a moment later. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx

from spoofcheck.errors import UsageError
from spoofcheck.serve.errors import ApiError
from spoofcheck.serve.jobs import JobStore
from spoofcheck.serve.metrics import Metrics
from spoofcheck.serve.models import Job

_LOG = logging.getLogger("spoofcheck.serve.webhooks")

RETRY_AFTER_S = (2.0, 10.0, 60.0, 300.0, 1800.0)
"""Between one attempt and the next; after the last one the receiver is given up."""

TIMEOUT_S = 10.0
MAX_URL_CHARS = 2_000
_LOOK_UPS_AT_ONCE = 4
SECRET_CHARS = range(16, 257)

_HOST = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>\d{1,5}))?")

_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052, section 2.1."""
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that IANA gives out (RFC 4291, section 2.4)."""

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], list[Address]]


class NotAllowedError(Exception):
    """A receiver that must not be called; the message says why."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who may be told.

    Attributes:
        scheme: `"https"` or `"http"`.
        host: in lower case, an IPv6 address without brackets.
        port: of the receiver.
        is_private: whether its addresses may be other than public ones.
    """

    scheme: str
    host: str
    port: int
    is_private: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver's URL, taken apart."""

    receiver: Receiver
    path: str


def parse_receivers(entries: Sequence[str]) -> tuple[Receiver, ...]:
    """The operator's list.

    Raises:
        UsageError: an entry that names no host.
    """
    return tuple(_receiver(entry) for entry in entries)


def _receiver(entry: str) -> Receiver:
    text = entry.strip().lower()
    scheme, is_private = "https", False
    if text.startswith("http://"):
        scheme, text = "http", text.removeprefix("http://")
    elif text.startswith("private:"):
        is_private, text = True, text.removeprefix("private:")
    match = _HOST.fullmatch(text)
    port = 443 if scheme == "https" else 80
    if match is not None and match["port"] is not None:
        port = int(match["port"])
    if match is None or not 0 < port < 65_536:
        raise UsageError(f"--webhook-host {entry}: write HOST, HOST:PORT, private:HOST or http://HOST:PORT")
    return Receiver(scheme, match["host"].strip("[]"), port, is_private)


def parse_target(url: str, allowed: Sequence[Receiver]) -> Target:
    """Whom a request wants to be told.

    Args:
        url: as the request names it.
        allowed: the operator's list.

    Raises:
        ApiError: 400 for what is no URL, 403 for a host that is not listed.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ApiError(400, "webhook: not a URL.") from error
    is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= MAX_URL_CHARS
    if not is_plain or parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc:
        raise ApiError(400, "webhook: not an https URL without user and password.")
    wanted = (parts.scheme, parts.hostname.lower(), port or (443 if parts.scheme == "https" else 80))
    for receiver in allowed:
        if (receiver.scheme, receiver.host, receiver.port) == wanted:
            query = f"?{parts.query}" if parts.query else ""
            return Target(receiver, (parts.path or "/") + query)
    raise ApiError(403, "webhook: the operator of this server has not listed that host.")


def check_secret(secret: str | None) -> str:
    """The secret that a message is signed with.

    Raises:
        ApiError: 400, missing, too short, too long, or not printable ASCII.
    """
    if secret is None or len(secret) not in SECRET_CHARS or not (secret.isascii() and secret.isprintable()):
        raise ApiError(400, "webhook_secret: 16 to 256 printable ASCII characters are needed to sign with.")
    return secret


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Value of the signature's header: what a receiver must find when it computes it anew."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"


def resolve(host: str, port: int) -> list[Address]:
    """Addresses of a host; empty when it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def chosen_address(receiver: Receiver, addresses: Sequence[Address]) -> Address:
    """The address to call; every address that the name has must be allowed.

    Raises:
        NotAllowedError: it has none, or one that the operator did not allow.
    """
    if not addresses:
        raise NotAllowedError("its name has no address")
    for address in addresses:
        plain = _without_translation(address)
        if receiver.scheme == "http":
            if not plain.is_loopback:
                raise NotAllowedError("plain HTTP is for this machine alone")
        elif not (receiver.is_private or _is_public(plain)):
            raise NotAllowedError("its address is not a public one")
    return addresses[0]


def _without_translation(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, through this machine, a 6to4 relay or a NAT64 gateway."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    # `is_global` holds for some that IANA has given to nobody, and for ::127.0.0.1.
    is_given = isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST
    return is_given and address.is_global and not address.is_multicast


class Webhooks:
    """Delivers what jobs that are over asked for, in the background; what is not delivered waits in the store.

    Args:
        receivers: the operator's list.
        store: of the jobs.
        metrics: that count deliveries.
        body: what is said of a job.
        look_up: how names are resolved.
        retry_after_s: between attempts.
    """

    def __init__(
        self,
        receivers: Sequence[Receiver],
        store: JobStore,
        metrics: Metrics,
        body: Callable[[Job], bytes],
        look_up: Resolve = resolve,
        retry_after_s: Sequence[float] = RETRY_AFTER_S,
    ) -> None:
        self._receivers = tuple(receivers)
        self._store = store
        self._metrics = metrics
        self._body = body
        self._resolve = look_up
        self._retry_after_s = tuple(retry_after_s)
        self._tasks: set[asyncio.Task[None]] = set()
        # Threads of their own: a resolver that does not answer must not hold up what else waits for a thread.
        self._looking_up = anyio.CapacityLimiter(_LOOK_UPS_AT_ONCE)

    def tell(self, job: Job) -> None:
        """Tell a job's receiver, if it has one."""
        if not job.webhook_pending or job.webhook_url is None:
            return
        task = asyncio.create_task(self._deliver(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Leave the rest for the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, job: Job) -> None:
        outcome = "given-up"
        for number, wait_s in enumerate((*self._retry_after_s, None), start=1):
            try:
                status = await self._post(job)
            except (NotAllowedError, ApiError) as error:
                _LOG.warning("webhook refused", extra={"job": job.id, "why": str(error)})
                outcome = "refused"
                break
            except (httpx.HTTPError, OSError) as error:
                problem = type(error).__name__
            else:
                if 200 <= status < 300:
                    outcome = "told"
                    break
                problem = f"status {status}"
            _LOG.warning("webhook failed", extra={"job": job.id, "attempt": number, "why": problem})
            if wait_s is not None:
                await asyncio.sleep(wait_s)
                if await asyncio.to_thread(self._store.get, job.id) is None:  # its owner deleted it meanwhile
                    outcome = "deleted"
                    break
        self._metrics.webhooks.labels(outcome).inc()
        await asyncio.to_thread(self._store.webhook_told, job.id)

    async def _post(self, job: Job) -> int:
        """One attempt; the status of the answer.

        Raises:
            ApiError, NotAllowedError: the receiver must not be called (any more).
            httpx.HTTPError, OSError: it could not be reached.
        """
        target = parse_target(job.webhook_url or "", self._receivers)
        receiver = target.receiver
        addresses = await anyio.to_thread.run_sync(
            self._resolve, receiver.host, receiver.port, limiter=self._looking_up, abandon_on_cancel=True
        )
        if not addresses:  # the name server may know it again in a while
            raise ConnectionError("the name has no address")
        address = chosen_address(receiver, addresses)
        named = f"[{receiver.host}]" if ":" in receiver.host else receiver.host
        called = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        body, timestamp = self._body(job), str(int(time.time()))
        headers = {
            "Host": f"{named}:{receiver.port}",
            "Content-Type": "application/json",
            "User-Agent": "spoofcheck",
            "X-Spoofcheck-Timestamp": timestamp,
            "X-Spoofcheck-Signature": signature(job.webhook_secret or "", timestamp, body),
        }
        async with (
            httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=TIMEOUT_S) as client,
            client.stream(
                "POST",
                f"{receiver.scheme}://{called}:{receiver.port}{target.path}",
                content=body,
                headers=headers,
                # The certificate must be the name's, though the address is called.
                extensions={"sni_hostname": receiver.host},
            ) as answer,
        ):
            return answer.status_code  # its body is nobody's business
