"""The benchmarks measure what they say, and their page tells a missed target from a met one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import soundfile

from bench.all import RESULTS, STORE, Session, page, read_store
from bench.measure import Measurement, run
from bench.speech import human_pool, write_minutes


def test_ratio_above_one_is_better_than_asked() -> None:
    assert Measurement("speed", 50.0, "x", 25.0, "at least").ratio() == 2.0
    assert Measurement("wait", 0.25, "s", 0.5, "at most").ratio() == 2.0
    assert Measurement("size", 1.0, "MB").ratio() is None


def test_page_marks_a_missed_target() -> None:
    rows = [Measurement("speed", 20.0, "x", 25.0, "at least", "60 files"), Measurement("wait", 0.4, "s", 0.5)]
    text = page({"scan": Session("2026-01-02 03:04 UTC", "m", {"CPU": "one"}, rows)})
    assert "| speed | 20.0 x | at least 25 x | 0.80 (missed) | 60 files |" in text
    assert "| wait | 0.40 s | at most 0.5 s | 1.25 |  |" in text
    assert "Measured 2026-01-02 03:04 UTC with the model `m` on: CPU one." in text


def test_page_is_what_was_stored() -> None:
    assert RESULTS.read_text(encoding="utf-8") == page(read_store(STORE))


def test_run_sees_time_and_memory_of_the_process() -> None:
    megabytes = 300
    code = f"import time; kept = bytearray({megabytes} << 20); kept[::4096] = kept[::4096]; time.sleep(0.2)"
    seen = run([sys.executable, "-c", code])
    assert seen.wall_s >= 0.2
    assert megabytes << 20 <= seen.peak_rss_bytes < (megabytes + 150) << 20


def test_run_refuses_a_failed_process() -> None:
    with pytest.raises(RuntimeError, match="ended with 2: broken"):
        run([sys.executable, "-c", "import sys; print('broken', file=sys.stderr); sys.exit(2)"])


def test_minutes_are_human_speech_and_no_two_alike(tmp_path: Path) -> None:
    assert human_pool().size > 120 * 16_000
    assert write_minutes(tmp_path, 2) == 120.0
    contents = [soundfile.read(path) for path in sorted(tmp_path.iterdir())]
    assert [(samples.size, rate) for samples, rate in contents] == [(960_000, 16_000)] * 2
    assert (contents[0][0] != contents[1][0]).any()
