"""Models side by side: the common trials, and differences that the shared draws make sharper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoofcheck.errors import UsageError
from spoofcheck.evalschema import Comparison
from spoofcheck.evaluation import metrics
from spoofcheck.evaluation.compare import common_trials, compare
from spoofcheck.evaluation.detection import DetectionOptions
from spoofcheck.evaluation.document import Circumstances, Subject, Unscored
from tests.evaluation.test_detection import arrays
from tests.support.trials import make_trials

CIRCUMSTANCES = Circumstances("data", "scores", (), "given")
OPTIONS = DetectionOptions(draws=100)
GOOD = make_trials(400, gap=3.0)


def subjects(*named: tuple[str, list]) -> list[Subject]:
    return [Subject(name, None, trials) for name, trials in named]


def worse(trials: list, seed: int = 1) -> list:
    """The same trials with the scores of a weaker system."""
    weak = {t.name: t.score for t in make_trials(len(trials), gap=1.0, seed=seed)}
    return [replace(t, score=weak[t.name]) for t in trials]


def test_differences_are_second_minus_first_and_have_an_interval() -> None:
    pair = subjects(("good", GOOD), ("worse", worse(GOOD)))
    comparison = compare(pair, [OPTIONS, OPTIONS], CIRCUMSTANCES)
    assert comparison.names == ("good", "worse")
    assert [one.statistic for one in comparison.differences] == ["eer", "min_dcf", "cllr"]
    eer = comparison.differences[0]
    assert eer.difference == pytest.approx(metrics.eer(*arrays(worse(GOOD))) - metrics.eer(*arrays(GOOD)))
    assert eer.interval is not None
    assert 0 < eer.interval.low <= eer.difference <= eer.interval.high
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


def test_a_model_does_not_differ_from_itself() -> None:
    again = subjects(("a", GOOD), ("b", list(reversed(GOOD))))
    for one in compare(again, [OPTIONS, OPTIONS], CIRCUMSTANCES).differences:
        assert one.difference == pytest.approx(0, abs=1e-12)
        assert one.interval is not None
        assert one.interval.high - one.interval.low < 1e-12, "the draws are shared: nothing is left to vary"


def test_only_common_trials_count() -> None:
    left = Subject("a", None, GOOD[:300], [Unscored(t.name, "no-speech") for t in GOOD[300:]])
    right = Subject("b", None, worse(GOOD)[100:])
    comparison = compare([left, right], [OPTIONS, OPTIONS], CIRCUMSTANCES)
    overall = [document.detection.overall for document in comparison.documents if document.detection]
    assert [rates.bonafide_trials + rates.spoof_trials for rates in overall] == [200, 200]
    assert comparison.data.unscored == 200
    assert comparison.documents[0].eer == metrics.eer(*arrays(GOOD[100:300]))


def test_every_pair_is_compared() -> None:
    three = subjects(("a", GOOD), ("b", worse(GOOD)), ("c", worse(GOOD, seed=2)))
    raw = replace(OPTIONS, scores_are_llrs=False)
    found = compare(three, [OPTIONS, OPTIONS, raw], CIRCUMSTANCES).differences
    assert {(one.first, one.second) for one in found} == {("a", "b"), ("a", "c"), ("b", "c")}
    assert {one.statistic for one in found} == {"eer", "min_dcf"}, "no Cllr where one has no LLRs"


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="needs two"):
        compare(subjects(("a", GOOD)), [OPTIONS], CIRCUMSTANCES)
    with pytest.raises(UsageError, match="named twice"):
        compare(subjects(("a", GOOD), ("a", GOOD)), [OPTIONS, OPTIONS], CIRCUMSTANCES)
    with pytest.raises(UsageError, match="both classes"):
        common_trials(subjects(("a", GOOD[:10]), ("b", GOOD[10:])))
    flipped = [replace(GOOD[0], bonafide=not GOOD[0].bonafide), *GOOD[1:]]
    with pytest.raises(UsageError, match="is bona fide to one"):
        common_trials(subjects(("a", GOOD), ("b", flipped)))
