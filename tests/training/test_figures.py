"""The figures of a card, on cases small enough to count by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from spoofcheck.training.exhibits import LONG, Exhibit
from spoofcheck.training.figures import detector_figures, passages, rounded, validation_figures
from spoofcheck.training.rates import by_system, exhibit_rates, shares, verdict_of, window_rates
from tests.support.exhibits import decision, exhibit, neutral_calibration

VERDICT = verdict_of(neutral_calibration(), decision())


@pytest.mark.parametrize(
    ("raw", "speech_s", "verdict"),
    [
        (1.0, 5.0, "spoof"), (0.99, 5.0, "inconclusive"), (-0.99, 5.0, "inconclusive"), (-1.0, 5.0, "bonafide"),
        (90.0, 5.0, "spoof"), (9.0, 1.99, "inconclusive"), (-9.0, 1.99, "inconclusive"), (9.0, 2.0, "spoof"),
    ],
)  # fmt: skip
def test_a_verdict_is_the_decision_rules(raw: float, speech_s: float, verdict: str) -> None:
    assert VERDICT(exhibit(raw, speech_s=speech_s)) == verdict


def test_verdicts_use_the_bounded_llr() -> None:
    never = verdict_of(neutral_calibration(llr_bound=2.0), decision(spoof=2.5))
    assert never(exhibit(9.0)) == "inconclusive"


def test_shares_of_verdicts() -> None:
    given = shares([exhibit(raw) for raw in (2.0, 0.0, 0.5, -3.0)], VERDICT)
    assert given == {"trials": 4, "spoof": 0.25, "inconclusive": 0.5, "bonafide": 0.25}
    assert shares([], VERDICT) == {"trials": 0, "spoof": 0.0, "inconclusive": 0.0, "bonafide": 0.0}


def test_error_rates_by_hand() -> None:
    """Human -3, -2, -1, +1; spoofs 0, 2, 3, 4: one of four each is on the wrong side of 0.5."""
    exhibits = [exhibit(raw) for raw in (-3.0, -2.0, -1.0, 1.0)] + [exhibit(raw, "a") for raw in (0.0, 2.0, 3.0, 4.0)]
    rates = exhibit_rates(exhibits, neutral_calibration())
    assert (rates["bonafide_trials"], rates["spoof_trials"]) == (4, 4)
    assert rates["eer"] == pytest.approx(0.25)
    assert rates["eer_low"] <= 0.25 <= rates["eer_high"]
    log2 = [math.log2(1 + math.exp(raw)) for raw in (-3.0, -2.0, -1.0, 1.0)]
    log2 += [math.log2(1 + math.exp(-raw)) for raw in (0.0, 2.0, 3.0, 4.0)]
    assert rates["cllr"] == pytest.approx(sum(log2) / 8)
    assert rates["cllr_min"] < rates["cllr"]
    # Accepting as human needs an LLR for human above -ln 1.9: spoof LLR below 0.64. That misses +1 of four humans and
    # passes 0 of four spoofs; a miss costs 0.95 and a pass 10 x 0.05, over the cheaper way to accept none or all, 0.5.
    assert rates["act_dcf"] == pytest.approx((0.95 * 0.25 + 0.5 * 0.25) / 0.5)
    assert rates["min_dcf"] <= rates["act_dcf"]


def test_the_mean_over_systems_counts_those_with_three_recordings() -> None:
    human = [exhibit(raw) for raw in (-2.0, -1.0, 0.0, 1.0)]
    bad = [exhibit(raw, "bad") for raw in (-1.5, -0.5, 0.5)]
    good = [exhibit(raw, "good") for raw in (5.0, 6.0, 7.0)]
    lost = [exhibit(-9.0, "two-only"), exhibit(-8.0, "two-only")]
    calibration = neutral_calibration()
    table = by_system([*human, *bad, *good, *lost], VERDICT)
    assert [(row["system"], row["trials"]) for row in table] == [("two-only", 2), ("bad", 3), ("good", 3)]
    rates = {row["system"]: row["eer"] for row in table}
    assert (rates["two-only"], rates["good"]) == (1.0, 0.0)
    assert exhibit_rates([*human, *bad, *good, *lost], calibration)["macro_eer"] == pytest.approx(rates["bad"] / 2)
    few = exhibit_rates([*human, *lost], calibration)
    assert few["macro_eer"] == few["eer"] == 1.0
    assert {row["repo"] for row in table} == {"made/here"}
    assert [row["spoof"] for row in table] == [0.0, 0.0, 1.0]


def test_one_system_of_two_repositories_is_two_rows() -> None:
    rows = by_system([exhibit(0.0), exhibit(1.0, "s", repo="a"), exhibit(-1.0, "s", repo="b")], VERDICT)
    assert [(row["repo"], row["eer"]) for row in rows] == [("b", 1.0), ("a", 0.0)]


def test_windows_are_trials_of_their_own() -> None:
    exhibits = [exhibit(0.0, windows=[-1.0, 1.0]), exhibit(0.0, "a", windows=[0.0, 0.5, 3.0, 4.0])]
    rates = window_rates(exhibits, neutral_calibration())
    assert (rates["bonafide_trials"], rates["spoof_trials"]) == (2, 4)
    assert rates["eer"] == 0.5
    assert (rates["eer_low"], rates["eer_high"]) == (0.0, 1.0)  # one source of each class says nothing of the spread


def test_ranks_come_from_raw_scores_and_costs_from_bounded_llrs() -> None:
    """Beyond the bound all LLRs are one; the network still tells the recordings apart."""
    exhibits = [exhibit(raw) for raw in (10.0, 11.0)] + [exhibit(raw, "a") for raw in (12.0, 13.0)]
    rates = exhibit_rates(exhibits, neutral_calibration(llr_bound=2.0))
    assert rates["eer"] == 0.0
    assert rates["cllr"] == pytest.approx((math.log2(1 + math.exp(2)) + math.log2(1 + math.exp(-2))) / 2)


def test_passages_in_long_recordings_are_counted() -> None:
    quiet = exhibit(-1.0, condition=LONG, windows=[-2.0] * 10)
    one = exhibit(0.0, condition=LONG, windows=[-2.0, 2.0, 2.0, -2.0, 2.0, -2.0])  # a run of two, and a single window
    two = exhibit(0.0, condition=LONG, windows=[1.5, 1.5, -1.0, 9.0, 1.0, 1.0])  # 9 counts as the bound, 5
    weak = exhibit(0.0, condition=LONG, windows=[1.0, 1.2, 1.1])  # long enough, not strong enough
    found = passages([quiet, one, two, weak], neutral_calibration(), decision())
    assert found == {
        "recordings": 4, "minutes": pytest.approx((40 + 24 + 24 + 12) / 60), "runs": 3, "recordings_with_runs": 2,
    }  # fmt: skip
    assert passages([], neutral_calibration(), decision()) == {
        "recordings": 0, "minutes": 0, "runs": 0, "recordings_with_runs": 0,
    }  # fmt: skip


def test_numbers_are_rounded_wherever_they_are() -> None:
    table: dict[str, Any] = {"a": 0.123456, "b": [{"c": 2.00001, "d": "0.123456"}], "e": 7, "f": None}
    assert rounded(table) == {"a": 0.1235, "b": [{"c": 2.0, "d": "0.123456"}], "e": 7, "f": None}


def some(split: Any = "dev") -> list[Exhibit]:
    return [exhibit(raw, split=split, speaker=f"s{raw}") for raw in (-2.0, -1.0, 2.0)] + [
        exhibit(raw, "a", split=split) for raw in (0.0, 1.0, 3.0)
    ]


def figures(
    exhibits: list[Exhibit], conditions: tuple[str, ...] = (), folds: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    return detector_figures(exhibits, neutral_calibration(), decision(), conditions, folds)


def test_only_splits_that_hold_both_classes_have_figures() -> None:
    assert list(figures(some())) == ["dev"]
    assert list(figures([*some(), *some("test")])) == ["dev", "test"]
    assert list(figures([*some(), *[one for one in some("test") if one.clip.is_spoof]])) == ["dev"]


def test_what_the_figures_of_a_split_hold() -> None:
    degraded = [replace(one, condition="8khz", raw_score=one.raw_score + 1) for one in some()]
    long = exhibit(0.0, condition=LONG, windows=[2.0, 2.0])
    dev = figures([*some(), *degraded, long], ("8khz",))["dev"]
    assert dev["exhibit"]["bonafide_trials"] == dev["exhibit"]["spoof_trials"] == 3  # originals alone
    assert dev["window"]["bonafide_trials"] == 3
    assert list(dev["conditions"]) == ["8khz"]
    assert [(row["clips"], row["condition"], row["trials"], row["spoof"]) for row in dev["verdicts"]] == [
        ("human", "original", 3, 0.3333), ("synthetic", "original", 3, 0.6667),
        ("human", "8khz", 3, 0.3333), ("synthetic", "8khz", 3, 1.0),
    ]  # fmt: skip
    assert dev["human_by_source"] == [
        {"source": "made/here", "trials": 3, "spoof": 0.3333, "inconclusive": 0.0, "bonafide": 0.6667}
    ]
    assert [row["system"] for row in dev["systems"]] == ["a"]
    assert dev["long_human"]["runs"] == 1
    assert dev["by_duration"] == []
    assert dev["folds"] == []
    assert dev["lossless"] == {"window": dev["window"], "exhibit": dev["exhibit"]}
    assert [(row["language"], row["human"]["trials"], row["synthetic"]["trials"]) for row in dev["languages"]] == [
        ("-", 3, 3)
    ]
    assert dev["human_groups"] == []
    assert list(dev["calibration_plot"]) == ["window", "exhibit"]


FOLDS = (
    {"name": "one", "repos": ["made/here"], "families": ["a"], "also_without": ["copy:world"]},
    {"name": "two", "repos": ["made/there"], "families": [], "also_without": []},
)


def test_folds_have_rows_on_dev_and_their_description_beside_the_splits() -> None:
    left_out = [replace(one, fold="one") for one in some()]
    found = figures([*left_out, *some("test")], folds=FOLDS)
    assert [row["name"] for row in found["dev"]["folds"]] == ["one", "two"]
    assert found["dev"]["folds"][0]["exhibit"] == found["dev"]["exhibit"]
    assert found["test"]["folds"] == []
    assert found["folds"] == list(FOLDS)
    carried = validation_figures(found)
    assert [one.dataset.split()[0] for one in carried] == ["left", "left", "test", "test"]
    assert "folds" not in figures(some("test"), folds=FOLDS)


def test_a_condition_that_leaves_one_class_without_a_score_has_no_error_rates() -> None:
    """Noise may hide the speech of every human clip from the voice activity detector: no reason to lose the run."""
    degraded = [replace(one, condition="noise-15db") for one in some() if one.clip.is_spoof]
    dev = figures([*some(), *degraded], ("noise-15db", "8khz"))["dev"]
    assert dev["conditions"] == {}
    counts = {(row["clips"], row["condition"]): row["trials"] for row in dev["verdicts"]}
    assert counts["human", "noise-15db"] == 0
    assert counts["synthetic", "noise-15db"] == 3


def test_what_a_config_carries_into_reports() -> None:
    carried = validation_figures(figures([*some(), *some("test")]))
    assert [(one.dataset.split()[0], one.level) for one in carried] == [
        ("dev", "window"), ("dev", "exhibit"), ("test", "window"), ("test", "exhibit"),
    ]  # fmt: skip
    assert carried[1].eer == pytest.approx(1 / 3, abs=1e-4)
    assert validation_figures({}) == ()
