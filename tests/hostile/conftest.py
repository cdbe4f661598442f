"""A scan from the outside, by the tiny model, that must come to its end whatever it is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from spoofcheck.cli import run
from spoofcheck.schema import Finding, ScanDocument

Scan = Callable[..., dict[str, list[Finding]]]


@pytest.fixture
def scan(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """Scan inputs with the tiny model, whatever is speech or not; the findings by file name."""

    def call(*arguments: str | Path) -> dict[str, list[Finding]]:
        result = tmp_path_factory.mktemp("result") / "scan.json"
        options = ("--no-controls", "--no-trace", "--no-vad", "--device", "cpu", "--quiet", "--no-store")
        status = run(["scan", *options, "--model", str(tiny_model), "--json", str(result), *map(str, arguments)])
        assert status in (0, 1, 2, 3)  # 2: not one input could be examined
        found: dict[str, list[Finding]] = {}
        for finding in ScanDocument.model_validate_json(result.read_bytes()).findings:
            found.setdefault(Path(finding.path).name, []).append(finding)
        return found

    return call


def codes(findings: list[Finding]) -> set[str]:
    """Of all reasons of some findings."""
    return {reason.code for finding in findings for reason in finding.reasons}
