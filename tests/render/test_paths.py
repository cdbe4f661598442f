from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from spoofcheck.render.paths import common_folder, cut_middle, relative_names, shortened


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        ([], ""),
        (["a.wav"], ""),
        (["in/a.wav", "in/b.wav"], "in"),
        (["/c/x/a.wav", "/c/b.wav"], "/c"),
        (["/c/x/a.wav", "/cx/b.wav"], "/"),
        (["/c/a.wav", "c/a.wav"], ""),
        (["../a.wav", "b.wav"], ""),
    ],
)
def test_common_folder(paths: list[str], folder: str) -> None:
    assert common_folder(paths) == folder


def test_names_are_relative_to_the_common_folder_and_printable() -> None:
    paths = ["/c/x/a\n.wav", "/c/b.wav", "/c/x/b.wav"]
    assert relative_names(paths) == dict(zip(paths, [r"x/a\n.wav", "b.wav", "x/b.wav"], strict=True))
    assert relative_names(["./in/a.wav", "in//b.wav"]) == {"./in/a.wav": "a.wav", "in//b.wav": "b.wav"}
    assert relative_names(["//share/a.wav"]) == {"//share/a.wav": "//share/a.wav"}


def test_the_middle_goes_first() -> None:
    assert cut_middle("a-very-long-name-of-a-recording.wav", 20) == "a-very…recording.wav"
    assert cut_middle("short.wav", 20) == "short.wav"
    assert cut_middle("録音録音録音録音.wav", 11) == "録…録音.wav"


def test_names_that_differ_in_the_middle_keep_the_difference() -> None:
    names = [f"{'x' * 60}-{number}-{'y' * 60}.wav" for number in range(3)]
    labels = shortened(names, 24)
    for number, name in enumerate(names):
        assert f"-{number}-" in labels[name]
        assert cell_len(labels[name]) <= 24


def test_folders_of_numbered_calls_stay_apart_in_a_narrow_column() -> None:
    names = [f"day-{i % 30:02d}/agent-{i:04d}-leg-left-converted-to-sixteen-kilohertz.wav" for i in range(500)]
    labels = shortened(names, 26)
    assert len(set(labels.values())) == 500
    assert max(cell_len(label) for label in labels.values()) <= 26


_NAMES = st.lists(st.text(alphabet="ab/録🎧é.", min_size=1, max_size=60), min_size=1, max_size=30, unique=True)


@settings(deadline=None)
@given(_NAMES, st.integers(16, 40))
def test_no_two_names_ever_look_the_same(names: list[str], width: int) -> None:
    labels = shortened(names, width)
    assert len(set(labels.values())) == len(names)
    for name in names:
        assert cell_len(labels[name]) <= width or labels[name] == name
        if cell_len(name) <= width:
            assert labels[name] == name or cell_len(labels[name]) <= width
