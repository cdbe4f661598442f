"""What the benchmarks of the CPU say of what they measured; the measuring itself takes minutes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench import precision, side_by_side
from bench.measure import Measurement
from bench.precision import Outcome, Windows, rows_of
from bench.speech import write_seconds


def test_small_files_are_mostly_quiet(tmp_path: Path) -> None:
    write_seconds(tmp_path, 5, speech_every=4)
    levels = [float(np.abs(soundfile.read(path)[0]).max()) for path in sorted(tmp_path.rglob("*.wav"))]
    assert len(levels) == 5
    assert [level > 0.01 for level in levels] == [True, False, False, False, True]


def test_a_shift_of_nothing_is_infinitely_better_than_asked() -> None:
    assert Measurement("shift", 0.0, "", 0.05, "at most").ratio() == math.inf
    assert Measurement("shift", 0.1, "", 0.05, "at most").ratio() == 0.5


def test_what_was_not_measured_is_said() -> None:
    ours = Measurement("spoofcheck scan", 60.0, "x real time")
    theirs = Measurement(side_by_side.NAMES["aasist"], 6.0, "x real time")
    assert "**AASIST was not measured**" in side_by_side.remark([ours])
    assert "not measured" not in side_by_side.remark([ours, theirs])
    assert "--prepared" in precision.remark([ours])


REFERENCE = Outcome(
    cpu_s=0.1,
    window_llrs=np.array([-2.0, -1.0, 1.0, 2.0]),
    distances=np.array([1.0, 1.0, 1.1, 1.2]),
    embeddings=np.eye(4, dtype=np.float32),
    exhibit_llrs=np.array([-1.5, 1.0, 2.0]),
    conclusions=["bonafide", "spoof", "spoof"],
    sources=["Piper", "unknown", "Piper"],
)
WINDOWS = Windows(lambda _: np.zeros(1, np.float32), ["a", "a", "b", "c"], [False, False, True, True])


def test_the_reference_has_no_shift() -> None:
    assert [row.name for row in rows_of("float32", REFERENCE, REFERENCE, WINDOWS)] == ["float32: CPU time of a window"]


def test_shifts_and_flips_are_counted() -> None:
    found = replace(
        REFERENCE,
        window_llrs=REFERENCE.window_llrs + np.array([0.0, 0.0, -0.06, 0.01]),
        exhibit_llrs=np.array([-1.5, -1.6, 2.0]),
        conclusions=["bonafide", "bonafide", "spoof"],
        sources=["Piper", "Piper", "Piper"],
    )
    rows = {row.name.removeprefix("bf16: "): row for row in rows_of("bf16", found, REFERENCE, WINDOWS)}
    assert rows["largest shift of a window's LLR"].value == pytest.approx(0.06)
    assert (rows["largest shift of a window's LLR"].ratio() or 1) < 1
    assert rows["shift of the EER of windows"].value == 0
    assert rows["shift of the EER of exhibits"].value == pytest.approx(25)  # one of two spoofs below the only bona fide
    assert rows["exhibits concluded otherwise"].value == 1
    assert rows["exhibits concluded otherwise"].note == "spoof to bonafide"
    assert rows["exhibits traced otherwise"].value == 1
    assert rows["largest 1 - cosine to the same window's embedding"].value == pytest.approx(0)


def test_what_no_scan_can_choose_has_no_target() -> None:
    assert {row.target for row in rows_of("int8", replace(REFERENCE), REFERENCE, WINDOWS)} == {None}
