"""Train the compact detector: `python train/compact-detector/train.py --data D --manifest M --audio-root A --out O`.

Starts from DistillMOS's stem, resumes from `O/checkpoint.pt` when there is one, and selects on the dev split only.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import distillmos
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from spoofcheck.evaluation.metrics import cllr_min, eer
from spoofcheck.nets.config import Nes2NetLaConfig, SpectralStemConfig
from spoofcheck.nets.detector import Detector, build_detector
from spoofcheck.nets.pretrained import distillmos_stem_state
from spoofcheck.training.augment import crop_or_repeat
from spoofcheck.training.batches import SPOOF, AugmentedBatches, BatchPlan
from spoofcheck.training.corpus import WindowRule, windows_of
from spoofcheck.training.loop import CHECKPOINT, load_run, start_run, train
from spoofcheck.training.manifest import read_manifest
from spoofcheck.training.nuisance import nuisance_auc, nuisance_features
from spoofcheck.training.prepare import COPIES, NATURAL, NOISES
from spoofcheck.training.recipe import Recipe, read_recipe
from spoofcheck.training.store import WindowStore

logger = logging.getLogger("train")
HERE = Path(__file__).parent


@dataclass(frozen=True)
class DevSet:
    """Windows `[n, 64000]` of the dev split as inference fills them, and the system of each (`"-"` is human)."""

    waves: NDArray[np.float32]
    systems: tuple[str, ...]

    def figures(self, model: nn.Module, bf16: bool) -> dict[str, float]:
        scores = score_windows(model, self.waves, bf16=bf16)
        systems = np.array(self.systems)
        human = systems == "-"
        pooled = eer(-scores, human)
        each = [
            eer(-scores[human | (systems == name)], human[human | (systems == name)])
            for name in sorted(set(self.systems) - {"-"})
        ]
        return {
            "criterion": 0.5 * (pooled + float(np.mean(each))),
            "dev_eer": pooled,
            "dev_macro_eer": float(np.mean(each)),
            "dev_worst_system_eer": max(each),
            "dev_cllr_min": cllr_min(-scores, human),
        }


def dev_set(manifest: Path, audio_root: Path, rule: WindowRule, seed: int) -> DevSet:
    found = [
        (wave, row.system)
        for clip in read_manifest(manifest, audio_root, ["dev"])
        for row, wave in windows_of(clip, rule, 1 if clip.is_spoof else 3, seed)
    ]
    rng = np.random.default_rng(0)
    waves = np.stack([crop_or_repeat(wave, rule.window_samples, rng) for wave, _ in found])
    return DevSet(waves, tuple(system for _, system in found))


def score_windows(model: nn.Module, waves: NDArray[np.float32], *, bf16: bool, batch: int = 16) -> NDArray[np.float64]:
    """Raw scores `[n]`, spoof logit minus bona fide logit."""
    scores = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for start in range(0, len(waves), batch):
            logits = model(torch.from_numpy(waves[start : start + batch])).float()
            scores.append((logits[:, SPOOF] - logits[:, 1 - SPOOF]).numpy())
    return np.concatenate(scores).astype(np.float64)


def new_detector(seed: int) -> Detector:
    torch.manual_seed(seed)
    model = build_detector(SpectralStemConfig(), Nes2NetLaConfig())
    weights = Path(distillmos.__file__).parent / "weights" / "distill_mos_v7.pt"
    model.front_end.load_state_dict(distillmos_stem_state(weights), strict=True)
    return model


def check_nuisances(batches: AugmentedBatches, steps: Sequence[int], seed: int) -> float:
    drawn = [batches[step] for step in steps]
    waves = np.concatenate([batch.waves.numpy() for batch in drawn])
    labels = np.concatenate([batch.labels.numpy() for batch in drawn])
    return nuisance_auc(np.stack([nuisance_features(wave) for wave in waves]), labels, seed)


def open_batches(recipe: Recipe, data: Path) -> AugmentedBatches:
    length = recipe.corpus.window.window_samples
    natural, copies = WindowStore(data / NATURAL, length), WindowStore(data / COPIES, length)
    plan = BatchPlan(natural.rows, copies.rows, recipe.batch, recipe.seed)
    return AugmentedBatches(natural, copies, np.load(data / NOISES), plan, recipe.augment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--manifest", "--audio-root", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=HERE / "config.toml")
    parser.add_argument("--nuisance-only", action="store_true", help="print the nuisance AUC and stop")
    parser.add_argument("--minutes", type=float, help="stop after this long")
    parser.add_argument("--no-bf16", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = read_recipe(options.recipe)
    batches = open_batches(recipe, options.data)
    if options.nuisance_only:
        print(f"nuisance AUC {check_nuisances(batches, range(10**6, 10**6 + 40), recipe.seed):.3f}")
        return
    run = start_run(new_detector(recipe.seed), recipe.loop)
    if (options.out / CHECKPOINT).is_file():
        load_run(run, options.out / CHECKPOINT)
        logger.info("resumed at step %d", run.step)
    held_out = dev_set(options.manifest, options.audio_root, recipe.corpus.window, recipe.seed)
    logger.info("%d dev windows", len(held_out.systems))
    bf16 = not options.no_bf16
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(run.step, recipe.loop.steps),
        num_workers=recipe.loop.workers,
        prefetch_factor=6,
    )
    deadline = None if options.minutes is None else time.time() + 60 * options.minutes
    train(
        run,
        loader,
        recipe.loop,
        recipe.seed,
        options.out,
        lambda model: held_out.figures(model, bf16),
        bf16=bf16,
        deadline=deadline,
    )


if __name__ == "__main__":
    main()
