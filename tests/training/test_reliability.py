"""What LLRs promise and keep, on trials counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spoofcheck.training.reliability import calibration_plot, percentiles, reliability
from tests.support.exhibits import exhibit, neutral_calibration, normal


def share(llr: float) -> float:
    return 1 / (1 + math.exp(-llr))


def test_bins_weigh_the_classes_alike() -> None:
    """Of 4 human trials one lies in the bin from 1 to 2, of 2 spoofs one: the share there is .5 / (.25 + .5)."""
    llrs = np.array([-5.0, -5.0, -5.0, 1.0, 1.5, 4.0])
    spoof = np.array([False, False, False, False, True, True])
    low, middle, high = reliability(llrs, spoof)
    assert (low["low"], low["high"], low["bonafide_trials"], low["spoof_trials"], low["observed"]) == (
        None,
        -4,
        3,
        0,
        0,
    )
    assert (middle["low"], middle["high"]) == (1, 2)
    assert middle["observed"] == pytest.approx(2 / 3)
    assert middle["predicted"] == pytest.approx((share(1.0) + 2 * share(1.5)) / 3)
    assert (high["low"], high["high"], high["predicted"], high["observed"]) == (4, None, share(4.0), 1)


def test_true_llrs_keep_what_they_promise() -> None:
    """Scores of two normal distributions at -1 and 1: the true LLR is twice the score."""
    human, spoofs = (2 * np.array(normal(4_000, mean)) for mean in (-1.0, 1.0))
    llrs = np.concatenate([human, spoofs])
    for row in reliability(llrs, np.repeat([False, True], 4_000)):
        assert row["observed"] == pytest.approx(row["predicted"], abs=0.01)


def test_percentiles_of_each_class() -> None:
    llrs = np.concatenate([np.arange(101.0), -np.arange(101.0)])
    rows = percentiles(llrs, np.repeat([False, True], 101))
    assert [row["percent"] for row in rows] == [0, 1, *range(5, 100, 5), 99, 100]
    for row in rows:
        assert row["bonafide"] == pytest.approx(row["percent"])
        assert row["spoof"] == pytest.approx(row["percent"] - 100)


def test_plots_show_bounded_llrs_of_windows_and_recordings() -> None:
    exhibits = [exhibit(-1.0, windows=[-9.0, 1.0]), exhibit(9.0, "a")]
    plot = calibration_plot(exhibits, neutral_calibration(llr_bound=2.0))
    assert list(plot) == ["window", "exhibit"]
    assert plot["window"]["percentiles"][0] == {"percent": 0, "bonafide": -2.0, "spoof": 2.0}
    assert [(row["bonafide_trials"], row["spoof_trials"]) for row in plot["window"]["reliability"]] == [
        (1, 0), (1, 0), (0, 1),
    ]  # fmt: skip
    assert plot["exhibit"]["percentiles"][-1] == {"percent": 100, "bonafide": -1.0, "spoof": 2.0}
