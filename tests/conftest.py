"""Fixtures every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings

from tests.support.models import tiny_bundle, tiny_tracer

# A loaded machine may take longer over one example than hypothesis allows.
settings.register_profile("spoofcheck", deadline=None)
settings.load_profile("spoofcheck")


@pytest.fixture(scope="session", autouse=True)
def _nobodys_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the sources that the user who runs it has enrolled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Fixtures that scan have a cache of their own, and never the user's."""
    folder = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "of-fixtures"))
        yield folder


@pytest.fixture(autouse=True)
def _own_cache(_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is answered from what another one's scan has kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(_caches / uuid4().hex))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny seeded detector."""
    return tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_tracer_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny seeded tracer of three sources."""
    return tiny_tracer(tmp_path_factory.mktemp("models") / "tiny-tracer")
