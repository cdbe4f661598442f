from __future__ import annotations

import numpy as np

from spoofcheck.training.nuisance import nuisance_auc


def test_nuisance_auc_sees_a_planted_shortcut_and_nothing_in_noise() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((400, 6)), np.repeat([0, 1], 200)
    assert nuisance_auc(features, labels, 0) < 0.62
    features[labels == 1, 1] += 3
    assert nuisance_auc(features, labels, 0) > 0.95
