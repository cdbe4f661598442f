"""`requirements.lock` is what the container installs: it fits pyproject.toml, and every file in it is known by hash."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from docs.lockfile import LOCK, pins

ROOT = LOCK.parent
CONTAINERFILE = ROOT / "Containerfile"
CONTAINER = {"python_version": "3.11", "python_full_version": "3.11.2", "sys_platform": "linux", "extra": ""}
"""What markers are read for; the rest of the environment is that of the machine."""


def wanted() -> list[Requirement]:
    """What the package and its service need in the container."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    needed = [Requirement(text) for text in (*project["dependencies"], *project["optional-dependencies"]["serve"])]
    return [one for one in needed if one.marker is None or one.marker.evaluate(CONTAINER)]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_every_requirement_is_locked_at_an_allowed_version(requirement: Requirement) -> None:
    locked = pins(LOCK.read_text(encoding="utf-8"))
    name = canonicalize_name(requirement.name)
    assert name in locked, f"{requirement} is not in requirements.lock; run `make lock`"
    version = locked[name][0]
    assert requirement.specifier.contains(version), f"{name} {version} is locked, {requirement} asked for: `make lock`"


def test_every_locked_package_has_a_hash() -> None:
    bare = [name for name, (_, hashes) in pins(LOCK.read_text(encoding="utf-8")).items() if not hashes]
    assert bare == []


def test_the_lock_names_no_place() -> None:
    assert not re.search(r"https?:|file:|index-url|find-links", LOCK.read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", ["fastapi>=0.1", "fastapi==1 --hash=md5:00", "-r other.txt", "./wheel.whl"])
def test_what_is_no_pin_is_found(text: str) -> None:
    with pytest.raises(ValueError, match="not a pin"):
        pins(text)


def test_the_container_file_installs_by_hash_and_runs_without_rights() -> None:
    text = CONTAINERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    installs = [line for line in text.splitlines() if "pip install" in line]
    assert installs
    assert all("--require-hashes" in line and "--only-binary" in line for line in installs)
    users = re.findall(r"^USER (\d+)", text, re.MULTILINE)
    assert users
    assert "0" not in users
    copied = [source for line in re.findall(r"^COPY (.+)", text, re.MULTILINE) for source in line.split()[:-1]]
    assert [source for source in copied if not (ROOT / source).exists()] == []
