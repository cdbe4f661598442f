"""Windows chosen for a budget: how many, how evenly, whatever way they come, and what a verdict makes of the gaps."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spoofcheck.detect.budget import (
    EvenSample,
    PlacesAgain,
    budget_reason,
    budget_windows,
    examined_places,
    examined_speech_s,
    within_budget,
)
from spoofcheck.detect.controls import control_results
from spoofcheck.detect.decision import decide, flagged_runs
from spoofcheck.detect.evidence import EvidenceOptions
from spoofcheck.detect.readers import ReadItem
from spoofcheck.detect.reading import WindowReading
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.errors import InputError, UsageError
from spoofcheck.schema import Finding, Verdict
from spoofcheck.types import (
    OVER_BUDGET,
    SAMPLE_RATE_HZ,
    AudioFile,
    ChannelSummary,
    Quality,
    ReadPosition,
    RecordingSummary,
    Window,
    WindowScore,
)
from tests.support.audio import human_speech, noise, write_wav
from tests.support.models import tiny_bundle, tiny_config

WINDOW = 4 * SAMPLE_RATE_HZ
FILE = AudioFile(Path("a.wav"), 1, 0.0, "WAV", "PCM_16", SAMPLE_RATE_HZ, 1, 16, None, "soundfile")
QUALITY = Quality(60.0, 0.1, 30.0, 0.0, 8_000.0, -1.0, -20.0)


def sampled(number: int, most: int) -> tuple[list[int], list[int]]:
    """What remains of the numbers below `number`, and how many were held after each of them."""
    sample, held, dropped = EvenSample[int](most), [], []
    for item in range(number):
        dropped += sample.add(item)
        held.append(len(sample.held))
    dropped += sample.finish()
    assert sorted([*dropped, *sample.held]) == list(range(number)), "every item is dropped once, or remains"
    return list(sample.held), held


@given(number=st.integers(0, 1_000), most=st.integers(1, 70))
@settings(max_examples=80, deadline=None)
@example(number=29, most=15)
@example(number=30, most=15)
@example(number=999, most=1)
def test_as_many_remain_as_there_is_room_for_and_they_are_spread_evenly(number: int, most: int) -> None:
    remaining, held = sampled(number, most)
    assert len(remaining) == min(number, most)
    assert max(held, default=0) < 2 * most
    assert remaining == sorted(remaining)
    assert remaining[:1] == list(range(number))[:1]
    if 1 < most < number:
        even = (number - 1) / (most - 1)
        assert max(later - earlier for earlier, later in pairwise(remaining)) <= 2 * even
        assert number - 1 - remaining[-1] < even
    if most < number < 2 * most and most > 1:
        gaps = {later - earlier for earlier, later in pairwise(remaining)}
        assert max(gaps) - min(gaps) <= 1
        assert remaining[-1] == number - 1


def test_a_sample_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0"):
        EvenSample[int](0)


def reading(speech: Sequence[Sequence[bool]], channels: Sequence[int | None]) -> Generator[ReadItem]:
    """A recording of which every channel has speech in some of its windows."""
    yield FILE
    for index in range(len(speech[0])):
        for number, has_speech in zip(channels, speech, strict=True):
            samples = np.full(4, index, np.float32) if has_speech[index] else None
            start = index * WINDOW
            why = None if has_speech[index] else "no-speech"
            yield Window(number, index, start, start + WINDOW, 1.0, samples, why)
    yield RecordingSummary(FILE, "", "", 0.0, "each", tuple(ChannelSummary(number, QUALITY) for number in channels))


@given(
    speech=st.integers(0, 60).flatmap(
        lambda length: st.lists(st.lists(st.booleans(), min_size=length, max_size=length), min_size=1, max_size=3)
    ),
    most=st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_a_reading_keeps_its_windows_in_order_and_samples_of_the_chosen_ones(
    speech: list[list[bool]], most: int
) -> None:
    channels: list[int | None] = [None] if len(speech) == 1 else list(range(len(speech)))
    whole = [item for item in reading(speech, channels) if not isinstance(item, ReadPosition)]
    items = list(within_budget(reading(speech, channels), most))
    positions = [item for item in items if isinstance(item, ReadPosition)]
    cut = [item for item in items if not isinstance(item, ReadPosition)]
    assert items[0] == FILE
    assert isinstance(items[-1], RecordingSummary)
    assert len(positions) == sum(map(len, speech)), "whoever keeps time hears of every window when it is read"
    assert items.index(positions[-1]) < items.index(cut[1]) if positions else True
    for before, after in zip(whole, cut, strict=True):
        if not isinstance(before, Window) or not isinstance(after, Window):
            assert before == after
            continue
        assert (after.channel, after.index, after.start_sample) == (before.channel, before.index, before.start_sample)
        if before.samples is None:
            assert (after.samples, after.not_scored) == (None, "no-speech")
        else:
            assert (after.samples is None) == (after.not_scored == OVER_BUDGET)
    for number, has_speech in zip(channels, speech, strict=True):
        mine = [item for item in cut if isinstance(item, Window) and item.channel == number]
        kept = [window.index for window in mine if window.samples is not None]
        expected, _ = sampled(sum(has_speech), most)
        spoken = [index for index, is_speech in enumerate(has_speech) if is_speech]
        assert kept == [spoken[place] for place in expected]


def test_a_reading_that_fails_gives_no_window() -> None:
    def broken() -> Generator[ReadItem]:
        yield from list(reading([[True] * 5], [None]))[:4]
        raise InputError("truncated", "It ends.")

    items = within_budget(broken(), 2)
    seen = []
    with pytest.raises(InputError):
        seen.extend(items)
    assert not any(isinstance(item, Window) for item in seen)


@pytest.mark.parametrize(("budget_s", "windows"), [(4.0, 1), (7.9, 1), (60.0, 15), (3_600.0, 900)])
def test_a_budget_is_whole_windows(budget_s: float, windows: int) -> None:
    assert budget_windows(budget_s, WINDOW, "tiny") == windows


@pytest.mark.parametrize(
    ("budget_s", "words"),
    [
        (3.9, "less than one window of the model tiny, which is 4 s"),
        (0.0, "less"),
        (-1.0, "less"),
        (3_601.0, "at most 3600s"),
        (float("inf"), "at most"),
        (float("nan"), "at most"),
    ],
)
def test_what_is_no_budget_is_refused(budget_s: float, words: str) -> None:
    with pytest.raises(UsageError, match=f"--budget.*{words}"):
        budget_windows(budget_s, WINDOW, "tiny")


def scores(*llrs: float | str, speech_s: float | None = 3.0, hop: int = WINDOW) -> list[WindowScore]:
    """Windows with LLRs, or why they have none."""
    windows = []
    for index, llr in enumerate(llrs):
        score = None if isinstance(llr, str) else llr
        why = llr if isinstance(llr, str) else None
        start = index * hop
        windows.append(WindowScore(start, start + WINDOW, speech_s, score, score, why))
    return windows


def judged(windows: Sequence[WindowScore]) -> tuple[Verdict, list[str], int]:
    config = tiny_config()
    decision = decide(windows, FILE, QUALITY, config.calibration, config.decision, config.validated)
    return decision.verdict, [reason.code for reason in decision.reasons], len(decision.spans)


def test_a_stretch_is_not_flagged_over_windows_that_nobody_looked_at() -> None:
    rule = tiny_config().decision
    over_a_pause = scores(3.0, "no-speech", 3.0)
    assert [len(run) for run in flagged_runs(over_a_pause, rule)] == [2]
    assert list(flagged_runs(scores(3.0, OVER_BUDGET, 3.0), rule)) == []
    side_by_side = scores(3.0, 3.0, OVER_BUDGET, 3.0, OVER_BUDGET, "no-speech", 3.0)
    assert [[w.start_sample // WINDOW for w in run] for run in flagged_runs(side_by_side, rule)] == [[0, 1]]
    assert judged(scores(-3.0, -3.0, -3.0, 3.0, "no-speech", 3.0, -3.0))[0] is Verdict.PARTIAL
    assert judged(scores(-3.0, -3.0, -3.0, 3.0, OVER_BUDGET, 3.0, -3.0))[::2] == (Verdict.BONAFIDE, 0)


def test_a_stretch_that_was_found_all_the_same_is_compared_with_what_was_examined() -> None:
    config = tiny_config()
    for left_out, words in (
        (-3.0, "the other speech has LLR"),
        (OVER_BUDGET, "the other speech that was examined has"),
    ):
        windows = scores(-3.0, left_out, -3.0, 3.0, 3.0, -3.0, -3.0)
        decision = decide(windows, FILE, QUALITY, config.calibration, config.decision, config.validated)
        assert decision.verdict is Verdict.PARTIAL
        assert words in decision.reasons[0].message


def test_too_little_speech_is_that_of_the_examined_windows() -> None:
    whole = scores(3.0, 3.0, speech_s=0.6)
    assert judged(whole)[0] is Verdict.SPOOF, "the channel holds 60 s"
    verdict, codes, _ = judged(scores(3.0, OVER_BUDGET, OVER_BUDGET, speech_s=0.6))
    assert (verdict, codes[0]) == (Verdict.INCONCLUSIVE, "too-little-speech")
    assert judged(scores(3.0, OVER_BUDGET, 3.0, speech_s=0.6))[0] is Verdict.SPOOF, "1.2 s in two windows"


def test_speech_that_windows_may_share_is_not_counted_twice() -> None:
    assert examined_speech_s(scores(1.0, OVER_BUDGET, 1.0)) == pytest.approx(6.0)
    assert examined_speech_s(scores(1.0, 1.0, hop=WINDOW // 4)) == pytest.approx(3.0), "1 s of the second is its own"
    assert examined_speech_s(scores(1.0, OVER_BUDGET, speech_s=None)) is None


def test_the_reason_says_what_was_not_looked_at() -> None:
    assert budget_reason(scores(1.0, "no-speech"), 60) is None
    assert examined_places(scores(1.0, "no-speech")) is None
    windows = scores(1.0, OVER_BUDGET, "no-speech", 1.0, OVER_BUDGET)
    assert examined_places(windows) == [0, 3 * WINDOW]
    reason = budget_reason(windows, 8.5)
    assert reason is not None
    assert reason.code == "budget"
    assert reason.message.startswith(
        "8.0 s in 2 of 4 windows with speech, spread evenly, were examined (--budget 8.5s); nothing is said of the "
        "other 2: a synthetic passage there is missed"
    )
    one = budget_reason(scores(1.0, OVER_BUDGET, speech_s=None), 4)
    assert one is not None
    assert "1 of 2 windows, spread evenly" in one.message
    assert "nothing is said of the other one" in one.message
    overlapping = budget_reason(scores(1.0, 1.0, OVER_BUDGET, hop=WINDOW // 2), 8)
    assert overlapping is not None
    assert overlapping.message.startswith("6.0 s in 2 of 3 windows")


def test_places_are_found_again_once_each() -> None:
    places = PlacesAgain([0, 100, 300], within_samples=10)
    assert [start for start in (0, 5, 50, 105, 109, 200, 290) if places.take(start)] == [0, 105, 290]


def scanned(model: Path, paths: Sequence[Path], **options: object) -> list[Finding]:
    chosen = {"device": "cpu", "vad": False, "trace": False, "budget_s": 12.0, **options}
    return list(Scanner(model, ScanOptions(**chosen)).findings(paths))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three windows, seven on two channels, and eleven that end between two."""
    folder = tmp_path_factory.mktemp("recordings")
    return [
        write_wav(folder / "short.wav", noise(3 * WINDOW, seed=1), SAMPLE_RATE_HZ),
        write_wav(folder / "stereo.wav", noise(7 * WINDOW, channels=2, seed=2), SAMPLE_RATE_HZ),
        write_wav(folder / "long.wav", noise(11 * WINDOW + 99, seed=3), SAMPLE_RATE_HZ),
    ]


def test_the_chosen_windows_score_as_they_do_without_a_budget(tiny_model: Path, recordings: list[Path]) -> None:
    whole, cut = (scanned(tiny_model, recordings, budget_s=budget_s) for budget_s in (None, 12.0))
    assert cut[0] == whole[0], "what the budget has room for is not touched"
    for full, part in zip(whole[1:], cut[1:], strict=True):
        scored = [window.raw_score is not None for window in part.windows]
        assert sum(scored) == 3
        assert scored[0]
        assert (part.sha256, part.quality, part.media) == (full.sha256, full.quality, full.media)
        for before, after in zip(full.windows, part.windows, strict=True):
            assert (before.start_s, before.end_s) == (after.start_s, after.end_s)
            if after.raw_score is None:
                assert after.not_scored == OVER_BUDGET
            else:
                assert after.model_dump(exclude={"speech_s"}) == before.model_dump(exclude={"speech_s"})
        assert [reason.code for reason in part.reasons][-1] == "budget"
        assert "budget" not in [reason.code for reason in full.reasons]
    assert len(cut) == 4, "both channels have a budget of their own"


def test_a_budget_gives_the_same_however_it_is_scanned(tiny_model: Path, recordings: list[Path]) -> None:
    first = scanned(tiny_model, recordings, workers=1, batch_windows=1)
    assert scanned(tiny_model, recordings, workers=3, batch_windows=7) == first
    backwards = scanned(tiny_model, recordings[::-1])
    assert sorted(backwards, key=lambda each: (each.path, each.channel or 0)) == sorted(
        first, key=lambda each: (each.path, each.channel or 0)
    )
    scanner = Scanner(
        tiny_model,
        ScanOptions(device="cpu", vad=False, trace=False, budget_s=12.0, workers=1, isolation="processes"),
    )
    assert list(scanner.findings(recordings)) == first


def test_windows_without_speech_cost_nothing_of_a_budget(tiny_model: Path, tmp_path: Path) -> None:
    speech, pause = human_speech()[: 4 * SAMPLE_RATE_HZ], np.zeros(WINDOW, np.float32)
    path = write_wav(tmp_path / "a.wav", np.concatenate([pause, speech, pause, pause, speech, pause]), SAMPLE_RATE_HZ)
    (finding,) = scanned(tiny_model, [path], vad=True, budget_s=8.0)
    assert [window.not_scored for window in finding.windows].count("no-speech") >= 3
    assert OVER_BUDGET not in {window.not_scored for window in finding.windows}
    (finding,) = scanned(tiny_model, [path], vad=True, budget_s=4.0)
    assert [window.not_scored for window in finding.windows].count(OVER_BUDGET) == 1
    assert "4.0 s in 1 of 2 windows with speech" in finding.reasons[-1].message


def test_the_stability_test_keeps_to_the_examined_places(
    tiny_model: Path, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner = Scanner(
        tiny_model,
        ScanOptions(
            device="cpu",
            vad=False,
            trace=False,
            budget_s=12.0,
            evidence=EvidenceOptions(stability=True, excerpts="all", pictures=True),
        ),
    )
    heard = []
    score = scanner.scorer.score
    monkeypatch.setattr(scanner.scorer, "score", lambda windows: heard.extend(windows) or score(windows))
    scanner._gatherer = scanner._load_gatherer()
    (finding,) = scanner.findings([recordings[-1]])
    assert finding.stability is not None
    assert len(finding.stability.runs) == 8
    assert len(heard) == 8 * 3
    same = next(run for run in finding.stability.runs if run.name == "resample")
    assert same.spoof_llr == pytest.approx(finding.spoof_llr, abs=0.5)
    scored = {(window.start_s, window.end_s) for window in finding.windows if window.raw_score is not None}
    assert {(excerpt.start_s, excerpt.end_s) for excerpt in finding.excerpts} <= scored
    assert finding.pictures is not None


def test_what_needs_the_whole_recording_has_it(tiny_model: Path) -> None:
    scanner = Scanner(tiny_model, ScanOptions(device="cpu", trace=False, budget_s=4.0))
    assert scanner.first_reading().budget_windows == 1
    bare = scanner.bare()
    assert bare.first_reading().budget_windows is None
    assert bare.options.budget_s is None
    assert scanner.options.budget_s == 4.0, "the scanner itself keeps it"


def test_controls_are_scored_without_a_budget(tmp_path: Path) -> None:
    model = tiny_bundle(tmp_path / "model")
    with_budget = Scanner(model, ScanOptions(device="cpu", trace=False, budget_s=4.0))
    without = Scanner(model, ScanOptions(device="cpu", trace=False))
    assert control_results(with_budget.bare()) == control_results(without.bare())


def test_a_reading_with_a_budget_closes_its_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def endless(path: Path, **options: object) -> Generator[ReadItem]:
        try:
            yield FILE
            while True:
                yield Window(None, 0, 0, WINDOW, None, np.zeros(4, np.float32))
        finally:
            closed.append(path)

    monkeypatch.setattr("spoofcheck.detect.reading.read_windows", endless)
    items = WindowReading(WINDOW, WINDOW, "mix", False, 0.0, budget_windows=2)(tmp_path)
    assert next(items) == FILE
    assert isinstance(next(items), ReadPosition)
    items.close()
    assert closed == [tmp_path]
