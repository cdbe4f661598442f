"""The soak run sees what it is to see: growth, what stays open, what is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.soak import MARK, Sample, Soak, marked, rows_of, slope_per_s, write_pieces

STEADY = Soak(
    wall_s=100.0,
    samples=[Sample(float(at_s), 800_000_000, 900_000_000, 30, 4, 2) for at_s in range(100)],
    left_processes=0,
    left_files=(),
)


def missed(soak: Soak) -> list[str]:
    return [row.name for row in rows_of(soak, 1_000) if row.is_missed()]


def test_slope_of_a_line_with_noise() -> None:
    assert slope_per_s([0, 1, 2, 3], [5.0, 7.1, 8.9, 11.0]) == pytest.approx(1.98)


def test_a_steady_run_misses_nothing() -> None:
    assert missed(STEADY) == []


GROWTH: dict[str, Callable[[Sample], Sample]] = {
    "scanning process, memory late against early": lambda s: replace(s, rss_bytes=round(2e8 + s.at_s * 1e7)),
    "reader processes, memory late against early": lambda s: replace(s, others_rss_bytes=round(2e8 + s.at_s * 1e7)),
    "descriptors of the scanning process, more late than early": lambda s: replace(s, descriptors=round(s.at_s)),
    "processes that it started, more late than early": lambda s: replace(s, others=round(s.at_s / 10)),
    "temporary files, more late than early": lambda s: replace(s, temporary=round(s.at_s)),
}


@pytest.mark.parametrize("name", GROWTH)
def test_what_grows_is_missed(name: str) -> None:
    assert missed(replace(STEADY, samples=[GROWTH[name](sample) for sample in STEADY.samples])) == [name]


def test_what_is_left_is_missed() -> None:
    left = replace(STEADY, left_processes=1, left_files=("tmp1",))
    assert missed(left) == ["processes left after the end", "temporary files left after the end"]


def test_too_few_samples_are_no_measurement() -> None:
    with pytest.raises(RuntimeError, match="take more files"):
        rows_of(replace(STEADY, samples=STEADY.samples[:25]), 1_000)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_processes_are_found_by_their_mark() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**os.environ, MARK: "mine"})
    try:
        assert list(marked("mine")) == [child.pid]
        assert list(marked("another")) == []
    finally:
        child.communicate(b"\n")
    assert list(marked("mine")) == []


def test_pieces_are_of_every_format_and_some_are_broken(tmp_path: Path) -> None:
    assert write_pieces(tmp_path, 100) == pytest.approx(0.72 * 100 - 1.18)
    names = [path.name for path in tmp_path.rglob("*.*")]
    assert len(names) == 100
    assert Counter(name.partition("-")[0] for name in names) == {"piece": 99, "broken": 1}
    assert {Path(name).suffix for name in names} == {".wav", ".flac", ".mp3", ".ogg", ".m4a"}
    assert len({path.read_bytes() for path in tmp_path.rglob("*.*")}) == 100
