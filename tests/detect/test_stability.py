"""What happens to a verdict when an exhibit is judged again after changes that should not matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.decision import Decision
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.detect.scorer import HeardWindow
from spoofcheck.detect.stability import (
    Judging,
    StabilityTest,
    after_stability,
    card_of,
    is_flip,
    stability_cards,
    with_stability,
)
from spoofcheck.errors import InputError
from spoofcheck.schema import Reason, StabilityCard, StabilityRun, Verdict
from spoofcheck.types import AudioFile, Quality, RecordingSummary
from tests.support.audio import HUMAN_SPEECH, human_speech, noise, write_wav
from tests.support.documents import of_verdict
from tests.support.models import tiny_config

RATE = 16_000
NAMES = ["phase+1s", "phase-1s", "gain+6db", "gain-6db", "8khz", "mp3-64k", "opus-24k", "resample"]
FILE = AudioFile(Path("a.wav"), 1, 0.0, "WAV", "PCM_16", RATE, 1, 16, 1.0, "soundfile")


@dataclass
class Detector:
    """Scores windows by a rule, and keeps what it was given."""

    rule: Callable[[np.ndarray], float]
    heard: list[np.ndarray] = field(default_factory=list)

    def __call__(self, windows: Sequence[np.ndarray]) -> list[HeardWindow]:
        self.heard += windows
        return [HeardWindow(self.rule(window), None) for window in windows]


def quality(peak_dbfs: float = -20.0) -> Quality:
    return Quality(None, 0.0, None, 0.0, 8_000.0, peak_dbfs, -30.0)


def decision(verdict: Verdict, llr: float | None) -> Decision:
    return Decision(verdict, llr, llr, (Reason(code="because", message="Because."),), ())


def card(
    rule: Callable[[np.ndarray], float],
    samples: np.ndarray,
    *,
    verdict: Verdict = Verdict.SPOOF,
    llr: float | None = 2.0,
    peak_dbfs: float = -20.0,
    block: int = 64_000,
    hop_s: float = 4.0,
    vad: bool = False,
    detector: Detector | None = None,
) -> StabilityCard:
    config = tiny_config()
    judging = Judging(detector or Detector(rule), 3, config, config.decision, round(hop_s * RATE), vad)
    test = StabilityTest(judging, FILE, quality(peak_dbfs), decision(verdict, llr))
    for at in range(0, len(samples), block):
        test.push(samples[at : at + block])
    return test.finish()


def loudness(window: np.ndarray) -> float:
    """0 for noise of standard deviation 0.1; one for every doubling."""
    return float(np.log2(np.sqrt(np.mean(np.square(window, dtype=np.float64))) / 0.1))


def test_every_change_is_a_run_and_reaches_the_detector() -> None:
    samples = noise(13 * RATE)[:, 0]
    runs = {run.name: run for run in card(loudness, samples).runs}
    assert list(runs) == NAMES
    louder, quieter = runs["gain+6db"].spoof_llr, runs["gain-6db"].spoof_llr
    assert (louder, quieter) == pytest.approx((0.997, -0.997), abs=0.01), "6 dB are a factor of 1.995"
    assert runs["8khz"].spoof_llr == pytest.approx(-0.5, abs=0.05), "half of the band"
    assert runs["phase+1s"].label == "windows start 1 s later"


@pytest.mark.parametrize(("hop_s", "phase_s"), [(4.0, 1.0), (2.0, 0.5)])
def test_windows_start_elsewhere(hop_s: float, phase_s: float) -> None:
    ramp = np.arange(13 * RATE, dtype=np.float32) / (13 * RATE)
    detector = Detector(lambda window: 0.0)
    result = card(loudness, ramp, hop_s=hop_s, detector=detector)
    starts = {round(float(window[0]) * 13, 2) for window in detector.heard}
    assert {phase_s, hop_s - phase_s} <= starts
    assert result.runs[0].label == f"windows start {phase_s:g} s later"


def test_nothing_is_clipped_and_the_label_says_so() -> None:
    samples = 0.25 * noise(6 * RATE)[:, 0]
    low, near, full = (card(loudness, samples, peak_dbfs=peak).runs[2] for peak in (-20.0, -2.5, 0.0))
    assert (low.label, near.label) == ("6 dB louder", "2.5 dB louder (no more without clipping)")
    assert near.spoof_llr is not None
    assert full.spoof_llr is not None
    assert near.spoof_llr - full.spoof_llr == pytest.approx(2.5 / 6.02, abs=0.01)


@pytest.mark.parametrize("block", [5_000, 10**6])
def test_a_card_does_not_depend_on_how_samples_come(block: int) -> None:
    samples = human_speech()

    def rounded(result: StabilityCard) -> list[tuple[str, float, Verdict]]:
        return [(run.name, round(run.spoof_llr or 0.0, 5), run.verdict) for run in result.runs]

    one, other = (card(loudness, samples, vad=True, block=size) for size in (block, 30_000))
    assert rounded(one) == rounded(other)


def test_a_changed_copy_is_judged_by_the_whole_rule() -> None:
    runs = card(lambda window: 3.0, np.zeros(9 * RATE, np.float32), vad=True).runs
    assert {(run.spoof_llr, run.verdict) for run in runs} == {(None, Verdict.INCONCLUSIVE)}, "no speech in silence"
    runs = card(lambda window: 3.0, noise(9 * RATE)[:, 0]).runs
    assert {(run.spoof_llr, run.verdict) for run in runs} == {(3.0, Verdict.SPOOF)}


def test_a_flip_is_found() -> None:
    # A detector that lives on what is above 4 kHz: everything without it is human.
    def rule(window: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(window))
        return 3.0 if spectrum[len(spectrum) * 6 // 10 :].mean() > 0.1 * spectrum.mean() else -3.0

    result = card(rule, noise(9 * RATE)[:, 0], verdict=Verdict.SPOOF, llr=3.0)
    flipped = [run.name for run in result.runs if run.verdict is Verdict.BONAFIDE]
    assert "8khz" in flipped
    assert (result.flips, result.lowest_llr, result.highest_llr) == (len(flipped), -3.0, 3.0)


def test_a_score_that_is_no_number_ends_it() -> None:
    with pytest.raises(InputError, match="finite") as caught:
        card(lambda window: float("nan"), noise(5 * RATE)[:, 0])
    assert caught.value.code == "score-not-finite"


def run(verdict: Verdict, llr: float | None = 0.0, label: str = "changed") -> StabilityRun:
    return StabilityRun(name=label, label=label, spoof_llr=llr, verdict=verdict)


@pytest.mark.parametrize(
    ("before", "after", "flips"),
    [
        (Verdict.SPOOF, Verdict.BONAFIDE, True),
        (Verdict.PARTIAL, Verdict.BONAFIDE, True),
        (Verdict.BONAFIDE, Verdict.SPOOF, True),
        (Verdict.BONAFIDE, Verdict.PARTIAL, True),
        (Verdict.SPOOF, Verdict.PARTIAL, False),
        (Verdict.SPOOF, Verdict.INCONCLUSIVE, False),
        (Verdict.INCONCLUSIVE, Verdict.SPOOF, False),
        (Verdict.BONAFIDE, Verdict.BONAFIDE, False),
    ],
)
def test_what_a_flip_is(before: Verdict, after: Verdict, flips: bool) -> None:
    assert is_flip(before, after) is flips
    result = card_of(before, 0.0, [run(after), run(before)])
    assert result.flips == flips
    assert [each.flipped for each in result.runs] == [flips, False]
    verdict, reason = after_stability(before, result)
    assert (verdict is not before) is flips
    assert (reason is not None) is flips


def test_the_range_is_over_the_exhibit_and_all_runs() -> None:
    result = card_of(Verdict.SPOOF, 2.0, [run(Verdict.SPOOF, 1.0), run(Verdict.INCONCLUSIVE, None)])
    assert (result.lowest_llr, result.highest_llr) == (1.0, 2.0)
    result = card_of(Verdict.INCONCLUSIVE, None, [run(Verdict.INCONCLUSIVE, None)])
    assert (result.lowest_llr, result.highest_llr) == (None, None)


def test_a_flip_leaves_an_inconclusive_finding_with_its_numbers() -> None:
    finding = of_verdict(Verdict.SPOOF)
    unstable = with_stability(finding, card_of(finding.verdict, 3.2, [run(Verdict.BONAFIDE, -2.0, "through a codec")]))
    assert unstable.verdict is Verdict.INCONCLUSIVE
    assert unstable.reasons[0].code == "unstable"
    assert "1 of 1 changes" in unstable.reasons[0].message
    assert "through a codec" in unstable.reasons[0].message
    assert unstable.reasons[1:] == finding.reasons
    assert (unstable.spoof_llr, unstable.windows) == (finding.spoof_llr, finding.windows)
    stable = with_stability(finding, card_of(finding.verdict, 3.2, [run(Verdict.SPOOF, 3.0)]))
    assert (stable.verdict, stable.reasons) == (finding.verdict, finding.reasons)
    assert stable.stability is not None


def test_a_scanned_recording_is_judged_again_as_the_scan_did(tiny_model: Path, tmp_path: Path) -> None:
    speech = human_speech()
    path = write_wav(tmp_path / "full.wav", speech / np.abs(speech).max() * (1 - 2**-15), RATE)
    scanner = Scanner(tiny_model, ScanOptions(device="cpu"))
    (finding,) = scanner.findings([path])
    again = again_with(scanner)
    judging = Judging(scanner.scorer.score, 2, scanner.bundle.config, scanner.rule, scanner.hop_samples, True)
    summary = summary_of(path)
    result = stability_cards(judging, summary, {None: decision(finding.verdict, finding.spoof_llr)}, again)[None]
    same = next(run for run in result.runs if run.name == "gain+6db")  # at full scale there is no louder
    assert same.spoof_llr == pytest.approx(finding.spoof_llr, abs=1e-3)
    assert same.verdict is finding.verdict
    assert result.highest_llr is not None
    assert result.lowest_llr is not None
    assert result.highest_llr - result.lowest_llr > 1e-4, "the other runs heard something else"


def again_with(scanner: Scanner):
    return lambda summary: read_windows(
        summary.file.path,
        window_samples=scanner.bundle.config.window_samples,
        hop_samples=scanner.hop_samples,
        channels="mix",
        vad=False,
        min_window_speech_s=0.0,
    )


def summary_of(path: Path) -> RecordingSummary:
    items = read_windows(
        path, window_samples=RATE, hop_samples=RATE, channels="auto", vad=False, min_window_speech_s=0.0
    )
    return next(item for item in items if isinstance(item, RecordingSummary))


def test_a_file_that_changed_gives_no_card(tiny_model: Path, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", human_speech(), RATE)
    scanner = Scanner(tiny_model, ScanOptions(device="cpu"))
    judging = Judging(Detector(loudness), 2, scanner.bundle.config, scanner.rule, scanner.hop_samples, False)
    summary = summary_of(path)
    path.write_bytes(HUMAN_SPEECH.read_bytes() + b"\0")
    with pytest.raises(InputError) as caught:
        stability_cards(judging, summary, {None: decision(Verdict.SPOOF, 1.0)}, again_with(scanner))
    assert caught.value.code == "changed-while-reading"
