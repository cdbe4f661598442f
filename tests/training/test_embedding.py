"""Fitting an embedding, and a whole run of a tracer of prototypes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from spoofcheck.detect.openset import RULES
from spoofcheck.nets.bundle import load_tracer
from spoofcheck.training.embedding import contrastive_loss, embedded, fit_embedding
from spoofcheck.training.figures import rounded
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.prototypes import POOLED
from spoofcheck.training.recipe import PrototypeTraining, Recipe
from spoofcheck.training.record import read_record
from spoofcheck.training.run import DATA, RunOptions, plan, run
from spoofcheck.training.trainer import Machine
from tests.support.corpus import write_corpus
from tests.support.recipes import tracer_recipe

Floats = NDArray[np.float64]
CPU = RunOptions(Machine("cpu"), workers=1)


def rule(**changes: Any) -> PrototypeTraining:
    return PrototypeTraining.model_validate({"left_out": 1, "draws": 2, "steps": 40, "batch": 32} | changes)


def made(count: int, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Features of three classes that differ in few of twenty directions, amid louder ones that say nothing."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), count)
    rows = rng.normal(size=(len(labels), 20)) * np.linspace(0.5, 6, 20) + 4
    rows[np.arange(len(labels)), labels] += 2.0
    return rows, labels


def fit(rows: Floats, labels: NDArray[np.int64], seed: int = 0, **changes: Any) -> Any:
    return fit_embedding(rows, labels, ["s"] * len(labels), rule(**changes), 4, 16.0, seed)


@pytest.mark.parametrize("steps", [0, 40])
def test_what_is_fitted_holds_for_windows_it_never_met(steps: int) -> None:
    head = fit(*made(40, 1), steps=steps)
    head.check()
    rows, labels = made(30, 2)
    found = embedded(head, rows)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    assert np.mean((found @ head.prototypes.double().numpy().T).argmax(axis=1) == labels) > 0.85


def test_learning_on_brings_windows_closer_to_their_prototypes() -> None:
    rows, labels = made(40, 1)
    begun, learnt = (fit(rows, labels, steps=steps) for steps in (0, 80))
    margins = []
    for head in (begun, learnt):
        logits = head.classify(head.embed_pooled(torch.from_numpy(rows)))
        margins.append(torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).item())
    assert margins[1] < margins[0]


def test_the_same_seed_fits_the_same_and_another_seed_does_not() -> None:
    rows, labels = made(20, 1)
    first, again, other = (fit(rows, labels, seed) for seed in (3, 3, 4))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not torch.equal(first.projection.weight, other.projection.weight)


def test_a_source_with_many_windows_does_not_drown_the_others() -> None:
    """The class's small source lies elsewhere: its prototype moves there by more than the share of its windows."""
    rows, labels = made(60, 1)
    rows[labels == 0, 6] += np.where(np.arange(60) < 6, 30.0, 0.0)
    sources = ["small" if number < 6 else "large" for number in range(60)] + ["s"] * 120
    even = fit_embedding(rows, labels, ["s"] * 180, rule(), 4, 16.0, 0)
    weighed = fit_embedding(rows, labels, sources, rule(), 4, 16.0, 0)
    likeness = [(embedded(head, rows[:6]) @ head.prototypes[0].double().numpy()).mean() for head in (even, weighed)]
    assert likeness[1] > likeness[0]


def test_the_contrastive_loss_worked_out_by_hand() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    expected = -np.log(np.e**2 / (np.e**2 + 1))
    assert contrastive_loss(rows, torch.tensor([0, 0, 1]), 0.5).item() == pytest.approx(expected, rel=1e-5)
    assert contrastive_loss(rows, torch.tensor([0, 1, 2]), 0.5).item() == 0


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, {"train": 18, "dev": 6, "eval": 3}, repos=("made/here", "made/there", "made/elsewhere"))
    return folder


def recipe(corpus: Path, **changes: Any) -> dict[str, Any]:
    content = tracer_recipe(corpus)
    content["model"]["head"] = {"kind": "statistics-embedding", "channels": 64, "embedding": 4}
    content["batch"] = {"kind": "shuffled", "size": 16}
    content["classes"] = {"buzz": ["tts:buzz*"], "hiss": ["tts:hiss*"], "lpc": ["copy:lpc"], "world": ["copy:world"]}
    content["data"]["copies"] = {"lpc": 12, "world": 12}
    content["training"] = rule(steps=10, resampled=5, held_share=0.4).model_dump() | changes
    return content


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "tracer"
    model = run(Recipe.model_validate(recipe(corpus)), out, CPU, NoSteps())
    assert model is not None
    return model


def test_a_run_ends_with_prototypes_and_a_rule_chosen_on_left_out_families(trained: Path) -> None:
    bundle = load_tracer(trained)
    assert bundle.config.classes == ("buzz", "hiss", "lpc", "world")
    assert bundle.config.open_set.method in ("max-softmax", "prototype-cosine")
    assert "leave 1 of 2 families out" in bundle.config.open_set.data
    record = read_record(trained)
    assert record is not None
    figures = record.figures["open_set"]
    chosen, measured = (set(figures["families"][key]) for key in ("chosen on", "measured on"))
    assert chosen | measured == {"buzz", "hiss", "lpc", "world"}
    assert not chosen & measured
    assert {row["family"] for row in figures["accepted"]} <= measured
    assert [row["name"] for row in figures["support"]] == list(bundle.config.classes)
    assert {row["rule"] for row in figures["schemes"][0]["rules"]} == set(RULES)
    assert [list(group) for group in bundle.config.groups] == figures["groups"]
    for name in ("source", "link"):
        found = getattr(bundle.config, f"{name}_calibration")
        assert figures["calibrations"][name] == (None if found is None else rounded(found.model_dump(mode="json")))
    assert bundle.config.source_calibration is not None
    # the third system of the test split is no class: it can only be unseen
    test = record.figures["test"]
    assert (test["seen"]["trials"], test["unseen"]["trials"]) == (6, 3)


def test_its_card_compares_the_rules_and_tells_what_was_learnt_from(trained: Path) -> None:
    card = (trained / "README.md").read_text(encoding="utf-8")
    record = read_record(trained)
    assert record is not None
    for name in RULES:
        assert f"| {name}" in card
    for row in record.figures["open_set"]["support"]:
        assert f"| {row['name']} | {row['windows']} | {row['clips']} | {row['repos']} |" in card
    calibration = record.figures["open_set"]["calibrations"]["source"]
    assert f"| {calibration['target_trials']} / {calibration['other_trials']} |" in card


def test_features_are_computed_once(corpus: Path, trained: Path, tmp_path: Path) -> None:
    """A run on the same windows takes the features that lie there, and another number of versions does not."""
    out = tmp_path / "again"
    kept = out / DATA / POOLED
    first = np.load(trained.parent / DATA / POOLED)
    content = Recipe.model_validate(recipe(corpus))
    out.mkdir()
    prepared = RunOptions(Machine("cpu"), workers=1, prepared=trained.parent / DATA)
    model = run(content, out, prepared, NoSteps())
    assert model is not None
    np.testing.assert_array_equal(np.load(kept)["pooled"], first["pooled"])
    assert (model / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()
    assert len(first["pooled"]) % 2 == 0, "as they are and once augmented"


def test_only_the_head_is_trained(corpus: Path) -> None:
    planned = plan(Recipe.model_validate(recipe(corpus)))
    assert planned.trained_parameters == 4 * 128 + 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": {}}, "needs classes"),
        ({"training": {"kind": "gradient", "epochs": 1, "rate": 1e-3, "select_by": "macro_f1"}}, "no data.copies"),
        ({"training": {"kind": "prototypes", "left_out": 0, "draws": 1}}, "left_out"),
    ],
)
def test_a_recipe_that_cannot_be_run_is_refused(corpus: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate(recipe(corpus) | changes)
