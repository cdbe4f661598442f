"""What dev and test are measured on, and that it is scored as a scan would score it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.evaluation.clips import Clip
from spoofcheck.training.conditions import ORIGINAL, degrade
from spoofcheck.training.exhibits import (
    LONG,
    Exhibit,
    Recording,
    capped,
    long_recordings,
    recordings_of,
    score_exhibits,
)
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.recipe import FinishRule
from tests.support.audio import human_speech, write_wav


def clip(name: str, system: str = "-", repo: str = "r", speaker: str = "-", duration_s: float | None = 25.0) -> Clip:
    label = "bonafide" if system == "-" else "spoof"
    return Clip(name, Path(name), label, system=system, repo=repo, speaker=speaker, duration_s=duration_s)  # type: ignore[arg-type]


CLIPS = [clip(f"{system}{i}", system, repo) for repo in ("r", "q") for system in ("-", "x", "y") for i in range(9)]


def test_systems_are_capped_and_human_speech_at_twice_as_many() -> None:
    chosen = capped(CLIPS, 3)
    assert Counter((one.repo, one.system) for one in chosen) == {
        (repo, system): count for repo in ("r", "q") for system, count in (("-", 6), ("x", 3), ("y", 3))
    }
    assert len({(one.repo, one.name) for one in chosen}) == len(chosen)
    assert capped(CLIPS, 3) == chosen
    assert capped(CLIPS, None) == CLIPS
    assert sorted(one.name for one in capped(CLIPS[:9], 5)) == sorted(one.name for one in CLIPS[:9])
    assert [one.name for one in chosen if one.system == "x"] != [f"x{i}" for i in range(3)] * 2  # drawn, not the first


def test_long_recordings_string_human_clips_by_speaker() -> None:
    clips = [clip(f"{i}", speaker=f"s{i % 2}") for i in range(12)] + [clip(f"x{i}", "x") for i in range(9)]
    first, second, third = long_recordings(clips)
    assert [one.speaker for one in (*first, *second, *third)] == ["s0"] * 6 + ["s1"] * 6
    assert [len(parts) for parts in (first, second, third)] == [5, 5, 2]  # 125 s, 125 s, and 50 s left over
    assert [len(parts) for parts in long_recordings(clips[:6])] == [5]  # 25 s left over are too few
    assert list(long_recordings([clip("a", duration_s=None)] * 9)) == []
    apart = [clip(f"{repo}{i}", repo=repo) for repo in "ab" for i in range(4)]
    assert [{one.repo for one in parts} for parts in long_recordings(apart)] == [{"a"}, {"b"}]


def test_what_a_split_is_measured_on() -> None:
    rule = FinishRule(
        conditions=("8khz", "noise-15db"), most_per_system={"test": 4}, most_per_system_degraded={"test": 2}
    )
    recordings = recordings_of(CLIPS, "test", rule)
    assert Counter(one.condition for one in recordings) == {ORIGINAL: 32, "8khz": 16, "noise-15db": 16, LONG: 4}
    assert {one.split for one in recordings} == {"test"}
    assert all(one.parts == (one.clip,) for one in recordings if one.condition != LONG)
    assert all(len(one.parts) > 1 and one.clip == one.parts[0] for one in recordings if one.condition == LONG)
    assert len(recordings_of(CLIPS, "dev", rule)) == 3 * 54 + 4  # the caps are of test
    assert [one.clip for one in recordings_of(CLIPS, "dev", FinishRule())] == CLIPS  # and nothing degraded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds-long pieces of human speech, a stereo one, silence, and a file that is no audio."""
    folder = tmp_path_factory.mktemp("clips")
    speech = human_speech()
    write_wav(folder / "a.wav", speech[: 5 * 16_000], 16_000)
    write_wav(folder / "b.wav", speech[6 * 16_000 :], 16_000)
    write_wav(folder / "stereo.wav", np.stack([speech[:64_000], 0.2 * speech[:64_000]], axis=1), 16_000)
    write_wav(folder / "silence.wav", np.zeros(48_000, np.float32), 16_000)
    (folder / "broken.wav").write_bytes(b"no audio")
    return folder


@pytest.fixture(scope="module")
def scanner(tiny_model: Path) -> Scanner:
    return Scanner(tiny_model, ScanOptions(channels="mix", device="cpu"))


def recording(folder: Path, name: str, condition: str = ORIGINAL, *more: str) -> Recording:
    parts = tuple(replace(clip(part), path=folder / part) for part in (name, *more))
    return Recording("dev", condition, parts[0], parts)


def scanned(scanner: Scanner, path: Path) -> tuple[float | None, int]:
    (finding,) = scanner.findings([path])
    return finding.raw_score, sum(window.raw_score is not None for window in finding.windows)


def test_recordings_are_scored_as_a_scan_scores_them(scanner: Scanner, folder: Path, tmp_path: Path) -> None:
    wanted = [
        recording(folder, "a.wav"),
        recording(folder, "silence.wav"),
        recording(folder, "stereo.wav"),
        recording(folder, "a.wav", "8khz"),
        recording(folder, "broken.wav"),
        recording(folder, "broken.wav", "8khz"),
        recording(folder, "a.wav", "noise-15db"),
        recording(folder, "a.wav", LONG, "b.wav"),
        recording(folder, "b.wav"),
    ]
    exhibits = score_exhibits(scanner, wanted, 1, NoSteps())
    kept = [(one.condition, one.clip.name) for one in exhibits]
    assert kept == [  # silence and what cannot be read are left out; the order is kept
        (ORIGINAL, "a.wav"), (ORIGINAL, "stereo.wav"), ("8khz", "a.wav"), ("noise-15db", "a.wav"), (LONG, "a.wav"),
        (ORIGINAL, "b.wav"),
    ]  # fmt: skip
    by_name = dict(zip(kept, exhibits, strict=True))
    speech, _ = soundfile.read(folder / "a.wav", dtype="float32")
    for condition in (ORIGINAL, "8khz", "noise-15db"):
        path = write_wav(tmp_path / f"{condition}.wav", degrade(speech, condition, "a.wav"), 16_000, "FLOAT")
        one = by_name[condition, "a.wav"]
        raw, windows = scanned(scanner, path)
        assert one.raw_score == pytest.approx(raw, abs=1e-4)  # the batch a window is in moves its last digits
        assert len(one.windows) == windows
    assert len({round(one.raw_score, 3) for one in exhibits}) == len(exhibits)
    assert all(one.speech_s > 1 for one in exhibits)

    long = by_name[LONG, "a.wav"]
    assert len(long.windows) > len(by_name[ORIGINAL, "a.wav"].windows)
    assert long.windows[-1][1] == pytest.approx(5 + soundfile.info(folder / "b.wav").duration, abs=0.01)
    assert long.raw_score == pytest.approx(np.mean([score for _, _, score in long.windows]))

    again: list[Exhibit] = score_exhibits(scanner, wanted[3::-1], 2, NoSteps())
    assert [(one.condition, one.clip.name) for one in again] == kept[2::-1]
    assert [one.raw_score for one in again[::-1]] == pytest.approx([one.raw_score for one in exhibits[:3]], abs=1e-4)


def test_many_recordings_are_made_in_turn(scanner: Scanner, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Degraded copies of a corpus would fill the disk if all lay there at once."""
    from spoofcheck.training import exhibits as module

    monkeypatch.setattr(module, "_CHUNK", 2)
    seen: list[int] = []
    original = scanner.findings

    def counted(paths: list[Path]) -> object:
        seen.append(len(list(paths[0].parent.glob("*.wav"))))
        return original(paths)

    monkeypatch.setattr(scanner, "findings", counted)
    wanted = [recording(folder, name, "8khz") for name in ("a.wav", "b.wav", "stereo.wav", "b.wav", "a.wav")]
    exhibits = score_exhibits(scanner, wanted, 1, NoSteps())
    assert seen == [2, 2, 1]
    assert exhibits[0].raw_score == pytest.approx(exhibits[-1].raw_score, abs=1e-4)
    assert len({round(one.raw_score, 3) for one in exhibits}) == 3
