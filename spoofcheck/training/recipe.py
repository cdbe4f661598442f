"""The recipe file: every number a training run depends on."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from spoofcheck.errors import UsageError
from spoofcheck.training.augment import AugmentRule
from spoofcheck.training.corpus import WindowRule


@dataclass(frozen=True, slots=True)
class CorpusRule:
    """What is taken from each repository; see `train/compact-detector/config.toml`."""

    window: WindowRule
    clip_caps: dict[str, int]
    windows_per_clip: dict[str, int]
    copies: dict[str, int]


@dataclass(frozen=True, slots=True)
class BatchRule:
    """What a batch is made of.

    Attributes:
        crop_samples: length of a training window.
        bonafide: human windows in a batch.
        copies: copies of those, at most one each.
        synthetic: windows of speech engines.
        repo_weights: relative frequency of a repository among the windows of its class; 1 where not named.
    """

    crop_samples: int
    bonafide: int
    copies: int
    synthetic: int
    repo_weights: dict[str, float]

    @property
    def size(self) -> int:
        """Windows in a batch."""
        return self.bonafide + self.copies + self.synthetic


@dataclass(frozen=True, slots=True)
class LoopRule:
    """The optimiser's settings; rates are peaks of a warm-up and cosine schedule."""

    steps: int
    warmup_steps: int
    stem_frozen_steps: int
    stem_rate: float
    head_rate: float
    weight_decay: float
    label_smoothing: float
    ema_decay: float
    gradient_clip: float
    pair_weight: float
    evaluate_every: int
    workers: int


@dataclass(frozen=True, slots=True)
class HeadRule:
    """The first stage: the back-end alone on features cached from `cached_batches`, `joined_batches` a step."""

    cached_batches: int
    joined_batches: int
    loop: LoopRule


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run."""

    seed: int
    corpus: CorpusRule
    augment: AugmentRule
    batch: BatchRule
    head: HeadRule
    loop: LoopRule


def read_recipe(path: Path) -> Recipe:
    """Read a TOML recipe.

    Raises:
        UsageError: unreadable, or a key is missing or unknown.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
        corpus, head = dict(table["corpus"]), dict(table["head"])
        return Recipe(
            seed=table["seed"],
            corpus=CorpusRule(window=WindowRule(**corpus.pop("window")), **corpus),
            augment=AugmentRule(**table["augment"]),
            batch=BatchRule(**table["batch"]),
            head=HeadRule(loop=LoopRule(**head.pop("loop")), **head),
            loop=LoopRule(**table["loop"]),
        )
    except OSError as error:
        raise UsageError(f"{path}: cannot read the recipe: {error}") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a valid recipe: {error}") from error
