"""Whole runs on clips made here: they learn, resume to the same bits, and leave directories that `scan` loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from lightning.pytorch import LightningModule, Trainer
from safetensors.torch import load_file

from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.errors import UsageError
from spoofcheck.nets.bundle import load_bundle
from spoofcheck.training import trainer as trainer_module
from spoofcheck.training.batches import Batch
from spoofcheck.training.boosting import fit_boosting
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.recipe import BoostingTraining, Recipe
from spoofcheck.training.record import read_record
from spoofcheck.training.run import MODEL, RECIPE, RunOptions, run
from spoofcheck.training.trainer import Machine
from tests.support.corpus import write_corpus
from tests.support.recipes import detector_recipe, tracer_recipe

CPU = RunOptions(Machine("cpu"), workers=1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, {"train": 50, "dev": 16, "eval": 12})
    return folder


def train(content: dict[str, Any], out: Path, options: RunOptions = CPU) -> Path:
    model = run(Recipe.model_validate(content), out, options, NoSteps())
    assert model is not None
    return model


@pytest.fixture(scope="module")
def detector(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(gated_recipe(corpus), tmp_path_factory.mktemp("run") / "detector")


def gated_recipe(corpus: Path, **options: int) -> dict[str, Any]:
    recipe = detector_recipe(corpus, **options)
    recipe["finish"]["gate_components"] = 8
    return recipe


def test_a_detector_beats_chance_on_clips_it_never_saw(detector: Path) -> None:
    record = read_record(detector)
    assert record is not None
    test = record.figures["test"]["exhibit"]
    assert (test["bonafide_trials"], test["spoof_trials"]) == (12, 36)
    assert test["eer"] < 0.25
    assert test["eer_high"] < 0.5
    assert record.run.metric == "mean_eer"
    assert record.data.seen_systems == ("tts:buzzer", "tts:hisser", "vocoder:ringer")
    assert record.data.clips["train"] == {"bonafide": 50, "spoof": 150}


def test_its_directory_loads_in_a_scan(detector: Path, corpus: Path) -> None:
    scanner = Scanner(detector, ScanOptions(device="cpu"))
    human, spoof = corpus / "eval/--0.wav", corpus / "eval/vocoder-ringer-0.wav"
    findings = list(scanner.findings([human, spoof]))
    assert [finding.path for finding in findings] == [str(human), str(spoof)]
    scores = [finding.spoof_llr for finding in findings]
    assert scores[0] is not None
    assert scores[1] is not None
    assert scores[0] < scores[1]


def test_its_gate_lies_around_its_dev_data_and_is_in_the_record(detector: Path, corpus: Path) -> None:
    gate = load_bundle(detector).config.gate
    assert gate is not None
    assert gate.components == 8
    assert 0.5 < gate.exhibit.shrink_from < gate.exhibit.refuse_from < 10
    scanner = Scanner(detector, ScanOptions(device="cpu", vad=False))
    noise = np.random.default_rng(0).uniform(-1, 1, 32_000).astype(np.float32)
    soundfile.write(corpus / "noise.wav", noise, 16_000)
    clip, loud_noise = scanner.findings([corpus / "dev/--0.wav", corpus / "noise.wav"])
    assert clip.validity_distance is not None
    assert clip.validity_distance < gate.exhibit.refuse_from
    assert loud_noise.reasons[0].code == "outside-validated-conditions"
    assert loud_noise.spoof_llr == 0.0
    record = read_record(detector)
    assert record is not None
    figures = record.figures["gate"]
    assert figures["limits"]["exhibit"] == gate.exhibit.model_dump()
    assert {row["split"] for row in figures["trade_off"]} == {"dev", "test"}
    assert "## Validity gate" in (detector / "README.md").read_text(encoding="utf-8")


def test_the_card_shows_the_figures_of_the_run(detector: Path) -> None:
    record = read_record(detector)
    assert record is not None
    card = (detector / "README.md").read_text(encoding="utf-8")
    test = record.figures["test"]["exhibit"]
    assert f"{100 * test['eer']:.1f}" in card
    assert record.data.sha256["train"] in card
    assert record.recipe_sha256 in card
    for name, number in record.libraries.items():
        assert f"{name} {number}" in card


def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = detector_recipe(corpus, steps_per_epoch=6)
    unbroken = train(recipe, tmp_path / "unbroken")
    keep = trainer_module._KeepLast.on_train_epoch_end

    def die_after_two(self: Any, trainer: Trainer, module: LightningModule) -> None:
        keep(self, trainer, module)
        if trainer.current_epoch == 1:
            raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(trainer_module._KeepLast, "on_train_epoch_end", die_after_two)
        with pytest.raises(RuntimeError, match="killed"):
            train(recipe, tmp_path / "broken")
    assert not (tmp_path / "broken" / MODEL).exists()
    resumed = train(recipe, tmp_path / "broken", RunOptions(Machine("cpu"), resume=True, workers=2))
    first, second = (load_file(model / "model.safetensors") for model in (unbroken, resumed))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert (unbroken / "config.json").read_bytes() == (resumed / "config.json").read_bytes()
    assert (unbroken / "README.md").read_bytes() == (resumed / "README.md").read_bytes()


def test_a_folder_holds_one_run(corpus: Path, detector: Path, tmp_path: Path) -> None:
    out = detector.parent
    with pytest.raises(UsageError, match="--resume"):
        train(detector_recipe(corpus), out)
    again = RunOptions(Machine("cpu"), resume=True)
    with pytest.raises(UsageError, match=r"another recipe \(differs in training\)"):
        train(gated_recipe(corpus, epochs=9), out, again)
    (tmp_path / "x").touch()
    with pytest.raises(UsageError, match="not empty"):
        train(detector_recipe(corpus), tmp_path)


def test_shared_recordings_are_refused(corpus: Path, tmp_path: Path) -> None:
    content = detector_recipe(corpus)
    content["data"]["dev"] = content["data"]["train"]
    for _ in range(2):  # a refused run must not keep its folder from the next try
        with pytest.raises(UsageError, match="train and dev share"):
            train(content, tmp_path / "out")


def test_broken_files_are_named_before_anything_is_trained(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    write_corpus(folder, {"train": 3, "dev": 2})
    (folder / "train/--0.wav").write_bytes(b"no audio at all")
    (folder / "dev/tts-buzzer-1.wav").unlink()
    from spoofcheck.training.run import plan

    content = detector_recipe(folder)
    content["data"]["test"] = []
    planned = plan(Recipe.model_validate(content))
    assert sorted(problem.path.name for problem in planned.data.problems) == ["--0.wav", "tts-buzzer-1.wav"]
    assert len(planned.data.train) == 11
    assert planned.trained_parameters == planned.parameters > 0


def test_a_front_end_frozen_for_good_is_cached_and_stays_as_it_was(corpus: Path, tmp_path: Path) -> None:
    content = detector_recipe(corpus, epochs=2, steps_per_epoch=4)
    content["model"] = {
        "front_end": {"kind": "spectral-stem", "channels": [4, 8], "fft_samples": 32},
        "back_end": {"kind": "nes2net-la", "channels": 56, "blocks": 7, "scale": 4},
        "window_samples": 16_000,
    }
    content["training"] |= {"frozen_epochs": "all", "cached_batches": 4, "ema_decay": None}
    from spoofcheck.training.initial import initial_network

    start = initial_network(Recipe.model_validate(content), 0).state_dict()
    end = load_bundle(train(content, tmp_path / "out")).network.state_dict()
    same = {name.split(".")[0]: torch.equal(start[name], end[name]) for name in start if "num_batches" not in name}
    assert same["front_end"]
    assert not all(torch.equal(start[name], end[name]) for name in start if name.startswith("back_end."))


def test_boosted_trees_are_trained_by_the_same_command(corpus: Path, tmp_path: Path) -> None:
    content = detector_recipe(corpus)
    content["model"] = {"front_end": {"kind": "voice-statistics"}, "window_samples": 16_000}
    content["training"] = {"kind": "boosting", "batches": 6, "iterations": 20, "leaves": 5}
    model = train(content, tmp_path / "out")
    record = read_record(model)
    assert record is not None
    assert record.figures["test"]["exhibit"]["eer"] < 0.4
    assert load_bundle(model).config.back_end.kind == "boosted-trees"


def test_features_are_measured_once_for_all_trees(corpus: Path, tmp_path: Path) -> None:
    content = detector_recipe(corpus)
    content["model"] = {"front_end": {"kind": "mel-spectrogram", "bands": 64}, "window_samples": 16_000}
    content["training"] = {"kind": "boosting", "batches": 2, "iterations": 3}
    with pytest.raises(UsageError, match="boosted-trees judge one row of voice-statistics or voice-features"):
        train(content, tmp_path / "refused")
    content["model"]["front_end"] = {"kind": "voice-statistics"}
    recipes = [
        Recipe.model_validate(content | {"training": content["training"] | more}) for more in ({}, {"leaves": 2})
    ]
    batches = [
        Batch(torch.randn(40, 4_000, generator=torch.Generator().manual_seed(n)), torch.arange(40) % 2, torch.zeros(40))
        for n in range(2)
    ]
    assert isinstance(recipes[0].training, BoostingTraining)
    _, whole = fit_boosting(recipes[0], recipes[0].training, batches, tmp_path)
    [kept] = tmp_path.glob("features-*.npz")
    assert isinstance(recipes[1].training, BoostingTraining)
    _, pruned = fit_boosting(recipes[1], recipes[1].training, (), tmp_path)
    assert [kept] == list(tmp_path.glob("features-*.npz"))
    assert pruned.nodes <= 3 < whole.nodes
    other = recipes[0].model_copy(update={"seed": 9})
    with pytest.raises(ValueError, match="need at least one array"):
        fit_boosting(other, recipes[0].training, (), tmp_path)


def test_a_tracer_beats_chance_and_loads(corpus: Path, tmp_path: Path) -> None:
    model = train(tracer_recipe(corpus), tmp_path / "out")
    record = read_record(model)
    assert record is not None
    assert record.figures["test"]["accuracy"] > 0.7  # chance is a third
    options = ScanOptions(device="cpu", tracer=str(model), trace_all=True)
    detector = train(detector_recipe(corpus, epochs=1, steps_per_epoch=2), tmp_path / "detector")
    scanner = Scanner(detector, options)
    finding = next(iter(scanner.findings([corpus / "eval/vocoder-ringer-1.wav"])))
    assert finding.trace is not None
    assert finding.sources[0].name in {"tts:buzzer", "tts:hisser", "vocoder:ringer"}


def test_the_resolved_recipe_is_kept(detector: Path, corpus: Path) -> None:
    kept = yaml.safe_load((detector.parent / RECIPE).read_text(encoding="utf-8"))
    assert Recipe.model_validate(kept) == Recipe.model_validate(gated_recipe(corpus))
    assert json.loads((detector / "training.json").read_text(encoding="utf-8"))["recipe"]["data"].get("root") is None
