"""One whole server for the tests that need no other: the application on a socket, with a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from spoofcheck.serve.app import build_app
from spoofcheck.serve.settings import Settings
from tests.support.guardedapp import leftovers, listening


@dataclass(frozen=True)
class Whole:
    """A running server."""

    settings: Settings
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120, verify=False)

    def leftovers(self) -> list[Path]:
        """Uploads and folders of jobs that nobody removed."""
        return [*leftovers(self.settings), *self.settings.jobs_dir.iterdir()]


@pytest.fixture(scope="session")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Open, on loopback: without keys."""
    settings = Settings(
        model=tiny_model,
        workers=1,
        controls=False,
        data_dir=tmp_path_factory.mktemp("serve") / "data",
        rate_per_minute=10**6,
    )
    with listening(build_app(settings)) as port:
        yield Whole(settings, port)
