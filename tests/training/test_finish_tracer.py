"""Tracing dev and test clips, and the threshold below which a source is none of the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spoofcheck.errors import ModelError
from spoofcheck.evaluation.audit import SplitReport
from spoofcheck.evaluation.clips import Clip
from spoofcheck.evaluation.cliptracing import ClipTracer
from spoofcheck.nets.bundle import load_tracer
from spoofcheck.nets.config import TracerConfig
from spoofcheck.training.data import RunData
from spoofcheck.training.finish import Finished, finish_tracer
from spoofcheck.training.progress import NoSteps
from spoofcheck.training.recipe import Recipe
from tests.support.audio import human_speech, tone, write_wav
from tests.support.recipes import tracer_recipe

SYSTEMS = ("A0-x", "A1", "A2", "other")


def clip(path: Path, system: str) -> Clip:
    return Clip(path.name, path, "spoof", system=system, repo="r")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Sixteen pieces of sound, four of each system, as different as noise and tones can be."""
    folder = tmp_path_factory.mktemp("traced")
    speech = human_speech()
    made = []
    for number in range(16):
        wave = speech[number * 8_000 : number * 8_000 + 40_000] * (1 + number % 3)
        wave = wave + tone(2.5, 16_000, hz=100.0 * (1 + number), amplitude=0.05 * (number % 4))[: wave.size, 0]
        path = write_wav(folder / f"{number}.wav", np.clip(wave, -1, 1).astype(np.float32), 16_000)
        made.append(clip(path, SYSTEMS[number % 4]))
    return made


def finish(
    clips: list[Clip], tracer: Path, tmp_path: Path, classes: dict[str, tuple[str, ...]], **rule: Any
) -> tuple[Finished, TracerConfig]:
    bundle = load_tracer(tracer)
    content = tracer_recipe(Path("/none"))
    content["model"] = {
        "front_end": bundle.config.front_end.model_dump(), "head": bundle.config.head.model_dump(),
        "window_samples": bundle.config.window_samples,
    }  # fmt: skip
    content["finish"] = {"min_window_speech_s": 0.0} | rule
    data = RunData((), tuple(clips), (), classes, (), SplitReport((), ()))
    recipe = Recipe.model_validate(content)
    done = finish_tracer(recipe, data, bundle.network, bundle.config.head, tmp_path / "scratch", "cpu", 1, NoSteps())
    assert not (tmp_path / "scratch").exists()
    assert isinstance(done.config, TracerConfig)
    return done, done.config


def names(clips: list[Clip]) -> list[str]:
    return [one.name for one in clips]


CLASSES: dict[str, tuple[str, ...]] = {"A0": ("A0-*",), "A1": ("A1",), "A2": ("A2",)}


@pytest.mark.parametrize("share", [0.5, 0.75, 1.0])
def test_the_threshold_accepts_the_wanted_share_of_seen_dev_clips(
    clips: list[Clip], tiny_tracer_model: Path, tmp_path: Path, share: float
) -> None:
    _, config = finish(clips, tiny_tracer_model, tmp_path, CLASSES, seen_acceptance=share)
    rows = ClipTracer(load_tracer(tiny_tracer_model), "all", "cpu", min_window_speech_s=0.0).trace(names(clips), clips)
    seen = [
        max(row.probabilities)
        for one, row in zip(clips, rows, strict=True)
        if row.probabilities is not None and one.system != "other"
    ]
    threshold = config.open_set.threshold
    assert len(seen) == 12
    assert np.mean(seen >= np.float64(threshold)) >= share
    assert np.mean(seen >= np.float64(threshold + 0.0101 + (0.1 if share < 1 else 0))) < share + 0.1
    assert threshold * 100 == pytest.approx(round(threshold * 100), abs=1e-6)
    assert f"{share:.0%}" in config.open_set.data


def test_the_published_threshold_is_kept_where_no_share_is_wanted(
    clips: list[Clip], tiny_tracer_model: Path, tmp_path: Path
) -> None:
    done, config = finish(clips, tiny_tracer_model, tmp_path, CLASSES, open_set_threshold=0.4)
    assert config.open_set.threshold == 0.4
    assert config.classes == ("A0", "A1", "A2")
    assert config.class_of("A0-y") == "A0"
    dev = done.figures["dev"]
    assert (dev["seen"]["trials"], dev["unseen"]["trials"]) == (12, 4)
    assert [row["name"] for row in dev["classes"]] == ["A0", "A1", "A2", "unseen"]
    (figure,) = config.validation
    assert (figure.dataset, figure.seen_trials, figure.unseen_trials) == ("dev", 12, 4)
    assert figure.accuracy == dev["accuracy"]


def test_without_a_seen_dev_clip_no_threshold_can_be_fixed(
    clips: list[Clip], tiny_tracer_model: Path, tmp_path: Path
) -> None:
    unseen = [one for one in clips if one.system == "other"]
    with pytest.raises(ModelError, match="no dev clip of a seen class could be traced"):
        finish(unseen, tiny_tracer_model, tmp_path, CLASSES, seen_acceptance=0.95)
    done, config = finish(unseen, tiny_tracer_model, tmp_path, CLASSES)
    assert done.figures["dev"]["open_set"] is None
    assert config.validation[0].macro_f1_seen is None
