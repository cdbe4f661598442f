"""Figures of parts of the recordings, on cases small enough to count by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoofcheck.training.breakdowns import (
    by_duration,
    by_fold,
    by_group,
    by_language,
    by_source,
    groups_of,
    lossless_rates,
    source_of,
)
from spoofcheck.training.exhibits import Exhibit
from spoofcheck.training.rates import exhibit_rates, verdict_of, window_rates
from tests.support.exhibits import decision, exhibit, neutral_calibration

CALIBRATION = neutral_calibration()
VERDICT = verdict_of(CALIBRATION, decision())


def of(one: Exhibit, **facts: Any) -> Exhibit:
    """The exhibit with other facts of its clip."""
    return replace(one, clip=replace(one.clip, **facts))


def left_out(fold: str, human: list[float], spoofs: list[float]) -> list[Exhibit]:
    scored = [exhibit(raw, windows=[raw, raw + 0.5]) for raw in human]
    scored += [exhibit(raw, "a", windows=[raw, raw - 0.5]) for raw in spoofs]
    return [replace(one, fold=fold) for one in scored]


def test_a_fold_with_human_speech_enough_is_rated_on_its_own() -> None:
    large = left_out("large", [-2.0 + 0.01 * n for n in range(20)], [-3.0, 1.0, 2.0, 3.0])
    other = left_out("other", [9.0] * 30, [])
    (row,) = by_fold([*large, *other], [{"name": "large"}], CALIBRATION, VERDICT)
    assert row["human_of"] == "fold"
    assert row["exhibit"] == exhibit_rates(large, CALIBRATION)
    assert row["window"] == window_rates(large, CALIBRATION)
    assert row["window"]["spoof_trials"] == 8
    assert row["human"] == {"trials": 20, "spoof": 0.0, "inconclusive": 0.0, "bonafide": 1.0}
    assert row["synthetic"] == {"trials": 4, "spoof": 0.75, "inconclusive": 0.0, "bonafide": 0.25}


def test_a_fold_with_few_human_recordings_stands_against_those_of_all_folds() -> None:
    """Its own 19 all lie below its spoofs; of the 40 of all folds, half lie above."""
    small = left_out("small", [-2.0] * 19, [0.0, 0.5])
    other = left_out("other", [3.0] * 21, [])
    nowhere = [exhibit(-9.0) for _ in range(500)]
    row, human_only = by_fold([*small, *other, *nowhere], [{"name": "small"}, {"name": "other"}], CALIBRATION, VERDICT)
    assert row["human_of"] == "all folds"
    assert row["exhibit"]["bonafide_trials"] == 40
    assert row["exhibit"]["eer"] == pytest.approx(0.5, abs=0.05)
    assert row["human"]["trials"] == 19
    assert (human_only["window"], human_only["exhibit"], human_only["synthetic"]["trials"]) == (None, None, 0)
    assert human_only["human"]["spoof"] == 1.0


def test_a_fold_nothing_of_which_was_scored_has_a_row_without_rates() -> None:
    (row,) = by_fold([], [{"name": "gone"}], CALIBRATION, VERDICT)
    assert (row["window"], row["exhibit"], row["human"]["trials"], row["synthetic"]["trials"]) == (None, None, 0, 0)


def test_lossless_figures_leave_out_lossy_files_of_both_classes() -> None:
    kept = [exhibit(-1.0), exhibit(2.0), exhibit(0.0, "a"), exhibit(3.0, "a")]
    lossy = [of(exhibit(9.0), codec="mp3"), of(exhibit(-9.0, "a"), path=Path("b.OGG"))]
    found = lossless_rates([*kept, *lossy], CALIBRATION)
    assert found == {"window": window_rates(kept, CALIBRATION), "exhibit": exhibit_rates(kept, CALIBRATION)}
    assert lossless_rates([kept[0], *lossy], CALIBRATION) == {}


def test_languages_count_both_classes_apart() -> None:
    exhibits = [of(exhibit(2.0), language="de")] + [of(exhibit(-2.0), language="en") for _ in range(2)]
    exhibits += [of(exhibit(2.0, "a"), language="ko"), of(exhibit(0.0, "a"), language="en")]
    rows = by_language(exhibits, VERDICT)
    assert [row["language"] for row in rows] == ["en", "de", "ko"]
    english, german, korean = rows
    assert (english["human"]["trials"], english["human"]["spoof"], english["synthetic"]["inconclusive"]) == (
        2,
        0.0,
        1.0,
    )
    assert (german["human"]["spoof"], german["synthetic"]["trials"]) == (1.0, 0)
    assert (korean["human"]["trials"], korean["synthetic"]["spoof"]) == (0, 1.0)


def test_a_source_names_its_data_set_where_that_is_another() -> None:
    assert source_of(exhibit(0.0)) == "made/here"
    assert source_of(exhibit(0.0, corpus="made/here")) == "made/here"
    assert source_of(exhibit(0.0, corpus="LibriSpeech")) == "made/here (LibriSpeech)"
    rows = by_source([exhibit(2.0), exhibit(0.0), exhibit(-2.0, repo="b")], VERDICT)
    assert [(row["source"], row["trials"], row["spoof"]) for row in rows] == [("b", 1, 0.0), ("made/here", 2, 0.5)]


def test_groups_are_what_the_corpus_or_the_file_says() -> None:
    plain = exhibit(0.0).clip
    assert list(groups_of(plain)) == []
    facts: dict[str, Any] = {"sample_rate_hz": 8_000, "bandwidth_hz": 3_400.0, "codec": "ogg/vorbis"}
    assert list(groups_of(replace(plain, note="children", **facts))) == [
        ("corpus", "children"), ("file", "sampled at 8 kHz or less"), ("file", "no content above 4.2 kHz"),
        ("file", "lossily coded"),
    ]  # fmt: skip
    assert list(groups_of(replace(plain, sample_rate_hz=16_000, bandwidth_hz=7_900.0, codec="wav/pcm_16"))) == []


def test_a_recording_counts_in_each_of_its_groups() -> None:
    human = [of(exhibit(2.0), note="phone", codec="mp3"), of(exhibit(-2.0, repo="b"), note="phone"), exhibit(2.0)]
    assert by_group(human, VERDICT) == [
        {"known_by": "corpus", "group": "phone", "sources": 2, "trials": 2,
         "spoof": 0.5, "inconclusive": 0.0, "bonafide": 0.5},
        {"known_by": "file", "group": "lossily coded", "sources": 1, "trials": 1,
         "spoof": 1.0, "inconclusive": 0.0, "bonafide": 0.0},
    ]  # fmt: skip


def test_durations_with_ten_of_each_class_have_a_row() -> None:
    exhibits = [exhibit(-2.0, speech_s=3.0) for _ in range(9)] + [exhibit(2.0, speech_s=2.0)]
    exhibits += [exhibit(3.0, "a", speech_s=3.9) for _ in range(10)]
    exhibits += [exhibit(-1.0, speech_s=30.0) for _ in range(10)] + [
        exhibit(-2.0, "a", speech_s=8.0) for _ in range(11)
    ]
    exhibits += [exhibit(0.0, speech_s=5.0) for _ in range(20)] + [exhibit(0.0, "a", speech_s=5.0) for _ in range(9)]
    middle, longest = by_duration(exhibits, VERDICT)
    assert middle == {
        "speech_s": "2-4", "bonafide_trials": 10, "spoof_trials": 10, "eer": pytest.approx(0.0), "false_alarms": 0.1,
    }  # fmt: skip
    assert longest["speech_s"] == "over 8"
    assert (longest["bonafide_trials"], longest["spoof_trials"], longest["eer"]) == (10, 11, 1.0)
