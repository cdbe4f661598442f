"""What a request may bring, in which sizes, how slowly, and by which names."""

from __future__ import annotations

import base64
import hashlib
import logging
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from spoofcheck.serve.connections import PatientProtocol
from spoofcheck.serve.errors import ApiError
from spoofcheck.serve.settings import Settings
from spoofcheck.serve.uploads import MAX_NAME_CHARS, BodyBudget, UploadLimits, display_name
from tests.support.guardedapp import ToldEngine, guarded_app, human, leftovers, listening

LIMITS = UploadLimits(
    total_bytes=10_000, files=3, fields=2, field_bytes=100, parts=6, idle_s=0.3, grace_s=0.4, least_bytes_per_s=1_000
)


class Impatient(PatientProtocol):
    headers_s = 0.3


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, ToldEngine, int]]:
    """One server for all tests: they leave nothing behind in it."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    engine = ToldEngine(human())
    app = guarded_app(settings, engine)
    app.state.limits = LIMITS
    app.state.body_budget = engine.budget = BodyBudget(2 * LIMITS.json_bytes)
    with listening(app, Impatient) as port:
        yield settings, engine, port


@pytest.fixture
def budget(served: tuple[Settings, ToldEngine, int]) -> BodyBudget:
    made = served[1].budget
    assert made is not None
    return made


@pytest.fixture
def client(served: tuple[Settings, ToldEngine, int]) -> Iterator[httpx.Client]:
    settings, engine, port = served
    engine.seen.clear()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=False) as made:
        yield made
    _wait_until(lambda: not leftovers(settings))


def _wait_until(holds) -> None:  # type: ignore[no-untyped-def]
    for _ in range(1_000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def body_of(size_bytes: int) -> dict[str, str]:
    return {
        "language": "auto",
        "audioFormat": "mp3",
        "audioBase64": base64.b64encode(bytes(size_bytes)).decode(),
    }


class TestNames:
    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("a.wav", "a.wav"),
            (b"a.wav", "a.wav"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\x\\call.mp3", "call.mp3"),
            ("/etc/cron.d/", "recording"),
            ("", "recording"),
            (None, "recording"),
            (" .. ", "recording"),
            ("a\x00b\x1b[31m\n.wav", r"a\x00b\x1b[31m\n.wav"),
            ("\u202egpj.exe", r"\u202egpj.exe"),
            (b"\xff.wav", "\N{REPLACEMENT CHARACTER}.wav"),
            ("e\u0301.wav", "\u00e9.wav"),
            ("<script>.wav", "<script>.wav"),  # data: renderers escape it
        ],
    )
    def test_are_shown_and_never_paths(self, name: str | bytes | None, shown: str) -> None:
        assert display_name(name) == shown

    def test_end_somewhere(self) -> None:
        assert len(display_name("x" * 10_000)) == MAX_NAME_CHARS
        assert len(display_name("\x00" * 10_000)) <= MAX_NAME_CHARS


class TestForm:
    def test_keeps_files_by_names_of_its_own_and_removes_them(
        self, client: httpx.Client, served: tuple[Settings, ToldEngine, int]
    ) -> None:
        settings, engine, _ = served
        content = b"RIFF\x00\r\n--not-a-boundary\r\nWAVE"
        assert client.post("/api/predict", files={"audio": ("../../x.wav", content)}).status_code == 200
        ((upload, data, mode),) = engine.seen
        assert data == content
        assert upload.sha256 == hashlib.sha256(content).hexdigest()
        assert upload.size_bytes == len(content)
        assert mode == 0o600
        assert upload.path.parent == settings.incoming_dir
        assert "x.wav" not in upload.path.name
        assert settings.incoming_dir.stat().st_mode & 0o777 == 0o700
        assert not upload.path.exists()

    def test_takes_several_files_and_fields(self, client: httpx.Client) -> None:
        files = [("files", ("a", b"1")), ("files", ("b", b"22")), ("other", ("c", b""))]
        answer = client.post("/form", files=files, data={"options": "ü"}).json()
        assert [file[:2] for file in answer["files"]] == [["files", "a"], ["files", "b"], ["other", "c"]]
        assert answer["fields"] == {"options": "ü"}
        assert answer["on_disk"] == 3

    @pytest.mark.parametrize("size_bytes", [LIMITS.total_bytes - 1, LIMITS.total_bytes])
    def test_takes_what_is_just_small_enough(self, client: httpx.Client, size_bytes: int) -> None:
        assert client.post("/form", files={"audio": ("a", bytes(size_bytes))}).status_code == 200

    @pytest.mark.parametrize(
        "parts",
        [
            {"files": {"a": ("a", bytes(LIMITS.total_bytes + 1))}},
            {"files": [("a", ("a", bytes(4_000)))] * 3},
            {"files": [("a", ("a", b"1"))] * 4},
            {"files": {"a": ("a", bytes(10_000_000))}},
            {"files": {"a": ("a", b"1")}, "data": {"x": "1", "y": "2", "z": "3"}},
            {"files": {"a": ("a", b"1")}, "data": {"x": "1" * 101}},
            {"files": {"a": ("a", b"1")}, "data": {"x": ["1"] * 7}},
        ],
        ids=["size", "sum", "files", "announced", "fields", "field", "parts"],
    )
    def test_refuses_what_is_too_much(self, client: httpx.Client, parts: dict[str, object]) -> None:
        answer = client.post("/form", **parts)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["status"]) == (413, "error")

    def test_counts_what_announces_no_length(self, client: httpx.Client) -> None:
        head = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
        pieces = [head, *[bytes(1_000)] * 200]
        answer = client.post("/form", content=iter(pieces), headers={"content-type": "multipart/form-data; boundary=b"})
        assert answer.status_code == 413

    @pytest.mark.parametrize(
        ("content_type", "status"),
        [
            ("application/json", 415),
            ("multipart/mixed; boundary=b", 415),
            ("", 415),
            ("multipart/form-data", 400),
            ("multipart/form-data; boundary=", 400),
            (f"multipart/form-data; boundary={'b' * 71}", 400),
            ("multipart/form-data; boundary=other", 400),
        ],
    )
    def test_refuses_other_types(self, client: httpx.Client, content_type: str, status: int) -> None:
        content = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n'
        answer = client.post("/form", content=content, headers={"content-type": content_type})
        assert answer.status_code == status
        zipped = {"content-type": "multipart/form-data; boundary=b", "content-encoding": "gzip"}
        assert client.post("/form", content=content, headers=zipped).status_code == 415

    @pytest.mark.parametrize(
        "part",
        [
            b"--b\r\n\r\n1\r\n--b--\r\n",
            b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--\r\n",
            b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n1\r\n--b--\r\n',
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\xff\r\n--b--\r\n',
            b'--b\r\nContent-Disposition: form-data; name="x"; filename="a"\r\n\r\nno end',
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n' + b"A: b\r\n" * 20 + b"\r\n1\r\n--b--\r\n",
            b'--b\r\nContent-Disposition: form-data; name="' + b"x" * 9_000 + b'"\r\n\r\n1\r\n--b--\r\n',
            b"",
            b"--b--",
            b"garbage",
        ],
    )
    def test_refuses_what_is_not_well_formed(self, client: httpx.Client, part: bytes) -> None:
        answer = client.post("/form", content=part, headers={"content-type": "multipart/form-data; boundary=b"})
        assert answer.status_code == 400 or (part == b"--b--" and answer.json()["files"] == [])


class TestBase64:
    @pytest.mark.parametrize("size_bytes", [1, 2, 3, LIMITS.total_bytes - 1, LIMITS.total_bytes])
    def test_takes_every_length_up_to_the_limit(
        self, client: httpx.Client, served: tuple[Settings, ToldEngine, int], size_bytes: int
    ) -> None:
        assert client.post("/api/voice-detection", json=body_of(size_bytes)).status_code == 200
        assert served[1].seen[0][1] == bytes(size_bytes)

    @pytest.mark.parametrize("size_bytes", [LIMITS.total_bytes + 1, LIMITS.total_bytes * 5, 1_000_000])
    def test_refuses_what_is_larger(self, client: httpx.Client, size_bytes: int) -> None:
        assert client.post("/api/voice-detection", json=body_of(size_bytes)).status_code == 413

    def test_passes_over_line_breaks(self, client: httpx.Client, served: tuple[Settings, ToldEngine, int]) -> None:
        folded = base64.encodebytes(b"x" * 200).decode()
        assert client.post("/api/voice-detection", json=body_of(0) | {"audioBase64": folded}).status_code == 200
        assert served[1].seen[0][1] == b"x" * 200

    @pytest.mark.parametrize(
        "text",
        ["", "A", "AA", "AAA", "AA=A", "====", "AAAA=", "A-_A", "AA\u00e9A", "data:audio/mp3;base64,AAAA"],
    )
    def test_refuses_what_is_none(self, client: httpx.Client, text: str) -> None:
        answer = client.post("/api/voice-detection", json=body_of(0) | {"audioBase64": text})
        assert answer.status_code == 400

    def test_refuses_half_a_character(self, client: httpx.Client) -> None:
        content = rb'{"language": "\ud800", "audioFormat": "\udfff", "audioBase64": "\ud800"}'
        answer = client.post("/api/voice-detection", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 422

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"[]",
            b"null",
            b'"a"',
            b"{",
            b"{}x",
            b"\xff{}",
            b'{"a": NaN}',
            b"[" * 100_000,
            b'{"a": ' + b"9" * 9_000 + b"}",
            b'{"a": [' + b"[]," * 10_001 + b"0]}",
        ],
    )
    def test_refuses_what_is_no_json_object(self, client: httpx.Client, content: bytes) -> None:
        answer = client.post("/api/voice-detection", content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 413)

    def test_bodies_together_take_no_more_than_their_budget(self) -> None:
        budget = BodyBudget(1_000)
        budget.take(900)
        with pytest.raises(ApiError, match="at once") as refused:
            budget.take(101)
        assert refused.value.status == 429
        budget.give_back(900)
        budget.take(1_000)
        assert budget.taken_bytes == 1_000

    def test_a_body_gives_its_memory_back_whatever_comes_of_it(
        self, client: httpx.Client, served: tuple[Settings, ToldEngine, int], budget: BodyBudget
    ) -> None:
        for body in (body_of(10), body_of(0), body_of(LIMITS.total_bytes * 2)):
            client.post("/api/voice-detection", json=body)
        _wait_until(lambda: budget.taken_bytes == 0)
        budget.take(2 * LIMITS.json_bytes)
        try:
            assert client.post("/api/voice-detection", json=body_of(10)).status_code == 429
        finally:
            budget.give_back(2 * LIMITS.json_bytes)


class TestSlow:
    """Raw sockets: a client library would hurry."""

    def _head(self, length: int) -> bytes:
        return (
            f"POST /form HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        ).encode()

    def _answer(self, connection: socket.socket) -> bytes:
        connection.settimeout(20)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
        return received

    def test_a_pause_ends_it(self, client: httpx.Client, served: tuple[Settings, ToldEngine, int]) -> None:
        with socket.create_connection(("127.0.0.1", served[2])) as connection:
            connection.sendall(
                self._head(5_000) + b'--b\r\nContent-Disposition: form-data; name="x"; filename="a"\r\n\r\nx'
            )
            answer = self._answer(connection)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer.lower()

    def test_a_trickle_ends_it(self, client: httpx.Client, served: tuple[Settings, ToldEngine, int]) -> None:
        with socket.create_connection(("127.0.0.1", served[2])) as connection:
            connection.sendall(
                self._head(5_000) + b'--b\r\nContent-Disposition: form-data; name="x"; filename="a"\r\n\r\n'
            )
            connection.settimeout(0.05)
            answer = b""
            for _ in range(400):
                try:
                    connection.sendall(b"x")
                    answer = connection.recv(65_536)
                except TimeoutError:
                    continue
                except OSError:
                    break
                if answer:
                    break
        assert answer.startswith(b"HTTP/1.1 408 ")

    def test_a_client_that_leaves_leaves_nothing(
        self, client: httpx.Client, served: tuple[Settings, ToldEngine, int]
    ) -> None:
        settings, _, port = served
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                self._head(5_000) + b'--b\r\nContent-Disposition: form-data; name="x"; filename="a"\r\n\r\nx'
            )
            _wait_until(lambda: leftovers(settings))
        _wait_until(lambda: not leftovers(settings))

    @pytest.mark.parametrize("begun", [b"", b"GET /who HTTP/1.1\r\nHost: localhost\r\nX: "])
    def test_headers_that_never_end_are_not_waited_for(
        self, served: tuple[Settings, ToldEngine, int], begun: bytes
    ) -> None:
        with socket.create_connection(("127.0.0.1", served[2])) as connection:
            connection.sendall(begun)
            assert self._answer(connection) == b""

    def test_nor_those_of_a_second_request(self, served: tuple[Settings, ToldEngine, int]) -> None:
        with socket.create_connection(("127.0.0.1", served[2])) as connection:
            connection.sendall(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n")
            _ = connection.recv(10)
            connection.sendall(b"GET /who HTTP/1.1\r\nHost:")
            assert self._answer(connection).count(b"HTTP/1.1") <= 1

    def test_a_client_that_waits_for_leave_is_told_at_once(self, served: tuple[Settings, ToldEngine, int]) -> None:
        with socket.create_connection(("127.0.0.1", served[2])) as connection:
            head = self._head(50_000_000).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
            connection.sendall(head)
            assert self._answer(connection).startswith(b"HTTP/1.1 413 ")

    def test_a_client_that_is_gone_is_not_worked_for(
        self, client: httpx.Client, served: tuple[Settings, ToldEngine, int]
    ) -> None:
        settings, engine, port = served
        engine.waits = True
        engine.was_cancelled.clear()
        body = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\nx\r\n--b--\r\n'
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(self._head(len(body)).replace(b"/form", b"/api/predict", 1) + body)
                _wait_until(lambda: engine.seen)
            assert engine.was_cancelled.wait(20)
        finally:
            engine.waits = False
        _wait_until(lambda: not leftovers(settings))


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(data_dir=tmp_path)
    app = guarded_app(settings, ToldEngine(human()))
    gone = replace(settings, data_dir=tmp_path / "elsewhere")  # a folder that is not there refuses files likewise
    app.state.settings = gone
    with listening(app) as port:
        answer = httpx.post(f"http://127.0.0.1:{port}/api/predict", files={"audio": ("a", b"x")}, verify=False)
    assert (answer.status_code, answer.json()["status"]) == (503, "error")
    assert int(answer.headers["retry-after"]) > 0
    (said,) = (record for record in caplog.records if record.name == "spoofcheck.serve.uploads")
    assert (said.levelno, said.why) == (logging.ERROR, "No such file or directory")
