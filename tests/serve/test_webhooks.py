from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest

from spoofcheck.errors import UsageError
from spoofcheck.serve.errors import ApiError
from spoofcheck.serve.jobs import JobStore
from spoofcheck.serve.metrics import Metrics
from spoofcheck.serve.models import Job, JobOptions, Upload
from spoofcheck.serve.webhooks import (
    Address,
    NotAllowedError,
    Receiver,
    Webhooks,
    check_secret,
    chosen_address,
    parse_receivers,
    parse_target,
    resolve,
)

SECRET = "a secret of the client's"


class Inbox(HTTPServer):
    """A receiver: remembers what it is sent, and answers with the statuses it was given, then with 204."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = list(statuses)
        self.received: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def entry(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append((self.path, headers, body))
        status = self.server.statuses.pop(0) if self.server.statuses else 204
        self.send_response(status)
        if status in (301, 307, 308):
            self.send_header("Location", f"{self.server.entry}/elsewhere")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def listening(*statuses: int) -> Iterator[Inbox]:
    with Inbox(*statuses) as inbox:
        thread = threading.Thread(target=inbox.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield inbox
        finally:
            inbox.shutdown()
            thread.join()


class Case:
    """A store with a job that is over, and somebody to tell."""

    def __init__(self, folder: Path) -> None:
        self.store = JobStore(folder / "jobs.sqlite")
        self.metrics = Metrics()
        self.upload = Upload(path=folder / "x", display_name="x.wav", size_bytes=1, sha256="0" * 64)

    def over(self, url: str) -> Job:
        made = self.store.create("me", JobOptions(), [self.upload], webhook_url=url, webhook_secret=SECRET)
        self.store.claim(made.id)
        self.store.finish(made.id, Path("result.json"))
        job = self.store.get(made.id)
        assert job is not None
        return job

    def tell(
        self, job: Job, allowed: Sequence[str], look_up: Callable[[str, int], list[Address]] | None = None
    ) -> None:
        """Tell the job's receiver, to the end."""

        async def told() -> None:
            more = {} if look_up is None else {"look_up": look_up}
            webhooks = Webhooks(
                parse_receivers(allowed), self.store, self.metrics, body, retry_after_s=(0.0, 0.0), **more
            )
            webhooks.tell(job)
            while self.store.webhooks_pending():
                await asyncio.sleep(0.01)
            await webhooks.stop()

        asyncio.run(told())

    def outcomes(self) -> dict[str, float]:
        return {
            sample.labels["outcome"]: sample.value
            for metric in self.metrics.webhooks.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        }


def body(job: Job) -> bytes:
    return json.dumps({"id": job.id, "state": job.state}).encode()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_a_receiver_can_check_who_told_it(case: Case) -> None:
    with listening() as inbox:
        job = case.over(f"{inbox.entry}/done?case=7")
        case.tell(job, [inbox.entry])
    ((path, headers, sent),) = inbox.received
    assert path == "/done?case=7"
    assert json.loads(sent) == {"id": job.id, "state": "done"}
    assert headers["host"] == inbox.entry.removeprefix("http://")
    stamp = headers["x-spoofcheck-timestamp"]
    assert abs(time.time() - int(stamp)) < 3_600
    expected = hmac.new(SECRET.encode(), stamp.encode() + b"." + sent, hashlib.sha256).hexdigest()
    assert headers["x-spoofcheck-signature"] == f"v1={expected}"
    assert case.outcomes() == {"told": 1.0}
    told = case.store.get(job.id)
    assert told is not None
    assert told.webhook_secret is None


def test_a_receiver_that_fails_is_asked_again(case: Case) -> None:
    with listening(500, 503) as inbox:
        case.tell(case.over(inbox.entry), [inbox.entry])
    assert len(inbox.received) == 3
    assert case.outcomes() == {"told": 1.0}


@pytest.mark.parametrize("status", [301, 307, 400, 500])
def test_redirects_are_not_followed_and_refusals_not_repeated_for_ever(case: Case, status: int) -> None:
    with listening(*[status] * 9) as inbox:
        case.tell(case.over(f"{inbox.entry}/first"), [inbox.entry])
    assert [path for path, _, _ in inbox.received] == ["/first"] * 3
    assert case.outcomes() == {"given-up": 1.0}


def test_a_receiver_that_left_the_list_is_not_told(case: Case) -> None:
    with listening() as inbox:
        case.tell(case.over(inbox.entry), ["http://127.0.0.1:1"])
    assert inbox.received == []
    assert case.outcomes() == {"refused": 1.0}


def test_a_receiver_is_not_told_of_what_was_deleted_meanwhile(case: Case) -> None:
    with listening(500) as inbox:
        job = case.over(inbox.entry)

        def look_up(host: str, port: int) -> list[Address]:
            case.store.delete(job.id)
            return resolve(host, port)

        async def tried() -> None:
            webhooks = Webhooks(
                parse_receivers([inbox.entry]), case.store, case.metrics, body, look_up, retry_after_s=(0.0, 0.0)
            )
            webhooks.tell(job)
            while not case.outcomes():
                await asyncio.sleep(0.01)

        asyncio.run(tried())
    assert len(inbox.received) == 1
    assert case.outcomes() == {"deleted": 1.0}


def test_a_name_that_leads_inside_is_not_called(case: Case) -> None:
    """What the operator listed as public, and somebody's name server says is this machine."""
    with listening() as inbox:
        port = inbox.server_port
        job = case.over(f"https://hooks.example.org:{port}/")
        case.tell(job, [f"hooks.example.org:{port}"], lambda _host, _port: [ip_address("127.0.0.1")])
    assert inbox.received == []
    assert case.outcomes() == {"refused": 1.0}


ALLOWED = parse_receivers(["hooks.example.org", "private:crm.lan:8443", "http://localhost:9000", "http://[::1]:9000"])


def test_a_name_server_that_fails_is_asked_again(case: Case) -> None:
    answers = [[], [ip_address("127.0.0.1")]]
    with listening() as inbox:
        job = case.over(inbox.entry)
        case.tell(job, [inbox.entry], lambda _host, _port: answers.pop(0))
    assert len(inbox.received) == 1
    assert case.outcomes() == {"told": 1.0}


def test_the_operators_list() -> None:
    assert list(ALLOWED) == [
        Receiver("https", "hooks.example.org", 443),
        Receiver("https", "crm.lan", 8443, is_private=True),
        Receiver("http", "localhost", 9000),
        Receiver("http", "::1", 9000),
    ]
    for entry in ("", "https://x.example", "x.example/path", "a b", "x:0", "x:99999", "user@x.example", "*"):
        with pytest.raises(UsageError, match="--webhook-host"):
            parse_receivers([entry])


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/a?b=c",
        "https://HOOKS.example.org:443",
        "https://crm.lan:8443/",
        "http://[::1]:9000/x",
    ],
)
def test_listed_hosts_pass(url: str) -> None:
    assert parse_target(url, ALLOWED).receiver in ALLOWED


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://hooks.example.org/", 403),
        ("https://hooks.example.org:8443/", 403),
        ("https://hooks.example.org.evil.example/", 403),
        ("https://crm.lan/", 403),
        ("https://localhost:9000/", 403),
        ("https://hooks.example.org@evil.example/", 400),
        ("https://evil@hooks.example.org/", 400),
        ("https://hooks.example.org/\r\nX-Evil: 1", 400),
        ("https://hooks.example.org/ x", 400),
        ("https://hooks.example.org:port/", 400),
        ("https://[hooks.example.org/", 400),
        ("ftp://hooks.example.org/", 400),
        ("//hooks.example.org/", 400),
        ("https://hooks.example.org/" + "a" * 2_000, 400),
        ("", 400),
    ],
)
def test_others_do_not(url: str, status: int) -> None:
    with pytest.raises(ApiError) as caught:
        parse_target(url, ALLOWED)
    assert caught.value.status == status


PUBLIC, PRIVATE, PLAIN = ALLOWED[0], ALLOWED[1], ALLOWED[2]


@pytest.mark.parametrize(
    ("receiver", "address"),
    [
        *((PUBLIC, address) for address in ("93.184.215.14", "2606:4700::1", "64:ff9b::5db8:d70e")),
        (PRIVATE, "10.1.2.3"),
        (PLAIN, "127.0.0.1"),
        (PLAIN, "::1"),
    ],
)
def test_addresses_that_may_be_called(receiver: Receiver, address: str) -> None:
    assert str(chosen_address(receiver, [ip_address(address)])) == address


@pytest.mark.parametrize(
    ("receiver", "address"),
    [
        *(
            (PUBLIC, address)
            for address in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1")
        ),
        *((PUBLIC, address) for address in ("::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fc00::1", "224.0.0.1")),
        *((PUBLIC, address) for address in ("64:ff9b::7f00:1", "64:ff9b:1::a01:203", "2002:7f00:1::", "::127.0.0.1")),
        *((PUBLIC, address) for address in ("fec0::1", "ff02::1", "::ffff:0:7f00:1", "2001:0:7f00:1::")),
        (PLAIN, "10.1.2.3"),
        (PLAIN, "93.184.215.14"),
    ],
)
def test_addresses_that_may_not(receiver: Receiver, address: str) -> None:
    public = ip_address("93.184.215.14")
    for addresses in ([ip_address(address)], [public, ip_address(address)]):
        with pytest.raises(NotAllowedError):
            chosen_address(receiver, addresses)


def test_a_name_without_an_address_is_not_called() -> None:
    with pytest.raises(NotAllowedError):
        chosen_address(PUBLIC, [])


def test_secrets() -> None:
    assert check_secret("x" * 16) == "x" * 16
    for secret in (None, "", "x" * 15, "x" * 257, "x" * 16 + "\n", "é" * 16):
        with pytest.raises(ApiError, match="webhook_secret"):
            check_secret(secret)
