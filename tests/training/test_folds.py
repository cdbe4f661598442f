"""Folds: what a network does without, what is left of its batches, and a whole run that is calibrated by them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.training.batches import Batch
from spoofcheck.training.folds import Fold, folds_of, part_of_batch
from spoofcheck.training.heads import fit_head, mixed_up
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.recipe import FoldsTraining, Recipe
from spoofcheck.training.record import read_record
from spoofcheck.training.run import RunOptions, run
from spoofcheck.training.store import StoredWindow
from spoofcheck.training.trainer import Machine
from tests.support.corpus import write_corpus
from tests.support.recipes import detector_recipe

CPU = RunOptions(Machine("cpu"), workers=1)
FAMILIES = {"hifi": ["*HiFi*", "copy:neural-hifigan"], "buzz": ["tts:buzzer"]}


def rule(**changes: Any) -> FoldsTraining:
    content: dict[str, Any] = {
        "batches": 6, "passes": 8, "rate": 3e-3, "families": FAMILIES,
        "folds": [{"name": "one", "repos": ["a/one"]}, {"name": "two", "repos": ["b/two", "c/human"]}],
    }  # fmt: skip
    return FoldsTraining.model_validate(content | changes)


def clip(repo: str, system: str = "-") -> Clip:
    return Clip(f"{repo}{system}", Path("x.wav"), "bonafide" if system == "-" else "spoof", system=system, repo=repo)


CLIPS = [
    clip("a/one"), clip("a/one", "vocoder:HiFi-GAN"), clip("b/two", "tts:Tacotron+HiFi-GAN"),
    clip("b/two", "tts:other"), clip("c/human"), clip("d/rest", "tts:buzzer"),
]  # fmt: skip


def test_a_fold_takes_the_family_of_its_systems_along() -> None:
    one, two = folds_of(rule(), CLIPS, ["neural-hifigan", "world"])
    assert one.families == two.families == ("hifi",)
    assert one.without == {"vocoder:HiFi-GAN", "tts:Tacotron+HiFi-GAN", "copy:neural-hifigan"}

    def row(repo: str, system: str) -> StoredWindow:
        return StoredWindow(repo, "x", "-", system, int(system != "-"), -1, 100, 0)

    assert one.leaves_out(row("a/one", "-"))
    assert one.leaves_out(row("a/one", "copy:world"))  # a copy belongs to the repository of its source
    assert one.leaves_out(row("b/two", "tts:Tacotron+HiFi-GAN"))
    assert not one.leaves_out(row("b/two", "tts:other"))
    assert not one.leaves_out(row("b/two", "-"))
    assert two.leaves_out(row("c/human", "-"))
    assert not two.leaves_out(row("d/rest", "tts:buzzer"))


def test_folds_that_name_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match=r"training\.folds': one leaves out 'z/none'"):
        folds_of(rule(folds=[{"name": "one", "repos": ["z/none"]}, {"name": "two", "repos": ["b/two"]}]), CLIPS, [])
    with pytest.raises(UsageError, match=r"training\.families\.gone': no system"):
        folds_of(rule(families=FAMILIES | {"gone": ["tts:gone*"]}), CLIPS, [])
    with pytest.raises(ValueError, match="left out twice"):
        rule(folds=[{"name": "one", "repos": ["a/one"]}, {"name": "two", "repos": ["a/one"]}])


def test_part_of_a_batch_keeps_pairs_that_are_whole() -> None:
    batch = Batch(
        torch.arange(6.0)[:, None, None], torch.tensor([1, 1, 1, 0, 0, 0]), torch.tensor([-1, -1, -1, 0, 1, -1])
    )
    part = part_of_batch(batch, [False, True, True, True, True, True])
    assert part.inputs[:, 0, 0].tolist() == [1, 2, 3, 4, 5]
    assert part.labels.tolist() == [1, 1, 0, 0, 0]
    assert part.pairs.tolist() == [-1, -1, -1, 0, -1]


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(features.mean(dim=-1))
        return logits


def batches(count: int = 6) -> list[Batch]:
    torch.manual_seed(0)
    labels = torch.tensor([0, 1] * 8)
    return [
        Batch(torch.randn(16, 4, 5) + 2.0 * labels[:, None, None] - 1.0, labels, torch.full((16,), -1))
        for _ in range(count)
    ]


def test_a_head_learns_and_repeats_itself() -> None:
    torch.manual_seed(1)
    fresh = Head()
    first, second = (
        fit_head(copy.deepcopy(fresh), batches(), rule(mixup=0.3, rate=0.05), 7, NoSteps(), "x") for _ in range(2)
    )
    assert not first.training
    assert torch.equal(first.state_dict()["fc.weight"], second.state_dict()["fc.weight"])
    held = batches(8)[7]
    assert (first(held.inputs).argmax(dim=1) == held.labels).float().mean() > 0.95


def test_mixing_stays_within_a_class() -> None:
    labels = torch.tensor([0, 1] * 4)
    batch = Batch(labels.float()[:, None, None] * 100 + torch.arange(8.0)[:, None, None], labels, torch.full((8,), -1))
    mixed = mixed_up(batch, 0.5, np.random.default_rng(0))
    assert (mixed.inputs[labels == 0] < 8).all()
    assert (mixed.inputs[labels == 1] >= 100).all()
    assert not torch.equal(mixed.inputs, batch.inputs)
    assert mixed_up(batch, 0.0, np.random.default_rng(0)) is batch


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two folds, on four small repositories."""
    folder = tmp_path_factory.mktemp("folds")
    for name, split, systems, voice in (
        ("one", "train", ("tts:buzzer", "vocoder:ringer"), 0),
        ("two", "train", ("tts:buzzer", "vocoder:ringer"), 1000),
        ("three", "dev", ("vocoder:ringer",), 2000),
        ("four", "eval", ("tts:buzzer", "vocoder:ringer"), 3000),
    ):
        write_corpus(folder / name, {split: 20}, systems, repo=f"made/{name}", first_voice=voice)
    content = detector_recipe(folder)

    def source(name: str) -> dict[str, str]:
        return {"kind": "manifest", "path": f"{name}/manifest.tsv"}

    content["data"] |= {"train": [source("one"), source("two")], "dev": [source("three")], "test": [source("four")]}
    content["training"] = {
        "kind": "folds", "batches": 12, "passes": 3, "rate": 2e-3, "ema_decay": 0.8,
        "families": {"buzz": ["tts:buzzer"]},
        "folds": [{"name": "first", "repos": ["made/one"]}, {"name": "rest", "repos": ["made/two", "made/three"]}],
    }  # fmt: skip
    recipe = Recipe.model_validate(content)
    model = run(recipe, folder / "out", CPU, NoSteps())
    assert model is not None
    return model


def test_what_was_left_out_calibrates(finished: Path) -> None:
    record = read_record(finished)
    assert record is not None
    left_out, test = record.figures["dev"]["exhibit"], record.figures["test"]["exhibit"]
    every = (60, 100)  # recordings of train and dev, each once
    assert (left_out["bonafide_trials"], left_out["spoof_trials"]) == every
    assert (test["bonafide_trials"], test["spoof_trials"]) == (20, 40)
    assert test["eer"] < 0.35
    folds = {row["name"]: row for row in record.figures["dev"]["folds"]}
    assert folds["first"]["spoof_trials"] == 40
    assert folds["rest"]["spoof_trials"] == 60


def test_the_model_scans(finished: Path) -> None:
    scanner = Scanner(finished, ScanOptions(device="cpu"))
    folder = finished.parent.parent / "four" / "eval"
    findings = list(scanner.findings([folder / "--0.wav", folder / "vocoder-ringer-0.wav"]))
    assert all(finding.raw_score is not None for finding in findings)


def test_a_fold_describes_itself() -> None:
    fold = Fold("one", frozenset({"b", "a"}), ("hifi",), frozenset({"y", "x"}))
    assert fold.described() == {
        "name": "one", "repos": ["a", "b"], "families": ["hifi"], "also_without": ["x", "y"],
    }  # fmt: skip
