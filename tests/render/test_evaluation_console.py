"""The evaluation in a terminal: what is shown at which width, in which order, and that no name acts on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from spoofcheck.evalschema import EvaluationDocument
from spoofcheck.evaluation.compare import compare
from spoofcheck.evaluation.detection import DetectionOptions, FixedThreshold
from spoofcheck.evaluation.document import Circumstances, Subject, Unscored, detection_document
from spoofcheck.evaluation.scorefiles import ScoredTrial
from spoofcheck.render.evaluation.console import MOST_ROWS, render
from tests.support.trials import make_trials

CIRCUMSTANCES = Circumstances("Set \x1b[31m", "scores", (), "given")
OPTIONS = DetectionOptions(draws=20, threshold=FixedThreshold(0.5, "dev"), seen_systems=frozenset({"A"}))


def document(trials: list[ScoredTrial] | None = None, options: DetectionOptions = OPTIONS) -> EvaluationDocument:
    subject = Subject("x", None, trials or make_trials(), [Unscored("lost\n.wav", "not-found")])
    return detection_document(subject, options, CIRCUMSTANCES)


def lines_between(text: str, start: str, end: str = "") -> list[str]:
    return text.split(start, 1)[1].split(end or "\n\n", 1)[0].splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_the_width_and_keeps_what_matters(width: int) -> None:
    text = render(document(), width)
    assert max(map(cell_len, text.splitlines())) <= width
    for word in ("EER", "95 % interval", "FPR", "FNR", "Overall", "Per system", "seen", "unseen", "Fixed threshold"):
        assert word in text
    heading = lines_between(text, "Per system")[1]
    assert ("Cllr" in heading, "minDCF" in heading) == (width == 120, width >= 80)
    assert all(line == line.rstrip() for line in text.splitlines())


def test_the_worst_system_comes_first() -> None:
    easy_b = [replace(t, score=t.score - 3) if t.system == "B" else t for t in make_trials()]
    rows = lines_between(render(document(easy_b)), "Per system")[3:]
    assert [row.split()[0] for row in rows] == ["A", "B"]
    hard_b = [replace(t, score=t.score + 3) if t.system == "B" else t for t in make_trials()]
    rows = lines_between(render(document(hard_b)), "Per system")[3:]
    assert [row.split()[0] for row in rows] == ["B", "A"]


def test_figures_are_those_of_the_document() -> None:
    made = document()
    assert made.detection is not None
    overall = made.detection.overall
    text = render(made)
    assert f"{100 * overall.eer:.2f} %" in text
    assert f"minDCF {overall.min_dcf:.4f}, actDCF {overall.act_dcf:.4f}" in text
    assert "100 human, 100 synthetic" in text
    assert "+0.5000 (at or above is human), fixed on dev" in text


def test_names_from_outside_are_harmless() -> None:
    evil = [replace(t, system="\x1b]0;x\x07[red]A\u202e") if t.system == "A" else t for t in make_trials()]
    text = render(document(evil))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "\\x1b]0;x\\x07[red]A\\u202e" in text.replace("\n", "")
    assert "lost\\n.wav" in text
    assert "Set \\x1b[31m" in text


def test_long_tables_are_cut_and_say_so() -> None:
    many = [t if t.bonafide else replace(t, system=f"S{i % 50:02d}") for i, t in enumerate(make_trials(400))]
    text = render(document(many, replace(OPTIONS, draws=0)))
    hidden = 25 - MOST_ROWS
    assert f"... and {hidden} more" in text


def test_caveats_are_told() -> None:
    made = document(options=replace(OPTIONS, threshold=None))
    text = render(made)
    for caveat in made.warnings:
        assert f"{caveat.code}: " in text
    assert "unscored-trials" in text


def test_a_comparison_shows_models_systems_and_differences() -> None:
    trials = make_trials()
    pair = [Subject("good [b]", None, trials), Subject("bad", None, [replace(t, score=-t.score) for t in trials])]
    text = render(compare(pair, [OPTIONS, OPTIONS], CIRCUMSTANCES))
    assert "good [b]" in text
    for word in ("Differences", "EER", "minDCF", "Cllr", "good [b] does better on these trials", "per system"):
        assert word in text
