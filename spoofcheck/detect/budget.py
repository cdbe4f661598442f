"""Only so much of an exhibit is examined: windows spread evenly over those that hold speech.

What a header says of a recording's length cannot be relied on, and a recording is read once. So the choice is made
while windows come, of however many: every k-th is held, and k doubles whenever twice as many are held as are wanted
(`EvenSample`). What remains depends on the number of windows alone, never on how they came.

Windows that are left out stay in the stream, in their place and with their number, without samples: what was not
looked at is part of the result. What that means for a verdict is said by `examined_speech_s` and `budget_reason`, and
by `decision.flagged_runs`, which ends a stretch there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Generic, TypeVar

from spoofcheck.detect.readers import ReadItem
from spoofcheck.errors import UsageError
from spoofcheck.schema import Reason
from spoofcheck.types import (
    OVER_BUDGET,
    ReadPosition,
    RecordingSummary,
    Window,
    WindowScore,
    covered_s,
    samples_to_seconds,
    seconds_to_samples,
)

MOST_S: Final = 3_600.0
"""Of a budget: readers hold twice its samples, 128 kB for each of its seconds, for every channel."""

Kept = TypeVar("Kept")


class EvenSample(Generic[Kept]):
    """At most `most` of a stream of unknown length, spread evenly, the first among them.

    Of M items, min(`most`, M) remain in the end. Where M is larger, and `most` above 1, two that follow each other are
    at most 2 (M - 1) / (`most` - 1) places apart, and fewer than (M - 1) / (`most` - 1) items follow the last one (none
    while M is below 2 `most`, where the last item itself remains).

    Args:
        most: at least 1; less than twice as many are held.

    Raises:
        ValueError: `most` below 1.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"a sample of {most} holds nothing")
        self._most = most
        self._stride = 1
        self._seen = 0
        self._held: list[Kept] = []

    def add(self, item: Kept) -> list[Kept]:
        """Offer the next item; returns those that it leaves no room for, which may be itself."""
        position = self._seen
        self._seen += 1
        if position % self._stride:
            return [item]
        self._held.append(item)
        if len(self._held) < 2 * self._most:
            return []
        self._held, dropped = self._held[::2], self._held[1::2]
        self._stride *= 2
        return dropped

    def finish(self) -> list[Kept]:
        """Keep `most` of what is held; returns the others."""
        chosen = set(_even_places(len(self._held), self._most))
        held, self._held = self._held, [item for place, item in enumerate(self._held) if place in chosen]
        return [item for place, item in enumerate(held) if place not in chosen]

    @property
    def held(self) -> Sequence[Kept]:
        """What remains so far, in the order it came."""
        return tuple(self._held)


def _even_places(number: int, most: int) -> Iterable[int]:
    """At most `most` of the places below `number`, ascending, the first and (of two or more) the last among them."""
    if number <= most:
        return range(number)
    if most == 1:
        return (0,)
    gaps = most - 1
    return ((2 * place * (number - 1) + gaps) // (2 * gaps) for place in range(most))  # nearest, halves up


def within_budget(items: Iterable[ReadItem], most_windows: int) -> Generator[ReadItem]:
    """A reading of which at most `most_windows` windows of every channel keep their samples.

    Windows come when the recording was read to its end, by time and then by channel as before; until then the stream
    says how far it has come. A reading that fails or is given up before gives none.
    """
    channels: dict[int | None, _Channel] = {}
    for item in items:
        if isinstance(item, Window):
            channels.setdefault(item.channel, _Channel(most_windows)).add(item)
            yield ReadPosition(item.end_sample)
            continue
        if isinstance(item, RecordingSummary):
            yield from _by_time([channel.chosen() for channel in channels.values()])
        yield item


class _Channel:
    """The windows of one channel: all of them, with the samples of those that may yet be chosen."""

    def __init__(self, most_windows: int) -> None:
        self._windows: list[Window] = []
        self._sample = EvenSample[int](most_windows)

    def add(self, window: Window) -> None:
        self._windows.append(window)
        if window.samples is not None:
            self._leave_out(self._sample.add(len(self._windows) - 1))

    def chosen(self) -> deque[Window]:
        self._leave_out(self._sample.finish())
        return deque(self._windows)

    def _leave_out(self, places: Iterable[int]) -> None:
        for place in places:
            self._windows[place] = replace(self._windows[place], samples=None, not_scored=OVER_BUDGET)


def _by_time(channels: Sequence[deque[Window]]) -> Iterator[Window]:
    """Windows of equally long channels, one of each in turn; a window is let go when it is out."""
    while any(channels):
        for windows in channels:
            if windows:
                yield windows.popleft()


def budget_windows(budget_s: float, window_samples: int, model: str) -> int:
    """How many windows a budget has room for.

    Args:
        budget_s: of audio that the network may hear of an exhibit.
        window_samples: length of the model's windows.
        model: its name, for messages.

    Raises:
        UsageError: less than one window, or more than `MOST_S`.
    """
    if not budget_s <= MOST_S:
        raise UsageError(f"--budget {budget_s:g}s: at most {MOST_S:g}s (1h); leave it out to examine whole recordings")
    windows = seconds_to_samples(budget_s) // window_samples if budget_s > 0 else 0
    if windows < 1:
        raise UsageError(
            f"--budget {budget_s:g}s: less than one window of the model {model}, which is "
            f"{samples_to_seconds(window_samples):g} s long"
        )
    return windows


def covers_all(windows: Iterable[WindowScore]) -> bool:
    """Whether no window was left out for a budget."""
    return all(window.not_scored != OVER_BUDGET for window in windows)


def examined_speech_s(windows: Iterable[WindowScore]) -> float | None:
    """Seconds of speech in the scored windows, at least; None where speech was not measured.

    Where windows overlap it is not known which of them holds the speech: as much as may be counted twice is left out.
    """
    total_s, covered_to = 0.0, 0
    for window in windows:
        if window.raw_score is None:
            continue
        if window.speech_s is None:
            return None
        overlap_s = samples_to_seconds(max(0, covered_to - window.start_sample))
        total_s += max(0.0, window.speech_s - overlap_s)
        covered_to = max(covered_to, window.end_sample)
    return total_s


def examined_places(windows: Sequence[WindowScore]) -> list[int] | None:
    """Where the scored windows start, in samples; None where no window was left out for a budget."""
    if covers_all(windows):
        return None
    return [window.start_sample for window in windows if window.raw_score is not None]


def budget_reason(windows: Sequence[WindowScore], budget_s: float) -> Reason | None:
    """What was not looked at, for the analyst; None where nothing was left out."""
    left_out = sum(window.not_scored == OVER_BUDGET for window in windows)
    if not left_out:
        return None
    scored = [window for window in windows if window.raw_score is not None]
    heard_s = covered_s((samples_to_seconds(each.start_sample), samples_to_seconds(each.end_sample)) for each in scored)
    speech = " with speech" if all(window.speech_s is not None for window in windows) else ""
    others = f"the other {left_out:,}" if left_out > 1 else "the other one"
    return Reason(
        code=OVER_BUDGET,
        message=f"{heard_s:.1f} s in {len(scored):,} of {len(scored) + left_out:,} windows{speech}, spread evenly, "
        f"were examined (--budget {budget_s:g}s); nothing is said of {others}: a synthetic passage there is missed, "
        "and with gaps between the windows a spliced one is seldom found.",
    )


class PlacesAgain:
    """Finds the windows of a changed copy that lie about where windows of the exhibit were examined.

    Args:
        start_samples: of the examined windows, ascending.
        within_samples: how far a window of the copy may be from its place; each place serves once.
    """

    def __init__(self, start_samples: Iterable[int], within_samples: int) -> None:
        self._left = deque(start_samples)
        self._within_samples = within_samples

    def take(self, start_sample: int) -> bool:
        """Whether the window that starts there is one of them; asked in order of time."""
        while self._left and self._left[0] < start_sample - self._within_samples:
            self._left.popleft()
        if self._left and self._left[0] <= start_sample + self._within_samples:
            self._left.popleft()
            return True
        return False
