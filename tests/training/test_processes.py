"""Training over two processes (gloo) through the real command, against one process on the same batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from spoofcheck.training.record import TrainingRecord, read_record
from tests.support.corpus import write_corpus
from tests.support.recipes import detector_recipe

BOUND = 0.1
"""Between the EERs of one and of two processes. The batches are the same and so are gradients but for rounding; batch
normalisation sees each process's own half of a batch, which is what differs."""


def train(recipe: Path, out: Path, devices: int) -> TrainingRecord:
    command = [sys.executable, "-m", "spoofcheck", "train", str(recipe), "--out", str(out), "--accelerator", "cpu",
               "--devices", str(devices), "--workers", "1"]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert "epoch 3 of 3: loss" in done.stderr
    record = read_record(out / "model")
    assert record is not None
    return record


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ddp")
    write_corpus(folder / "corpus", {"train": 40, "dev": 12, "eval": 6})
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(detector_recipe(folder / "corpus", epochs=3, steps_per_epoch=16)))
    return path


def test_two_processes_reach_what_one_does(recipe: Path, tmp_path: Path) -> None:
    one, two = train(recipe, tmp_path / "one", 1), train(recipe, tmp_path / "two", 2)
    assert (one.run.devices, two.run.devices) == (1, 2)
    assert one.recipe_sha256 == two.recipe_sha256
    assert one.data == two.data
    assert one.run.value is not None
    assert two.run.value is not None
    assert abs(one.run.value - two.run.value) <= BOUND
    for split in ("dev", "test"):
        first, second = one.figures[split]["exhibit"], two.figures[split]["exhibit"]
        assert first["spoof_trials"] == second["spoof_trials"]
        assert abs(first["cllr_min"] - second["cllr_min"]) <= 2 * BOUND


def test_batches_that_do_not_divide_are_refused(recipe: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spoofcheck", "train", str(recipe), "--out", str(tmp_path / "o"), "--accelerator",
               "cpu", "--devices", "3"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "key 'batch.bonafide': 8 windows do not divide evenly over 3 devices" in done.stderr
