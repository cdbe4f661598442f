"""A model directory that somebody made or changed: it is refused before anything of it runs, in one clear line."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from spoofcheck.cli import run
from spoofcheck.errors import ModelError
from spoofcheck.nets.bundle import load_bundle, load_tracer
from spoofcheck.nets.checkpoints import read_checkpoint
from spoofcheck.nets.config import CONFIG_FILE
from spoofcheck.nets.index import ORIGIN_FILE, WEIGHTS_FILE, write_origin
from tests.hostile.crafted import noise_bytes, wav_bytes


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "model")


def refusal(model: Path) -> str:
    """Why a model is not loaded, in one line."""
    with pytest.raises(ModelError) as error:
        load_bundle(model)
    text = str(error.value)
    assert str(model) in text
    assert len(text.splitlines()) == 1
    assert len(text) < 800
    return text


def changed_config(model: Path, *keys: str, value: Any) -> None:
    """Put a value into `config.json`."""
    path = model / CONFIG_FILE
    document = part = json.loads(path.read_bytes())
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    path.write_text(json.dumps(document))


def safetensors_bytes(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("file", [WEIGHTS_FILE, CONFIG_FILE])
def test_a_pulled_model_that_was_changed_afterwards(
    file: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bit of one weight, or a blank: the model still loads, and would say other things."""
    write_origin(model, None)
    recorded = hashlib.sha256((model / file).read_bytes()).hexdigest()
    data = bytearray((model / file).read_bytes())
    if file == WEIGHTS_FILE:
        data[-4] ^= 1
    else:
        data += b" "
    (model / file).write_bytes(data)
    recording = tmp_path / "a.wav"
    recording.write_bytes(wav_bytes(noise_bytes()))
    assert run(["scan", str(recording), "--model", str(model), "--no-controls", "--no-trace"]) == 2
    error = capsys.readouterr().err
    assert f"SHA-256 is {hashlib.sha256(data).hexdigest()}, expected {recorded}" in error
    assert ORIGIN_FILE in error
    assert len(error.splitlines()) == 1


def test_a_record_that_leaves_the_weights_out_or_leads_elsewhere(model: Path) -> None:
    write_origin(model, None)
    record = json.loads((model / ORIGIN_FILE).read_bytes())
    kept = record["files"].pop(WEIGHTS_FILE)
    (model / ORIGIN_FILE).write_text(json.dumps(record))
    assert f"no hash of {WEIGHTS_FILE}" in refusal(model)
    record["files"]["../../secret"] = kept
    (model / ORIGIN_FILE).write_text(json.dumps(record))
    assert "is no plain name" in refusal(model)


class Code:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("how", ["plain pickle", "torch archive"])
def test_a_pickle_with_code(how: str, model: Path, tmp_path: Path) -> None:
    """In the place of the weights, and as a checkpoint to import."""
    place = tmp_path / "code-ran"
    attack = tmp_path / "attack.pt"
    if how == "plain pickle":
        attack.write_bytes(pickle.dumps({"weight": Code(place)}))
    else:
        torch.save({"weight": Code(place)}, attack)
    shutil.copy(attack, model / WEIGHTS_FILE)
    assert "not a safetensors file" in refusal(model)
    for path in (attack, attack.rename(tmp_path / "attack.safetensors")):
        with pytest.raises(ModelError):
            read_checkpoint(path)
    assert not place.exists()


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 1 << 63) + b"{}",
        struct.pack("<Q", (1 << 64) - 1) + b"{}",
        safetensors_bytes({"a": TENSOR | {"shape": [1 << 62, 4]}}, bytes(8)),
        safetensors_bytes({"a": TENSOR | {"shape": [-2]}}, bytes(8)),
        safetensors_bytes({"a": TENSOR | {"data_offsets": [0, 1 << 60]}}, bytes(8)),
        safetensors_bytes({"a": TENSOR | {"data_offsets": [8, 0]}}, bytes(8)),
        safetensors_bytes({"a": TENSOR, "b": TENSOR}, bytes(8)),
        safetensors_bytes({"a": TENSOR, "b": TENSOR | {"data_offsets": [4, 12]}}, bytes(12)),
        safetensors_bytes({"a": TENSOR}, bytes(800)),
        safetensors_bytes({"a": TENSOR | {"dtype": "F4"}}, bytes(8)),
        safetensors_bytes({"a": TENSOR | {"dtype": "../../etc"}}, bytes(8)),
        safetensors_bytes(b'{"a":' * 100_000),
        safetensors_bytes(b'{"a":NaN}'),
        b"",
        b"\0" * 7,
    ],
    ids=[
        *(
            "header of 8 EB",
            "header of 16 EB",
            "shape of 16 EB",
            "negative shape",
            "offset of 1 EB",
            "offsets reversed",
        ),
        *("one tensor twice", "overlapping", "bytes left over", "unknown dtype", "dtype that is a path", "deep", "NaN"),
        *("empty", "cut"),
    ],
)
def test_safetensors_with_absurd_shapes_and_offsets(data: bytes, model: Path) -> None:
    (model / WEIGHTS_FILE).write_bytes(data)
    assert WEIGHTS_FILE in refusal(model)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int32, torch.bool, torch.complex64, torch.uint8])
def test_weights_of_another_kind_of_number(dtype: torch.dtype, model: Path) -> None:
    """A double beyond float32 would become infinite on the way in, a boolean would be taken for a weight."""
    state = load_file(model / WEIGHTS_FILE)
    name = sorted(state)[0]
    state[name] = state[name].to(dtype)
    save_file(state, model / WEIGHTS_FILE)
    assert f"'{name}' holds" in refusal(model)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("front_end", "channels"), [65_536] * 6),
        (("back_end", "channels"), 65_536),
        (("back_end", "blocks"), 256),
        (("front_end", "fft_samples"), 1 << 40),
        (("front_end", "channels"), [4] * 1_000),
        (("window_samples",), 1 << 50),
        (("window_samples",), -1),
        (("front_end", "hop_samples"), int("9" * 4_000)),
        (("calibration", "window", "slope"), 1e999),
        (("decision", "spoof_threshold_llr"), float("nan")),
        (("front_end", "kind"), "../../../etc/passwd"),
        (("front_end",), {"kind": "concat", "parts": [{"kind": "concat", "parts": []}] * 2}),
        (("back_end",), {"kind": "boosted-trees", "trees": 10_000, "nodes": 65_535}),
        (("back_end",), {"kind": "mel-cnn", "widths": [65_536] * 256}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_configuration_of_absurd_numbers(keys: tuple[str, ...], value: Any, model: Path) -> None:
    """Billions of weights are refused before memory for them is asked for."""
    changed_config(model, *keys, value=value)
    assert CONFIG_FILE in refusal(model)


def test_a_configuration_nested_without_end(model: Path) -> None:
    (model / CONFIG_FILE).write_text('{"front_end":' * 100_000)
    assert CONFIG_FILE in refusal(model)
    (model / CONFIG_FILE).write_text("[" * 1_000_000)
    assert CONFIG_FILE in refusal(model)


@pytest.mark.parametrize("member", ["../other", "/etc", "..", ".hidden", "a/b", "a\x1b[2J", "a\nb", "con:"])
def test_an_ensemble_whose_members_lie_elsewhere(member: str, model: Path) -> None:
    weights = [{"model": name, "weights_sha256": "0" * 64, "weight": 0.5} for name in (member, "other")]
    back_end = {"kind": "ensemble", "channels": 4, "fusion": "weighted-probability", "members": weights}
    changed_config(model, "back_end", value=back_end)
    assert "should match pattern" in refusal(model)


@pytest.mark.parametrize("file", [WEIGHTS_FILE, CONFIG_FILE, ORIGIN_FILE])
def test_files_that_are_none_or_too_large(file: str, model: Path) -> None:
    """A pipe would block, /dev/zero never ends, and a sparse file claims more than there is memory."""
    place = model / file
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    assert "Not a regular file" in refusal(model)
    place.unlink()
    place.symlink_to("/dev/zero")
    assert "Not a regular file" in refusal(model)
    place.unlink()
    with place.open("wb") as sparse:
        sparse.truncate(1 << 40)
    assert "are read" in refusal(model)


def test_names_with_control_characters_reach_no_terminal(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    attack = "\x1b[2J\u202e<script>alert(1)</script>"
    changed_config(model, "name", value=f"tiny{attack}")
    for key in ("version", "licence", "training_data"):
        changed_config(model, key, value=attack)
    changed_config(model, "limitations", value=[attack])
    recording, page = tmp_path / "a.wav", tmp_path / "report.html"
    recording.write_bytes(wav_bytes(noise_bytes()))
    options = ("--no-controls", "--no-trace", "--no-store", "--no-vad", "--no-acoustics", "--report", str(page))
    assert run(["scan", str(recording), "--model", str(model), *options]) in (0, 1)
    shown = capfd.readouterr()
    changed_config(model, attack, value=1)
    assert run(["scan", str(recording), "--model", str(model), *options]) == 2
    refused = capfd.readouterr().err
    assert len(refused.splitlines()) == 1
    for text in (shown.out, shown.err, page.read_text(), refused):
        assert "\x1b[2J" not in text
        assert "\u202e" not in text
    assert "<script>alert" not in page.read_text()


def test_a_tracer_is_checked_likewise(tiny_tracer_model: Path, tmp_path: Path) -> None:
    tracer = shutil.copytree(tiny_tracer_model, tmp_path / "tracer")
    write_origin(tracer, None)
    data = bytearray((tracer / WEIGHTS_FILE).read_bytes())
    data[-4] ^= 1
    (tracer / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(ModelError, match="expected"):
        load_tracer(tracer)
