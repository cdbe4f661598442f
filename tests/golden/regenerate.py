"""Rewrites the golden files from the sample documents: `python -m tests.golden.regenerate`, then read the diff."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from spoofcheck.render import Format, console, render
from tests.support.documents import hostile_document, sample_document, traced_document, uncalibrated
from tests.support.evidence import evidence_document

FOLDER = Path(__file__).parent
COMMAND = "python -m tests.golden.regenerate"

GOLDEN: dict[str, Callable[[], str]] = {
    "sample.json": lambda: render(sample_document(), Format.JSON),
    "sample.jsonl": lambda: render(sample_document(), Format.JSONL),
    "sample.csv": lambda: render(sample_document(), Format.CSV),
    "sample.html": lambda: render(sample_document(), Format.HTML),
    "sample-80.txt": lambda: console.render(sample_document(), width=80),
    "sample-120.txt": lambda: console.render(sample_document(), width=120),
    "sample-summary.txt": lambda: console.summary(sample_document()),
    "traced.json": lambda: render(traced_document(), Format.JSON),
    "traced.jsonl": lambda: render(traced_document(), Format.JSONL),
    "traced.csv": lambda: render(traced_document(), Format.CSV),
    "traced.html": lambda: render(traced_document(), Format.HTML),
    "traced-80.txt": lambda: console.render(traced_document(), width=80),
    "traced-120.txt": lambda: console.render(traced_document(), width=120),
    "traced-summary.txt": lambda: console.summary(traced_document()),
    "evidence.html": lambda: render(evidence_document(), Format.HTML),
    "evidence.json": lambda: render(evidence_document(), Format.JSON),
    "evidence-80.txt": lambda: console.render(evidence_document(), width=80),
    "uncalibrated.html": lambda: render(uncalibrated(sample_document()), Format.HTML),
    "uncalibrated.csv": lambda: render(uncalibrated(sample_document()), Format.CSV),
    "uncalibrated-80.txt": lambda: console.render(uncalibrated(sample_document()), width=80),
    "uncalibrated-summary.txt": lambda: console.summary(uncalibrated(sample_document())),
    "hostile.csv": lambda: render(hostile_document(), Format.CSV),
    "hostile-80.txt": lambda: console.render(hostile_document(), width=80),
}
"""File name -> what it must hold."""


if __name__ == "__main__":
    for name, make in GOLDEN.items():
        (FOLDER / name).write_text(make(), encoding="utf-8", newline="")
        sys.stdout.write(f"{name}\n")
