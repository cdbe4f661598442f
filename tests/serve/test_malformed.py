"""A thousand requests that are not as they should be: none breaks the server, none leaves anything behind."""

from __future__ import annotations

import base64
import random
import socket
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.serve.conftest import Whole

REQUESTS = 1_000

RIFF = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00"
CODED = base64.b64encode(RIFF)
SCAN = b"/v1/scans/AAAAAAAAAAAAAAAAAAAAAA"

TOKENS = (
    b"\x00", b"\r\n", b"\n", b"\xff\xfe", b"\xed\xa0\x80", b"%00", b"%2e%2e%2f", b"../", b"\\", b'"', b"'", b"{",
    b"}", b"", b"[" * 500, b"null", b"NaN", b"-1", b"1e999", b"9" * 400, b"true", b"\\ud800", b"--X", b"--X--", b"=",
    b"id", b"gzip", b"\x1b[31m", b"\xe2\x80\xae", b"A" * 3_000, b"application/json", b"multipart/form-data",
    b"; filename*=UTF-8''%ff",
)  # fmt: skip


def multipart(field: bytes, more: bytes = b"") -> bytes:
    head = b'--X\r\nContent-Disposition: form-data; name="' + field + b'"; filename="a.wav"\r\n\r\n'
    return head + RIFF + b"\r\n" + more + b"--X--\r\n"


FORM = b"multipart/form-data; boundary=X"
JSON = b"application/json"
OPTION = b'--X\r\nContent-Disposition: form-data; name="channels"\r\n\r\nmix\r\n'

SEEDS: tuple[tuple[bytes, bytes, bytes, bytes], ...] = (
    (
        b"POST",
        b"/api/voice-detection",
        JSON,
        b'{"language":"Tamil","audioFormat":"wav","audioBase64":"' + CODED + b'"}',
    ),
    (b"POST", b"/api/predict", FORM, multipart(b"audio")),
    (b"POST", b"/v1/scans", FORM, multipart(b"files", OPTION)),
    (
        b"POST",
        b"/v1/scans",
        JSON,
        b'{"files":[{"name":"a","base64":"' + CODED + b'"}],"channels":"auto","acoustics":true}',
    ),
    (b"GET", SCAN, b"", b""),
    (b"GET", SCAN + b"/status", b"", b""),
    (b"GET", SCAN + b"/report.html", b"", b""),
    (b"GET", SCAN + b"/events", b"", b""),
    (b"DELETE", SCAN, b"", b""),
    (b"GET", b"/v1/scans", b"", b""),
    (b"GET", b"/v1/models", b"", b""),
    (b"GET", b"/", b"", b""),
    (b"GET", b"/page/app.js", b"", b""),
    (b"GET", b"/page/scans/AAAAAAAAAAAAAAAAAAAAAA", b"", b""),
    (b"GET", b"/healthz", b"", b""),
    (b"GET", b"/metrics", b"", b""),
    (b"GET", b"/openapi.json", b"", b""),
)


def flip(data: bytes, chance: random.Random) -> bytes:
    where = chance.randrange(len(data) + 1)
    return data[:where] + bytes([chance.randrange(256)]) + data[where + 1 :]


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def insert(data: bytes, chance: random.Random) -> bytes:
    where = chance.randrange(len(data) + 1)
    return data[:where] + chance.choice(TOKENS) + data[where:]


def repeat(data: bytes, chance: random.Random) -> bytes:
    start, end = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
    return data[:end] + data[start:end] * chance.randrange(1, 4) + data[end:]


def replace(data: bytes, chance: random.Random) -> bytes:
    return chance.choice((*TOKENS, *(seed[3] for seed in SEEDS)))


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (flip, cut, insert, repeat, replace)


def mutated(number: int) -> tuple[bytes, bytes, bytes, bytes]:
    """Method, path, content type and body of request `number`; most differ in the body, some all over."""
    chance = random.Random(number)
    method, path, kind, body = SEEDS[number % len(SEEDS)] if number % 3 == 0 else SEEDS[number % 4]
    for _ in range(chance.choice((1, 1, 2, 5))):
        mutate = chance.choice(MUTATIONS)
        part = chance.choices(("body", "kind", "path", "method"), (8, 2, 2 if body else 8, 1))[0]
        if part == "body":
            body = mutate(body, chance)
        elif part == "kind":
            kind = mutate(kind, chance)
        elif part == "path":
            path = mutate(path, chance)
        else:
            method = chance.choice((b"GET", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS", b"TRACE", b"XYZ"))
    return method, path, kind, body


def answer(port: int, key: str, request: tuple[bytes, bytes, bytes, bytes]) -> bytes:
    """What comes back until the server ends the connection. Header and request line are sent as they are."""
    method, path, kind, body = request
    line = path.replace(b"\r", b"").replace(b"\n", b"").replace(b" ", b"%20")
    lines = [
        method + b" " + line + b" HTTP/1.1",
        b"Host: localhost",
        b"Connection: close",
        b"X-Api-Key: " + key.encode(),
        b"Content-Length: " + str(len(body)).encode(),
    ]
    if kind:
        lines.append(b"Content-Type: " + kind.replace(b"\r", b"").replace(b"\n", b""))
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=240) as connection:
        try:
            connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            while piece := connection.recv(65_536):
                received += piece
        except ConnectionError:  # refused before all was sent
            pass
    return received


def test_nothing_malformed_breaks_the_server_or_stays(whole: Whole) -> None:
    port = urlsplit(whole.process.url).port
    assert port is not None
    statuses: Counter[int] = Counter()
    for number in range(REQUESTS):
        request = mutated(number)
        said = answer(port, whole.key, request)
        status = int(said.split(b" ", 2)[1]) if said.startswith(b"HTTP/1.1 ") else 0
        statuses[status] += 1
        assert 200 <= status < 500, (number, request, whole.process.log[-2:])
        assert b"Traceback" not in said
    # The mutations reach the handlers, and are refused for what they are.
    assert statuses[422] + statuses[400] > REQUESTS / 4
    assert statuses[404] + statuses[405] > REQUESTS / 50
    whole.forget_scans()
    assert not whole.leftovers()
    with whole.client() as client:
        assert client.get("/readyz").status_code == 200
