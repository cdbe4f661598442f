"""The figures of a detector that a card shows: error rates, verdicts, systems, sources, durations."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from spoofcheck.detect.calibration import to_llr
from spoofcheck.detect.decision import flagged_runs
from spoofcheck.evaluation.metrics import act_dcf, bootstrap_interval, cllr, cllr_min, eer, min_dcf
from spoofcheck.nets.config import CalibrationConfig, DecisionConfig, LogisticMap
from spoofcheck.schema import ValidationFigure
from spoofcheck.training.conditions import ORIGINAL
from spoofcheck.training.exhibits import LONG, Exhibit
from spoofcheck.types import WindowScore, seconds_to_samples

Figures = dict[str, Any]
Verdict = Callable[[Exhibit], str]

_DRAWS = 500
_FEWEST = 3
"""Clips a system needs to count in a mean over systems."""


def detector_figures(
    exhibits: Sequence[Exhibit], calibration: CalibrationConfig, decision: DecisionConfig, conditions: Sequence[str]
) -> Figures:
    """All figures by split, rounded to four places; only of splits, and under conditions, that hold both classes."""
    verdict = verdict_of(calibration, decision)
    result: Figures = {}
    for split in ("dev", "test"):
        here = [exhibit for exhibit in exhibits if exhibit.split == split]
        originals = [exhibit for exhibit in here if exhibit.condition == ORIGINAL]
        if not _holds_both(originals):
            continue
        human = [exhibit for exhibit in originals if not exhibit.clip.is_spoof]
        result[split] = {
            "window": window_rates(originals, calibration),
            "exhibit": exhibit_rates(originals, calibration),
            "conditions": {
                name: exhibit_rates(degraded, calibration)
                for name in conditions
                if _holds_both(degraded := [exhibit for exhibit in here if exhibit.condition == name])
            },
            "verdicts": _verdict_rows(here, conditions, verdict),
            "human_by_source": [
                {"source": source} | shares([exhibit for exhibit in human if source_of(exhibit) == source], verdict)
                for source in sorted({source_of(exhibit) for exhibit in human})
            ],
            "by_duration": by_duration(originals, verdict),
            "systems": by_system(originals, verdict),
            "long_human": passages([e for e in here if e.condition == LONG], calibration, decision),
        }
    return dict(rounded(result))


def validation_figures(figures: Figures) -> tuple[ValidationFigure, ...]:
    """The part of the figures that a model's config carries into every report."""
    names = {"dev": "dev (calibration and thresholds were set on it)", "test": "test (never used to choose)"}
    return tuple(
        ValidationFigure(
            dataset=names[split],
            level=level,
            **{name: value for name, value in figures[split][level].items() if name != "macro_eer"},
        )
        for split in figures
        for level in ("window", "exhibit")
    )


def exhibit_rates(exhibits: Sequence[Exhibit], calibration: CalibrationConfig) -> Figures:
    """Error figures with whole recordings as trials; LLRs as a scan gives them."""
    raw = [exhibit.raw_score for exhibit in exhibits]
    rates = _rates(raw, exhibits, calibration.exhibit, calibration.llr_bound)
    each = [row["eer"] for row in by_system(exhibits, lambda _: "") if row["trials"] >= _FEWEST]
    return rates | {"macro_eer": float(np.mean(each)) if each else rates["eer"]}


def window_rates(exhibits: Sequence[Exhibit], calibration: CalibrationConfig) -> Figures:
    """Error figures with windows as trials."""
    pairs = [(raw, exhibit) for exhibit in exhibits for _, _, raw in exhibit.windows]
    return _rates([raw for raw, _ in pairs], [e for _, e in pairs], calibration.window, calibration.llr_bound)


def _rates(raw_scores: Sequence[float], owners: Sequence[Exhibit], logistic: LogisticMap, bound: float) -> Figures:
    # Ranks come from raw scores: the bound ties the strongest LLRs, which is no property of the network.
    scores = -np.asarray(raw_scores, np.float64)
    llrs = np.array([-to_llr(raw, logistic, bound) for raw in raw_scores])
    bonafide = np.array([not exhibit.clip.is_spoof for exhibit in owners])
    sources = np.array([exhibit.clip.source for exhibit in owners])
    rate = eer(scores, bonafide)
    try:
        low, high = bootstrap_interval(scores, bonafide, sources, eer, draws=_DRAWS)
    except ValueError:  # one source of a class says nothing of its spread
        low, high = 0.0, 1.0
    return {
        "bonafide_trials": int(bonafide.sum()),
        "spoof_trials": int((~bonafide).sum()),
        "eer": rate,
        "eer_low": low,
        "eer_high": high,
        "min_dcf": min_dcf(scores, bonafide),
        "act_dcf": act_dcf(llrs, bonafide),
        "cllr": cllr(llrs, bonafide),
        "cllr_min": cllr_min(scores, bonafide),
    }


def verdict_of(calibration: CalibrationConfig, decision: DecisionConfig) -> Verdict:
    """The verdict of an exhibit by its pooled LLR and its speech; the recording's condition is left aside."""

    def verdict(exhibit: Exhibit) -> str:
        llr = to_llr(exhibit.raw_score, calibration.exhibit, calibration.llr_bound)
        if exhibit.speech_s < decision.min_exhibit_speech_s:
            return "inconclusive"
        if llr >= decision.spoof_threshold_llr:
            return "spoof"
        return "bonafide" if llr <= decision.bonafide_threshold_llr else "inconclusive"

    return verdict


def by_system(exhibits: Sequence[Exhibit], verdict: Verdict) -> list[Figures]:
    """Each spoofing system against all human exhibits, worst first."""
    human = [-exhibit.raw_score for exhibit in exhibits if not exhibit.clip.is_spoof]
    systems: dict[tuple[str, str], list[Exhibit]] = defaultdict(list)
    for exhibit in exhibits:
        if exhibit.clip.is_spoof:
            systems[exhibit.clip.repo, exhibit.clip.system].append(exhibit)
    table = []
    for (repo, system), members in sorted(systems.items()):
        scores = [-exhibit.raw_score for exhibit in members]
        labels = np.repeat([True, False], [len(human), len(scores)])
        table.append(
            {"repo": repo, "system": system, "eer": eer(np.array([*human, *scores]), labels)} | shares(members, verdict)
        )
    return sorted(table, key=lambda row: -row["eer"])


def shares(exhibits: Sequence[Exhibit], verdict: Verdict) -> Figures:
    """Share of each verdict."""
    given = [verdict(exhibit) for exhibit in exhibits]
    return {
        "trials": len(given),
        **{name: given.count(name) / max(1, len(given)) for name in ("spoof", "inconclusive", "bonafide")},
    }


def source_of(exhibit: Exhibit) -> str:
    """Repository and data set of a clip, in words."""
    clip = exhibit.clip
    return clip.repo if clip.corpus in ("-", clip.repo) else f"{clip.repo} ({clip.corpus})"


def by_duration(exhibits: Sequence[Exhibit], verdict: Verdict) -> list[Figures]:
    """Error figures by seconds of speech, where there are ten exhibits of both classes."""
    table = []
    for low, high in ((0.5, 2.0), (2.0, 4.0), (4.0, 8.0), (8.0, math.inf)):
        members = [exhibit for exhibit in exhibits if low <= exhibit.speech_s < high]
        human = [exhibit for exhibit in members if not exhibit.clip.is_spoof]
        if min(len(human), len(members) - len(human)) < 10:
            continue
        scores = np.array([-exhibit.raw_score for exhibit in members])
        table.append(
            {
                "speech_s": f"{low:g}-{high:g}" if high < math.inf else f"over {low:g}",
                "bonafide_trials": len(human),
                "spoof_trials": len(members) - len(human),
                "eer": eer(scores, np.array([not exhibit.clip.is_spoof for exhibit in members])),
                "false_alarms": shares(human, verdict)["spoof"],
            }
        )
    return table


def passages(exhibits: Sequence[Exhibit], calibration: CalibrationConfig, decision: DecisionConfig) -> Figures:
    """How often a run of windows is flagged in long human recordings."""
    runs = [
        len(list(flagged_runs([_window(*window, calibration) for window in exhibit.windows], decision)))
        for exhibit in exhibits
    ]
    return {
        "recordings": len(exhibits),
        "minutes": sum(max(end for _, end, _ in exhibit.windows) for exhibit in exhibits) / 60,
        "runs": sum(runs),
        "recordings_with_runs": sum(count > 0 for count in runs),
    }


def rounded(value: Any) -> Any:
    """Every number in a table to four places, so that a rebuilt card differs only where a figure does."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def _holds_both(exhibits: Sequence[Exhibit]) -> bool:
    return len({exhibit.clip.is_spoof for exhibit in exhibits}) == 2


def _verdict_rows(exhibits: Sequence[Exhibit], conditions: Sequence[str], verdict: Verdict) -> list[Figures]:
    return [
        {"clips": words, "condition": condition}
        | shares([e for e in exhibits if e.condition == condition and e.clip.is_spoof == spoof], verdict)
        for condition in (ORIGINAL, *conditions)
        for words, spoof in (("human", False), ("synthetic", True))
    ]


def _window(start_s: float, end_s: float, raw: float, calibration: CalibrationConfig) -> WindowScore:
    llr = to_llr(raw, calibration.window, calibration.llr_bound)
    return WindowScore(seconds_to_samples(start_s), seconds_to_samples(end_s), None, raw, llr, None)
