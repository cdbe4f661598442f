from __future__ import annotations

import random

from spoofcheck.cluster.chunks import Assembly, HeardChunk, Refusal
from spoofcheck.detect.hearing import ScoredWindow

END = Refusal("some", "thing")


def chunk(number: int, last: bool = False, edition: str = "a", of: int = 0) -> HeardChunk:
    window = ScoredWindow(number, number + 1, None, edition)
    return HeardChunk(of, number, edition, ((number % 2, window),), None, END if last else None, None, None)


def starts(assembly: Assembly, chunks: list[HeardChunk]) -> dict[int | None, list[int]]:
    (whole,) = [done for each in chunks if (done := assembly.add(each)) is not None]
    assert whole.end == END
    return {channel: [window.start_sample for window in windows] for channel, windows in whole.windows.items()}


def test_chunks_in_any_order_and_again_make_one_recording() -> None:
    chunks = [chunk(n, last=n == 6) for n in range(7)]
    for seed in range(20):
        arriving = [*chunks, *chunks, *chunks[:3]]
        random.Random(seed).shuffle(arriving)
        assert starts(Assembly([0]), arriving) == {0: [0, 2, 4, 6], 1: [1, 3, 5]}


def test_editions_are_not_mixed() -> None:
    assembly = Assembly([0])
    arriving = [chunk(0), chunk(1, edition="b"), chunk(1, last=True, edition="c"), chunk(2, last=True)]
    assert [assembly.add(each) for each in arriving] == [None] * 4
    assert assembly.missing == [0]
    assert starts(assembly, [chunk(1)]) == {0: [0, 2], 1: [1]}
    assert assembly.missing == []


def test_what_was_not_asked_for_is_left() -> None:
    assembly = Assembly([1])
    assert assembly.add(chunk(0, last=True, of=0)) is None
    assert assembly.missing == [1]


def test_a_recording_can_be_asked_for_again() -> None:
    assembly = Assembly([0])
    assert assembly.add(chunk(0, last=True)) is not None
    assembly.reopen(0)
    assert assembly.missing == [0]
    assert assembly.add(chunk(0, last=True)) is not None


def test_attempts_that_end_at_different_places_make_one_recording() -> None:
    killed_later, killed_earlier = [chunk(n) for n in range(4)], [chunk(0)]
    refused = chunk(2, last=True)
    for former in (killed_later, killed_earlier, []):
        arriving = [*former, chunk(0), chunk(1), refused]
        assembly = Assembly([0])
        assert [whole.end for each in arriving if (whole := assembly.add(each)) is not None] == [END]
        assert assembly.missing == []
