"""Rewrite the generated parts of docs/: `python -m docs.generate`, or `make golden`.

`docs/cli.md` has what `--help` says; `docs/json.md` and `docs/evaluation.md` have the fields of their documents between
two marks. A test compares all with what is committed. Outputs of commands are the business of `docs/examples.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from pydantic import BaseModel
from typer.models import ArgumentInfo, OptionInfo

from spoofcheck.cli.app import app
from spoofcheck.evalschema import Comparison, EvaluationDocument
from spoofcheck.schema import ScanDocument

DOCS = Path(__file__).resolve().parent
BEGIN = "<!-- fields: written by docs/generate.py -->"
END = "<!-- end of fields -->"


def cli_page() -> str:
    """Every command with its arguments and options, in the words of its own help.

    Read from the functions, not from `--help`: how help is drawn changes from one typer to the next.
    """
    lines = [
        "# Commands",
        "",
        "Written by `docs/generate.py` from the commands themselves.",
        "",
        app.info.help,
        "",
    ]
    for name, command in commands():
        lines += [f"## {name}", "", inspect.cleandoc(command.__doc__ or ""), ""]
        rows = _parameters(command)
        if rows:
            lines += ["| argument or option | what |", "|---|---|", *rows, ""]
    return "\n".join([*lines, app.info.epilog, ""])


def commands(name: str = "spoofcheck", group: typer.Typer = app) -> Iterator[tuple[str, Callable[..., object]]]:
    """Every command as a user types it, and its function."""
    for command in group.registered_commands:
        if command.callback is not None:
            yield f"{name} {command.name}", command.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            inner_name = f"{name} {inner.typer_instance.info.name}"
            alone = inner.typer_instance.registered_callback
            if alone is not None and alone.callback is not None:  # a group that does something by itself
                yield inner_name, alone.callback
            yield from commands(inner_name, inner.typer_instance)


def _parameters(command: Callable[..., object]) -> list[str]:
    """One row of a table per argument and option."""
    rows = []
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        if hints[parameter.name] is typer.Context:
            continue
        kind, info = get_args(hints[parameter.name])
        if isinstance(info, ArgumentInfo):
            shown = info.metavar or f"[{parameter.name.upper()}]..."
        else:
            # In an Annotated type, typer takes the first name for the place of a default.
            declared = [text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str)]
            choices = kind if isinstance(kind, type) and issubclass(kind, StrEnum) else ()
            value = info.metavar or "|".join(choices)
            shown = " ".join([*(declared or ["--" + parameter.name.replace("_", "-")]), *([value] if value else [])])
        cells = (f"`{shown}`", f"{info.help}{_default(info, parameter.default)}")
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return rows


def _default(info: OptionInfo | ArgumentInfo, default: object) -> str:
    if isinstance(info.show_default, str):
        return f" Default: {info.show_default}."
    if not info.show_default or default in (None, False, inspect.Parameter.empty):
        return ""
    return f" Default: {'on' if default is True else getattr(default, 'value', default)}."


def with_fields(page: str, *documents: type[BaseModel], known: Iterable[str] = ()) -> str:
    """The page with its tables of fields made anew; types that are `known` from another page are left out."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{_fields(documents, frozenset(known))}\n{END}{after}"


def _fields(documents: Iterable[type[BaseModel]], known: frozenset[str]) -> str:
    types = _types(documents)
    lines: list[str] = []
    for name in _reachable(types, [document.__name__ for document in documents]):
        about = types[name]
        if "properties" not in about or name in known:
            continue
        lines += [
            f"### {name}",
            "",
            about.get("description", "").splitlines()[0],
            "",
            "| field | type | what |",
        ]
        lines.append("|---|---|---|")
        for field, facts in about["properties"].items():
            lines.append(f"| `{field}` | {_type(facts)} | {facts.get('description', '')} |")
        lines.append("")
    return "\n".join(lines)


def _types(documents: Iterable[type[BaseModel]]) -> dict[str, Any]:
    types: dict[str, Any] = {}
    for document in documents:
        schema = document.model_json_schema(mode="serialization")
        types |= {document.__name__: schema, **schema.get("$defs", {})}
    return types


def _reachable(types: dict[str, Any], roots: Iterable[str]) -> list[str]:
    """Names of the types in the order in which a reader meets them."""
    found: list[str] = []
    waiting = list(roots)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found.append(name)
            waiting += [ref for facts in types[name].get("properties", {}).values() for ref in _references(facts)]
    return found


def _references(facts: dict[str, Any]) -> list[str]:
    inner = [facts.get("items"), *facts.get("anyOf", ())]
    own = [facts["$ref"].rpartition("/")[2]] if "$ref" in facts else []
    return own + [ref for part in inner if part for ref in _references(part)]


def _type(facts: dict[str, Any]) -> str:
    if "$ref" in facts:
        return str(facts["$ref"].rpartition("/")[2])
    if "anyOf" in facts:
        return " or ".join(_type(choice) for choice in facts["anyOf"])
    if "enum" in facts:
        return ", ".join(f"`{value}`" for value in facts["enum"])
    if "const" in facts:
        return f"`{facts['const']}`"
    if "prefixItems" in facts:
        return " and ".join(_type(part) for part in facts["prefixItems"])
    if facts.get("type") == "array":
        return f"list of {_type(facts['items'])}"
    return str(facts.get("type", "any"))


def pages() -> dict[Path, str]:
    """Every generated page and what it should hold."""
    scan, evaluation = DOCS / "json.md", DOCS / "evaluation.md"
    return {
        DOCS / "cli.md": cli_page(),
        scan: with_fields(scan.read_text(encoding="utf-8"), ScanDocument),
        evaluation: with_fields(
            evaluation.read_text(encoding="utf-8"), EvaluationDocument, Comparison, known=_types([ScanDocument])
        ),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
