"""The import directions of the package, read from its source: nothing is imported to find out."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import spoofcheck

PACKAGE = Path(spoofcheck.__file__).resolve().parent
CORE = frozenset({"types", "schema", "evalschema", "linkschema", "errors", "resources", "wholefile", "__init__"})
"""What every part may import; `__init__` holds the version and the lazy `scan`."""

MAY_IMPORT: dict[str, frozenset[str]] = {
    "cli": frozenset(
        {
            "training",
            "evaluation",
            "serve",
            "cluster",
            "detect",
            "render",
            "document",
            "nets",
            "audio",
            "casefile",
            "ledger",
            "pdf",
            "tables",
            "merging",
            "sharding",
        }
    ),
    "training": frozenset({"nets", "audio", "evaluation", "detect"}),
    "serve": frozenset({"detect", "render", "document", "nets", "audio"}),
    "cluster": frozenset({"detect", "nets", "audio"}),
    "detect": frozenset({"nets", "audio"}),
    "evaluation": frozenset({"nets", "audio", "detect"}),
    "render": frozenset(),
    "document": frozenset({"render"}),
    "merging": frozenset({"render", "sharding"}),
    "sharding": frozenset({"render"}),
    "casefile": frozenset({"render"}),
    "ledger": frozenset({"render"}),
    "pdf": frozenset({"render"}),
    "tables": frozenset({"render"}),
    "nets": frozenset({"audio"}),
    "audio": frozenset(),
    "types": frozenset(),
    "schema": frozenset(),
    "evalschema": frozenset(),
    "linkschema": frozenset(),
    "errors": frozenset(),
    "resources": frozenset(),
    "wholefile": frozenset(),
    "__init__": frozenset({"detect"}),
    "__main__": frozenset({"cli"}),
}
HEAVY = frozenset({"torch", "torchaudio", "transformers", "silero_vad", "sklearn", "librosa"})
LIGHT = frozenset(
    {
        "types",
        "schema",
        "evalschema",
        "linkschema",
        "errors",
        "resources",
        "wholefile",
        "render",
        "document",
        "casefile",
        "ledger",
        "merging",
        "sharding",
        "pdf",
        "tables",
        "__init__",
    }
)
"""Parts without heavy imports: `report` and `--help` rest on them."""


def part_of(path: Path) -> str:
    """`nets` for spoofcheck/nets/stem.py, `types` for spoofcheck/types.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Absolute dotted names of all that a file imports, at whatever depth and also for type checking only."""
    package = ["spoofcheck", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_every_part_has_a_rule() -> None:
    assert {part_of(path) for path in sources()} <= MAY_IMPORT.keys()


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    part = part_of(path)
    allowed = MAY_IMPORT[part] | CORE | {part}
    for name in imports(path):
        if name.split(".")[0] != "spoofcheck":
            continue
        child = name.split(".")[1] if "." in name else "__init__"
        target = child if child in MAY_IMPORT else "__init__"  # `from spoofcheck import __version__`
        assert target in allowed, f"{part} imports {name}"


@pytest.mark.parametrize("part", sorted(LIGHT))
def test_light_parts_import_nothing_heavy(part: str) -> None:
    for path in sources():
        if part_of(path) == part:
            found = {name.split(".")[0] for name in imports(path)} & HEAVY
            assert not found, f"{path.relative_to(PACKAGE)} imports {sorted(found)}"


@pytest.mark.parametrize(
    "module", ["", ".cli.app", ".schema", ".render", ".document", ".casefile", ".ledger", ".audio.inputs"]
)
def test_import_leaves_torch_out(module: str) -> None:
    code = f"import sys, spoofcheck{module}; print(*(sys.modules.keys() & {set(HEAVY)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
