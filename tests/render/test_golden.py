"""The renderers' output, byte for byte: a change of words or layout is seen and agreed to, never an accident."""

from __future__ import annotations

import pytest

from tests.golden.regenerate import COMMAND, FOLDER, GOLDEN


@pytest.mark.parametrize("name", GOLDEN)
def test_output_is_the_golden_file(name: str) -> None:
    expected = (FOLDER / name).read_bytes().decode()
    if GOLDEN[name]() != expected:
        pytest.fail(f"tests/golden/{name} differs; if that is meant, run `{COMMAND}` and read its diff")


def test_no_golden_file_is_left_over() -> None:
    stored = {path.name for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".py"}
    assert stored == set(GOLDEN)
