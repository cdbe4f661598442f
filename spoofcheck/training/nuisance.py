"""How much of the label can be told from what is not synthesis: bandwidth, noise floor, level, duration, zeros."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.utils.class_weight import compute_sample_weight

from spoofcheck.audio.decode import decode_blocks
from spoofcheck.audio.probe import probe
from spoofcheck.training.facts import BandwidthMeter, codec_of
from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ

FEATURES = ("bandwidth_hz", "floor_db", "level_db", "active_share", "zero_share", "high_band_db")
"""Of a training window."""

CLIP_FEATURES = (
    "duration_s",
    "sample_rate_hz",
    "bandwidth_hz",
    "level_dbfs",
    "floor_dbfs",
    "floor_below_speech_db",
    "active_share",
    "zero_share",
    "channels",
)
"""Of a whole file; its codec is the tenth."""


def nuisance_features(wave: Wave) -> NDArray[np.float64]:
    """`[6]`, in the order of `FEATURES`, of one window."""
    frames = wave[: wave.size - wave.size % 512].reshape(-1, 512)
    level_db = 10 * np.log10(np.mean(np.square(frames), axis=1) + 1e-12)
    power = np.mean(np.square(np.abs(np.fft.rfft(frames * np.hanning(512), axis=1))), axis=0) + 1e-14
    spectrum_db = 10 * np.log10(power / power.max())
    above = np.flatnonzero(spectrum_db > -60)
    return np.array(
        [
            above[-1] * SAMPLE_RATE_HZ / 512,
            np.percentile(level_db, 5) - np.percentile(level_db, 95),
            10 * np.log10(np.mean(np.square(wave)) + 1e-12),
            np.mean(level_db > np.percentile(level_db, 95) - 30),
            np.mean(wave == 0),
            spectrum_db[192:].mean(),
        ]
    )


def clip_nuisances(path: Path, most_s: float = 30.0) -> tuple[dict[str, float], str]:
    """What can be measured of a clip that is not synthesis: `CLIP_FEATURES` by name, and its codec.

    Levels are in dBFS over frames of 20 ms at the file's own rate, from its first `most_s` seconds; the duration is
    that of the whole file.

    Raises:
        InputError: it cannot be decoded.
    """
    file = probe(path)
    frame = max(1, file.sample_rate_hz // 50)
    bandwidth = BandwidthMeter(file.sample_rate_hz)
    powers, zeros, frames, heard = [], 0, 0, int(most_s * file.sample_rate_hz)
    with closing(decode_blocks(file, frame * 256)) as blocks:
        for block in blocks:
            if frames < heard:
                mono = block.mean(axis=1, dtype=np.float32)
                bandwidth.push(mono)
                zeros += int(np.count_nonzero(mono == 0))
                whole = mono[: mono.size - mono.size % frame] if mono.size >= frame else mono
                powers.append(np.mean(np.square(whole.reshape(-1, min(frame, mono.size)), dtype=np.float64), axis=1))
                measured = frames + len(block)
            frames += len(block)
    power = np.concatenate(powers)
    level_db = 10 * np.log10(power + 1e-12)
    floor_db, speech_db = np.percentile(level_db, [5, 95])
    features = {
        "duration_s": frames / file.sample_rate_hz,
        "sample_rate_hz": float(file.sample_rate_hz),
        "bandwidth_hz": bandwidth.finish(),
        "level_dbfs": float(10 * np.log10(power.mean() + 1e-12)),
        "floor_dbfs": float(floor_db),
        "floor_below_speech_db": float(speech_db - floor_db),
        "active_share": float(np.mean(level_db > speech_db - 30)),
        "zero_share": zeros / measured,
        "channels": float(file.channels),
    }
    return features, codec_of(file)


def nuisance_auc(features: NDArray[np.float64], labels: NDArray[np.int64], seed: int) -> float:
    """Cross-validated AUC of a small classifier on `[n, k]`; 0.5 says that nothing can be told.

    Raises:
        ValueError: fewer than two of a class.
    """
    auc = _auc(features, labels, seed, None)
    if auc is None:
        raise ValueError("two folds need at least two clips of each class")
    return auc


def grouped_nuisance_auc(
    features: NDArray[np.float64], labels: NDArray[np.int64], groups: Sequence[str], seed: int
) -> float | None:
    """As `nuisance_auc`, but no group `[n]` is trained and tested on both.

    Folds then differ in how much of either class they hold, so both classes weigh the same in every training.

    Returns:
        None when there are too few groups for two folds that leave both classes to train on.
    """
    return _auc(features, labels, seed, groups)


def _auc(
    features: NDArray[np.float64], labels: NDArray[np.int64], seed: int, groups: Sequence[str] | None
) -> float | None:
    folds = _folds(features, labels, seed, groups)
    if folds is None:
        return None
    scores = np.zeros(len(labels))
    for train, test in folds:
        model = GradientBoostingClassifier(n_estimators=60, max_depth=2, random_state=seed)
        weights = None if groups is None else compute_sample_weight("balanced", labels[train])
        model.fit(features[train], labels[train], sample_weight=weights)
        scores[test] = model.predict_proba(features[test])[:, 1]
    return float(roc_auc_score(labels, scores))


def _folds(
    features: NDArray[np.float64], labels: NDArray[np.int64], seed: int, groups: Sequence[str] | None
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]] | None:
    rarest = min(int(np.count_nonzero(labels == label)) for label in (0, 1))
    if groups is not None:
        rarest = min(len({group for group, of in zip(groups, labels, strict=True) if of == label}) for label in (0, 1))
    for splits in range(min(5, rarest), 1, -1):
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        folds = list(kind(splits, shuffle=True, random_state=seed).split(features, labels, groups))
        if all(len(np.unique(labels[train])) == 2 for train, _ in folds):
            return folds
    return None
