"""The plan for large archives: its arithmetic, and its tables as `bench/results.json` has the rates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from docs.scale import FORMATS, PAGE, Job, Rates, cost, files_table, main, measured, outcome, page

RATES = Rates(
    read=dict.fromkeys(FORMATS, 500.0),
    decode=dict.fromkeys(FORMATS, 2_000.0),
    megabytes=dict.fromkeys(FORMATS, 50.0),
    gflop={"net": 98.9},
    scan=80.0,
    scan_cores=2,
    file_s=0.02,
    finding_bytes=10_000.0,
    result_kb=dict.fromkeys(("JSON", "JSONL", "CSV", "store"), (1.0, 1.0)),
    kept_per_s=100.0,
    window_cpu_s=0.001,
)
JOB = Job(hours=1e6, cores_per_gpu=10)


def test_the_page_is_what_the_script_writes() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text, Job(), measured()), "run `python -m docs.scale`"


def test_a_card_by_its_share() -> None:
    """989 TFLOP/s at a tenth is 1,000 windows of 98.9 GFLOP a second: 4,000 seconds of audio."""
    assert RATES.ceiling("net", 0.1) == pytest.approx(4_000)
    found = outcome(JOB, RATES, "net", 0.1, gpus=8)
    assert (found.limit, found.cores_wanted) == ("GPU", 8)
    assert found.hours == pytest.approx(1e6 / 32_000)


def test_readers_are_the_limit_when_cards_are_faster() -> None:
    found = outcome(JOB, RATES, "net", 0.5, gpus=8)
    assert (found.limit, found.cores_wanted) == ("reading", 40)
    assert found.rate == 8 * 10 * 500


def test_cost_is_of_machines_that_wait_too() -> None:
    found = outcome(JOB, RATES, "net", 0.5, gpus=8)  # 25 h
    assert cost(JOB, found, 8) == "200 g + 2,000 c"
    assert cost(replace(JOB, gpu_price=2.0, core_price=0.5), found, 8) == "1,400"


def test_what_grows_with_the_number_of_recordings() -> None:
    _, _, short, minute, *_ = files_table(JOB, RATES)
    # 900 million recordings: 2 kB of JSONL and 10 kB of memory each
    assert short == "| 4 s | 900 million | 10,417 | 5,000 | 9,000 GB | 1.8 TB | 1.8 TB | 1.8 TB |"
    # 60 million of 15 windows: 16 kB each, eight times the memory of one window
    assert minute == "| 1 min | 60 million | 694 | 333 | 4,800 GB | 0.96 TB | 0.96 TB | 0.96 TB |"


def test_a_missing_mark_is_told() -> None:
    with pytest.raises(ValueError, match="no marks for time"):
        page("# Nothing", JOB, RATES)


def test_other_numbers_are_shown_and_never_written(capsys: pytest.CaptureFixture[str]) -> None:
    before = PAGE.read_bytes()
    main(["--show", "--gpus", "3", "--gpu-price", "1", "--core-price", "1"])
    assert "| 3 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--gpus", "3"])
    assert PAGE.read_bytes() == before
