from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from spoofcheck.detect.readers import Item, Readers
from spoofcheck.errors import InputError
from spoofcheck.types import Skipped, Window

END = Skipped(Path("end"), "end", "a stand-in for a summary: it closes an input as well")


def _window(index: int) -> Window:
    return Window(channel=None, index=index, start_sample=0, end_sample=1, speech_s=None, samples=None)


def _read(path: Path, cancelled: Callable[[], bool]) -> Generator[Item]:
    if path.name == "bad":
        raise InputError("not-audio", "It is no audio.")
    if path.name == "bug":
        raise ZeroDivisionError("seven by zero")
    if path.name == "endless":
        index = 0
        while not cancelled():
            yield _window(index)
            index += 1
        return
    for index in range(3):
        yield _window(index)
    yield END


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("spoofcheck-reader")]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_every_input_is_in_order_and_ends_once(workers: int) -> None:
    skipped = Skipped(Path("gone"), "not-found", "It is not there.")
    inputs = [Path("a"), Path("bad"), skipped, Path("b"), Path("bug"), Path("c")]
    got: dict[int, list[Item]] = {}
    with Readers(inputs, _read, workers, debug=False) as readers:
        for index, item in readers.items():
            got.setdefault(index, []).append(item)
    assert sorted(got) == list(range(len(inputs)))
    for index in (0, 3, 5):
        assert [w.index for w in got[index][:-1] if isinstance(w, Window)] == [0, 1, 2]
        assert got[index][-1] is END
    assert got[1] == [Skipped(Path("bad"), "not-audio", "It is no audio.")]
    assert got[2] == [skipped]
    (unforeseen,) = got[4]
    assert isinstance(unforeseen, Skipped)
    assert unforeseen.code == "internal-error"
    assert "ZeroDivisionError: seven by zero" in unforeseen.message
    assert _threads() == []


def test_debug_raises_what_nobody_foresaw_and_still_ends_the_threads() -> None:
    with (
        pytest.raises(ZeroDivisionError),
        Readers([Path("bug"), Path("endless")], _read, 2, debug=True) as readers,
    ):
        for _ in readers.items():
            pass
    assert _threads() == []


def test_a_consumer_that_leaves_stops_readers_that_wait_for_room() -> None:
    with Readers([Path("endless"), Path("endless")], _read, 2, debug=False) as readers:
        next(readers.items())
    assert _threads() == []


def test_no_inputs_give_no_items() -> None:
    with Readers([], _read, 3, debug=False) as readers:
        assert list(readers.items()) == []
