"""The documentation says what the code does: generated parts, exit codes, reason codes, links."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.generate import DOCS, pages
from spoofcheck.cli.status import ExitStatus
from spoofcheck.schema import Verdict
from tests.test_architecture import sources

ROOT = DOCS.parent
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "examples/ATTRIBUTION.md"])


@pytest.mark.parametrize("path", [DOCS / "cli.md", DOCS / "json.md"], ids=lambda path: path.name)
def test_generated_parts_are_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pages()[path], "run `make golden` and read the diff"


def test_every_exit_code_is_documented() -> None:
    page = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == set(ExitStatus)


def test_every_verdict_is_documented() -> None:
    page = (DOCS / "json.md").read_text(encoding="utf-8")
    verdicts = page.partition("## Verdicts")[2].partition("##")[0]
    assert set(re.findall(r"^\| `([a-z]+)` \|", verdicts, re.MULTILINE)) == set(Verdict)


def test_every_code_is_documented() -> None:
    documented = set()
    for name in ("json.md", "formats.md"):
        documented |= set(re.findall(r"^\| `([a-z0-9-]+)`", (DOCS / name).read_text(encoding="utf-8"), re.MULTILINE))
    codes = {code for path in sources() for code in _codes(path)}
    assert len(codes) > 10
    assert codes - documented == set()


def _codes(path: Path) -> Iterator[str]:
    """Codes written in a file as `InputError("code", ...)`, `Skipped(path, "code", ...)` or `code="code"`."""
    place = {"InputError": 0, "Skipped": 1}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        positional = node.args[place[name] : place[name] + 1] if name in place else []
        for value in [*positional, *(word.value for word in node.keywords if word.arg == "code")]:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("https://", "#")):
            assert (path.parent / target.partition("#")[0]).exists(), f"{path.name}: {target}"


def test_pages_are_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert all(f"({page.name})" in index for page in DOCS.glob("*.md") if page.name != "README.md")
