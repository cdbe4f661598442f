from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spoofcheck.errors import ModelError
from spoofcheck.nets.config import ConcatConfig, SpectralStemConfig, XlsrConfig, config_json, read_config
from tests.support.models import tiny_config


def write(directory: Path, text: str) -> Path:
    (directory / "config.json").write_text(text)
    return directory


def changed(key: str, value: Any) -> str:
    """The tiny configuration with one (dotted) key set; `...` removes it."""
    document = json.loads(config_json(tiny_config()))
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
