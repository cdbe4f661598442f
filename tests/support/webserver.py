"""A local web server, and a stand-in for S3: what object stores answer, without a network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

Answer = tuple[int, dict[str, str], bytes]
Respond = Callable[[str], Answer]
"""From the path and query that was asked for."""


@contextmanager
def web_server(respond: Respond) -> Iterator[str]:
    """A server on the loopback address; its address without a slash at the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = respond(self.path)
            wanted = self.headers.get("Range", "")
            if status == 200 and wanted.startswith("bytes="):
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                end = min(int(last or len(body)) + 1, len(body))
                headers = {**headers, "Content-Range": f"bytes {first}-{end - 1}/{len(body)}"}
                status, body = 206, body[int(first) : end]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def s3_answers(bucket: str, objects: Mapping[str, bytes]) -> Respond:
    """What an S3 with one bucket answers to HEAD, GET and ListObjectsV2."""
    told = {"Last-Modified": "Sun, 01 Nov 2026 10:00:00 GMT", "ETag": '"0"'}

    def respond(target: str) -> Answer:
        parts = urlsplit(target)
        key = unquote(parts.path).removeprefix(f"/{bucket}").lstrip("/")
        query = parse_qs(parts.query)
        if not key and "list-type" in query:
            prefix = query.get("prefix", [""])[0]
            entries = "".join(
                f"<Contents><Key>{escape(name)}</Key><LastModified>2026-11-01T10:00:00.000Z</LastModified>"
                f"<ETag>&quot;0&quot;</ETag><Size>{len(data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
                for name, data in sorted(objects.items())
                if name.startswith(prefix)
            )
            count = sum(name.startswith(prefix) for name in objects)
            listing = (
                '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{count}</KeyCount>"
                f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
            )
            return 200, {"Content-Type": "application/xml"}, listing.encode()
        if key in objects:
            return 200, told, objects[key]
        return 404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>"

    return respond
