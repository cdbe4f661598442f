"""Scores of clips: what scan would give, what a published protocol would, and the same after a broken run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spoofcheck.audio.decode import Resampler16k
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.detect.scorer import WindowScorer
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.scoring import ClipScore, ClipScorer, score_clips
from spoofcheck.evaluation.shards import Team
from spoofcheck.nets.bundle import load_bundle
from tests.support.audio import human_speech, write_wav
from tests.support.models import tiny_bundle, tiny_gate_config

ALONE = Team(0, 1, "cpu")
WINDOW = 64_000


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Six stretches of speech of many lengths, a recording without speech, and two that cannot be read."""
    folder = tmp_path_factory.mktemp("clips")
    speech = human_speech()
    clips = []
    for i, seconds in enumerate((1.5, 3.0, 4.0, 4.5, 8.0, 9.5)):
        path = write_wav(folder / f"{i}.wav", speech[8_000 * i : 8_000 * i + round(seconds * 16_000)], 16_000)
        clips.append(Clip(f"clip {i}", path, "spoof" if i % 2 else "bonafide", speaker=f"s{i % 3}", repo="r"))
    write_wav(folder / "silent.wav", np.zeros(48_000, np.float32), 16_000)
    (folder / "text.wav").write_text("no audio at all")
    return [*clips, *(Clip(name, folder / f"{name}.wav", "spoof", repo="r") for name in ("silent", "text", "gone"))]


def scorer(model: Path, windows: str = "all", batch: int = 4, workers: int = 2) -> ClipScorer:
    return ClipScorer(model, windows, "cpu", batch, workers)  # type: ignore[arg-type]


def test_all_windows_give_what_a_scan_gives(tiny_model: Path, clips: list[Clip]) -> None:
    outcome = score_clips(scorer(tiny_model), clips, team=ALONE)
    findings = Scanner(tiny_model, ScanOptions(device="cpu")).findings([clip.path for clip in clips])
    by_path = {finding.path: finding for finding in findings}
    assert [trial.name for trial in outcome.trials] == [f"clip {i}" for i in range(6)]
    for trial, clip in zip(outcome.trials, clips, strict=False):
        expected = by_path[str(clip.path)].spoof_llr
        assert expected is not None
        assert -trial.score == pytest.approx(expected, abs=1e-5)
        assert (trial.bonafide, trial.source) == (clip.label == "bonafide", clip.source)
    assert {(row.name, row.problem) for row in outcome.unscored} == {
        ("silent", "no-speech"), ("text", "not-audio"), ("gone", "not-found")
    }  # fmt: skip


def test_the_first_window_is_heard_from_the_first_sample(tiny_model: Path, clips: list[Clip]) -> None:
    outcome = score_clips(scorer(tiny_model, "first"), clips, team=ALONE)
    network = WindowScorer(load_bundle(tiny_model), "cpu")
    heard = [np.resize(soundfile.read(clip.path, dtype="float32")[0], WINDOW) for clip in clips[:6]]
    for trial, window in zip(outcome.trials, network.score(heard), strict=False):
        assert -trial.score == pytest.approx(np.clip(window.raw_score, -5, 5), abs=1e-5)
    assert "silent" in {trial.name for trial in outcome.trials}, "there is no speech gate"
    assert {row.name for row in outcome.unscored} == {"text", "gone"}


def test_the_first_window_of_another_rate_and_of_two_channels(tiny_model: Path, tmp_path: Path) -> None:
    stereo = np.random.default_rng(0).normal(0, 0.1, (48_000 * 5, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", stereo, 48_000, subtype="FLOAT")
    (row,) = scorer(tiny_model, "first").score(["a"], [Clip("a", tmp_path / "a.wav", "spoof")])
    resampler = Resampler16k(48_000, 1)
    mix = stereo.mean(axis=1, keepdims=True)
    mono = np.concatenate([resampler.push(mix), resampler.finish()])[:WINDOW, 0]
    (expected,) = WindowScorer(load_bundle(tiny_model), "cpu").score([mono])
    assert row.raw_score == pytest.approx(expected.raw_score, abs=1e-4)


@pytest.mark.parametrize("windows", ["all", "first"])
def test_trials_beyond_the_validity_limit_get_an_llr_of_zero(tmp_path: Path, clips: list[Clip], windows: str) -> None:
    model = tiny_bundle(tmp_path / "strict", gate=tiny_gate_config(1e-9, 2e-9))
    outcome = score_clips(scorer(model, windows), clips[:3], team=ALONE)
    assert [trial.score for trial in outcome.trials] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("windows", ["first", "all"])
def test_batch_size_order_and_workers_change_no_score(tiny_model: Path, clips: list[Clip], windows: str) -> None:
    reference = {t.name: t.score for t in score_clips(scorer(tiny_model, windows), clips, team=ALONE).trials}
    for batch, workers, order in ((1, 1, clips), (64, 4, clips[::-1])):
        other = score_clips(scorer(tiny_model, windows, batch, workers), order, team=ALONE).trials
        assert {t.name: t.score for t in other} == pytest.approx(reference, abs=1e-5)


class StoppedError(Exception):
    pass


def stop_after(number: int):
    def watch(rows: Iterable[ClipScore], total: int) -> Iterable[ClipScore]:
        for i, row in enumerate(rows):
            yield row
            if i + 1 == number:
                raise StoppedError

    return watch


def test_a_killed_run_goes_on(tiny_model: Path, clips: list[Clip], tmp_path: Path) -> None:
    """Killed in the middle of a line, even: what is whole is kept, the rest is scored again."""
    whole = score_clips(scorer(tiny_model), clips, team=ALONE)
    with pytest.raises(StoppedError):
        score_clips(scorer(tiny_model), clips, team=ALONE, work=tmp_path, watch=stop_after(4))
    (kept,) = tmp_path.glob("*/rank-0.jsonl")
    lines = kept.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    kept.write_bytes(b"".join(lines[:3]) + lines[3][:-20])

    seen: list[tuple[str, int]] = []

    def watch(rows: Iterable[ClipScore], total: int) -> Iterable[ClipScore]:
        for row in rows:
            seen.append((row.name, total))
            yield row

    again = score_clips(scorer(tiny_model), clips, team=ALONE, work=tmp_path, watch=watch)
    assert seen == [(clip.name, 6) for clip in clips[3:]]
    assert [t.name for t in again.trials] == [t.name for t in whole.trials]
    assert [t.score for t in again.trials] == pytest.approx([t.score for t in whole.trials], abs=1e-5)
    assert again.unscored == whole.unscored
    seen.clear()
    assert score_clips(scorer(tiny_model), clips, team=ALONE, work=tmp_path, watch=watch) == again
    assert seen == []


def test_a_kept_score_holds_for_the_same_model_windows_and_file(
    tiny_model: Path, clips: list[Clip], tmp_path: Path
) -> None:
    counted: list[int] = []

    def watch(rows: Iterable[ClipScore], total: int) -> Iterable[ClipScore]:
        counted.append(total)
        return rows

    two = clips[:2]
    for windows, expected in (("all", 2), ("first", 2), ("all", 0)):
        score_clips(scorer(tiny_model, windows), two, team=ALONE, work=tmp_path, watch=watch)
        assert counted[-1] == expected
    os.utime(two[0].path, ns=(0, 1_000_000_000))
    score_clips(scorer(tiny_model), two, team=ALONE, work=tmp_path, watch=watch)
    assert counted[-1] == 1


def test_shares_that_do_not_meet_are_noticed(tiny_model: Path, clips: list[Clip], tmp_path: Path) -> None:
    """The first of two processes that see different folders: the other one's scores never come."""
    with pytest.raises(UsageError, match="3 scores of other processes are not in the work folder"):
        score_clips(scorer(tiny_model), clips[:6], team=Team(0, 2, "cpu"), work=tmp_path)


def test_channels_that_scan_judges_apart_are_one_trial(tiny_model: Path, tmp_path: Path) -> None:
    speech = human_speech()[: 16_000 * 6]
    other = np.roll(speech, 30_000)[::-1]
    write_wav(tmp_path / "call.wav", np.stack([speech, other], axis=1), 16_000)
    clip = Clip("call", tmp_path / "call.wav", "spoof")
    plain = Clip("plain", write_wav(tmp_path / "plain.wav", speech, 16_000), "spoof")
    rows = list(scorer(tiny_model).score(["call", "plain"], [clip, plain]))
    findings = list(Scanner(tiny_model, ScanOptions(device="cpu")).findings([clip.path]))
    assert len(findings) == 2
    windows = [w.raw_score for f in findings for w in f.windows if w.raw_score is not None]
    assert rows[0].raw_score == pytest.approx(np.mean(windows), abs=1e-5)
    assert [row.name for row in rows] == ["call", "plain"]
