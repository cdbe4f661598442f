"""From what several detectors say of exhibits to one score: fusing, and fitting the weights of a fusion on dev."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from spoofcheck.errors import ModelError
from spoofcheck.nets.config import EnsembleConfig
from spoofcheck.nets.ensemble import fused
from spoofcheck.training.exhibits import LONG, Exhibit

_PENALTY_INVERSE = 1e6

Panel = Sequence[Sequence[Exhibit]]
"""The same exhibits as each member scored them."""


def fuse_exhibits(panel: Panel, config: EnsembleConfig) -> list[Exhibit]:
    """Exhibits as an ensemble scores them: every window's scores fused, then their mean; the rest is the first's.

    Raises:
        ModelError: the members have not scored the same windows.
    """
    _require_alike(panel)
    result = []
    for versions in zip(*panel, strict=True):
        raws = torch.tensor([[raw for _, _, raw in one.windows] for one in versions], dtype=torch.float64)
        scores = fused(raws.T, config).tolist()
        windows = tuple((start, end, raw) for (start, end, _), raw in zip(versions[0].windows, scores, strict=True))
        result.append(replace(versions[0], raw_score=sum(scores) / len(scores), windows=windows))
    return result


def fit_fusion(panel: Panel, *, systems_alike: bool) -> tuple[NDArray[np.float64], float]:
    """Weights `[members]` and bias of a logistic fusion, from the members' raw scores of dev exhibits.

    Both classes weigh the same, so that the fused score is a log likelihood ratio as far as it goes.

    Args:
        systems_alike: every spoofing system weighs the same, as in the calibration; False: every exhibit does.

    Raises:
        ModelError: a class without an exhibit, or members that have not scored the same windows.
    """
    _require_alike(panel)
    dev = [n for n, exhibit in enumerate(panel[0]) if exhibit.split == "dev" and exhibit.condition != LONG]
    scores = np.array([[exhibits[n].raw_score for exhibits in panel] for n in dev], dtype=np.float64)
    clips = [panel[0][n].clip for n in dev]
    spoof = np.array([clip.is_spoof for clip in clips], dtype=np.bool_)
    if not spoof.any() or spoof.all():
        raise ModelError("no fusion can be fitted: the dev exhibits are of one class")
    counts = Counter(clip.system for clip in clips if clip.is_spoof)
    weights = np.array([1 / counts[clip.system] if clip.is_spoof and systems_alike else 1.0 for clip in clips])
    for label in (False, True):
        weights[spoof == label] *= len(clips) / 2 / weights[spoof == label].sum()
    return fit_logistic_fusion(scores, spoof, weights)


def fit_logistic_fusion(
    scores: NDArray[np.float64], spoof: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Logistic regression of the label on raw scores, next to unpenalised: weights `[M]` and bias.

    Args:
        scores: `[N, M]`, higher means spoof.
        spoof: `[N]`.
        weights: `[N]`, of the trials.
    """
    # Standardised scores let the solver converge whatever units the members have.
    centre, spread = scores.mean(axis=0), np.maximum(scores.std(axis=0), np.finfo(np.float64).tiny)
    model = LogisticRegression(C=_PENALTY_INVERSE, tol=1e-10, max_iter=1_000)
    model.fit((scores - centre) / spread, spoof, sample_weight=weights)
    fitted = model.coef_[0] / spread
    return fitted, float(model.intercept_[0] - fitted @ centre)


def _require_alike(panel: Panel) -> None:
    first = [_identity(exhibit) for exhibit in panel[0]]
    for exhibits in panel[1:]:
        if [_identity(exhibit) for exhibit in exhibits] != first:
            raise ModelError("the members have not scored the same windows; no ensemble was made")


def _identity(exhibit: Exhibit) -> tuple[object, ...]:
    spans = tuple((start, end) for start, end, _ in exhibit.windows)
    return exhibit.split, exhibit.condition, exhibit.clip.repo, exhibit.clip.name, spans
