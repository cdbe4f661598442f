"""The documentation says what the code does: generated parts, exit codes, reason codes, links."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.examples import EXAMPLES, Example, shown
from docs.generate import DOCS, commands, pages
from spoofcheck.cli.status import ExitStatus
from spoofcheck.schema import Verdict
from spoofcheck.training.recipe import read_recipe
from tests.test_architecture import sources

ROOT = DOCS.parent
PAGES = sorted(
    [
        *DOCS.glob("*.md"),
        *ROOT.glob("train/**/README.md"),
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "examples/ATTRIBUTION.md",
    ]
)
BLOCK = re.compile(r"<!-- example: (\S+) -->\n\n```console\n(.*?)\n```\n\n<!-- /example -->", re.DOTALL)


@pytest.mark.parametrize("path", sorted(pages()), ids=lambda path: path.name)
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
    for name in ("json.md", "formats.md", "evaluation.md", "link.md"):
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


@pytest.mark.parametrize("page", sorted({example.page for example in EXAMPLES}))
def test_examples_are_those_of_the_script(page: str) -> None:
    """The commands; what they print is made by `python -m docs.examples`, which takes minutes."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    blocks = dict(BLOCK.findall(text))
    assert text.count("<!-- example: ") == len(blocks)
    of_page = {example.name: example for example in EXAMPLES if example.page == page}
    assert blocks.keys() == of_page.keys(), "run `python -m docs.examples`"
    for name, example in of_page.items():
        assert [line for line in blocks[name].splitlines() if line.startswith("$ ")] == _prompts(example), name
        assert all(f"{shown(step.command)}\n" in f"{blocks[name]}\n" for step in example.steps), name


def _prompts(example: Example) -> list[str]:
    return [shown(step.command).partition("\n")[0] for step in example.steps]


BY_HAND = {
    "spoofcheck corpus packages": "corpus",  # it needs the network
    "spoofcheck models pull": "models",  # likewise
    "spoofcheck models import": "models",  # it needs a gigabyte of weights
    "spoofcheck corpus reference": "acoustics",  # it measures hundreds of recordings
    "spoofcheck models calibrate": "calibration",  # it needs labelled recordings of one's own
    "spoofcheck models export": "speed",  # its differences are of the machine
    "spoofcheck verify": "verify",  # reports, ledgers: times and hashes differ from run to run
    "spoofcheck case new": "case",
    "spoofcheck case check": "case",
    "spoofcheck ledger check": "case",
    "spoofcheck ledger show": "case",
    "spoofcheck ledger head": "case",
    "spoofcheck ledger note": "case",
    "spoofcheck serve": "serve",  # it runs until it is stopped
    "spoofcheck watch": "watch",  # likewise
    "spoofcheck serve keys add": "serve",  # keys are random
    "spoofcheck serve keys list": "serve",
    "spoofcheck serve keys revoke": "serve",
}
"""Commands whose page shows them without what `docs.examples` makes, and that page."""


def test_every_command_has_an_example() -> None:
    run = {step.command for example in EXAMPLES for step in example.steps}
    lacking = [name for name, _ in commands() if not any(f"{name} " in f"{command} " for command in run)]
    assert sorted(lacking) == sorted(BY_HAND)
    for name, page in BY_HAND.items():
        assert f"{name} " in (DOCS / f"{page}.md").read_text(encoding="utf-8"), name


def test_examples_hold_no_place_and_no_time_of_the_machine_that_ran_them() -> None:
    for page in {example.page for example in EXAMPLES}:
        for name, block in BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8")):
            assert not re.search(
                r"(?<![\w…])/(tmp|home|work|root|usr)/|\d{4}-\d\d-\d\dT|x real time\).*\d x real", block
            ), name


@pytest.mark.parametrize("path", sorted(DOCS.glob("recipes/*.yaml")), ids=lambda path: path.stem)
def test_recipes_of_the_examples_are_valid(path: Path) -> None:
    assert read_recipe(path).name == path.stem


@pytest.mark.parametrize("recipe", sorted(ROOT.glob("train/*/config.yaml")), ids=lambda path: path.parent.name)
def test_every_recipe_has_a_page_with_its_command(recipe: Path) -> None:
    page = (recipe.parent / "README.md").read_text(encoding="utf-8")
    assert f"spoofcheck train train/{recipe.parent.name}" in page
    assert f"({recipe.parent.name}/README.md)" in (ROOT / "train/README.md").read_text(encoding="utf-8")
