from __future__ import annotations

import pytest

from spoofcheck.render import wording
from spoofcheck.schema import Verdict
from tests.support.documents import finding, of_verdict, skipped


def test_every_verdict_has_a_word_and_a_meaning() -> None:
    assert set(wording.VERDICT_WORDS) == set(Verdict)
    assert set(wording.VERDICT_MEANINGS) == set(Verdict)


def test_an_opinion_names_the_proposition_it_supports() -> None:
    assert wording.opinion(finding("a", Verdict.SPOOF, 3.5, [3.5]), bound=6.9) == (
        "Moderate support for H1 rather than H2: the findings are about 33 times more probable if H1 is true than "
        "if H2 is true."
    )
    assert wording.opinion(finding("a", Verdict.BONAFIDE, -5.0, [-5.0]), bound=6.9) == (
        "Moderately strong support for H2 rather than H1: the findings are about 140 times more probable if H2 is "
        "true than if H1 is true."
    )


def test_an_opinion_at_the_bound_says_so() -> None:
    text = wording.opinion(finding("a", Verdict.SPOOF, 9.0, [9.0]), bound=6.9)
    assert text.startswith("Moderately strong support for H1")
    assert "at least 990 times" in text


def test_a_partial_exhibit_is_said_to_be_pooled() -> None:
    text = wording.opinion(finding("a", Verdict.PARTIAL, -1.6, [-1.6]), bound=6.9)
    assert text.startswith("Pooled over the whole exhibit: weak support for H2 rather than H1")


def test_a_small_ratio_supports_neither() -> None:
    text = wording.opinion(finding("a", Verdict.SPOOF, 0.5, [0.5]), bound=6.9)
    assert text == "No or negligible support for either proposition."


def test_no_opinion_where_no_conclusion_is_drawn() -> None:
    assert "No conclusion is drawn" in wording.opinion(of_verdict(Verdict.INCONCLUSIVE), bound=6.9)
    assert wording.opinion(skipped("a"), bound=6.9) == "No likelihood ratio is given."


@pytest.mark.parametrize(
    ("llr", "ratios"),
    [
        (3.5, ("33", "1/33")),
        (-3.5, ("1/33", "33")),
        (9.0, ("≥ 990", "≤ 1/990")),
        (-9.0, ("≤ 1/990", "≥ 990")),
    ],
)
def test_both_ratios(llr: float, ratios: tuple[str, str]) -> None:
    assert wording.both_ratios(llr, bound=6.9) == ratios


@pytest.mark.parametrize(
    ("llr", "text"),
    [
        (3.5, "the similarity is about 33 times more probable if one source made both than if two sources did"),
        (-3.5, "the similarity is about 33 times more probable if two sources made them than if one source did"),
        (9.0, "the similarity is at least 990 times more probable if one source made both than if two sources did"),
        (0.3, "the similarity is about as probable if one source made both as if two sources did"),
        (-0.3, "the similarity is about as probable if one source made both as if two sources did"),
    ],
)
def test_a_ratio_is_told_in_the_direction_it_points(llr: float, text: str) -> None:
    assert wording.times_more_probable(llr, 6.9, wording.ONE_SOURCE) == text
