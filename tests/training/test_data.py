"""The clips of a recipe: divided by speaker, sorted into a tracer's classes, audited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spoofcheck.errors import UsageError
from spoofcheck.training.data import read_run_data
from spoofcheck.training.recipe import Recipe
from tests.support.corpus import write_corpus
from tests.support.recipes import detector_recipe, tracer_recipe


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, {"train": 12, "dev": 4, "eval": 2}, seconds=0.3)
    return folder


def read(content: dict[str, Any]) -> Any:
    return read_run_data(Recipe.model_validate(content))


def test_a_source_is_divided_without_a_speaker_on_both_sides(corpus: Path) -> None:
    content = detector_recipe(corpus)
    parts = [content["data"]["train"][0] | {"part": part} for part in ([0.0, 0.5], [0.5, 1.0])]
    content["data"] |= {"train": parts[:1], "dev": parts[1:]}
    data = read(content)
    assert len(data.train) + len(data.dev) == 48
    assert {clip.source for clip in data.train}.isdisjoint(clip.source for clip in data.dev)
    assert not any("speaker" in warning for warning in data.overlap.warnings)


def test_a_tracer_learns_from_its_classes_and_meets_the_rest_as_unseen(corpus: Path) -> None:
    content = tracer_recipe(corpus)
    content["classes"] = {"tts": ["tts:*"], "vocoder": ["vocoder:ringer"]}
    data = read(content)
    assert data.classes == {"tts": ("tts:*",), "vocoder": ("vocoder:ringer",)}
    assert {clip.label for clip in (*data.train, *data.dev, *data.test)} == {"spoof"}
    content["classes"] = {"buzzer": ["tts:buzzer"], "hisser": ["tts:hisser"]}
    data = read(content)
    assert {clip.system for clip in data.train} == {"tts:buzzer", "tts:hisser"}
    assert "vocoder:ringer" in {clip.system for clip in data.dev}


def test_a_class_nothing_belongs_to_is_an_error(corpus: Path) -> None:
    content = tracer_recipe(corpus)
    content["classes"] = {"tts": ["tts:*"], "codec": ["codec:*"]}
    with pytest.raises(UsageError, match="key 'classes': no training clip is of codec"):
        read(content)


def test_a_part_nothing_falls_into_is_an_error(corpus: Path) -> None:
    content = detector_recipe(corpus)
    content["data"]["dev"] = [content["data"]["dev"][0] | {"part": [0.0, 0.0]}]
    with pytest.raises(UsageError, match=r"key 'data\.dev': no readable clip"):
        read(content)
