"""One whole server for the tests that need no other: a process of its own, with keys and a tiny model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from spoofcheck.serve.keys import add_key
from spoofcheck.serve.settings import Settings
from tests.support.server import ServerProcess, server


@dataclass(frozen=True)
class Whole:
    """A running server and a key to it."""

    process: ServerProcess
    settings: Settings
    """Only where its data lie."""
    key: str

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.process.url, timeout=240, verify=False, trust_env=False, headers={"x-api-key": self.key}
        )

    def leftovers(self) -> list[Path]:
        """Uploads and folders of jobs that nobody removed."""
        return [*self.settings.incoming_dir.iterdir(), *self.settings.jobs_dir.iterdir()]

    def forget_scans(self) -> None:
        """Delete every job, and wait until nothing of any is left."""
        with self.client() as client:
            while scans := client.get("/v1/scans").raise_for_status().json()["scans"]:
                for scan in scans:
                    assert client.delete(f"/v1/scans/{scan['id']}").status_code in (204, 404)
        for _ in range(1_000):
            if not self.leftovers():
                return
            time.sleep(0.01)


@pytest.fixture(scope="session")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """As an operator starts it. No log line may hold a key: that is looked at when all tests are over."""
    data_dir = tmp_path_factory.mktemp("serve") / "data"
    keys = data_dir.with_suffix(".keys")
    key, _ = add_key(keys, "lab")
    with server(data_dir, tiny_model, "--rate", "1000000") as process:
        made = Whole(process, Settings(data_dir=data_dir), key)
        yield made
        process.stop()
    log = "".join(process.log)
    assert log.count("\n") > 1
    assert key not in log
    assert key.split("_")[2] not in log
    assert "Traceback" not in log
