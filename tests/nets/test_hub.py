"""Models from a hub, against a stand-in that speaks as much of the hub's HTTP as a download needs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from spoofcheck.errors import ModelError
from spoofcheck.nets.bundle import load_bundle
from spoofcheck.nets.hub import fetch_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).resolve().parents[2]


class _Hub(BaseHTTPRequestHandler):
    files: dict[str, bytes]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        name = self.path.rpartition("/")[2]
        data = self.files.get(name) if self.path.startswith("/lab/tiny/resolve/") else None
        if data is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def hub(tiny_model: Path) -> Iterator[str]:
    handler = type("Hub", (_Hub,), {"files": {path.name: path.read_bytes() for path in tiny_model.iterdir()}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _in_fresh_process(code: str, **environment: str) -> str:
    """Output of code in a process of its own: huggingface_hub reads its environment when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HUB_ETAG_TIMEOUT": "2", **environment},
    )
    return done.stdout + done.stderr


FETCH = (
    "from spoofcheck.errors import ModelError\nfrom spoofcheck.nets.index import find_model\n"
    "try:\n    print(find_model({reference!r}))\n"
    "except ModelError as error:\n    print('ModelError:', error)"
)


def test_a_model_is_downloaded_and_then_found_offline(hub: str, tmp_path: Path, tiny_model: Path) -> None:
    code = FETCH.format(reference=f"hub:lab/tiny@{COMMIT}")
    online = _in_fresh_process(code, HF_ENDPOINT=hub, HF_HOME=str(tmp_path)).strip()
    assert {path.name: path.read_bytes() for path in Path(online).iterdir()} == {
        path.name: path.read_bytes() for path in tiny_model.iterdir()
    }
    assert load_bundle(Path(online)).config.name == "tiny"
    assert _in_fresh_process(code, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path)).strip() == online


@pytest.mark.parametrize("environment", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}])
def test_a_hub_out_of_reach_is_one_clear_line(environment: dict[str, str], tmp_path: Path) -> None:
    said = _in_fresh_process(FETCH.format(reference="hub:lab/tiny"), HF_HOME=str(tmp_path), **environment)
    assert said.startswith("ModelError: hub:lab/tiny: config.json is not in the cache and the hub can't be reached")
    assert said.count("\n") == 1


def test_a_repository_without_our_files_is_named(hub: str, tmp_path: Path) -> None:
    said = _in_fresh_process(FETCH.format(reference="hub:lab/other"), HF_ENDPOINT=hub, HF_HOME=str(tmp_path))
    assert said.startswith("ModelError: hub:lab/other: holds no config.json")


@pytest.mark.parametrize("reference", ["hub:", "hub:tiny", "hub:a/b/c", "hub:../x", "hub:a/b@", "hub:a b/c"])
def test_a_malformed_reference_is_refused_before_any_request(reference: str) -> None:
    with pytest.raises(ModelError, match=r"hub:OWNER/NAME"):
        fetch_model(reference, ("config.json",))
