"""Folds: what a network does without, what is left of its batches, and a whole run that is calibrated by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.errors import UsageError
from spoofcheck.evaluation.clips import Clip
from spoofcheck.training.folds import Fold, folds_of
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.readout import fit_readout
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
        "batches": 6, "families": FAMILIES,
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


def windows(repo: str, system: str, count: int) -> list[StoredWindow]:
    return [StoredWindow(repo, "x", "-", system, int(system != "-"), -1, 100, 0)] * count


def test_a_readout_learns_and_repeats_itself() -> None:
    rng = np.random.default_rng(0)
    rows = windows("a", "-", 40) + windows("b", "-", 40) + windows("a", "tts:x", 60) + windows("c", "vocoder:y", 20)
    pooled = rng.normal(size=(160, 8)) + np.array([2.0 * row.is_spoof for row in rows])[:, None] * [
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]
    first, second = (fit_readout(pooled, rows, 0.1, 0) for _ in range(2))
    assert not first.training
    assert torch.equal(first.weight, second.weight)
    features = torch.zeros(2, 4, 3)
    features[0, 0] = 2.0  # the mean of the first channel alone tells
    logits = first(features)
    assert logits[0, 0] > logits[1, 0]
    assert torch.allclose(logits.sum(dim=1), torch.zeros(2), atol=1e-6)


def test_what_only_tells_where_humans_were_recorded_is_not_looked_at() -> None:
    rng = np.random.default_rng(0)
    rows = windows("a", "-", 40) + windows("b", "-", 40) + windows("a", "tts:x", 80)
    pooled = rng.normal(size=(160, 4))
    pooled[:40, 0] += 20.0  # one source of human speech lies far out
    pooled[80:, 1] += 1.0
    seeing, blind = (fit_readout(pooled, rows, 1.0, directions) for directions in (0, 1))
    assert abs(blind.weight[0].item()) < 0.1 * abs(seeing.weight[0].item())
    assert blind.weight[1].item() > 0.5 * seeing.weight[1].item() > 0


def test_every_source_counts_whatever_its_share() -> None:
    rng = np.random.default_rng(0)
    rows = windows("a", "-", 100) + windows("a", "tts:many", 400) + windows("a", "tts:few", 10)
    pooled = rng.normal(size=(510, 4))
    pooled[100:500, 0] += 1.0
    pooled[500:, 1] += 1.0
    weight = fit_readout(pooled, rows, 0.1, 0).weight
    alone = LogisticRegression(C=0.1).fit(pooled / pooled.std(axis=0), [row.is_spoof for row in rows]).coef_[0]
    assert (weight[1] / weight[0]).item() > 2 * alone[1] / alone[0]


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
        write_corpus(folder / name, {split: 20}, systems, repos=(f"made/{name}",), first_voice=voice)
    content = detector_recipe(folder)

    def source(name: str) -> dict[str, str]:
        return {"kind": "manifest", "path": f"{name}/manifest.tsv"}

    content["data"] |= {"train": [source("one"), source("two")], "dev": [source("three")], "test": [source("four")]}
    content["model"]["back_end"] = {"kind": "statistics-readout", "channels": 64}
    content["training"] = {
        "kind": "folds", "batches": 12, "inverse_penalty": 1.0,
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
    assert folds["first"]["exhibit"]["spoof_trials"] == 40
    assert folds["rest"]["exhibit"]["spoof_trials"] == 60


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
