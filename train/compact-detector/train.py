"""Train the compact detector: `python train/compact-detector/train.py --data D --manifest M --audio-root A --out O`.

Two stages, `head` (the back-end on cached features of DistillMOS's frozen stem) and `whole` (both, end to end, from
the best head; resumes from its checkpoint). Each selects on the dev split only.
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
from torch import Tensor, nn
from torch.utils.data import DataLoader

from spoofcheck.evaluation.metrics import cllr_min, eer
from spoofcheck.nets.config import Nes2NetLaConfig, SpectralStemConfig
from spoofcheck.nets.detector import Detector, build_detector
from spoofcheck.nets.pretrained import distillmos_stem_state
from spoofcheck.training.augment import crop_or_repeat
from spoofcheck.training.batches import SPOOF, AugmentedBatches, Batch, BatchPlan
from spoofcheck.training.cached import feature_batches, shuffled
from spoofcheck.training.corpus import WindowRule, windows_of
from spoofcheck.training.loop import BEST, CHECKPOINT, load_run, start_run, train
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
        return self.figures_of(score_windows(model, torch.from_numpy(self.waves), bf16=bf16))

    def figures_of(self, scores: NDArray[np.float64]) -> dict[str, float]:
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


def score_windows(model: nn.Module, inputs: Tensor, *, bf16: bool, batch: int = 16) -> NDArray[np.float64]:
    """Raw scores `[n]`, spoof logit minus bona fide logit, of waveforms or features `[n, ...]`."""
    scores = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for start in range(0, len(inputs), batch):
            logits = model(inputs[start : start + batch].float()).float()
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


def loader(batches: AugmentedBatches, steps: range, workers: int) -> DataLoader[Batch]:
    return DataLoader(batches, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=6)


def train_head(recipe: Recipe, batches: AugmentedBatches, held_out: DevSet, out: Path, bf16: bool) -> None:
    """The back-end on cached features; writes `out/head/best.pt`, and with the stem `out/head/detector.pt`."""
    rule = recipe.head
    whole = new_detector(recipe.seed)
    far = range(10**6, 10**6 + rule.cached_batches)  # other windows than the second stage begins with
    cached = feature_batches(whole.front_end, loader(batches, far, 2), bf16=bf16)
    logger.info("%d batches of features", len(cached))
    dev = feature_batches(
        whole.front_end,
        [Batch(torch.from_numpy(part), torch.empty(0), torch.empty(0)) for part in np.array_split(held_out.waves, 40)],
        bf16=bf16,
    )
    features = torch.cat([batch.waves for batch in dev])
    logger.info("%d dev windows", len(features))
    run = start_run(Detector(nn.Identity(), whole.back_end), rule.loop)
    steps = shuffled(cached, rule.joined_batches, rule.loop.steps, recipe.seed)
    train(
        run, steps, rule.loop, recipe.seed, out / "head",
        lambda model: held_out.figures_of(score_windows(model, features, bf16=bf16)), bf16=bf16,
    )  # fmt: skip
    torch.save(with_head(recipe, out).state_dict(), out / "head" / "detector.pt")


def with_head(recipe: Recipe, out: Path) -> Detector:
    """DistillMOS's stem and the best back-end of the first stage."""
    model = new_detector(recipe.seed)
    head = torch.load(out / "head" / BEST, weights_only=True)
    model.back_end.load_state_dict({name.removeprefix("back_end."): value for name, value in head.items()})
    return model


def train_whole(
    recipe: Recipe, batches: AugmentedBatches, held_out: DevSet, out: Path, bf16: bool, minutes: float | None
) -> None:
    """Stem and back-end together, from the best head; writes `out/whole/best.pt`."""
    run = start_run(with_head(recipe, out), recipe.loop)
    checkpoint = out / "whole" / CHECKPOINT
    if checkpoint.is_file():
        load_run(run, checkpoint)
        logger.info("resumed at step %d", run.step)
    train(
        run, loader(batches, range(run.step, recipe.loop.steps), recipe.loop.workers), recipe.loop, recipe.seed,
        out / "whole", lambda model: held_out.figures(model, bf16), bf16=bf16,
        deadline=None if minutes is None else time.time() + 60 * minutes,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--manifest", "--audio-root", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=HERE / "config.toml")
    parser.add_argument("--stage", choices=("head", "whole", "both"), default="both")
    parser.add_argument("--nuisance-only", action="store_true", help="print the nuisance AUC and stop")
    parser.add_argument("--minutes", type=float, help="stop the second stage after this long")
    parser.add_argument("--no-bf16", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_flush_denormal(True)  # the optimiser's moments of dead units turn denormal and slow every step
    recipe = read_recipe(options.recipe)
    batches = open_batches(recipe, options.data)
    if options.nuisance_only:
        print(f"nuisance AUC {check_nuisances(batches, range(10**6, 10**6 + 40), recipe.seed):.3f}")
        return
    held_out = dev_set(options.manifest, options.audio_root, recipe.corpus.window, recipe.seed)
    bf16 = not options.no_bf16
    if options.stage != "whole":
        train_head(recipe, batches, held_out, options.out, bf16)
    if options.stage != "head":
        train_whole(recipe, batches, held_out, options.out, bf16, options.minutes)


if __name__ == "__main__":
    main()
