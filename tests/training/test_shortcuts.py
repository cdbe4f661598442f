from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip, Label
from spoofcheck.training.made import Failed
from spoofcheck.training.nuisance import CLIP_FEATURES, clip_nuisances, grouped_nuisance_auc
from spoofcheck.training.shortcuts import Measured, Shortcut, choose, find_shortcuts, measure_all


def measured(labels: NDArray[np.int64], planted: dict[str, NDArray[np.float64]], repos: int = 8) -> list[Measured]:
    rng = np.random.default_rng(0)
    noise = {name: rng.standard_normal(labels.size) for name in CLIP_FEATURES} | planted
    return [
        Measured(
            Clip(
                name=str(index),
                path=Path(str(index)),
                label="spoof" if label else "bonafide",
                speaker=str(index % 20),
                repo=f"r{index % repos}",
            ),
            {name: float(values[index]) for name, values in noise.items()},
            "wav/pcm_16",
        )
        for index, label in enumerate(labels)
    ]


def by_feature(shortcuts: tuple[Shortcut, ...]) -> dict[str, Shortcut]:
    return {shortcut.feature: shortcut for shortcut in shortcuts}


def test_a_label_tied_to_level_is_found_and_the_rest_is_not() -> None:
    labels = np.random.default_rng(1).integers(0, 2, 300)
    level = np.random.default_rng(2).standard_normal(300) + 6 * labels
    report = find_shortcuts(measured(labels, {"level_dbfs": level}))
    found = by_feature(report.shortcuts)
    assert (report.bonafide + report.spoof, report.speakers, report.repos) == (300, 40, 8)
    assert report.shortcuts[0].feature == "all together"
    assert report.shortcuts[1].feature == "level_dbfs"
    for name in ("all together", "level_dbfs"):
        assert found[name].is_warning
        for auc in (found[name].auc, found[name].by_speaker, found[name].by_repo):
            assert auc is not None
            assert auc > 0.97
    assert found["codec"].auc == pytest.approx(0.5, abs=0.05)


def test_a_balanced_corpus_gives_half() -> None:
    labels = np.random.default_rng(3).integers(0, 2, 400)
    together = find_shortcuts(measured(labels, {})).shortcuts[0]
    for auc in (together.auc, together.by_speaker, together.by_repo):
        assert auc is not None
        assert 0.4 < auc < 0.6


def test_a_feature_of_the_page_is_told_from_one_of_the_class() -> None:
    """A level that belongs to the repository tells the label of its other clips, but not that of other repositories."""
    rng = np.random.default_rng(0)
    repo = np.arange(400) % 8
    labels = (rng.random(400) < np.where(repo % 2, 0.9, 0.1)).astype(np.int64)
    level = rng.permutation(8)[repo] + 0.01 * rng.standard_normal(400)
    found = by_feature(find_shortcuts(measured(labels, {"level_dbfs": level})).shortcuts)["level_dbfs"]
    assert found.auc is not None
    assert found.by_repo is not None
    assert found.auc > 0.8
    assert found.by_repo < 0.6


def test_a_codec_is_a_feature() -> None:
    labels = np.arange(100) % 2
    items = measured(labels, {})
    items = [Measured(item.clip, item.features, "mp3" if item.clip.is_spoof else "wav") for item in items]
    assert by_feature(find_shortcuts(items).shortcuts)["codec"].auc == pytest.approx(1.0)


def test_copies_are_not_parted_from_their_sources() -> None:
    """Were a clip and its copy in training and test, equal durations would tell the label upside down."""
    rng = np.random.default_rng(0)
    duration_s = np.repeat(rng.uniform(1, 9, 100), 2)
    items = [
        Measured(
            Clip(
                name=f"{index % 2}/{index // 2}",
                path=Path("x"),
                label="spoof" if index % 2 else "bonafide",
                note=f"copy of r/{index // 2}",
            ),
            {**dict.fromkeys(CLIP_FEATURES, 0.0), "duration_s": value},
            "wav",
        )
        for index, value in enumerate(duration_s)
    ]
    assert by_feature(find_shortcuts(items).shortcuts)["duration_s"].auc == pytest.approx(0.5, abs=0.01)


def test_too_few_clips_or_groups_say_nothing() -> None:
    with pytest.raises(UsageError, match="5 bona fide and 45 spoofed"):
        find_shortcuts(measured((np.arange(50) >= 5).astype(np.int64), {}))
    features, labels = np.zeros((20, 1)), np.arange(20) % 2
    assert grouped_nuisance_auc(features, labels, ["a" if label else "b" for label in labels], 0) is None


def test_features_of_a_file_are_what_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wave = 0.1 * rng.standard_normal(44_100)
    wave[:4410] = 0
    soundfile.write(tmp_path / "a.flac", np.stack([wave, wave], axis=1), 22_050)
    features, codec = clip_nuisances(tmp_path / "a.flac")
    assert codec == "flac/pcm_16"
    assert tuple(features) == CLIP_FEATURES
    assert features["duration_s"] == pytest.approx(2)
    assert features["sample_rate_hz"] == 22_050
    assert features["bandwidth_hz"] == pytest.approx(11_025, abs=50)
    assert features["zero_share"] == pytest.approx(0.1, abs=0.002)
    assert features["level_dbfs"] == pytest.approx(-20.5, abs=0.3)
    assert features["floor_dbfs"] == pytest.approx(-120)
    assert features["channels"] == 2


def test_a_clip_shorter_than_a_frame_is_measured(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(100, 0.5), 16_000)
    assert clip_nuisances(tmp_path / "a.wav")[0]["level_dbfs"] == pytest.approx(-6.02, abs=0.01)


def test_the_choice_depends_on_names_alone() -> None:
    labels: list[Label] = ["bonafide", "spoof"]
    clips = [Clip(str(index), Path("x"), labels[index % 2]) for index in range(60)]
    chosen = choose(clips, 10, 0)
    assert sum(clip.is_spoof for clip in chosen) == 10
    assert {clip.name for clip in chosen} == {clip.name for clip in choose(clips[::-1], 10, 0)}
    assert chosen == sorted(chosen, key=lambda clip: int(clip.name))
    assert len(choose(clips, 400, 0)) == 60


def test_unreadable_clips_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"no")
    assert [type(item) for item in measure_all([Clip("x", tmp_path / "x.wav", "spoof")])] == [Failed]
