from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.training.copies import CopyJob, make_copies, origin_of, plan_copies
from spoofcheck.training.copysynth import copy_window, vocoders
from spoofcheck.training.made import Failed, Made
from tests.support.voice import voice

NAMES = ["griffin-lim-mel", "world", "lpc", "sinusoidal"]


@pytest.fixture
def human(tmp_path: Path) -> list[Clip]:
    clips = []
    for index in range(3):
        path = tmp_path / "human" / f"{index}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, voice(1.0, seed=index), 16_000)
        clips.append(Clip(f"{index}.wav", path, "bonafide", speaker="ann", language="en", split="dev", repo="me/talk"))
    return clips


def made(jobs: list[CopyJob], workers: int = 1) -> list[Clip]:
    outcomes = list(make_copies(jobs, Path("nowhere"), workers))
    assert all(isinstance(outcome, Made) for outcome in outcomes), outcomes
    return [outcome.clip for outcome in outcomes if isinstance(outcome, Made)]


def test_copies_share_what_their_source_says(human: list[Clip], tmp_path: Path) -> None:
    jobs = plan_copies(human[:1], ["world", "lpc"], tmp_path / "out", seed=1, with_sources=True)
    source, *copies = made(jobs)
    assert (source.label, source.system) == ("bonafide", "-")
    assert [clip.system for clip in copies] == ["copy:world", "copy:lpc"]
    for clip in (source, *copies):
        assert (clip.speaker, clip.language, clip.split, clip.repo) == ("ann", "en", "dev", "me/talk")
        assert (clip.codec, clip.sample_rate_hz, clip.duration_s) == ("flac/pcm_16", 16_000, 1.0)
        assert clip.note == "copy of me/talk/0.wav"
        assert origin_of(clip) == origin_of(human[0]) == "me/talk/0.wav"
    waves = [soundfile.read(clip.path)[0] for clip in (source, *copies)]
    levels = [np.sqrt(np.mean(wave**2)) for wave in waves]
    assert levels == pytest.approx([levels[0]] * 3, rel=0.05)
    assert not np.allclose(waves[0], waves[1], atol=1e-3)


def test_a_plan_does_not_depend_on_the_order_of_clips(human: list[Clip], tmp_path: Path) -> None:
    def plan(clips: list[Clip], seed: int) -> set[tuple[str, int]]:
        return {(job.name, job.seed) for job in plan_copies(clips, NAMES, tmp_path, seed=seed, per_clip=2, most=2)}

    assert len(plan(human, 0)) == 4
    assert plan(human, 0) == plan(human[::-1], 0)
    assert any(plan(human, 0) != plan(human, seed) for seed in (1, 2))


def test_two_processes_make_the_same_files_as_one(human: list[Clip], tmp_path: Path) -> None:
    one = made(plan_copies(human, ["world"], tmp_path / "1", seed=0))
    two = made(plan_copies(human, ["world"], tmp_path / "2", seed=0), workers=2)
    assert [clip.sha1 for clip in one] == [clip.sha1 for clip in two]


def test_a_second_run_keeps_whole_copies_of_the_same_seed(human: list[Clip], tmp_path: Path) -> None:
    jobs = plan_copies(human[:2], ["lpc"], tmp_path / "out", seed=0)
    first = made(jobs)
    jobs[0].place.write_bytes(jobs[0].place.read_bytes()[:20])
    outcomes = list(make_copies(jobs, Path("nowhere")))
    assert [outcome.kept for outcome in outcomes if isinstance(outcome, Made)] == [False, True]
    assert [outcome.clip for outcome in outcomes if isinstance(outcome, Made)] == first
    other = list(make_copies(plan_copies(human[:1], ["lpc"], tmp_path / "out", seed=5), Path("nowhere")))
    assert isinstance(other[0], Made)
    assert not other[0].kept


def test_broken_and_silent_clips_are_told(human: list[Clip], tmp_path: Path) -> None:
    human[0].path.write_bytes(b"nothing")
    soundfile.write(human[1].path, np.zeros(16_000), 16_000)
    outcomes = list(make_copies(plan_copies(human, ["lpc"], tmp_path / "out", seed=0), Path("nowhere")))
    assert [type(outcome) for outcome in outcomes] == [Failed, Failed, Made]
    assert isinstance(outcomes[1], Failed)
    assert "silent" in outcomes[1].reason


def test_hostile_names_stay_in_the_folder(human: list[Clip], tmp_path: Path) -> None:
    clip = Clip("../../\x1b[2J/..", human[0].path, "bonafide", repo="me/talk")
    job = plan_copies([clip], ["lpc"], tmp_path / "out", seed=0)[0]
    assert job.place.parent == tmp_path / "out" / "lpc"
    assert job.place.name.isprintable()


def test_nothing_to_copy_and_unknown_vocoders_are_errors(human: list[Clip], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no bona fide clip"):
        plan_copies([Clip("x", Path("x"), "spoof")], ["lpc"], tmp_path, seed=0)
    with pytest.raises(UsageError, match="unknown vocoders: wrld"):
        list(make_copies(plan_copies(human, ["wrld"], tmp_path, seed=0), Path("nowhere")))


@pytest.mark.parametrize("name", ["lpc", "sinusoidal", "codec2"])
def test_cheap_vocoders_keep_length_level_and_envelope(name: str) -> None:
    if name == "codec2" and shutil.which("c2enc") is None:
        pytest.skip("c2enc is not installed")
    vocoder = vocoders([name], Path("nowhere"))[name]
    wave = voice(1.2)
    for seed in range(4):
        copy, again = (copy_window(wave, vocoder, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(copy, again)
        assert copy.shape == wave.shape
        assert np.sqrt(np.mean(copy**2)) == pytest.approx(np.sqrt(np.mean(wave**2)), rel=0.05)
        envelope, copied = (np.sqrt(np.mean(x[: 59 * 320].reshape(-1, 320) ** 2, axis=1)) for x in (wave, copy))
        assert np.corrcoef(envelope, copied)[0, 1] > 0.8
        assert not np.allclose(copy, wave, atol=1e-3)


def test_codec2_without_its_programs_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="apt install codec2"):
        vocoders(["codec2"], Path("nowhere"))
