"""The simple opponents as models of `scan`: from a directory on disk to a finding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.detect.scorer import WindowScorer
from spoofcheck.nets.bundle import load_bundle, save_bundle
from spoofcheck.nets.config import (
    AasistConfig,
    AnyBackEndConfig,
    AnyFrontEndConfig,
    MelCnnConfig,
    MelSpectrogramConfig,
    SpectralStemConfig,
    VoiceStatisticsConfig,
)
from spoofcheck.nets.detector import build_detector
from spoofcheck.nets.statistics import voice_statistics
from spoofcheck.nets.trees import boosted_trees_state
from tests.support.audio import write_wav
from tests.support.models import tiny_config


def clips(count: int, samples: int = 64_000) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    seconds = np.arange(samples) / 16_000
    tones = [np.sin(2 * np.pi * hz * seconds) for hz in random.uniform(80, 2_000, count)]
    return [(0.3 * tone + 0.1 * random.standard_normal(samples)).astype(np.float32) for tone in tones]


def saved(directory: Path, front_end: AnyFrontEndConfig, back_end: AnyBackEndConfig, state: object = None) -> Path:
    config = tiny_config(directory.name).model_copy(update={"front_end": front_end, "back_end": back_end})
    torch.manual_seed(0)
    network = build_detector(front_end, back_end)
    if state is not None:
        network.back_end.load_state_dict(state)
    save_bundle(directory, config, network, "# Baseline\n")
    return directory


def trees(directory: Path) -> Path:
    rows = np.stack([voice_statistics(clip) for clip in clips(40, samples=16_000)])
    labels = (rows[:, 28] > np.median(rows[:, 28])).astype(int)
    model = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5).fit(rows, labels)
    return saved(directory, VoiceStatisticsConfig(), *boosted_trees_state(model))


def mel_cnn(directory: Path) -> Path:
    return saved(directory, MelSpectrogramConfig(bands=32), MelCnnConfig(channels=32, widths=(4, 8)))


def aasist(directory: Path) -> Path:
    back_end = AasistConfig(channels=64, width=12, filters=(4, 4), graph_channels=6, stack_channels=4)
    return saved(directory, SpectralStemConfig(channels=(4, 4, 8, 8, 8, 16)), back_end)


KINDS = {"features-gbm": trees, "mel-cnn": mel_cnn, "aasist": aasist}


@pytest.fixture(scope="module", params=sorted(KINDS))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return KINDS[request.param](tmp_path_factory.mktemp("baselines") / request.param)


def test_scan_gives_a_finding(model: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.wav"
    write_wav(clip, np.concatenate(clips(2)), 16_000, subtype="FLOAT")
    scanner = Scanner(model, ScanOptions(vad=False, device="cpu", workers=1, debug=True))
    (finding,) = scanner.findings([clip])
    assert len(finding.windows) >= 2
    direct = WindowScorer(load_bundle(model), "cpu").score(clips(2))
    assert finding.windows[0].raw_score == pytest.approx(direct[0].raw_score, abs=1e-3)


def test_batches_change_nothing(model: Path) -> None:
    windows = clips(5)
    together, alone = (
        [window.raw_score for window in WindowScorer(load_bundle(model), "cpu", batch).score(windows)]
        for batch in (5, 1)
    )
    assert together == pytest.approx(alone, abs=1e-5)
    assert np.std(together) > 0
    silent, again = (
        WindowScorer(load_bundle(model), "cpu", batch).score([np.zeros(64_000, dtype=np.float32)]) for batch in (2, 1)
    )
    assert silent[0].raw_score == pytest.approx(again[0].raw_score)
