"""Rewrite the tables of docs/models.md: `python -m docs.models`.

They say which weights of a published checkpoint become which of ours, and how many, from the code that renames them.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from spoofcheck.nets import published
from spoofcheck.nets.fairseq import Layout

PAGE = Path(__file__).resolve().parent / "models.md"
BEGIN = "<!-- weights: written by docs/models.py -->"
END = "<!-- end of weights -->"


def tables() -> str:
    """Both tables, in Markdown."""
    layouts = {name: architecture.layout() for name, architecture in published.ARCHITECTURES.items()}
    names = [
        "| part | published name | name in `model.safetensors` | tensors |",
        "|---|---|---|---:|",
        *_renamed(layouts["xlsr-nes2net-la"]),
        *(row for row in _renamed(layouts["xlsr-tracer"]) if row.startswith("| head")),
    ]
    groups = list(dict.fromkeys(key.group for layout in layouts.values() for key in layout.keys))
    counts = [
        f"| architecture | {' | '.join(groups)} | all | may hold besides, dropped |",
        f"|---|{'---:|' * (len(groups) + 1)}---|",
    ]
    for name, layout in layouts.items():
        found = Counter(key.group for key in layout.keys)
        numbers = " | ".join(f"{found[group]}" if found[group] else "" for group in groups)
        dropped = ", ".join(f"`{rule}*`" if rule.endswith(".") else f"`{rule}`" for _, rule in layout.dropped)
        counts.append(f"| `{name}` | {numbers} | {len(layout.keys)} | {dropped} |")
    return "\n".join([*names, "", *counts])


def page(text: str) -> str:
    """The page with its tables as they are now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def _renamed(layout: Layout) -> list[str]:
    # Names instead of values: a renaming does not look at them.
    ours = layout.convert({key.name: key.name for key in layout.keys})  # type: ignore[misc]
    group = {key.name: key.group for key in layout.keys}
    rows = Counter((group[str(theirs)], _short(str(theirs)), _short(name)) for name, theirs in ours.items())
    return [f"| {part} | `{theirs}` | `{name}` | {count} |" for (part, theirs, name), count in rows.items()]


def _short(name: str) -> str:
    """Layers by `N`, the back-end's parts by `*`, a weight and its bias as one."""
    if name.startswith(("Nested_Res2Net_TDNN.", "back_end.")):
        return name.partition(".")[0] + ".*"
    name = re.sub(r"layers\.\d+\.", "layers.N.", name)
    name = re.sub(r"\.[kvq]_proj\.|\.out_proj\.", ".{k,v,q,out}_proj.", name) if ".layers." in name else name
    return re.sub(r"\.(weight|bias)$", ".{weight,bias}", name) if "pos_conv" not in name else name


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
