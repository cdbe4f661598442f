"""Scored recordings made up number by number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import NormalDist

from spoofcheck.evaluation.clips import Clip
from spoofcheck.nets.config import CalibrationConfig, DecisionConfig, LogisticMap
from spoofcheck.training.conditions import ORIGINAL
from spoofcheck.training.exhibits import Exhibit, Split


def exhibit(
    raw_score: float,
    system: str = "-",
    *,
    split: Split = "dev",
    condition: str = ORIGINAL,
    speech_s: float = 5.0,
    windows: Iterable[float] | None = None,
    speaker: str = "-",
    repo: str = "made/here",
    corpus: str = "-",
) -> Exhibit:
    """Human speech (system `"-"`) or a system's; its windows last 4 s and score as the whole does unless told."""
    scores = [raw_score] if windows is None else list(windows)
    clip = Clip(
        f"{split}/{system}/{raw_score}.wav", Path("none.wav"), "bonafide" if system == "-" else "spoof",
        system=system, split=split, speaker=speaker, repo=repo, corpus=corpus,
    )  # fmt: skip
    cut = tuple((4.0 * number, 4.0 * number + 4.0, score) for number, score in enumerate(scores))
    return Exhibit(split, condition, clip, speech_s, raw_score, cut)


def normal(count: int, mean: float, deviation: float = 1.0) -> list[float]:
    """The quantiles of a normal distribution: a sample without chance."""
    return [NormalDist(mean, deviation).inv_cdf((place + 0.5) / count) for place in range(count)]


def neutral_calibration(llr_bound: float = 5.0, slope: float = 1.0) -> CalibrationConfig:
    """LLRs are `slope` times the raw scores, within the bound."""
    scale = LogisticMap(slope=slope, intercept=0.0)
    return CalibrationConfig(
        window=scale, exhibit=scale, llr_bound=llr_bound, data="none", bonafide_trials=9, spoof_trials=9
    )


def decision(spoof: float = 1.0, bonafide: float = -1.0, window: float = 1.0) -> DecisionConfig:
    """Thresholds; two windows make a passage, two seconds of speech an exhibit."""
    return DecisionConfig(
        spoof_threshold_llr=spoof, bonafide_threshold_llr=bonafide, window_threshold_llr=window,
        partial_min_windows=2, partial_threshold_llr=window + 0.5, min_window_speech_s=0.5, min_exhibit_speech_s=2.0,
    )  # fmt: skip
