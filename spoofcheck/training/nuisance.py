"""How much of the label can be told from what is not synthesis: bandwidth, noise floor, level, duration, zeros."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from spoofcheck.training.store import Wave
from spoofcheck.types import SAMPLE_RATE_HZ

FEATURES = ("bandwidth_hz", "floor_db", "level_db", "active_share", "zero_share", "high_band_db")


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


def nuisance_auc(features: NDArray[np.float64], labels: NDArray[np.int64], seed: int) -> float:
    """Cross-validated AUC of a small classifier on `[n, 6]`; 0.5 says that nothing can be told."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = GradientBoostingClassifier(n_estimators=60, max_depth=2, random_state=seed)
    scores = cross_val_predict(model, features, labels, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(labels, scores))
