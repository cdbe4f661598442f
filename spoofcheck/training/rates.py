"""Error rates and verdicts of scored recordings: what every table of a card is made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofcheck.detect.calibration import to_llr
from spoofcheck.evaluation.metrics import act_dcf, bootstrap_interval, cllr, cllr_min, eer, min_dcf
from spoofcheck.nets.config import CalibrationConfig, DecisionConfig, LogisticMap
from spoofcheck.training.exhibits import Exhibit

Figures = dict[str, Any]
Verdict = Callable[[Exhibit], str]

_DRAWS = 500
_FEWEST = 3
"""Clips a system needs to count in a mean over systems."""


def holds_both(exhibits: Iterable[Exhibit]) -> bool:
    """Whether there are human and synthetic ones among them, which an error rate needs."""
    return len({exhibit.clip.is_spoof for exhibit in exhibits}) == 2


def of_humans(exhibits: Iterable[Exhibit]) -> list[Exhibit]:
    """The exhibits that hold human speech."""
    return [exhibit for exhibit in exhibits if not exhibit.clip.is_spoof]


def of_spoofs(exhibits: Iterable[Exhibit]) -> list[Exhibit]:
    """The exhibits that hold synthetic speech."""
    return [exhibit for exhibit in exhibits if exhibit.clip.is_spoof]


def exhibit_rates(exhibits: Sequence[Exhibit], calibration: CalibrationConfig | None) -> Figures:
    """Error figures with whole recordings as trials; LLRs as a scan gives them.

    Without a calibration there are no LLRs, so neither `act_dcf` nor `cllr`.
    """
    raw = [exhibit.raw_score for exhibit in exhibits]
    llrs = None if calibration is None else _llrs(raw, calibration.exhibit, calibration.llr_bound)
    rates = _rates(raw, exhibits, llrs)
    each = [row["eer"] for row in by_system(exhibits, lambda _: "") if row["trials"] >= _FEWEST]
    return rates | {"macro_eer": float(np.mean(each)) if each else rates["eer"]}


def window_rates(exhibits: Sequence[Exhibit], calibration: CalibrationConfig | None) -> Figures:
    """Error figures with windows as trials; without a calibration as `exhibit_rates`."""
    pairs = [(raw, exhibit) for exhibit in exhibits for _, _, raw in exhibit.windows]
    raw = [raw for raw, _ in pairs]
    llrs = None if calibration is None else _llrs(raw, calibration.window, calibration.llr_bound)
    return _rates(raw, [exhibit for _, exhibit in pairs], llrs)


def _llrs(raw_scores: Sequence[float], logistic: LogisticMap, bound: float) -> NDArray[np.float64]:
    """Bounded LLRs, here positive for human speech, as the metrics have it."""
    return np.array([-to_llr(raw, logistic, bound) for raw in raw_scores])


def _rates(raw_scores: Sequence[float], owners: Sequence[Exhibit], llrs: NDArray[np.float64] | None) -> Figures:
    # Ranks come from raw scores: the bound ties the strongest LLRs, which is no property of the network.
    scores = -np.asarray(raw_scores, np.float64)
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
        **({} if llrs is None else {"act_dcf": act_dcf(llrs, bonafide), "cllr": cllr(llrs, bonafide)}),
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
