"""What each part of the recipe gave: `python train/compact-detector/ablation.py RUN --data-root CORPUS`.

Every row is a network that did without each fold of the recipe in turn, on windows as they are that it did without:
the shipped readout on less data or without its projection, and a Nes2Net-LA in the readout's place. The front-end, its
weights as published, is the same in all. Writes `ablation.json` beside this file; about 40 minutes on two cores.
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
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spoofcheck.cli.steps import RichSteps
from spoofcheck.evaluation.metrics import bootstrap_interval, eer
from spoofcheck.nets.gate import pool_features
from spoofcheck.nets.nes2net import Nes2Net
from spoofcheck.training.augment import crop_or_repeat
from spoofcheck.training.data import read_run_data
from spoofcheck.training.datamodule import augmented_batches, plan_of
from spoofcheck.training.folds import Fold, folds_of
from spoofcheck.training.initial import initial_network
from spoofcheck.training.module import share_of_peak
from spoofcheck.training.objectives import labels_of
from spoofcheck.training.prepare import Prepared, prepare
from spoofcheck.training.progress import Steps
from spoofcheck.training.readout import fit_readout
from spoofcheck.training.recipe import FoldsTraining, Recipe, read_recipe
from spoofcheck.training.store import StoredWindow

PACKAGES = ("debian/", "pypi/", "npm/", "made/")
MOST_AS_THEY_ARE = 20

Keep = Callable[[StoredWindow], bool]
Score = Callable[[list[int], list[int]], NDArray[np.float64]]
"""From places of training windows and of windows to be scored to raw scores of the latter."""


def is_new(row: StoredWindow) -> bool:
    """Whether a window comes from a package or an engine rather than from the corpus."""
    return row.repo.startswith(PACKAGES)


def is_copy(row: StoredWindow) -> bool:
    """Whether it is a copy of human speech."""
    return row.system.startswith("copy:")


def is_neural(row: StoredWindow) -> bool:
    """Whether it is a copy by a neural vocoder or a blend."""
    return is_copy(row) and row.system.removeprefix("copy:").startswith(("neural", "spectral", "m"))


def everything(_: StoredWindow) -> bool:
    """Keeps all windows."""
    return True


ROWS: tuple[tuple[str, int, Keep], ...] = (
    ("corpus alone, no projection", 0, lambda row: not is_new(row) and not is_copy(row)),
    ("+ copies by signal processing", 0, lambda row: not is_new(row) and not is_neural(row)),
    ("+ copies by neural vocoders and blends", 0, lambda row: not is_new(row)),
    ("+ human speech and engines from packages", 0, everything),
    ("+ projection of human directions (shipped)", -1, everything),
    ("the same without copies", -1, lambda row: not is_copy(row)),
)
"""What a row is called, human directions projected out (-1: the recipe's), the windows it learns from."""


class Heard:
    """Features of augmented training windows and of windows as they are, on the recipe's front-end."""

    def __init__(self, recipe: Recipe, prepared: Prepared, batches: int, steps: Steps) -> None:
        front_end = initial_network(recipe, 0).front_end.eval()
        labels = labels_of(prepared.train.rows, None)
        plan = plan_of(recipe, prepared, labels)
        drawn = augmented_batches(recipe, prepared, labels, plan)
        assert prepared.copies is not None
        self.learnt: list[StoredWindow] = []
        self._maps: list[Tensor] = []
        self._pooled: list[NDArray[np.float64]] = []
        for step in steps.over(range(batches), "Features of training windows", batches):
            members = plan.members(step)
            self.learnt += [(prepared.copies if m.copy else prepared.train).rows[m.row] for m in members]
            self._hear(front_end, drawn[step].inputs)
        groups: dict[tuple[str, str], list[int]] = {}
        for index, row in enumerate(prepared.train.rows):
            groups.setdefault((row.repo, row.system), []).append(index)
        most = MOST_AS_THEY_ARE
        chosen = [members[:: max(1, len(members) // most)][:most] for _, members in sorted(groups.items())]
        plain = sorted(index for members in chosen for index in members)
        self.plain = [prepared.train.rows[index] for index in plain]
        for at in steps.over(range(0, len(plain), 16), "Features of windows as they are", -(-len(plain) // 16)):
            waves = [
                crop_or_repeat(prepared.train.wave(i), 64_000, np.random.default_rng(0)) for i in plain[at : at + 16]
            ]
            self._hear(front_end, torch.from_numpy(np.stack(waves)))
        self.maps = torch.cat(self._maps)
        """bfloat16 `[training windows, then plain ones, C, T]`."""
        self.pooled = np.concatenate(self._pooled)
        del self._maps, self._pooled

    def _hear(self, front_end: nn.Module, waves: Tensor) -> None:
        with torch.inference_mode():
            features = front_end(waves)
        self._maps.append(features.to(torch.bfloat16))
        self._pooled.append(pool_features(features).double().numpy())


def main() -> None:
    """Measure every row and write `ablation.json` beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder whose data/ holds the windows of a run of this recipe")
    parser.add_argument("--data-root", required=True, help="the corpus")
    arguments = parser.parse_args()
    recipe = read_recipe(Path(__file__).parent, [f"data.root={arguments.data_root}"])
    rule = recipe.training
    assert isinstance(rule, FoldsTraining)
    steps = RichSteps(Console(stderr=True))
    hashes = arguments.run / "hashes.json"
    data = read_run_data(recipe, hashes)
    clips = [*data.train, *data.dev]
    prepared = prepare(recipe, clips, data.dev, arguments.run / "data", 2, steps, hashes)
    folds = folds_of(rule, clips, tuple(recipe.data.copies))
    heard = Heard(recipe, prepared, rule.batches, steps)
    rows = []
    for name, directions, keep in ROWS:
        wanted = rule.human_directions if directions < 0 else directions

        def by_readout(learnt: list[int], scored: list[int], wanted: int = wanted) -> NDArray[np.float64]:
            readout = fit_readout(heard.pooled[learnt], [heard.learnt[i] for i in learnt], rule.inverse_penalty, wanted)
            offset = len(heard.learnt)
            places = [offset + i for i in scored]
            standard = (heard.pooled[places] - readout.mean.numpy()) / readout.spread.numpy()
            found: NDArray[np.float64] = standard @ readout.weight.detach().double().numpy()
            return found + readout.bias.item()

        rows.append({"step": name} | _left_out(heard, folds, keep, by_readout))
        _tell(rows[-1])
    for name, standardised in (("Nes2Net-LA for the readout", False), ("Nes2Net-LA, features standardised", True)):

        def by_nes2net(learnt: list[int], scored: list[int], standardised: bool = standardised) -> NDArray[np.float64]:
            return _nes2net_scores(heard, learnt, scored, standardised, recipe.seed, steps)

        rows.append({"step": name} | _left_out(heard, folds, everything, by_nes2net))
        _tell(rows[-1])
    place = Path(__file__).parent / "ablation.json"
    place.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _left_out(heard: Heard, folds: Sequence[Fold], keep: Keep, score: Score) -> dict[str, float]:
    scores, places = [], []
    for fold in folds:
        learnt = [i for i, row in enumerate(heard.learnt) if keep(row) and not fold.leaves_out(row)]
        scored = [i for i, row in enumerate(heard.plain) if row.repo in fold.repos]
        scores.append(score(learnt, scored))
        places += scored
    rows = [heard.plain[i] for i in places]
    human = np.array([not row.is_spoof for row in rows])
    bonafide = -np.concatenate(scores)
    sources = np.array([f"{row.repo}/{row.speaker}" for row in rows])
    systems = np.array([f"{row.repo}/{row.system}" for row in rows])
    low, high = bootstrap_interval(bonafide, human, sources, eer, draws=500)
    each = [
        eer(bonafide[human | (systems == one)], human[human | (systems == one)]) for one in sorted(set(systems[~human]))
    ]
    return {
        "eer": round(eer(bonafide, human), 4),
        "eer_low": round(low, 4),
        "eer_high": round(high, 4),
        "macro_eer": round(float(np.mean(each)), 4),
        "bonafide_trials": int(human.sum()),
        "spoof_trials": int((~human).sum()),
    }


def _tell(row: dict[str, float]) -> None:
    low, high = 100 * row["eer_low"], 100 * row["eer_high"]
    print(
        f"| {row['step']} | {100 * row['eer']:.1f} ({low:.1f}-{high:.1f}) | {100 * row['macro_eer']:.1f} |", flush=True
    )


def _nes2net_scores(
    heard: Heard, learnt: list[int], scored: list[int], standardised: bool, seed: int, steps: Steps
) -> NDArray[np.float64]:
    """Spoof logit minus bona fide logit of a Nes2Net-LA trained on cached features at half their frame rate.

    Two passes in batches of 32, AdamW with a cosine, averaged weights, mixup within a class.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Nes2Net(dropout=0.5, attention_dropout=0.3)
    some = heard.maps[learnt[:1500]].float()
    mean, spread = some.mean(dim=(0, 2))[:, None], some.std(dim=(0, 2))[:, None] + 1e-3
    is_spoof = torch.tensor([heard.learnt[i].is_spoof for i in learnt])

    def batch_of(places: Sequence[int]) -> Tensor:
        maps = nn.functional.avg_pool1d(heard.maps[list(places)].float(), 2)
        return (maps - mean) / spread if standardised else maps

    order = np.concatenate([rng.permutation(len(learnt)) for _ in range(2)])
    batches = [order[at : at + 32] for at in range(0, len(order), 32)]
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: share_of_peak(step, 20, len(batches)))
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.97))
    network.train()
    for chosen in steps.over(batches, "Training Nes2Net-LA", len(batches)):
        spoof = is_spoof[chosen]
        maps = batch_of([learnt[i] for i in chosen])
        partner = torch.arange(len(chosen))
        for label in (False, True):
            members = torch.nonzero(spoof == label)[:, 0]
            partner[members] = members[torch.from_numpy(rng.permutation(len(members)))]
        share = torch.from_numpy(np.maximum(drawn := rng.beta(1, 1, len(chosen)), 1 - drawn)).float()[:, None, None]
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(maps * share + maps[partner] * (1 - share)).float()
        each = nn.functional.cross_entropy(logits, 1 - spoof.long(), label_smoothing=0.05, reduction="none")
        loss = torch.stack([each[spoof == label].mean() for label in (False, True) if bool((spoof == label).any())])
        optimiser.zero_grad(set_to_none=True)
        loss.mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(network)
    trained = average.module.eval()
    found = []
    offset = len(heard.learnt)
    with torch.inference_mode():
        for at in range(0, len(scored), 32):
            logits = trained(batch_of([offset + i for i in scored[at : at + 32]]))
            found.append((logits[:, 0] - logits[:, 1]).double().numpy())
    return np.concatenate(found)


if __name__ == "__main__":
    main()
