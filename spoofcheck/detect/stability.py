"""Does a verdict hang on what should not matter? The exhibit is judged again after each of eight harmless changes.

Every change is applied to the whole recording, however long it is, as a stream: speech is looked for anew, windows are
cut and scored anew, the channel's condition is measured anew, and the recorded rule decides. All runs go side by side
through one further reading, so that what is held does not grow with the recording (a minute of it for each of the two
codecs, a window and the waiting batch for the others). It costs eight times what the first judgement cost.

Where a budget left windows out, a run scores those about the same places: it asks what the change does, not what lies
elsewhere, and costs as much for it.

A run that ends on the other side (spoof or partial against bona fide) is a flip, and a flip makes the verdict
inconclusive: a verdict must not hang on where a window starts or what a messenger did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spoofcheck.audio.phase import PhasedWindower
from spoofcheck.audio.recording import Track, Windower
from spoofcheck.audio.windows import StreamWindower
from spoofcheck.detect.again import ReadAgain, heard_again
from spoofcheck.detect.budget import PlacesAgain
from spoofcheck.detect.changes import (
    Change,
    Coded,
    Gain,
    Resampled,
    Unchanged,
    require_codecs,
    through_mp3,
    through_opus,
)
from spoofcheck.detect.decision import Decision, decide
from spoofcheck.detect.scorer import HeardWindow
from spoofcheck.detect.validity import window_llr
from spoofcheck.errors import InputError
from spoofcheck.nets.config import DecisionConfig, ModelConfig
from spoofcheck.schema import Finding, Reason, StabilityCard, StabilityRun, Verdict
from spoofcheck.types import (
    OVER_BUDGET,
    AudioFile,
    Quality,
    RecordingSummary,
    Window,
    WindowScore,
    samples_to_seconds,
)

GAIN_DB: Final = 6.0
_PHASE_SAMPLES: Final = 16_000

Score = Callable[[Sequence[NDArray[np.float32]]], Sequence[HeardWindow]]
"""What a detector says of windows, each float32 `[window_samples]`."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How the scan judged.

    Attributes:
        score: the detector, `WindowScorer.score`.
        batch_windows: how many windows to give it at once.
        config: the model's.
        rule: the recorded decision rule, with the analyst's threshold where there is one.
        hop_samples: distance between windows.
        vad: whether windows without speech were left unscored.
    """

    score: Score
    batch_windows: int
    config: ModelConfig
    rule: DecisionConfig
    hop_samples: int
    vad: bool


def stability_cards(
    judging: Judging, summary: RecordingSummary, decisions: Mapping[int | None, Decision], read_again: ReadAgain
) -> dict[int | None, StabilityCard]:
    """Judge channels of a recording again after harmless changes, in one further reading.

    Args:
        judging: how it was judged.
        summary: what the first reading ended with.
        decisions: by channel; others are left out.
        read_again: opens the second reading.

    Returns:
        A card for every channel of `decisions`.

    Raises:
        InputError: the recording cannot be read any more, it changed (`changed-while-reading`), or a score is not
            finite (`score-not-finite`).
        UsageError: libsndfile lacks a codec.
    """
    require_codecs()
    tests = {
        channel.channel: StabilityTest(judging, summary.file, channel.quality, decisions[channel.channel])
        for channel in summary.channels
        if channel.channel in decisions
    }
    for number, samples in heard_again(summary, read_again):
        if number in tests:
            tests[number].push(samples)
    return {number: test.finish() for number, test in tests.items()}


class StabilityTest:
    """The runs of one channel, from its samples as they come.

    Args:
        judging: how the unchanged exhibit was judged.
        file: it is a channel of.
        quality: of the unchanged channel; its peak limits the gain.
        decision: on the unchanged exhibit.
        places: where the windows start that were examined, ascending, in samples; None for all windows.
    """

    def __init__(
        self,
        judging: Judging,
        file: AudioFile,
        quality: Quality,
        decision: Decision,
        places: Sequence[int] | None = None,
    ) -> None:
        self._judging = judging
        self._file = file
        self._decision = decision
        self._runs = list(_runs(judging, quality.peak_dbfs, places))
        self._waiting: list[tuple[_Run, int, NDArray[np.float32]]] = []

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take in the next samples, `[n]` at 16 kHz, any n."""
        for run in self._runs:
            self._take(run, run.push(samples))

    def finish(self) -> StabilityCard:
        """The card, once all samples are in.

        Raises:
            InputError: `score-not-finite`.
        """
        for run in self._runs:
            self._take(run, run.finish())
        self._score()
        judged = []
        for run in self._runs:
            decision = run.decide(self._judging, self._file)
            judged.append(
                StabilityRun(name=run.name, label=run.label, spoof_llr=decision.spoof_llr, verdict=decision.verdict)
            )
        return card_of(self._decision.verdict, self._decision.spoof_llr, judged)

    def _take(self, run: _Run, windows: Sequence[Window]) -> None:
        for window in windows:
            is_heard = window.samples is not None and run.hears(window)
            index = run.add(window, is_heard)
            if window.samples is not None and is_heard:
                self._waiting.append((run, index, window.samples))
            if len(self._waiting) >= self._judging.batch_windows:
                self._score()

    def _score(self) -> None:
        if not self._waiting:
            return
        scores = self._judging.score([samples for _, _, samples in self._waiting])
        for (run, index, _), heard in zip(self._waiting, scores, strict=True):
            run.windows[index] = scored(run.windows[index], heard, self._judging.config)
        self._waiting.clear()


def card_of(verdict: Verdict, spoof_llr: float | None, runs: Sequence[StabilityRun]) -> StabilityCard:
    """The card of an exhibit.

    Args:
        verdict: of the unchanged exhibit; an inconclusive one takes no side that a run could leave: no flips.
        spoof_llr: of the unchanged exhibit.
        runs: at least one.
    """
    llrs = [llr for llr in (spoof_llr, *(run.spoof_llr for run in runs)) if llr is not None]
    judged = tuple(run.model_copy(update={"flipped": is_flip(verdict, run.verdict)}) for run in runs)
    return StabilityCard(
        runs=judged,
        lowest_llr=min(llrs, default=None),
        highest_llr=max(llrs, default=None),
        flips=sum(run.flipped for run in judged),
    )


def is_flip(verdict: Verdict, changed: Verdict) -> bool:
    """Whether two verdicts take opposite sides: spoof or partial against bona fide. Inconclusive is on neither."""
    sides = {Verdict.SPOOF: 1, Verdict.PARTIAL: 1, Verdict.BONAFIDE: -1}
    return sides.get(verdict, 0) * sides.get(changed, 0) < 0


def after_stability(verdict: Verdict, card: StabilityCard) -> tuple[Verdict, Reason | None]:
    """The verdict that is left of a verdict, and why it is another one; a flip leaves `inconclusive`."""
    flipped = [run.label for run in card.runs if run.flipped]
    if not flipped:
        return verdict, None
    return Verdict.INCONCLUSIVE, Reason(
        code="unstable",
        message=f"Unstable: {len(flipped)} of {len(card.runs)} changes that should not matter turn the verdict "
        f"({verdict}) over: {'; '.join(flipped)}.",
    )


def with_stability(finding: Finding, card: StabilityCard) -> Finding:
    """A finding with its card, and with the verdict that is left; the reason for that comes first."""
    verdict, reason = after_stability(finding.verdict, card)
    reasons = finding.reasons if reason is None else (reason, *finding.reasons)
    return finding.model_copy(update={"stability": card, "verdict": verdict, "reasons": reasons})


def scored(window: WindowScore, heard: HeardWindow, config: ModelConfig) -> WindowScore:
    """A window with its score and its LLR, as a scan gives them.

    Raises:
        InputError: `score-not-finite`.
    """
    if not math.isfinite(heard.raw_score) or not math.isfinite(heard.validity_distance or 0.0):
        raise InputError("score-not-finite", "The network gave no finite score for a changed copy.")
    return replace(
        window,
        raw_score=heard.raw_score,
        spoof_llr=window_llr(heard.raw_score, heard.validity_distance, config),
        not_scored=None,
        validity_distance=heard.validity_distance,
    )


class _Run:
    """One change: the samples after it, their windows and scores, and the condition they are in."""

    def __init__(
        self,
        name: str,
        label: str,
        change: Change,
        windower: Windower,
        judging: Judging,
        places: PlacesAgain | None,
    ) -> None:
        self.name = name
        self.label = label
        self.windows: list[WindowScore] = []
        self._change = change
        self._places = places
        self._track = Track(None, windower, judging.vad, judging.rule.min_window_speech_s)

    def push(self, samples: NDArray[np.float32]) -> list[Window]:
        return self._hear(self._change.push(samples))

    def finish(self) -> list[Window]:
        return [*self._hear(self._change.finish()), *self._track.finish()]

    def hears(self, window: Window) -> bool:
        """Whether a window with speech is to be scored; asked once for each, in order of time."""
        return self._places is None or self._places.take(window.start_sample)

    def add(self, window: Window, is_heard: bool) -> int:
        """Keep a window that has no score, or none yet; returns its place."""
        not_scored = "no-speech" if window.samples is None or is_heard else OVER_BUDGET
        self.windows.append(
            WindowScore(window.start_sample, window.end_sample, window.speech_s, None, None, not_scored)
        )
        return len(self.windows) - 1

    def decide(self, judging: Judging, file: AudioFile) -> Decision:
        config = judging.config
        quality = self._track.quality.finish()
        return decide(self.windows, file, quality, config.calibration, judging.rule, config.validated, config.gate)

    def _hear(self, samples: NDArray[np.float32]) -> list[Window]:
        if len(samples) == 0:
            return []
        self._track.quality.push_native(samples)
        return self._track.push(samples)


def _runs(judging: Judging, peak_dbfs: float, starts: Sequence[int] | None) -> Iterator[_Run]:
    window, hop = judging.config.window_samples, judging.hop_samples
    # A whole second where windows are four apart; less where later and earlier would else be the same places.
    phase = max(1, min(_PHASE_SAMPLES, hop // 4))

    def places() -> PlacesAgain | None:
        return None if starts is None else PlacesAgain(starts, phase)

    if hop > 1:
        for name, label, samples in (
            ("phase+1s", "later", phase),
            ("phase-1s", "earlier", hop - phase),
        ):
            words = f"windows start {samples_to_seconds(phase):g} s {label}"
            yield _Run(name, words, Unchanged(), PhasedWindower(window, hop, samples), judging, places())
    for name, label, change in _changes(peak_dbfs):
        yield _Run(name, label, change, StreamWindower(window, hop), judging, places())


def _changes(peak_dbfs: float) -> Iterator[tuple[str, str, Change]]:
    louder_db = max(0.0, min(GAIN_DB, -peak_dbfs))
    limited = "" if louder_db == GAIN_DB else " (no more without clipping)"
    yield "gain+6db", f"{louder_db:.3g} dB louder{limited}", Gain(louder_db)
    yield "gain-6db", f"{GAIN_DB:g} dB quieter", Gain(-GAIN_DB)
    yield "8khz", "brought to 8 kHz and back", Resampled(8_000)
    yield "mp3-64k", "through MP3 at 64 kbit/s", Coded(through_mp3)
    yield "opus-24k", "through Opus at 24 kbit/s", Coded(through_opus)
    yield "resample", "brought to 22.05 kHz and back", Resampled(22_050)
