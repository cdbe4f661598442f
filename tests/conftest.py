"""Fixtures every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.models import tiny_bundle, tiny_tracer


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny seeded detector."""
    return tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_tracer_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny seeded tracer of three sources."""
    return tiny_tracer(tmp_path_factory.mktemp("models") / "tiny-tracer")
