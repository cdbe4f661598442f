"""Recipes: what they may hold, and how a mistake in one is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from spoofcheck.errors import UsageError
from spoofcheck.training.metrics import DEV_METRICS
from spoofcheck.training.recipe import GradientTraining, Recipe, read_recipe, recipe_yaml
from tests.support.recipes import detector_recipe, tracer_recipe

SHIPPED = sorted(
    file for file in (Path(__file__).parents[2] / "train").glob("*/config.yaml") if file.parent.name != "ensemble"
)
"""An ensemble's recipe is of another kind: `test_ensemble` reads it."""


def written(folder: Path, make: Callable[[Path], dict[str, Any]] = detector_recipe) -> Path:
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(make(Path("/corpus"))), encoding="utf-8")
    return file


def complaint(file: Path, *overrides: str) -> str:
    with pytest.raises(UsageError) as error:
        read_recipe(file, overrides)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parent.name)
def test_the_shipped_recipes_read(file: Path) -> None:
    recipe = read_recipe(file.parent)
    assert recipe.name == file.parent.name
    assert recipe == read_recipe(file)


def test_a_recipe_survives_being_kept(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path), ["training.early_stopping.patience=3", "data.root=/Ä Ö"])
    kept = tmp_path / "kept.yaml"
    kept.write_text(recipe_yaml(recipe), encoding="utf-8")
    assert read_recipe(kept) == recipe


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        # unknown keys, at every depth and behind pydantic's names for alternatives
        ("epochs=3", ["key 'epochs': unknown key; known here: name, version, task, seed,"]),
        ("training.epocks=3", ["key 'training.epocks': unknown key; known here: kind, epochs, optimiser,"]),
        ("batch.copys=1", ["key 'batch.copys'", "known here: kind, bonafide, copies, synthetic"]),
        ("model.front_end.bandz=3", ["key 'model.front_end.bandz'", "known here: kind, bands, fft_samples"]),
        ("data.train.0.pth=x", ["key 'data.train.0.pth'", "known here: kind, path, root"]),
        (
            "model.front_end={kind: concat, parts: [{kind: xlsr, layerz: 3}, {kind: mel-spectrogram}]}",
            ["key 'model.front_end.parts.0.layerz'", "known here: kind, hidden_size, layers"],
        ),
        # wrong choices, with what may be chosen
        ("training.optimiser=sgd", ["key 'training.optimiser'", "'adam' or 'adamw'"]),
        ("data.train.0.kind=asvspoof", ["key 'data.train.0.kind'", "'manifest'", "'asvspoof2019-la'", "'folders'"]),
        ("finish.conditions=[mp3]", ["key 'finish.conditions.0'", "'mp3-64k', 'opus-16k', '8khz' or 'noise-15db'"]),
        ("augment.codecs={mp9: 1}", ["key 'augment.codecs.mp9':", "'mp3', 'vorbis'"]),
        ("finish.most_per_system={tset: 3}", ["key 'finish.most_per_system.tset':", "'dev' or 'test'"]),
        ("training.select_by=f1", ["training.select_by 'f1'", "eer, macro_eer, mean_eer, cllr_min"]),
        ("training.select_by=macro_f1", ["training.select_by 'macro_f1'", "eer, macro_eer"]),
        # alternatives that are told apart by their kind
        ("batch.kind=random", ["key 'batch.kind': 'random'", "balanced, shuffled, classes"]),
        ("batch={bonafide: 3}", ["key 'batch.kind': is missing", "balanced, shuffled, classes"]),
        ("model.front_end.kind=mfcc", ["key 'model.front_end.kind': 'mfcc'", "mel-spectrogram", "xlsr", "concat"]),
        # alternatives that are not
        ("training.frozen_epochs=some", ["key 'training.frozen_epochs': ", "valid integer", "; or ", "'all'"]),
        ("training.frozen_epochs=-1", ["key 'training.frozen_epochs': ", "greater than or equal to 0", "'all'"]),
        # out of range, of the wrong type, missing
        ("training.rate=0", ["key 'training.rate'", "greater than 0"]),
        ("training.ema_decay=1", ["key 'training.ema_decay'", "less than 1"]),
        ("training.rate=.nan", ["key 'training.rate'", "finite"]),
        ("data.windows_per_clip={a/b: 0}", ["key 'data.windows_per_clip.a/b'", "greater than 0"]),
        ("seed=", ["key 'seed'", "integer"]),
        ("data=3", ["key 'data': a table of keys and values belongs here"]),
        ("training.early_stopping=3", ["key 'training.early_stopping': a table"]),
        ("batch=null", ["key 'batch': a table"]),
        ("data.train=[]", ["key 'data.train'", "at least 1"]),
        ("name=Über", ["key 'name'", "pattern"]),
        # parts that contradict each other
        ("batch.copies=9", ["batch.copies cannot exceed batch.bonafide"]),
        ("batch.synthetic=0", ["batch.copies and batch.synthetic are both 0"]),
        ("training.cached_batches=3", ["training.cached_batches needs training.frozen_epochs: all"]),
        ("model.back_end=null", ["a detector has model.back_end and no model.head"]),
        ("task=tracer", ["a tracer has model.head and no model.back_end"]),
        ("classes={a: [x], b: [y]}", ["classes belong to a tracer"]),
        ("model.back_end={kind: statistics-readout}", ["training.kind: folds", "need each other"]),
        ("training={kind: boosting, batches: 3}", ["training.kind: boosting", "name none"]),
    ],
)
def test_a_mistake_is_told_with_its_key_and_what_is_allowed(tmp_path: Path, override: str, parts: list[str]) -> None:
    message = complaint(written(tmp_path), override)
    assert message.startswith(f"{tmp_path / 'recipe.yaml'}: ")
    for part in parts:
        assert part in message
    assert "more problem" not in message
    for word in ("constrained", "literal[", "[key]", "gradient.", "balanced.", "xlsr.layerz", "instance of"):
        assert word not in message


def test_copies_need_a_store_and_a_tracer_takes_none(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert "data.copies needs data.store" in complaint(file, "data.copies={world: 3}", "data.store=false")
    tracer = written(tmp_path, tracer_recipe)
    assert "a tracer takes batch.kind: classes or shuffled" in complaint(tracer, "data.copies={world: 3}")
    assert "key 'classes.a'" in complaint(tracer, "classes={a: []}")
    assert read_recipe(tracer, ["classes={a: ['x*'], b: [y, z]}"]).classes == {"a": ("x*",), "b": ("y", "z")}


def test_further_mistakes_are_counted(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert complaint(file, "training.rate=0", "seed=-1").endswith("(and 1 more problem)")
    assert complaint(file, "training.rate=0", "seed=-1", "name=X", "typo=1").endswith("(and 3 more problems)")


def test_overrides_are_yaml_and_reach_into_lists(tmp_path: Path) -> None:
    file = written(tmp_path)
    recipe = read_recipe(
        file,
        [
            "training.rate=1e-3",  # YAML 1.1 reads this as text
            "training.epochs=7",
            "data.dev.0.split=eval",
            "data.train=[{kind: labels, path: 'a=b.txt'}, {kind: folders, path: c}]",
            "data.train.1.path=d",
            "training.early_stopping.patience=2",
            "training.gradient_clip=null",
            "finish.conditions=[8khz]",
        ],
    )
    training = recipe.training
    assert isinstance(training, GradientTraining)
    assert (training.rate, training.epochs, training.gradient_clip) == (1e-3, 7, None)
    assert training.early_stopping is not None
    assert training.early_stopping.patience == 2
    assert recipe.data.dev[0].split == "eval"
    assert [(source.kind, source.path) for source in recipe.data.train] == [("labels", "a=b.txt"), ("folders", "d")]
    assert recipe.finish.conditions == ("8khz",)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.epochs", "--set training.epochs: write key=value, e.g. training.epochs=3"),
        ("=3", "--set =3: write key=value"),
        ("name=[", "--set name=[: the value is not YAML"),
        ("data.train.1.path=x", "'1' is no place in a list of 1"),
        ("data.train.first=x", "'first' is no place in a list of 1"),
        ("data.train.-1.path=x", "'-1' is no place in a list of 1"),
        ("training.rate.peak=3", "'peak' lies inside a value"),
        ("training.rate.peak.of=3", "'peak' lies inside a value"),
    ],
)
def test_a_bad_override_is_named(tmp_path: Path, override: str, said: str) -> None:
    assert said in complaint(written(tmp_path), override)


def test_what_is_no_recipe_is_refused(tmp_path: Path) -> None:
    assert "cannot read the recipe" in complaint(tmp_path / "none.yaml")
    assert f"{tmp_path / 'config.yaml'}: cannot read the recipe" in complaint(tmp_path)  # a folder without one
    for content, said in (
        (b"a: [1\nb: 2", "not YAML"),
        (b"\xff\xfe\xfa", "cannot read the recipe"),
        (b"- a\n- b\n", "a table of keys and values"),
        (b"", "a table of keys and values"),
        (b"!!python/object/apply:os.system [true]", "not YAML"),
        (b"name: \x00", "not YAML"),
    ):
        file = tmp_path / "bad.yaml"
        file.write_bytes(content)
        assert said in complaint(file)


def test_the_digest_minds_everything_but_where_the_data_lie(tmp_path: Path) -> None:
    file = written(tmp_path)
    digest = read_recipe(file).digest()
    assert read_recipe(file, ["data.root=/elsewhere"]).digest() == digest
    others = [
        "seed=2",
        "version=2.0.1",
        "data.dev.0.split=eval",
        "training.rate=1e-3",
        "finish.misses=0.2",
        "licence=x",
    ]
    digests = {read_recipe(file, [other]).digest() for other in others}
    assert len(digests | {digest}) == len(others) + 1


def test_a_dev_metric_knows_its_direction() -> None:
    assert {name: metric.direction for name, metric in DEV_METRICS.items()} == {
        "eer": "min", "macro_eer": "min", "mean_eer": "min", "cllr_min": "min",
        "macro_f1": "max", "accuracy": "max", "cross_entropy": "min",
    }  # fmt: skip
    for metric in DEV_METRICS.values():
        better, worse = (0.1, 0.2) if metric.direction == "min" else (0.2, 0.1)
        assert metric.is_better(better, worse)
        assert not metric.is_better(worse, better)
        assert not metric.is_better(better, better)
        assert not metric.is_better(float("nan"), worse)


def test_recipes_are_read_without_torch() -> None:
    import subprocess
    import sys

    code = "import spoofcheck.training.recipe, sys; print([m for m in ('torch', 'lightning') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_balanced_batch_knows_its_size() -> None:
    batch = Recipe.model_validate(detector_recipe(Path("/corpus"))).batch
    assert batch.size == 16
