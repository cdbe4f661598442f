"""What each part of the recipe gave, by a simple probe: `python train/compact-detector/ablation.py RUN --data-root CORPUS`.

The probe is a logistic regression on mean and deviation over time of the front-end's features, trained without each fold
of the recipe in turn and scored on the windows it did without, as they are. It is quick enough to be run for every row,
and the same for all of them; the shipped network is the last row and comes from the model's own record.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spoofcheck.cli.steps import RichSteps
from spoofcheck.evaluation.metrics import bootstrap_interval, eer
from spoofcheck.training.augment import crop_or_repeat
from spoofcheck.training.data import read_run_data
from spoofcheck.training.datamodule import augmented_batches, plan_of
from spoofcheck.training.folds import Fold, folds_of
from spoofcheck.training.initial import initial_network, load_front_end_weights
from spoofcheck.training.objectives import labels_of
from spoofcheck.training.prepare import Prepared, prepare
from spoofcheck.training.progress import Steps
from spoofcheck.training.recipe import FoldsTraining, Recipe, read_recipe
from spoofcheck.training.store import StoredWindow

PACKAGES = ("debian/", "pypi/", "npm/", "made/")


def is_new(row: StoredWindow) -> bool:
    """Whether a window comes from a package or an engine rather than from the corpus."""
    return row.repo.startswith(PACKAGES)


def is_neural(row: StoredWindow) -> bool:
    """Whether it is a copy by a neural vocoder or a blend."""
    return row.system.startswith("copy:") and row.system.removeprefix("copy:").startswith(("neural", "spectral", "m"))


ROWS: tuple[tuple[str, str, Callable[[StoredWindow], bool]], ...] = (
    ("corpus alone", "published", lambda row: not is_new(row) and not row.system.startswith("copy:")),
    ("+ copies by signal processing", "published", lambda row: not is_new(row) and not is_neural(row)),
    ("+ copies by neural vocoders and blends", "published", lambda row: not is_new(row)),
    ("+ human speech and engines from packages", "published", lambda row: True),
    ("the same, stem tuned on pairs", "tuned", lambda row: True),
    ("stem tuned on pairs, without copies", "tuned", lambda row: not row.system.startswith("copy:")),
)


def main() -> None:
    """Measure every row and write `ablation.json` beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run of this recipe")
    parser.add_argument("--data-root", required=True, help="the corpus")
    parser.add_argument("--batches", type=int, default=120, help="of augmented training windows")
    arguments = parser.parse_args()
    recipe = read_recipe(Path(__file__).parent, [f"data.root={arguments.data_root}"])
    steps = RichSteps(Console(stderr=True))
    data = read_run_data(recipe)
    hashes = arguments.run / "hashes.json"
    prepared = prepare(recipe, [*data.train, *data.dev], data.dev, arguments.run / "data", 2, steps, hashes)
    assert isinstance(recipe.training, FoldsTraining)
    folds = folds_of(recipe.training, [*data.train, *data.dev], tuple(recipe.data.copies))
    weights = arguments.run / "before" / "weights.safetensors"
    tables = {
        "published": _features(recipe, _with_published_stem(recipe), prepared, arguments.batches, steps),
        "tuned": _features(recipe, _with_tuned_stem(recipe, weights), prepared, arguments.batches, steps),
    }
    rows = [{"step": step, "stem": stem} | _left_out(tables[stem], folds, keep) for step, stem, keep in ROWS]
    place = Path(__file__).parent / "ablation.json"
    place.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(
            f"| {row['step']} | {100 * row['eer']:.1f} ({100 * row['low']:.1f}-{100 * row['high']:.1f}) | "
            f"{100 * row['systems_eer']:.1f} | {row['bonafide_trials']} / {row['spoof_trials']} |"
        )


Table = tuple[list[StoredWindow], NDArray[np.float32], list[StoredWindow], NDArray[np.float32]]
"""Rows and features of augmented training windows, then of windows as they are."""


def _with_published_stem(recipe: Recipe) -> torch.nn.Module:
    assert recipe.before is not None
    network = initial_network(recipe, 0)
    load_front_end_weights(recipe.before, network.front_end)
    return network.front_end.eval()


def _with_tuned_stem(recipe: Recipe, weights: Path) -> torch.nn.Module:
    network = initial_network(recipe, 0)
    state = load_file(weights)
    front_end = {key.removeprefix("front_end."): value for key, value in state.items() if key.startswith("front_end.")}
    network.front_end.load_state_dict(front_end, strict=True)
    return network.front_end.eval()


def _features(recipe: Recipe, front_end: torch.nn.Module, prepared: Prepared, batches: int, steps: Steps) -> Table:
    labels = labels_of(prepared.train.rows, None)
    plan = plan_of(recipe, prepared, labels)
    drawn = augmented_batches(recipe, prepared, labels, plan)
    assert prepared.copies is not None
    rows: list[StoredWindow] = []
    found = []
    for step in steps.over(range(batches), "Features of training windows", batches):
        members = plan.members(step)
        rows += [(prepared.copies if member.copy else prepared.train).rows[member.row] for member in members]
        found.append(_pooled(front_end, drawn[step].inputs))
    plain = _plain_windows(prepared)
    heard = [
        _pooled(front_end, torch.from_numpy(np.stack([_wave(prepared, index) for index in plain[at : at + 16]])))
        for at in steps.over(range(0, len(plain), 16), "Features of windows as they are", -(-len(plain) // 16))
    ]
    return rows, np.concatenate(found), [prepared.train.rows[index] for index in plain], np.concatenate(heard)


def _plain_windows(prepared: Prepared, most: int = 40) -> list[int]:
    """At most 40 windows of each system (or of human speech) of a repository, spread evenly."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(prepared.train.rows):
        groups.setdefault((row.repo, row.system), []).append(index)
    chosen = [members[:: max(1, len(members) // most)][:most] for _, members in sorted(groups.items())]
    return sorted(index for members in chosen for index in members)


def _left_out(table: Table, folds: Sequence[Fold], keep: Callable[[StoredWindow], bool]) -> dict[str, float]:
    rows, features, plain_rows, plain = table
    scores, bonafide, sources, systems = [], [], [], []
    for fold in folds:
        learnt = [i for i, row in enumerate(rows) if keep(row) and not fold.leaves_out(row)]
        heard = [i for i, row in enumerate(plain_rows) if row.repo in fold.repos]
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300, class_weight="balanced"))
        probe.fit(features[learnt], [not rows[i].is_spoof for i in learnt])
        scores.append(probe.decision_function(plain[heard]))
        bonafide += [not plain_rows[i].is_spoof for i in heard]
        sources += [f"{plain_rows[i].repo}/{plain_rows[i].speaker}" for i in heard]
        systems += [f"{plain_rows[i].repo}/{plain_rows[i].system}" for i in heard]
    pooled, human, named = np.concatenate(scores), np.array(bonafide), np.array(systems)
    low, high = bootstrap_interval(pooled, human, np.array(sources), eer, draws=500)
    each = [eer(pooled[human | (named == one)], human[human | (named == one)]) for one in sorted(set(named[~human]))]
    return {
        "eer": round(eer(pooled, human), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "systems_eer": round(float(np.mean(each)), 4),
        "bonafide_trials": int(human.sum()),
        "spoof_trials": int((~human).sum()),
    }


def _pooled(front_end: torch.nn.Module, waves: torch.Tensor) -> NDArray[np.float32]:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        features = front_end(waves).float()
    return torch.cat([features.mean(dim=-1), features.std(dim=-1)], dim=1).numpy()


def _wave(prepared: Prepared, index: int) -> NDArray[np.float32]:
    return crop_or_repeat(prepared.train.wave(index), 64_000, np.random.default_rng(0))


if __name__ == "__main__":
    main()
