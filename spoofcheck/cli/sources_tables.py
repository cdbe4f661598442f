"""The tables and JSON documents of `spoofcheck sources`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from spoofcheck.audio.inputs import display_path
from spoofcheck.cli.corpus_tables import cell
from spoofcheck.render.text import MISSING, format_percent

if TYPE_CHECKING:
    from spoofcheck.detect.enrolment import Evaluated, LeaveOneOut
    from spoofcheck.detect.sourcestore import SourceStore, StoredSource, StoreTracer
    from spoofcheck.nets.config import OpenSetConfig

NEAREST_LISTED = 5
"""Other sources that an enrolment's table shows, the closest first; the store holds them all."""


def list_table(store: SourceStore | None, shipped: Sequence[str]) -> Table:
    """Shipped and enrolled sources."""
    table = _table("source", "origin", ("clips", "revision"), "enrolled at", "confused with", "note")
    for name in shipped:
        table.add_row(cell(name), "shipped", *[MISSING] * 4, "")
    for source in store.sources if store is not None else ():
        table.add_row(
            cell(source.name),
            "enrolled",
            f"{len(source.clips)}",
            f"{source.revision}",
            source.created_at.isoformat(timespec="seconds"),
            _names(source.confused_with),
            cell(source.note),
        )
    return table


def list_json(path: Path, store: SourceStore | None, shipped: Sequence[str]) -> str:
    """Shipped and enrolled sources, without embeddings."""
    return _dumps(
        {
            "store": display_path(path),
            "tracer": None if store is None else store.tracer.model_dump(mode="json"),
            "store_sha256": None if store is None else store.sha256,
            "sources": [
                *({"name": name, "origin": "shipped"} for name in shipped),
                *(_listed(source) for source in (store.sources if store is not None else ())),
            ],
        }
    )


def enrolment_tables(source: StoredSource) -> Group:
    """Leave-one-out of a source that was just enrolled, and how far it keeps from its neighbours."""
    estimate = Table(box=None, show_header=False, pad_edge=False, title="Each clip against the others", **_TITLE)
    estimate.add_column()
    estimate.add_column(overflow="fold")
    for label, value in _estimate_lines(source.leave_one_out):
        estimate.add_row(label, value)
    pairs = _table("source", ("prototypes' cosine", "smallest gap", "mean gap", "d'", "closer to it"), "")
    pairs.title = "Closest other sources"
    pairs.title_justify, pairs.title_style = _TITLE["title_justify"], _TITLE["title_style"]
    for pair in source.separability[:NEAREST_LISTED]:
        pairs.add_row(
            cell(pair.source),
            f"{pair.prototype_similarity:.3f}",
            f"{pair.smallest_gap:+.3f}",
            f"{pair.mean_gap:+.3f}",
            f"{pair.d_prime:.1f}",
            f"{pair.closer_to_other} of {pair.clips}",
            Text("cannot be told apart", style="yellow") if pair.is_confused else "",
        )
    return Group(estimate, "", pairs)


def evaluation_table(rows: Sequence[Evaluated]) -> Table:
    """Every source among the others."""
    table = _table(
        "source",
        "origin",
        ("clips", "found again", "and known", "unknown"),
        "mistaken for",
        "nearest",
        ("cosine",),
        "confused with",
    )
    for row in rows:
        estimate = row.leave_one_out
        table.add_row(
            cell(row.source.name),
            row.source.origin,
            *([MISSING] * 4 if estimate is None else _counts(estimate)),
            _mistaken(estimate),
            cell(MISSING if row.nearest is None else row.nearest),
            MISSING if row.nearest_similarity is None else f"{row.nearest_similarity:.3f}",
            _names(row.confused_with),
        )
    return table


def evaluation_json(tracer: StoreTracer, open_set: OpenSetConfig, rows: Sequence[Evaluated]) -> str:
    """Every source among the others, and which source each one's clips were closest to."""
    from spoofcheck.detect.enrolment import groups

    return _dumps(
        {
            "tracer": tracer.model_dump(mode="json"),
            "open_set": {"method": open_set.method, "threshold": open_set.threshold},
            "sources": [
                {
                    "name": row.source.name,
                    "origin": row.source.origin,
                    "clips": row.source.clips,
                    "nearest": row.nearest,
                    "nearest_similarity": row.nearest_similarity,
                    "leave_one_out": None if row.leave_one_out is None else row.leave_one_out.model_dump(mode="json"),
                    "confused_with": row.confused_with,
                }
                for row in rows
            ],
            "closest": {
                row.source.name: _closest(row.source.name, row.leave_one_out)
                for row in rows
                if row.leave_one_out is not None
            },
            "groups": groups(rows),
        }
    )


_TITLE: dict[str, Any] = {"title_justify": "left", "title_style": "bold"}


def _listed(source: StoredSource) -> dict[str, Any]:
    return {
        "name": source.name,
        "origin": "enrolled",
        "note": source.note,
        "created_at": source.created_at.isoformat(timespec="seconds"),
        "revision": source.revision,
        "content_sha256": source.content_sha256,
        "clips": [{"name": clip.name, "sha256": clip.sha256, "windows": clip.windows} for clip in source.clips],
        "leave_one_out": source.leave_one_out.model_dump(mode="json"),
        "confused_with": source.confused_with,
    }


def _closest(name: str, estimate: LeaveOneOut) -> dict[str, int]:
    own = {name: estimate.closest} if estimate.closest else {}
    return own | {taken.source: taken.clips for taken in estimate.taken}


def _estimate_lines(estimate: LeaveOneOut) -> list[tuple[str, str | Text]]:
    lines: list[tuple[str, str | Text]] = [
        ("Closest to this source", _share(estimate.closest, estimate.clips)),
        ("Given to it by the open-set rule", _share(estimate.accepted, estimate.clips)),
        ("Called unknown", _share(estimate.unknown, estimate.clips)),
        (
            "Cosine to the other clips' mean",
            f"{estimate.mean_similarity:.3f} ({estimate.smallest_similarity:.3f} least)",
        ),
    ]
    if estimate.taken:
        lines.append(("Closest to another source", _mistaken(estimate)))
    return lines


def _share(number: int, clips: int) -> str:
    return f"{number} of {clips} ({format_percent(number / clips, 0)})"


def _counts(estimate: LeaveOneOut) -> list[str]:
    return [f"{number}" for number in (estimate.clips, estimate.closest, estimate.accepted, estimate.unknown)]


def _mistaken(estimate: LeaveOneOut | None) -> Text:
    taken = () if estimate is None else estimate.taken
    return Text(", ").join([cell(f"{each.source} ({each.clips})") for each in taken]) if taken else Text(MISSING)


def _names(names: Sequence[str]) -> Text:
    return Text(", ").join([cell(name) for name in names]) if names else Text(MISSING)


def _table(*headings: str | tuple[str, ...]) -> Table:
    """Headings in a tuple are of numbers."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        for name in (heading,) if isinstance(heading, str) else heading:
            table.add_column(name, justify="left" if isinstance(heading, str) else "right", overflow="fold")
    return table


def _dumps(document: object) -> str:
    """ASCII, so that no name can steer a terminal."""
    return json.dumps(document, indent=2) + "\n"
