"""Score and key files: what is read, what is refused and with which words, and that writing loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoofcheck.errors import OutputError, UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.scorefiles import (
    ScoredTrial,
    keys_of,
    read_keys,
    read_score_file,
    read_scores,
    score_text,
    trial_names,
    write_scores,
)

KEYS = "filename cm-label system speaker codec language\na bonafide - s1 wav en\nb spoof A07 s2 mp3 de\n"


@pytest.fixture
def write(tmp_path: Path):
    def call(text: str, name: str = "scores.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return call


@pytest.mark.parametrize(
    "text",
    [
        "filename\tcm-score\tcm-label\na\t1.5\tbonafide\nb\t-2e-1\tspoof\n",
        "filename cm-score cm-label\r\n\r\na   1.5 bonafide\r\nb -2e-1 spoof\r\n",
        "\ufefffilename cm-label cm-score\na bonafide 1.5\nb spoof -2e-1",
        "FILENAME\tScore\tkey\na\t1.5\treal\nb\t-2e-1\tfake\n",
    ],
)
def test_a_label_column_makes_a_score_file_whole(write, text: str) -> None:
    trials = read_scores(write(text))
    assert [(t.name, t.score, t.bonafide) for t in trials] == [("a", 1.5, True), ("b", -0.2, False)]
    assert [t.source for t in trials] == ["a", "b"], "a trial without a speaker is a source of its own"


@pytest.mark.parametrize("text", ["filename cm-score\nb -1\na 2\n", "b -1\na 2\n", "b\t-1\na\t2\n"])
def test_keys_bring_what_is_known_of_a_trial(write, text: str) -> None:
    trials = read_scores(write(text), write(KEYS, "keys.txt"))
    assert [t.name for t in trials] == ["b", "a"], "in the order of the scores"
    assert trials[0] == ScoredTrial("b", False, -1.0, "A07", "s2", "de", "mp3", "s2")
    assert trials[1].system == "-"


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ("filename cm-score\na nan\n", "line 2: score 'nan' is not finite"),
        ("filename cm-score\na 1\n\nb -inf\n", "line 4: score '-inf' is not finite"),
        ("filename cm-score\na one\n", "line 2: score 'one' is no number"),
        ("filename cm-score\na 1 2\n", "line 2: 3 fields, expected 2"),
        ("filename cm-score\na 1\na 2\nb 1\nb 2\n", "2 trials ('a', 'b') more than once"),
        ("filename cm-score\na 1\nb 1\nc 1\nd 1\ne 1\nf 1\n", "4 trials ('c', 'd', 'e', ...) without a key in"),
        ("filename cm-score\na 1\n", "1 key ('b') without a score in"),
        ("filename cm-score cm-label\na 1 spoof\nb 1 spoof\n", "1 label ('a') that"),
        ("filename cm-score cm-label\na 1 bonafide\nb 1 odd\n", "line 3: label 'odd'"),
        ("filename other\na 1\n", "line 1: no column 'cm-score' (there are: filename, other)"),
        ("filename score cm-score\na 1 1\n", "line 1: two columns mean 'cm-score'"),
        ("a 1 x\n", "line 1: no header 'filename cm-score'"),
        ("", "empty"),
    ],
)
def test_what_makes_no_sense_is_said_with_file_and_line(write, scores: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_scores(write(scores), write(KEYS, "keys.txt"))
    assert message in str(caught.value)
    assert ".txt" in str(caught.value)


def test_scores_alone_are_no_trials(write) -> None:
    with pytest.raises(UsageError, match="no 'cm-label' column; give the labels with --keys"):
        read_scores(write("filename cm-score\na 1\n"))


def test_one_class_alone_is_refused(write) -> None:
    with pytest.raises(UsageError, match="both classes are needed, but there are 2 bona fide and 0 spoof trials"):
        read_scores(write("filename cm-score cm-label\na 1 bonafide\nb 2 bonafide\n"))


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.txt: cannot be read"):
        read_keys(tmp_path / "nothing.txt")


@given(
    st.dictionaries(
        st.text("abcxyz/._-é語", min_size=1), st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20
    )
)
def test_written_scores_are_read_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, scores: dict) -> None:
    path = tmp_path_factory.mktemp("scores") / "scores.tsv"
    trials = [ScoredTrial(name, i % 2 == 0, score) for i, (name, score) in enumerate(scores.items())]
    write_scores(path, trials)
    file = read_score_file(path)
    assert list(file.scores.items()) == list(scores.items())
    assert file.keys is None


def test_a_name_that_would_break_the_file_is_refused() -> None:
    with pytest.raises(OutputError, match="fits no score file"):
        score_text([ScoredTrial("a\tb", True, 1.0)])


def clip(name: str, repo: str = "r", label: str = "spoof") -> Clip:
    return Clip(name, Path(name), label, system="-" if label == "bonafide" else "A", speaker="s", repo=repo)


def test_clips_of_one_name_are_told_apart_by_their_repository() -> None:
    assert trial_names([clip("a", "x"), clip("a", "y"), clip("b", "y")]) == ["x/a", "y/a", "b"]
    with pytest.raises(UsageError, match="names 1 clip"):
        trial_names([clip("a"), clip("a")])


def test_the_keys_of_clips_carry_their_source() -> None:
    key = keys_of([clip("a", label="bonafide"), clip("b")])["b"]
    assert (key.bonafide, key.system, key.source) == (False, "A", "r/s")
