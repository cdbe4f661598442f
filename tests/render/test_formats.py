"""What holds for every format, present and future."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spoofcheck.document import parse_document
from spoofcheck.render import RENDERERS, Format, render
from spoofcheck.render.wording import VERDICT_WORDS
from spoofcheck.schema import Verdict
from tests.support.documents import (
    HOSTILE_NAMES,
    document,
    document_of,
    hostile_document,
    of_verdict,
    sample_document,
)


def _table_row(verdict: Verdict) -> str:
    """The end of the name and the verdict, as they stand in the table's row (or the list of what was skipped)."""
    if verdict is Verdict.SKIPPED:
        return "Not examined: 1 input damaged.wav"
    return f"{verdict}.wav 0:20.0 0:18.0 {VERDICT_WORDS[verdict]} "


_SHOWN: dict[Format, Callable[[Verdict], str]] = {
    Format.TABLE: _table_row,
    Format.JSON: lambda verdict: f'"verdict": "{verdict}"',
    Format.JSONL: lambda verdict: f'"verdict":"{verdict}"',
    Format.CSV: lambda verdict: f'"{verdict}"',
    Format.HTML: lambda verdict: (
        f'<span class="badge {verdict}">{VERDICT_WORDS[verdict].capitalize()}</span> '
        '<span class="tally-number">1</span>'
    ),
}


def test_every_format_has_a_renderer_of_its_own() -> None:
    assert set(RENDERERS) == set(Format)
    assert len(set(RENDERERS.values())) == len(Format)


@pytest.mark.parametrize("fmt", Format)
@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_shows_in_every_format(fmt: Format, verdict: Verdict) -> None:
    text = render(document_of(verdict), fmt)
    example = of_verdict(verdict)
    assert _SHOWN[fmt](verdict) in " ".join(text.split())
    assert example.path in text
    if verdict is Verdict.SKIPPED or fmt is not Format.TABLE:
        assert example.reasons[0].message in text
    assert text.endswith("\n")


@pytest.mark.parametrize("fmt", Format)
def test_a_document_without_findings_renders(fmt: Format) -> None:
    assert len(render(document([]), fmt)) < 60_000


@pytest.mark.parametrize("fmt", Format)
def test_rendering_is_repeatable_and_encodable(fmt: Format) -> None:
    text = render(hostile_document(), fmt)
    assert text == render(hostile_document(), fmt)
    text.encode("utf-8")


@pytest.mark.parametrize("fmt", Format)
def test_no_format_passes_on_what_acts_or_hides(fmt: Format) -> None:
    text = render(hostile_document(), fmt)
    acting = {char for name in HOSTILE_NAMES for char in name if not char.isprintable()} - {"\n"}
    assert len(acting) >= 7
    assert not acting & set(text)


def _run(code: str, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return done.stdout.strip()


def test_a_saved_result_becomes_a_report_without_the_heavy_libraries(tmp_path: Path) -> None:
    saved = tmp_path / "scan.json"
    saved.write_text(render(sample_document(), Format.JSON), encoding="utf-8")
    code = """
import sys
from collections.abc import Callable
from pathlib import Path
from spoofcheck.document import load_document
from spoofcheck.render import Format, render
document = load_document(Path(sys.argv[1]))
assert render(document, Format.HTML).startswith("<!DOCTYPE html>")
heavy = {"torch", "torchaudio", "numpy", "transformers", "soundfile", "sklearn", "scipy"}
print(sorted(heavy & set(sys.modules)))
"""
    assert _run(code, str(saved)) == "[]"


def test_a_format_brings_only_its_own_libraries() -> None:
    code = "import sys, spoofcheck.render; print(sorted({'jinja2', 'rich', 'pydantic'} & set(sys.modules)))"
    assert _run(code) == "[]"
    code = """
import sys
from spoofcheck.render import json, jsonl, csv
print(sorted({'jinja2', 'rich'} & set(sys.modules)))
"""
    assert _run(code) == "[]"


def test_a_document_from_before_prototypes_renders_in_every_format() -> None:
    saved = json.loads(render(sample_document(), Format.JSON))
    for name in ("enrolled", "unknown_groups"):
        del saved[name]
    for name in ("groups", "source_calibration", "link_calibration"):
        del saved["tracer"][name]
    for finding in saved["findings"]:
        for source in finding["sources"]:
            del source["origin"], source["llr"]
        for name in ("measure", "group", "unknown_group", "channel_test", "embedding"):
            if finding["trace"]:
                del finding["trace"][name]
    old = parse_document(json.dumps(saved))
    for fmt in Format:
        assert render(old, fmt) == render(sample_document(), fmt)
