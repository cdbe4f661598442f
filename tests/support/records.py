"""Training records made up for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spoofcheck.training.recipe import Recipe
from spoofcheck.training.record import DataRecord, RunRecord, TrainingRecord
from tests.support.recipes import detector_recipe


def record(figures: dict[str, Any], recipe: dict[str, Any] | None = None, **changes: Any) -> TrainingRecord:
    """The record of a run with these figures.

    Args:
        figures: of the model, by split.
        recipe: what was trained; the small detector where not told.
        changes: `data` or `run`: keys of those parts that differ; anything else replaces what stands here.
    """
    kept = Recipe.model_validate(recipe or detector_recipe(Path("/none")))
    splits = ("train", *(split for split in ("dev", "test") if split in figures))
    data = {
        "sha256": {split: split[0] * 64 for split in splits},
        "clips": {split: {"bonafide": 11, "spoof": 22} for split in splits},
        "seen_systems": ("tts:x", "tts:y"), "seen_speakers": 3, "problems": (), "warnings": (),
    }  # fmt: skip
    run = {
        "epochs": 4, "best_epoch": 3, "metric": "mean_eer", "value": 0.0123, "devices": 1, "precision": "32-true",
        "parameters": 1_230_000, "nuisance_auc": 0.567,
    }  # fmt: skip
    return TrainingRecord(
        **{
            "recipe": kept.model_dump(mode="json", exclude={"data": {"root"}}),
            "recipe_sha256": kept.digest(),
            "spoofcheck": "0.0.1",
            "git_commit": "c0ffee",
            "libraries": {"torch": "2.0", "numpy": "1.0"},
            "python": "3.11.7",
            "figures": figures,
            **changes,
            "data": DataRecord(**(data | changes.get("data", {}))),
            "run": RunRecord(**(run | changes.get("run", {}))),
        }
    )
