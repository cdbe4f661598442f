"""Rewrite the generated parts of docs/: `python -m docs.generate`, or `make golden`.

`docs/cli.md` has what `--help` says; `docs/json.md` has the fields of the result between two marks. A test
compares both with what is committed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from spoofcheck.cli.app import app
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
    for name, command in _commands("spoofcheck", app):
        lines += [f"## {name}", "", inspect.cleandoc(command.__doc__ or ""), ""]
        rows = _parameters(command)
        if rows:
            lines += ["| argument or option | what |", "|---|---|", *rows, ""]
    return "\n".join([*lines, app.info.epilog, ""])


def _commands(name: str, group: typer.Typer) -> Iterator[tuple[str, Callable[..., object]]]:
    for command in group.registered_commands:
        if command.callback is not None:
            yield f"{name} {command.name}", command.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from _commands(f"{name} {inner.typer_instance.info.name}", inner.typer_instance)


def _parameters(command: Callable[..., object]) -> list[str]:
    """One row of a table per argument and option."""
    rows = []
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
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


def json_page(page: str) -> str:
    """The page with its tables of fields made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{_fields()}\n{END}{after}"


def _fields() -> str:
    schema = ScanDocument.model_json_schema(mode="serialization")
    types = {"ScanDocument": schema, **schema["$defs"]}
    lines: list[str] = []
    for name in _reachable(types):
        about = types[name]
        if "properties" not in about:
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


def _reachable(types: dict[str, Any]) -> list[str]:
    """Names of the types in the order in which a reader meets them."""
    found: list[str] = []
    waiting = ["ScanDocument"]
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
    if facts.get("type") == "array":
        return f"list of {_type(facts['items'])}"
    return str(facts.get("type", "any"))


def pages() -> dict[Path, str]:
    """Every generated page and what it should hold."""
    fields = DOCS / "json.md"
    return {DOCS / "cli.md": cli_page(), fields: json_page(fields.read_text(encoding="utf-8"))}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
