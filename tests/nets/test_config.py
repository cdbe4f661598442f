from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spoofcheck.errors import ModelError
from spoofcheck.nets.config import (
    ConcatConfig,
    SpectralStemConfig,
    XlsrConfig,
    config_json,
    read_any_config,
    read_config,
    read_tracer_config,
)
from tests.support.models import tiny_config, tiny_tracer_config


def write(directory: Path, text: str) -> Path:
    (directory / "config.json").write_text(text)
    return directory


def changed(key: str, value: Any, *, tracer: bool = False) -> str:
    """The tiny configuration with one (dotted) key set; `...` removes it."""
    document = json.loads(config_json(tiny_tracer_config() if tracer else tiny_config()))
    target = document
    *path, last = key.split(".")
    for part in path:
        target = target[part]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return json.dumps(document)


def test_survives_writing_and_reading(tmp_path: Path) -> None:
    config = tiny_config().model_copy(update={"licence": "Größe, 許諾"})
    assert read_config(write(tmp_path, config_json(config))) == config


def test_front_end_is_chosen_by_kind(tmp_path: Path) -> None:
    parts = [{"kind": "spectral-stem"}, {"kind": "xlsr", "layers": 2}]
    text = changed("front_end", {"kind": "concat", "parts": parts, "project_to": 64})
    config = read_config(write(tmp_path, text))
    assert config.front_end == ConcatConfig(parts=(SpectralStemConfig(), XlsrConfig(layers=2)), project_to=64)
    assert config.architecture == "spectral-stem + xlsr -> nes2net-la, 64 channels"


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("calibration.window.slope", "steep", "calibration.window.slope"),
        ("calibration.window.slope", -1.0, "calibration.window.slope"),
        ("calibration.window.slope", ..., "calibration.window.slope"),
        ("calibration.llr_bound", 0.0, "calibration.llr_bound"),
        ("decision.spoof_threshold_llr", None, "decision.spoof_threshold_llr"),
        ("decision.surprise", 1, "decision.surprise"),
        ("format_version", 2, "format_version"),
        ("sample_rate_hz", 8_000, "sample_rate_hz"),
        ("label_order", ["bonafide", "spoof"], "label_order.0"),
        ("front_end.kind", "magic", "front_end"),
        ("front_end.kernel", 3, "front_end.spectral-stem.kernel"),
        ("crop.short", "zero-pad", "crop.short"),
        ("task", "oracle", "task"),
        ("back_end", {"kind": "boosted-trees", "trees": 10**9, "nodes": 1}, "back_end.boosted-trees.trees"),
        (
            "front_end",
            {"kind": "concat", "parts": [{"kind": "spectral-stem"}, {"kind": "xlsr", "output": "all-layers"}]},
            "front_end.concat.parts",
        ),
        ("validated.max_clipping_share", 2, "validated.max_clipping_share"),
    ],
)
def test_names_the_key_that_is_wrong(tmp_path: Path, key: str, value: Any, named: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_config(write(tmp_path, changed(key, value)))
    message = str(caught.value)
    assert f"key '{named}'" in message
    assert str(tmp_path / "config.json") in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("classes", ["A0"], "classes"),
        ("classes", ["A0", "A1", "A0"], "classes"),
        ("classes", ["A0", "unseen"], "classes"),
        ("classes", ["A0", ""], "classes.1"),
        ("open_set.threshold", 1.5, "open_set.threshold"),
        ("open_set.method", "hope", "open_set.method"),
        ("open_set.data", ..., "open_set.data"),
        ("head.kind", "magic", "head"),
        ("back_end", {"kind": "nes2net-la"}, "back_end"),
        ("validation", [{"dataset": "x", "seen_trials": 1, "unseen_trials": 0, "auroc": 2}], "validation.0.auroc"),
    ],
)
def test_names_the_key_of_a_tracer_that_is_wrong(tmp_path: Path, key: str, value: Any, named: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_tracer_config(write(tmp_path, changed(key, value, tracer=True)))
    message = str(caught.value)
    assert f"key '{named}'" in message
    assert "\n" not in message


def test_each_task_has_its_reader_and_one_reads_both(tmp_path: Path) -> None:
    detector, tracer = tiny_config(), tiny_tracer_config(classes=("A0", "許諾"))
    write(tmp_path, config_json(tracer))
    assert read_tracer_config(tmp_path) == read_any_config(tmp_path) == tracer
    with pytest.raises(ModelError, match=r"config\.json: describes a tracer, not a detector.*--tracer"):
        read_config(tmp_path)
    write(tmp_path, config_json(detector))
    assert read_config(tmp_path) == read_any_config(tmp_path) == detector
    with pytest.raises(ModelError, match=r"config\.json: describes a detector, not a tracer.*--tracer"):
        read_tracer_config(tmp_path)
    assert read_any_config(write(tmp_path, changed("task", ...))) == detector


def test_architecture_says_when_all_layers_are_used() -> None:
    config = tiny_tracer_config().model_copy(update={"front_end": XlsrConfig(output="all-layers")})
    assert config.architecture == "xlsr (all layers) -> pooled-embedding, 64 channels, 3 classes"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_refuses_numbers_that_are_not_finite(tmp_path: Path, number: str) -> None:
    text = changed("calibration.window.intercept", 12345.5).replace("12345.5", number)
    with pytest.raises(ModelError, match=r"config\.json"):
        read_config(write(tmp_path, text))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_refuses_what_is_no_json_object(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        read_config(write(tmp_path, text))


def test_refuses_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(ModelError, match=r"config\.json"):
        read_config(tmp_path)


def test_says_which_directory_or_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model directory"):
        read_config(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"config\.json: cannot be read"):
        read_config(tmp_path)


def test_configuration_and_index_leave_torch_alone() -> None:
    code = "import sys, spoofcheck.nets.config, spoofcheck.nets.index; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
