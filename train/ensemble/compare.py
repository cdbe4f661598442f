"""The ensembles and their members side by side on test: `python train/ensemble/compare.py RUN --data-root CORPUS`.

RUN is the folder of `spoofcheck train train/ensemble`, whose `scores/` hold what every member said of every test
recording as a scan hears it. Fused and calibrated as the shipped models do it, the scores go into score files below
`RUN/comparison`, which `spoofcheck eval --compare` measures. Writes `RUN/comparison/comparison.json` and prints a
table in Markdown. LLRs are those before a validity gate. A minute; nothing is listened to.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from spoofcheck.detect.calibration import to_llr
from spoofcheck.evaluation.clips import UNKNOWN, Clip
from spoofcheck.evaluation.scorefiles import keys_of, scored, trial_names, write_scores
from spoofcheck.nets.bundle import Bundle, load_bundle
from spoofcheck.nets.config import EnsembleConfig
from spoofcheck.nets.index import find_model
from spoofcheck.training.data import read_run_data
from spoofcheck.training.ensemble import SCORES
from spoofcheck.training.ensemblerecipe import read_ensemble_recipe
from spoofcheck.training.exhibits import Exhibit, read_scores, recordings_of
from spoofcheck.training.fusion import fuse_exhibits

HERE = Path(__file__).parent


def main() -> None:
    """Measure, write and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--data-root", required=True)
    given = arguments.parse_args()
    recipe, base = read_ensemble_recipe(HERE, [f"root={given.data_root}"])
    members = [load_bundle(find_model(member.model)) for member in recipe.members]
    recordings = recordings_of(read_run_data(base).test, "test", recipe.finish)
    panel = [kept_scores(given.run, bundle, recordings) for bundle in members]
    heard = {bundle.config.name: (bundle, exhibits) for bundle, exhibits in zip(members, panel, strict=True)}
    for name in recipe.models:
        bundle = load_bundle(find_model(name))
        assert isinstance(bundle.config.back_end, EnsembleConfig)
        heard[name] = (bundle, fuse_exhibits(panel, bundle.config.back_end))
    folder = given.run / "comparison"
    folder.mkdir(exist_ok=True)
    write_keys(folder / "keys", [exhibit.clip for exhibit in panel[0]])
    flagged = {}
    for name, (bundle, exhibits) in heard.items():
        llrs = [llr_of(exhibit, bundle) for exhibit in exhibits]
        keys = keys_of([exhibit.clip for exhibit in exhibits]).values()
        write_scores(folder / name, [scored(key, -llr) for key, llr in zip(keys, llrs, strict=True)])
        flagged[name] = shares(exhibits, llrs, bundle.config.decision.spoof_threshold_llr)
    document = compared(folder, list(heard))
    kept = summary(document, list(heard), flagged)
    (folder / "comparison.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(kept) + "\n")


def kept_scores(run: Path, bundle: Bundle, recordings: list[Any]) -> list[Exhibit]:
    """What a member said of the test recordings."""
    return read_scores(run / SCORES / f"{bundle.config.name}.jsonl", bundle.weights_sha256, recordings)


def llr_of(exhibit: Exhibit, bundle: Bundle) -> float:
    """The LLR of a recording, positive for synthetic."""
    calibration = bundle.config.calibration
    assert calibration is not None
    return to_llr(exhibit.raw_score, calibration.exhibit, calibration.llr_bound)


def shares(exhibits: list[Exhibit], llrs: list[float], threshold: float) -> dict[str, float]:
    """Which share of human and of synthetic recordings reaches the model's own spoof threshold."""
    found = {}
    for name, is_spoof in (("human", False), ("synthetic", True)):
        mine = [llr >= threshold for llr, one in zip(llrs, exhibits, strict=True) if one.clip.is_spoof == is_spoof]
        found[name] = round(sum(mine) / len(mine), 4)
    return found


def write_keys(path: Path, clips: list[Clip]) -> None:
    """Labels, and as speaker the unit that a bootstrap draws."""
    rows = ["filename\tcm-label\tsystem\tspeaker\n"]
    rows += [
        f"{name}\t{clip.label}\t{clip.system}\t{clip.source if clip.speaker != UNKNOWN else UNKNOWN}\n"
        for name, clip in zip(trial_names(clips), clips, strict=True)
    ]
    path.write_text("".join(rows), encoding="utf-8")


def compared(folder: Path, names: list[str]) -> dict[str, Any]:
    """What `spoofcheck eval --compare` says of the score files."""
    options = [part for name in names for part in ("--compare", name)]
    command = [sys.executable, "-m", "spoofcheck", "eval", *options, "--keys", "keys", "--json", "-", "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def summary(document: dict[str, Any], names: list[str], flagged: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The figures of the table, to four places."""
    models = {}
    for name, measured in zip(names, document["documents"], strict=True):
        rates = measured["detection"]["overall"]
        models[name] = {key: rounded(value) for key, value in rates.items()} | {"flagged": flagged[name]}
    differences = [{key: rounded(value) for key, value in one.items()} for one in document["differences"]]
    return {"models": models, "differences": differences}


def rounded(value: Any) -> Any:
    """Floats to four places, wherever they are."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def table(kept: dict[str, Any]) -> str:
    """Markdown: a row for every model, then the differences that matter."""
    first = next(iter(kept["models"].values()))
    lines = [
        f"{first['bonafide_trials']} human and {first['spoof_trials']} synthetic recordings of test.",
        "",
        "| model | EER % (95 % interval) | minDCF | actDCF | Cllr | Cllr_min | human flagged % | synthetic flagged % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, x in kept["models"].items():
        interval = x["eer_interval"]
        between = f" ({100 * interval['low']:.1f}-{100 * interval['high']:.1f})" if interval else ""
        lines.append(
            f"| {name} | {100 * x['eer']:.1f}{between} | {x['min_dcf']:.3f} | {x['act_dcf']:.3f} | {x['cllr']:.3f} "
            f"| {x['cllr_min']:.3f} | {100 * x['flagged']['human']:.1f} | {100 * x['flagged']['synthetic']:.1f} |"
        )
    lines += [
        "",
        "Differences, second less first, with speakers resampled alike for both (below 0: the second errs less):",
        "",
        "| first | second | EER, points (95 % interval) | Cllr (95 % interval) |",
        "|---|---|---|---|",
    ]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in kept["differences"]:
        found.setdefault((one["first"], one["second"]), {})[one["statistic"]] = one
    for (one, other), by in found.items():
        if other.startswith("ensemble"):
            lines.append(f"| {one} | {other} | {difference(by['eer'], 100, 1)} | {difference(by['cllr'], 1, 3)} |")
    return "\n".join(lines)


def difference(one: dict[str, Any], unit: float, places: int) -> str:
    """`-1.2 (-3.0 to +0.5)`."""
    interval = one["interval"]
    text = f"{unit * one['difference']:+.{places}f}"
    if interval is None:
        return text
    return f"{text} ({unit * interval['low']:+.{places}f} to {unit * interval['high']:+.{places}f})"


if __name__ == "__main__":
    main()
