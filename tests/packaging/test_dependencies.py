"""Every dependency has a job: it is imported somewhere in the package, and nothing else is."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

import spoofcheck
from tests.test_architecture import imports, part_of, sources

PACKAGE = Path(spoofcheck.__file__).resolve().parent
ROOT = PACKAGE.parent
USED_BY_OTHERS = {"audioop-lts"}
"""Declared for a dependency's sake: pydub imports audioop, which left the standard library in 3.13."""
ONE_BINARY = {"parselmouth": "praat-parselmouth"}
"""Imports that are one compiled file: before Python 3.12 `packages_distributions` does not say where they are from."""
UNPACKED_BY_HAND = {"ai-edge-litert"}
"""Imported from a folder that a training recipe names, like the voices that it runs."""

BY_SCHEME = {"adlfs", "gcsfs", "s3fs"}
"""Imported by fsspec, for addresses of their scheme."""

HANDED_ON = {"anyio", "sqlalchemy", "starlette"}
"""Imported with what rests on them and hands out their types: fastapi and sqlmodel."""


def _normalised(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def _names(requirements: Iterable[str]) -> set[str]:
    return {_normalised(requirement) for requirement in requirements}


def _project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file)["project"])


def _imported_distributions(paths: Iterable[Path]) -> set[str]:
    """Third-party distributions that the files import; the import's own name where none provides it."""
    providers = packages_distributions()
    tops = {name.split(".")[0] for path in paths for name in imports(path)}
    third_party = tops - sys.stdlib_module_names - {"spoofcheck"}
    return {_normalised(provider) for top in third_party for provider in providers.get(top, [ONE_BINARY.get(top, top)])}


def _extra(path: Path) -> str | None:
    """Which extra a source file needs; outside training each says so when it is missing."""
    if part_of(path) == "training" or path.relative_to(PACKAGE) == Path("evaluation/shards.py"):
        return "train"
    if part_of(path) == "serve":
        return "serve"
    if part_of(path) in {"cluster", "tables"}:
        return "cluster"
    return "onnx" if path.relative_to(PACKAGE) == Path("nets/onnx.py") else None


def _needing(extra: str | None) -> list[Path]:
    return [path for path in sources() if _extra(path) == extra]


def test_every_dependency_is_imported() -> None:
    assert _names(_project()["dependencies"]) - _imported_distributions(_needing(None)) == USED_BY_OTHERS


def test_the_package_imports_only_its_dependencies() -> None:
    assert _imported_distributions(_needing(None)) - _names(_project()["dependencies"]) == set()


@pytest.mark.parametrize("extra", ["train", "onnx", "serve", "cluster"])
def test_what_needs_an_extra_imports_nothing_else(extra: str) -> None:
    project = _project()
    declared = _names([*project["dependencies"], *project["optional-dependencies"][extra]])
    assert _imported_distributions(_needing(extra)) - declared <= UNPACKED_BY_HAND | HANDED_ON


@pytest.mark.parametrize("extra", ["onnx", "serve", "cluster"])
def test_an_extra_is_imported(extra: str) -> None:
    declared = _names(_project()["optional-dependencies"][extra])
    assert declared - BY_SCHEME <= _imported_distributions(_needing(extra))
