"""SECURITY.md and docs/supply-chain.md name files and commands that are there."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECURITY = ROOT / "SECURITY.md"
SUPPLY_CHAIN = ROOT / "docs" / "supply-chain.md"


def named_tests(text: str) -> list[PurePosixPath]:
    """Paths of tests in backquotes; a bare name lies beside the one before it."""
    found: list[PurePosixPath] = []
    for name in re.findall(r"`(tests/[\w/.]+|test_\w+\.py)`", text):
        found.append(PurePosixPath(name) if "/" in name else found[-1].parent / name)
    return found


@pytest.mark.parametrize("page", [SECURITY, SUPPLY_CHAIN], ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page: Path) -> None:
    named = named_tests(page.read_text(encoding="utf-8"))
    assert len(named) >= 2
    assert [str(path) for path in named if not (ROOT / path).exists()] == []


def test_links_of_the_security_page_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", SECURITY.read_text(encoding="utf-8"))
    assert len(targets) >= 3
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_security_page_is_one_page() -> None:
    assert len(SECURITY.read_text(encoding="utf-8").split()) <= 1_000


def test_named_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = SUPPLY_CHAIN.read_text(encoding="utf-8") + SECURITY.read_text(encoding="utf-8")
    named = set(re.findall(r"`?make ([a-z]+)", text)) & {"lock", "sbom", "audit"}
    assert named == {"lock", "sbom", "audit"}
    assert named <= targets


def test_the_audit_fails_when_it_could_not_look() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = [line for line in recipe.splitlines() if "/bin/pip-audit" in line]
    assert {"--strict", "--require-hashes"} <= set(line.split())
