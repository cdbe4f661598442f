"""A stand-in for a model hub: as much of its HTTP as listings, downloads and their continuation need."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class StandIn:
    """One repository and how its server behaves.

    Attributes:
        repository: `OWNER/NAME`.
        files: by path.
        url: of the server, while it runs.
        cut_after: bytes of a file after which a connection breaks and no further one is served; None serves all.
        lfs: whether listings state the files' SHA-256.
        requests: method, path and range of every request so far.
    """

    repository: str
    files: dict[str, bytes]
    url: str = ""
    cut_after: int | None = None
    lfs: bool = True
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    was_cut: bool = False

    def ranges(self) -> list[str | None]:
        """Of the downloads so far."""
        return [span for method, path, span in self.requests if method == "GET" and "/resolve/" in path]


@contextmanager
def serving(stand_in: StandIn) -> Iterator[StandIn]:
    """Run it on a port of this machine."""
    handler = type("Handler", (_Handler,), {"stand_in": stand_in})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub = self.stand_in
        path = self.path.partition("?")[0]
        hub.requests.append((self.command, path, self.headers.get("Range")))
        if path.startswith(f"/api/models/{hub.repository}"):
            self._send(json.dumps(self._listing()).encode(), {"Content-Type": "application/json"}, body)
            return
        prefix = f"/{hub.repository}/resolve/"
        name = path.removeprefix(prefix).partition("/")[2] if path.startswith(prefix) else ""
        data = hub.files.get(name)
        if data is None:
            self._refuse(404, "EntryNotFound")
        elif body and hub.was_cut and hub.cut_after is not None:
            self._refuse(403, "")
        else:
            self._send_file(data, body)

    def _listing(self) -> dict[str, object]:
        siblings = []
        for name, data in self.stand_in.files.items():
            sibling: dict[str, object] = {"rfilename": name, "size": len(data)}
            if self.stand_in.lfs:
                sibling["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1}
            siblings.append(sibling)
        return {"id": self.stand_in.repository, "sha": COMMIT, "siblings": siblings}

    def _send_file(self, data: bytes, body: bool) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        part = data[start:]
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        cut = self.stand_in.cut_after
        if body and cut is not None:
            self.stand_in.was_cut = True
            self._head(206 if start else 200, headers, len(part))
            self.wfile.write(part[:cut])
            self.wfile.flush()
            self.close_connection = True
            return
        self._head(206 if start else 200, headers, len(part))
        if body:
            self.wfile.write(part)

    def _send(self, data: bytes, headers: dict[str, str], body: bool) -> None:
        self._head(200, headers, len(data))
        if body:
            self.wfile.write(data)

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""
