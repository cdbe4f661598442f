"""The figures of a detector that a card shows, and which of them a model carries into every report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spoofcheck.detect.calibration import to_llr
from spoofcheck.detect.decision import flagged_runs
from spoofcheck.nets.config import CalibrationConfig, DecisionConfig
from spoofcheck.schema import ValidationFigure
from spoofcheck.training.breakdowns import (
    by_duration,
    by_fold,
    by_group,
    by_language,
    by_source,
    lossless_rates,
)
from spoofcheck.training.conditions import ORIGINAL
from spoofcheck.training.exhibits import LONG, Exhibit
from spoofcheck.training.rates import (
    Figures,
    Verdict,
    by_system,
    exhibit_rates,
    holds_both,
    of_humans,
    shares,
    verdict_of,
    window_rates,
)
from spoofcheck.training.reliability import calibration_plot
from spoofcheck.types import WindowScore, seconds_to_samples

SPLITS = ("dev", "test")
_DATASETS = {"dev": "dev (calibration and thresholds were set on it)", "test": "test (never used to choose)"}
_LEFT_OUT = "left out (by networks that met neither repository nor generator family; calibration was set on it)"


def detector_figures(
    exhibits: Sequence[Exhibit],
    calibration: CalibrationConfig,
    decision: DecisionConfig,
    conditions: Sequence[str],
    folds: Sequence[Mapping[str, Any]] = (),
) -> Figures:
    """All figures by split, rounded to four places; only of splits, and under conditions, that hold both classes.

    Args:
        exhibits: every scored recording. Where there are folds, those of dev carry the fold that left them out.
        calibration: what turns their raw scores into LLRs.
        decision: what turns LLRs into verdicts.
        conditions: those the recordings were scored under, beside as they are.
        folds: `name`, `repos`, `families` and `also_without` (copies and engines dropped with them) of every fold; they
            come back below the key `folds`, beside the splits.
    """
    verdict = verdict_of(calibration, decision)
    result: Figures = {}
    for split in SPLITS:
        here = [exhibit for exhibit in exhibits if exhibit.split == split]
        originals = [exhibit for exhibit in here if exhibit.condition == ORIGINAL]
        if not holds_both(originals):
            continue
        human = of_humans(originals)
        result[split] = {
            "window": window_rates(originals, calibration),
            "exhibit": exhibit_rates(originals, calibration),
            "lossless": lossless_rates(originals, calibration),
            "conditions": {
                name: exhibit_rates(degraded, calibration)
                for name in conditions
                if holds_both(degraded := [exhibit for exhibit in here if exhibit.condition == name])
            },
            "folds": by_fold(originals, folds, calibration, verdict) if split == "dev" else [],
            "verdicts": _verdict_rows(here, conditions, verdict),
            "languages": by_language(originals, verdict),
            "human_by_source": by_source(human, verdict),
            "human_groups": by_group(human, verdict),
            "by_duration": by_duration(originals, verdict),
            "systems": by_system(originals, verdict),
            "long_human": passages([e for e in here if e.condition == LONG], calibration, decision),
            "calibration_plot": calibration_plot(originals, calibration),
        }
    if folds and "dev" in result:
        result["folds"] = [dict(fold) for fold in folds]
    return dict(rounded(result))


def raw_figures(exhibits: Sequence[Exhibit]) -> Figures:
    """What raw scores alone say, by split, rounded to four places: the figures of a detector without calibration."""
    result: Figures = {}
    for split in SPLITS:
        originals = [one for one in exhibits if one.split == split and one.condition == ORIGINAL]
        if holds_both(originals):
            result[split] = {
                "window": window_rates(originals, None),
                "exhibit": exhibit_rates(originals, None),
                "systems": [
                    {key: row[key] for key in ("repo", "system", "trials", "eer")}
                    for row in by_system(originals, lambda _: "")
                ],
            }
    return dict(rounded(result))


def uncalibrated_limitation(figures: Figures) -> str:
    """The sentence that a detector without calibration carries into every report, from its `raw_figures`."""
    shares = "; ".join(
        f"{split}: {100 * f['exhibit']['eer']:.1f} % of {f['exhibit']['bonafide_trials']} human and "
        f"{f['exhibit']['spoof_trials']} synthetic recordings"
        for split, f in figures.items()
    )
    return (
        "Not calibrated: on dev its higher scores did not mean synthetic speech, so that it gives raw scores but "
        f"neither a likelihood ratio nor a verdict. EER of its raw scores ({shares}); 50 % is guessing, and above that "
        "they point the wrong way."
    )


def validation_figures(figures: Figures) -> tuple[ValidationFigure, ...]:
    """The part of the figures that a model's config carries into every report."""
    names = _DATASETS | ({"dev": _LEFT_OUT} if figures.get("folds") else {})
    return tuple(
        ValidationFigure(
            dataset=names[split],
            level=level,
            **{name: value for name, value in figures[split][level].items() if name != "macro_eer"},
        )
        for split in SPLITS
        if split in figures
        for level in ("window", "exhibit")
    )


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
