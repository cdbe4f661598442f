"""Files that the main process reads itself: mutants with a fixed seed, and past failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoofcheck.errors import UsageError
from spoofcheck.wholefile import read_whole
from tests.fuzz.documents import LONGEST_MESSAGE, Target, failure_of, run, targets

DOCUMENTS = Path(__file__).parent / "corpus" / "documents"


def test_mutants_get_an_answer_or_one_of_our_errors(tmp_path: Path) -> None:
    read, failures = run(tmp_path, seed=9, inputs=1_000)
    assert read.total() == 1_000
    assert [(failure.target, failure.number, failure.why) for failure in failures] == []


def test_past_failures_stay_mended(tmp_path: Path) -> None:
    """One folder for each reader, called by its name with `-` for blanks."""
    replayed = 0
    for target in targets(tmp_path):
        for path in sorted((DOCUMENTS / target.name.replace(" ", "-")).glob("*")):
            failure = failure_of(target, 0, path.read_bytes(), tmp_path)
            assert failure is None, (path, failure and failure.why)
            replayed += 1
    assert replayed == sum(path.is_file() for path in DOCUMENTS.rglob("*")) > 0


def test_a_small_file_reserves_little_memory_whatever_is_allowed(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"1234")
    assert read_whole(small, most_bytes=1 << 50) == b"1234"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ValueError("broken"), "ValueError: 'broken'"),
        (UsageError(" "), "an error without a message"),
        (UsageError("x" * (LONGEST_MESSAGE + 1)), "a message of 2,001 characters"),
    ],
)
def test_failures_are_seen(tmp_path: Path, error: Exception, why: str) -> None:
    def read(path: Path) -> None:
        raise error

    failure = failure_of(Target("x", (b"",), read), 3, b"data", tmp_path)
    assert failure is not None
    assert failure.why.startswith(why)
    assert (failure.number, failure.data) == (3, b"data")
    assert failure_of(Target("x", (b"",), lambda path: path.read_bytes()), 3, b"data", tmp_path) is None
