"""The table of detectors side by side: every figure where it belongs, and none that needs an LLR without one."""

from __future__ import annotations

from typing import Any

from spoofcheck.training.comparison import comparison_table


def rates(eer: float, cllr: float | None) -> dict[str, Any]:
    return {
        "bonafide_trials": 228, "spoof_trials": 714, "eer": eer,
        "eer_interval": {"low": eer - 0.05, "high": eer + 0.05},
        "min_dcf": 0.671, "act_dcf": None if cllr is None else 0.684, "cllr": cllr, "cllr_min": 0.77,
        "flagged": None if cllr is None else {"human": 0.048, "synthetic": 0.347},
    }  # fmt: skip


def difference(first: str, second: str, statistic: str, value: float) -> dict[str, Any]:
    interval = {"low": value - 0.01, "high": value + 0.01}
    return {"first": first, "second": second, "statistic": statistic, "difference": value, "interval": interval}


def test_a_row_for_every_model_and_difference() -> None:
    kept = {
        "models": {"alone": rates(0.28, 0.83), "weak": rates(0.45, None), "ensemble": rates(0.295, 0.9)},
        "differences": [
            difference("alone", "weak", "eer", 0.17),
            difference("alone", "ensemble", "eer", 0.015),
            difference("alone", "ensemble", "cllr", 0.07),
            difference("weak", "ensemble", "eer", -0.155),
        ],
    }
    lines = comparison_table(kept).splitlines()
    assert lines[0] == "228 human and 714 synthetic recordings of test."
    assert "| alone | 28.0 (23.0-33.0) | 0.671 | 0.684 | 0.830 | 0.770 | 4.8 | 34.7 |" in lines
    assert "| weak | 45.0 (40.0-50.0) | 0.671 | - | - | 0.770 | - | - |" in lines
    assert lines[-2:] == [
        "| alone | ensemble | +1.5 (+0.5 to +2.5) | +0.070 (+0.060 to +0.080) |",
        "| weak | ensemble | -15.5 (-16.5 to -14.5) | - |",
    ]
