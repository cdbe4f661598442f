"""The ensembles and their members side by side on test: `python train/ensemble/compare.py RUN --data-root CORPUS`.

RUN is the folder of `spoofcheck train train/ensemble`, whose `scores/` hold what every member said of every test
recording as a scan hears it. Fused and calibrated as the shipped models do it, the scores go into score files below
`RUN/comparison`, which `spoofcheck eval --compare` measures. Writes `RUN/comparison/comparison.json` and prints a
table in Markdown; with --write also docs/ensemble.md and the cards of the ensembles, after which the index of models
must be made anew. LLRs are those before a validity gate; a model without calibration has its raw scores ranked, and no
more. A minute; nothing is listened to.
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
from spoofcheck.nets.config import EnsembleConfig, read_config
from spoofcheck.nets.index import CARD_FILE, find_model
from spoofcheck.training.comparison import comparison_table
from spoofcheck.training.data import read_run_data
from spoofcheck.training.ensemble import SCORES
from spoofcheck.training.ensemblerecipe import read_ensemble_recipe
from spoofcheck.training.exhibits import Exhibit, read_scores, recordings_of
from spoofcheck.training.finish import card_of
from spoofcheck.training.fusion import fuse_exhibits
from spoofcheck.training.record import RECORD_FILE, read_record

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "ensemble.md"
BEGIN, END = "<!-- comparison -->", "<!-- end of comparison -->"


def main() -> None:
    """Measure, write and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--data-root", required=True)
    arguments.add_argument("--write", action="store_true", help="docs/ensemble.md and the cards of the ensembles")
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
        scores = [score_of(exhibit, bundle) for exhibit in exhibits]
        keys = keys_of([exhibit.clip for exhibit in exhibits]).values()
        write_scores(folder / name, [scored(key, -score) for key, score in zip(keys, scores, strict=True)])
        if bundle.config.calibration is not None:
            flagged[name] = shares(exhibits, scores, bundle.config.decision.spoof_threshold_llr)
    document = compared(folder, list(heard))
    kept = summary(document, list(heard), flagged)
    (folder / "comparison.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    text = comparison_table(kept)
    sys.stdout.write(text + "\n")
    if given.write:
        write_document(text)
        for name in recipe.models:
            write_card(find_model(name), kept)


def kept_scores(run: Path, bundle: Bundle, recordings: list[Any]) -> list[Exhibit]:
    """What a member said of the test recordings."""
    return read_scores(run / SCORES / f"{bundle.config.name}.jsonl", bundle.weights_sha256, recordings)


def score_of(exhibit: Exhibit, bundle: Bundle) -> float:
    """The LLR of a recording, positive for synthetic; of a model without calibration the raw score."""
    calibration = bundle.config.calibration
    if calibration is None:
        return exhibit.raw_score
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
    """The figures of the table, to four places; of a model that is not in `flagged`, none that needs LLRs."""
    models = {}
    for name, measured in zip(names, document["documents"], strict=True):
        rates = measured["detection"]["overall"]
        unknown = {} if name in flagged else {"act_dcf": None, "cllr": None}
        models[name] = rounded(rates) | unknown | {"flagged": flagged.get(name)}
    differences = [
        rounded(one)
        for one in document["differences"]
        if one["statistic"] == "eer" or {one["first"], one["second"]} <= flagged.keys()
    ]
    return {"models": models, "differences": differences}


def rounded(value: Any) -> Any:
    """Floats to four places, wherever they are."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def write_document(text: str) -> None:
    """Put the table between its marks in the document."""
    document = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def write_card(directory: Path, kept: dict[str, Any]) -> None:
    """Put the figures into a model's record, and write its card anew from that."""
    record = read_record(directory)
    assert record is not None
    told = record.model_copy(update={"figures": record.figures | {"comparison": kept}})
    (directory / RECORD_FILE).write_text(told.model_dump_json(indent=1) + "\n", encoding="utf-8")
    card = card_of(read_config(directory), told, told.run.parameters)
    (directory / CARD_FILE).write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
