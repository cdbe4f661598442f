"""Calibrate on dev, fix the thresholds there, measure on dev and eval, and write the model directory.

`python report.py --scores S/scores.tsv --weights W --model models/compact-detector --nuisance X`. Also writes
`figures.json` beside this file: every figure of the card comes from there.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
from numpy.typing import NDArray

from spoofcheck.detect.calibration import to_llr
from spoofcheck.detect.decision import flagged_runs
from spoofcheck.evaluation.calibration import fit_logistic, llr_bound
from spoofcheck.evaluation.metrics import act_dcf, bootstrap_interval, cllr, cllr_min, eer, min_dcf
from spoofcheck.nets.bundle import save_bundle
from spoofcheck.nets.config import (
    CalibrationConfig,
    DecisionConfig,
    LogisticMap,
    ModelConfig,
    Nes2NetLaConfig,
    SpectralStemConfig,
    ValidatedConfig,
)
from spoofcheck.nets.detector import build_detector
from spoofcheck.schema import ValidationFigure
from spoofcheck.training.conditions import CONDITIONS, ORIGINAL
from spoofcheck.types import WindowScore

HERE = Path(__file__).parent
NAME, VERSION = "compact-detector", "1.0.0"
LICENCE = "Apache-2.0; its front-end is the stem of DistillMOS (Stahl & Gamper 2025), MIT"
FALSE_ALARMS = 0.05
"""Share of dev human exhibits, original condition, that the spoof threshold may flag."""
MISSES = 0.10
"""Share of dev spoofs, every system weighing the same, that the bona fide threshold may pass as human."""
MIN_SPEECH_S = 2.0
TRIALS_PER_SYSTEM = 60

LIMITATIONS = (
    "First version: on generators it never saw it separates little better than chance, and most recordings come out as "
    "inconclusive; see the per-system table of the model card before relying on any verdict.",
    "Trained mostly on English; other languages were hardly tested on human speech (eval: German, Portuguese, French).",
    "Singing, music, whispering, heavy background noise and speech below 3.4 kHz bandwidth were not examined; under "
    "noise at 15 dB it is close to chance.",
    "Neural speech codecs count as synthetic: a call that passed through one may be flagged.",
    "Positions are no finer than the 4 s window; absence of a finding does not show that a recording is unedited.",
)
TRAINING_DATA = (
    "Human speech: speechocean762, Picovoice wake-word and speech-to-intent benchmarks, Mycroft Precise community "
    "data, LibriSpeech (Resemblyzer). Synthetic: k2-fsa/sherpa samples (Piper, Supertonic, Kokoro, KittenTTS, VITS, "
    "Matcha, MeloTTS, MMS), Tortoise, NSF, and Griffin-Lim, WORLD and MelGAN copies of the human clips."
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """A window or an exhibit with its score."""

    condition: str
    split: str
    repo: str
    clip: str
    spoof: bool
    system: str
    corpus: str
    source: str
    lossy: bool
    speech_s: float
    raw: float
    windows: tuple[tuple[int, int, float], ...]

    def llr(self, logistic: LogisticMap, bound: float) -> float:
        return to_llr(self.raw, logistic, bound)


def read_trials(path: Path) -> tuple[list[Trial], list[Trial]]:
    """Windows and exhibits (mean raw score over an exhibit's windows) of a score file."""
    with path.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    exhibits: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        exhibits[row["condition"], row["split"], row["repo"], row["clip"]].append(row)
    windows = [_trial([row], float(row["speech_s"])) for row in rows]
    return windows, [_trial(parts, float(parts[0]["exhibit_speech_s"])) for parts in exhibits.values()]


def _trial(rows: Sequence[dict[str, str]], speech_s: float) -> Trial:
    first = rows[0]
    windows = tuple((int(row["start"]), int(row["end"]), float(row["score"])) for row in rows)
    return Trial(
        first["condition"], first["split"], first["repo"], first["clip"], first["label"] == "spoof", first["system"],
        first["corpus"], first["source"], first["lossy"] == "1", speech_s,
        sum(score for _, _, score in windows) / len(windows), windows,
    )  # fmt: skip


def equalised(trials: Iterable[Trial]) -> tuple[Floats, NDArray[np.bool_]]:
    """Raw scores and labels in which every spoofing system has the same number of trials (quantiles of its scores).

    Codec reconstructions are a third of the dev spoofs; without this they would set the calibration.
    """
    systems: dict[str, list[float]] = defaultdict(list)
    human = []
    for trial in trials:
        if trial.spoof:
            systems[trial.system].append(trial.raw)
        else:
            human.append(trial.raw)
    places = (np.arange(TRIALS_PER_SYSTEM) + 0.5) / TRIALS_PER_SYSTEM
    spoofs = np.concatenate([np.quantile(scores, places) for _, scores in sorted(systems.items())])
    return np.concatenate([human, spoofs]), np.repeat([False, True], [len(human), len(spoofs)])


def figures(trials: Sequence[Trial], logistic: LogisticMap, bound: float) -> dict[str, Any]:
    """All error figures of a set of trials; LLRs as the program gives them."""
    llrs = np.array([-trial.llr(logistic, bound) for trial in trials])
    # Ranks come from raw scores: the bound ties the strongest LLRs, which is no property of the network.
    raw = np.array([-trial.raw for trial in trials])
    bonafide = np.array([not trial.spoof for trial in trials])
    sources = np.array([trial.source for trial in trials])
    low, high = bootstrap_interval(raw, bonafide, sources, eer, draws=500)
    return {
        "bonafide_trials": int(bonafide.sum()),
        "spoof_trials": int((~bonafide).sum()),
        "eer": eer(raw, bonafide),
        "eer_low": low,
        "eer_high": high,
        "macro_eer": macro_eer(trials),
        "min_dcf": min_dcf(raw, bonafide),
        "act_dcf": act_dcf(llrs, bonafide),
        "cllr": cllr(llrs, bonafide),
        "cllr_min": cllr_min(raw, bonafide),
    }


def macro_eer(trials: Sequence[Trial]) -> float:
    """Mean over systems of the EER of that system against all human trials."""
    return float(np.mean([row["eer"] for row in per_system(trials, lambda _: "") if row["trials"] >= 3]))


def per_system(trials: Sequence[Trial], verdict: Callable[[Trial], str]) -> list[dict[str, Any]]:
    human = np.array([-trial.raw for trial in trials if not trial.spoof])
    systems: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.spoof:
            systems[trial.repo, trial.system].append(trial)
    table = []
    for (repo, system), members in sorted(systems.items()):
        scores = np.array([-trial.raw for trial in members])
        labels = np.repeat([True, False], [len(human), len(scores)])
        verdicts = [verdict(trial) for trial in members]
        table.append(
            {
                "repo": repo,
                "system": system,
                "trials": len(members),
                "eer": eer(np.concatenate([human, scores]), labels),
                **{name: verdicts.count(name) / len(verdicts) for name in ("spoof", "inconclusive", "bonafide")},
            }
        )
    return sorted(table, key=lambda row: -row["eer"])


def shares(trials: Sequence[Trial], verdict: Callable[[Trial], str]) -> dict[str, Any]:
    verdicts = [verdict(trial) for trial in trials]
    return {
        "trials": len(trials),
        **{name: verdicts.count(name) / max(1, len(verdicts)) for name in ("spoof", "inconclusive", "bonafide")},
    }


def calibrate(windows: Sequence[Trial], exhibits: Sequence[Trial]) -> CalibrationConfig:
    """Logistic maps from dev under all conditions, so that the LLRs hold for coded and noisy recordings too."""
    maps = []
    for trials in (windows, exhibits):
        scores, spoof = equalised(trial for trial in trials if trial.split == "dev" and trial.condition != "long")
        slope, intercept = fit_logistic(scores, spoof)
        maps.append(LogisticMap(slope=slope, intercept=intercept))
    originals = [trial for trial in exhibits if trial.split == "dev" and trial.condition == ORIGINAL]
    human = sum(not trial.spoof for trial in originals)
    return CalibrationConfig(
        window=maps[0],
        exhibit=maps[1],
        llr_bound=llr_bound(human, len(originals) - human),
        data="dev split: recordings as they are, MP3 64 kb/s, Opus 16 kb/s, 8 kHz, 15 dB noise; systems weigh alike",
        bonafide_trials=human,
        spoof_trials=len(originals) - human,
    )


def thresholds(windows: Sequence[Trial], exhibits: Sequence[Trial], calibration: CalibrationConfig) -> DecisionConfig:
    """The rule's thresholds, from dev recordings as they are (and their long strings for passages)."""
    bound = calibration.llr_bound
    dev = [trial for trial in exhibits if trial.split == "dev" and trial.condition == ORIGINAL]
    human = np.array([trial.llr(calibration.exhibit, bound) for trial in dev if not trial.spoof])
    spoof_raw, labels = equalised(dev)
    spoofs = np.array([to_llr(float(raw), calibration.exhibit, bound) for raw in spoof_raw[labels]])
    window_human = np.array(
        [
            trial.llr(calibration.window, bound)
            for trial in windows
            if trial.split == "dev" and trial.condition == ORIGINAL and not trial.spoof
        ]
    )
    spoof_threshold = round_up(float(np.quantile(human, 1 - FALSE_ALARMS)))
    window_threshold = round_up(float(np.quantile(window_human, 0.95)))
    bonafide_threshold = math.floor(float(np.quantile(spoofs, MISSES)) * 20) / 20
    return DecisionConfig(
        spoof_threshold_llr=spoof_threshold,
        bonafide_threshold_llr=min(bonafide_threshold, spoof_threshold),
        window_threshold_llr=window_threshold,
        partial_min_windows=2,
        partial_threshold_llr=round_up(min(window_threshold + 0.3, bound)),
        min_window_speech_s=0.5,
        min_exhibit_speech_s=MIN_SPEECH_S,
    )


def round_up(value: float) -> float:
    """To the next multiple of 0.05, so that a threshold reads as what it is: a choice."""
    return math.ceil(value * 20 - 1e-9) / 20


def verdict_rule(calibration: CalibrationConfig, rule: DecisionConfig) -> Callable[[Trial], str]:
    def verdict(trial: Trial) -> str:
        llr = trial.llr(calibration.exhibit, calibration.llr_bound)
        if trial.speech_s < rule.min_exhibit_speech_s:
            return "inconclusive"
        if llr >= rule.spoof_threshold_llr:
            return "spoof"
        return "bonafide" if llr <= rule.bonafide_threshold_llr else "inconclusive"

    return verdict


def passages(trials: Sequence[Trial], calibration: CalibrationConfig, rule: DecisionConfig) -> dict[str, Any]:
    """How often a run of windows is flagged in long human recordings."""
    minutes, runs, recordings, flagged = 0.0, 0, 0, 0
    for trial in trials:
        windows = [
            WindowScore(start, end, None, raw, to_llr(raw, calibration.window, calibration.llr_bound), None)
            for start, end, raw in trial.windows
        ]
        found = len(list(flagged_runs(windows, rule)))
        minutes += max(end for _, end, _ in trial.windows) / 16_000 / 60
        runs += found
        recordings += 1
        flagged += found > 0
    return {"recordings": recordings, "minutes": minutes, "runs": runs, "recordings_with_runs": flagged}


def by_duration(trials: Sequence[Trial], verdict: Callable[[Trial], str]) -> list[dict[str, Any]]:
    table = []
    for low, high in ((0.5, 2.0), (2.0, 4.0), (4.0, 8.0), (8.0, math.inf)):
        members = [trial for trial in trials if low <= trial.speech_s < high]
        human = [trial for trial in members if not trial.spoof]
        if len(human) < 10 or len(members) - len(human) < 10:
            continue
        scores = np.array([-trial.raw for trial in members])
        table.append(
            {
                "speech_s": f"{low:g}-{high:g}" if high < math.inf else f"over {low:g}",
                "bonafide_trials": len(human),
                "spoof_trials": len(members) - len(human),
                "eer": eer(scores, np.array([not trial.spoof for trial in members])),
                "false_alarms": shares(human, verdict)["spoof"],
            }
        )
    return table


def measure(
    windows: Sequence[Trial], exhibits: Sequence[Trial], calibration: CalibrationConfig, rule: DecisionConfig
) -> dict[str, Any]:
    verdict = verdict_rule(calibration, rule)
    result: dict[str, Any] = {}
    for split in ("dev", "eval"):
        here = [trial for trial in exhibits if trial.split == split and trial.condition == ORIGINAL]
        human = [trial for trial in here if not trial.spoof]
        repos = sorted({(trial.repo, trial.corpus) for trial in human})
        here_windows = [trial for trial in windows if trial.split == split and trial.condition == ORIGINAL]
        lossless = [trial for trial in here if not trial.lossy]
        result[split] = {
            "window": figures(here_windows, calibration.window, calibration.llr_bound),
            "exhibit": figures(here, calibration.exhibit, calibration.llr_bound),
            "lossless_only": figures(lossless, calibration.exhibit, calibration.llr_bound),
            "conditions": {
                condition: figures(
                    [trial for trial in exhibits if trial.split == split and trial.condition == condition],
                    calibration.exhibit,
                    calibration.llr_bound,
                )
                for condition in CONDITIONS
            },
            "human_verdicts": shares(human, verdict),
            "spoof_verdicts": shares([trial for trial in here if trial.spoof], verdict),
            "human_by_source": [
                {"repo": repo, "corpus": corpus}
                | shares([trial for trial in human if (trial.repo, trial.corpus) == (repo, corpus)], verdict)
                for repo, corpus in repos
            ],
            "human_by_condition": {
                condition: shares(
                    [t for t in exhibits if t.split == split and t.condition == condition and not t.spoof], verdict
                )
                for condition in CONDITIONS
            },
            "by_duration": by_duration(here, verdict),
            "systems": per_system(here, verdict),
            "long_human": passages(
                [t for t in exhibits if t.split == split and t.condition == "long"], calibration, rule
            ),
        }
    return result


def validation(measured: dict[str, Any]) -> tuple[ValidationFigure, ...]:
    names = {"dev": "dev (calibration and thresholds were set on it)", "eval": "eval (never used to choose)"}
    return tuple(
        ValidationFigure(
            dataset=names[split],
            level=level,
            **{name: value for name, value in measured[split][level].items() if name != "macro_eer"},
        )
        for split in ("dev", "eval")
        for level in ("window", "exhibit")
    )


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--scores", "--weights", "--model"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--nuisance", type=float, required=True, help="AUC that train.py --nuisance-only printed")
    options = parser.parse_args()
    windows, exhibits = read_trials(options.scores)
    windows = [trial for trial in windows if trial.condition != "long"]
    calibration = calibrate(windows, exhibits)
    rule = thresholds(windows, exhibits, calibration)
    measured = rounded(
        {"nuisance_auc": options.nuisance} | measure(windows, exhibits, calibration, rule)
        | {"calibration": calibration.model_dump(), "decision": rule.model_dump()}
    )  # fmt: skip
    (HERE / "figures.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    config = ModelConfig(
        name=NAME,
        version=VERSION,
        front_end=SpectralStemConfig(),
        back_end=Nes2NetLaConfig(),
        calibration=calibration,
        decision=rule,
        validated=ValidatedConfig(
            min_sample_rate_hz=8_000, min_bandwidth_hz=3_200, min_snr_db=15.0, max_clipping_share=0.02
        ),
        licence=LICENCE,
        training_data=TRAINING_DATA,
        limitations=LIMITATIONS,
        validation=validation(measured),
    )
    network = build_detector(config.front_end, config.back_end)
    network.load_state_dict(torch.load(options.weights, weights_only=True))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=False, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["pct"] = lambda share: f"{100 * share:.1f}"
    card = environment.get_template("card.md.j2").render(
        f=measured, config=config, parameters=sum(p.numel() for p in network.parameters()), limitations=LIMITATIONS
    )
    save_bundle(options.model, config, network, card)


if __name__ == "__main__":
    main()
