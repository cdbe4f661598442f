"""The weights a network begins with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining, Wav2Vec2Model

from spoofcheck.errors import ModelError, UsageError
from spoofcheck.nets.bundle import load_bundle, save_bundle
from spoofcheck.nets.detector import Detector
from spoofcheck.nets.tracer import Tracer
from spoofcheck.nets.xlsr import Xlsr
from spoofcheck.training.initial import initial_network, needs_download
from spoofcheck.training.recipe import GradientTraining, Recipe
from spoofcheck.training.run import _restores_all
from spoofcheck.training.trainer import CHECKPOINTS, LAST
from tests.support.hub import COMMIT, StandIn, serving
from tests.support.models import tiny_config
from tests.support.recipes import detector_recipe, tracer_recipe

XLSR = {
    "kind": "xlsr", "hidden_size": 64, "layers": 2, "heads": 2, "feed_forward_size": 32, "conv_channels": 8,
    "position_kernel": 4, "position_groups": 2,
}  # fmt: skip
STEM = {"kind": "spectral-stem", "channels": [4, 4, 8, 8, 8, 16]}


def recipe(front_end: dict[str, Any], **model: Any) -> Recipe:
    content = detector_recipe(Path("/none"))
    content["model"] = {"front_end": front_end, "back_end": {"kind": "nes2net-la", "channels": 64}} | model
    return Recipe.model_validate(content)


def tracer(front_end: dict[str, Any], **model: Any) -> Recipe:
    content = tracer_recipe(Path("/none"))
    head = {"kind": "pooled-embedding", "channels": 64, "bottleneck": 8, "embedding": 8}
    content["model"] = {"front_end": front_end, "head": head} | model
    return Recipe.model_validate(content)


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as transformers writes it: XLS-R's variant in miniature, with what only its pretraining needs."""
    folder = tmp_path_factory.mktemp("wav2vec2")
    torch.manual_seed(7)
    config = Wav2Vec2Config(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7,
        conv_bias=True, feat_extract_norm="layer", do_stable_layer_norm=True, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, mask_time_prob=0.075,
    )  # fmt: skip
    Wav2Vec2Model(config).save_pretrained(folder)
    return folder


def test_the_seed_draws_the_fresh_weights() -> None:
    first, again = (initial_network(recipe(STEM), 0).state_dict() for _ in range(2))
    other = initial_network(recipe(STEM).model_copy(update={"seed": 5}), 0).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["back_end.fc.weight"], other["back_end.fc.weight"])
    network = initial_network(tracer(STEM), 5)
    assert isinstance(network, Tracer)
    assert network(torch.randn(1, 16_000)).shape == (1, 5)


def test_parts_that_do_not_fit_each_other_are_named() -> None:
    with pytest.raises(UsageError, match="key 'model': the front-end gives 64 channels, the back-end takes 32"):
        initial_network(recipe(STEM, back_end={"kind": "nes2net-la", "channels": 32}), 0)
    with pytest.raises(UsageError, match="key 'model': "):
        initial_network(tracer(STEM, head={"kind": "pooled-embedding", "channels": 32}), 3)


def test_a_transformers_folder_loads_into_the_matching_front_end(wav2vec2: Path) -> None:
    """XLS-R on the hub brings a mask embedding that fine-tuning has no use for; it must not stand in the way."""
    published = Wav2Vec2Model.from_pretrained(wav2vec2)  # in eval mode
    assert "masked_spec_embed" in published.state_dict()
    front_end = initial_network(recipe(XLSR, front_end_weights=str(wav2vec2)), 0).front_end.eval()
    assert isinstance(front_end, Xlsr)
    waves = torch.randn(2, 4_000)
    with torch.no_grad():
        expected = published(waves).last_hidden_state.transpose(1, 2)
        assert torch.equal(front_end(waves), expected)
        assert not torch.equal(initial_network(recipe(XLSR), 0).front_end.eval()(waves), expected)


def test_a_tracer_of_all_layers_takes_them_from_the_same_folder(wav2vec2: Path) -> None:
    """It leaves out the normalisation behind the last layer, which the folder holds."""
    published = Wav2Vec2Model.from_pretrained(wav2vec2)  # in eval mode
    content = tracer(XLSR | {"output": "all-layers"}, front_end_weights=str(wav2vec2))
    front_end = initial_network(content, 3).front_end.eval()
    waves = torch.randn(2, 4_000)
    with torch.no_grad():
        _, first, *_ = published(waves, output_hidden_states=True).hidden_states
        assert torch.equal(front_end(waves)[..., : first.shape[1]], first.transpose(1, 2))


def test_weights_of_another_geometry_are_refused(wav2vec2: Path) -> None:
    with pytest.raises(UsageError, match=r"key 'model.front_end_weights': .* does not fit model\.front_end"):
        initial_network(recipe(XLSR | {"layers": 3}, front_end_weights=str(wav2vec2)), 0)
    with pytest.raises(UsageError, match="does not fit"):
        initial_network(recipe(XLSR | {"feed_forward_size": 48}, front_end_weights=str(wav2vec2)), 0)
    with pytest.raises(UsageError, match=r"'distillmos' does not fit model\.front_end"):
        initial_network(recipe(STEM, front_end_weights="distillmos"), 0)


def test_distillmos_fills_the_stem_it_comes_from() -> None:
    stem = {"kind": "spectral-stem"}
    head = {"kind": "nes2net-la", "channels": 1024}
    loaded = initial_network(recipe(stem, front_end_weights="distillmos", back_end=head), 0).front_end.state_dict()
    fresh = initial_network(recipe(stem, back_end=head), 0).front_end.state_dict()
    assert loaded.keys() == fresh.keys()
    assert not any(torch.equal(loaded[name], fresh[name]) for name in loaded)


def test_a_name_that_only_the_hub_knows_fails_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError) as error:
        initial_network(recipe(XLSR, front_end_weights="nobody/no-such-model"), 0)
    message = str(error.value)
    assert message.startswith("key 'model.front_end_weights': nobody/no-such-model: config.json is not in the cache")
    assert "--set model.front_end_weights=DIR" in message
    assert "\n" not in message


def test_a_folder_without_a_model_is_no_model(wav2vec2: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json with one of model\.safetensors, pytorch_model\.bin"):
        initial_network(recipe(XLSR, front_end_weights=str(tmp_path)), 0)
    state = {
        name: value for name, value in load_file(wav2vec2 / "model.safetensors").items() if ".layers.1." not in name
    }
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_bytes((wav2vec2 / "config.json").read_bytes())
    with pytest.raises(UsageError, match=r"'model\.encoder\.layers\.1\..*' is missing, and 15 more"):
        initial_network(recipe(XLSR, front_end_weights=str(tmp_path)), 0)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"describes no wav2vec 2\.0"):
        initial_network(recipe(XLSR, front_end_weights=str(tmp_path)), 0)


def outputs(recipe: Recipe, waves: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(initial_network(recipe, 3).front_end.eval()(waves))


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of `wav2vec2` as pretraining saves it: a pickle, heads around the encoder, the older weight norm."""
    folder = tmp_path_factory.mktemp("pretraining")
    torch.manual_seed(7)
    config = Wav2Vec2Config(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7,
        conv_bias=True, feat_extract_norm="layer", do_stable_layer_norm=True, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, mask_time_prob=0.075, num_codevectors_per_group=4, codevector_dim=8,
        proj_codevector_dim=8,
    )  # fmt: skip
    model = Wav2Vec2ForPreTraining(config)
    older = {"original0": "weight_g", "original1": "weight_v"}
    state = {
        name.replace("parametrizations.weight.", "").replace(name[-9:], older.get(name[-9:], name[-9:])): value
        for name, value in model.state_dict().items()
    }
    assert "wav2vec2.encoder.pos_conv_embed.conv.weight_g" in state
    assert {name.partition(".")[0] for name in state} == {"wav2vec2", "quantizer", "project_q", "project_hid"}
    torch.save(state, folder / "pytorch_model.bin")
    config.save_pretrained(folder)
    model.wav2vec2.save_pretrained(folder / "plain")
    return folder


def test_what_pretraining_left_is_dropped_by_name(pretraining: Path) -> None:
    waves = torch.randn(2, 4_000)
    expected = outputs(recipe(XLSR, front_end_weights=str(pretraining / "plain")), waves)
    assert torch.equal(outputs(recipe(XLSR, front_end_weights=str(pretraining)), waves), expected)
    file = pretraining / "pytorch_model.bin"
    assert torch.equal(outputs(recipe(XLSR, front_end_weights=str(file)), waves), expected)
    every_layer = XLSR | {"output": "all-layers"}
    folder = outputs(tracer(every_layer, front_end_weights=str(pretraining / "plain")), waves)
    assert torch.equal(outputs(tracer(every_layer, front_end_weights=str(file)), waves), folder)


def test_another_network_of_the_same_shapes_is_refused(pretraining: Path, tmp_path: Path) -> None:
    """How many heads an attention has, and where it normalises, do not show in its weights."""
    for key, value in (("num_attention_heads", 4), ("do_stable_layer_norm", False), ("hidden_act", "relu")):
        config = json.loads((pretraining / "config.json").read_text()) | {key: value}
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "pytorch_model.bin").write_bytes((pretraining / "pytorch_model.bin").read_bytes())
        with pytest.raises(UsageError, match=rf"does not fit model\.front_end: {key} is {value!r}"):
            initial_network(recipe(XLSR, front_end_weights=str(tmp_path)), 0)


def test_weights_in_a_pickle_with_code_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.nn.Linear(2, 2)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="to load more than tensors could run code"):
        initial_network(recipe(XLSR, front_end_weights=str(tmp_path / "pytorch_model.bin")), 0)


@pytest.fixture
def hub(pretraining: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    files = {name: (pretraining / name).read_bytes() for name in ("config.json", "pytorch_model.bin")}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with serving(StandIn("lab/xls-r", files)) as stand_in:
        monkeypatch.setenv("HF_ENDPOINT", stand_in.url)
        yield stand_in


def test_plain_hub_names_are_downloaded_once_and_found_without_a_network(
    hub: StandIn, pretraining: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = torch.randn(2, 4_000)
    expected = outputs(recipe(XLSR, front_end_weights=str(pretraining)), waves)
    assert torch.equal(outputs(recipe(XLSR, front_end_weights="lab/xls-r"), waves), expected)
    assert len(hub.ranges()) == 2
    assert torch.equal(outputs(recipe(XLSR, front_end_weights=f"lab/xls-r@{COMMIT}"), waves), expected)
    assert len(hub.ranges()) == 2
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert torch.equal(outputs(recipe(XLSR, front_end_weights="lab/xls-r"), waves), expected)
    with pytest.raises(ModelError, match="is not in the cache and the hub can't be reached"):
        initial_network(recipe(XLSR, front_end_weights="lab/other"), 0)


def test_nothing_is_downloaded_where_other_weights_take_its_place(hub: StandIn, tmp_path: Path) -> None:
    back_end = {"kind": "nes2net-la", "channels": 64}
    named = recipe(XLSR, back_end=back_end, front_end_weights="lab/xls-r")
    initial_network(named, 0, with_weights=False)
    assert hub.requests == []
    network = initial_network(recipe(XLSR, back_end=back_end), 0)
    config = tiny_config("start").model_copy(
        update={"front_end": named.model.front_end, "back_end": named.model.back_end}
    )
    save_bundle(tmp_path / "start", config, network, "# A start\n")
    begun = initial_network(
        recipe(XLSR, back_end=back_end, front_end_weights="lab/xls-r", start_from=str(tmp_path / "start")), 0
    )
    assert hub.requests == []
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in begun.state_dict().items())


def test_a_run_that_goes_on_needs_none_but_where_features_were_kept(tmp_path: Path) -> None:
    named = recipe(XLSR, front_end_weights="lab/xls-r")
    assert isinstance(named.training, GradientTraining)
    kept = named.model_copy(update={"training": named.training.model_copy(update={"cached_batches": 3})})
    assert not _restores_all(named, tmp_path)
    (tmp_path / CHECKPOINTS).mkdir()
    (tmp_path / CHECKPOINTS / LAST).write_bytes(b"")
    assert _restores_all(named, tmp_path)
    assert not _restores_all(kept, tmp_path)


def test_a_plan_downloads_nothing_and_still_looks_at_what_is_here(hub: StandIn, pretraining: Path) -> None:
    assert needs_download(recipe(XLSR, front_end_weights="lab/xls-r"))
    for here in ("none", "distillmos", str(pretraining), str(pretraining / "pytorch_model.bin")):
        assert not needs_download(recipe(XLSR, front_end_weights=here))
    assert hub.requests == []


def test_weights_a_front_end_cannot_have_are_named() -> None:
    mel = {"kind": "mel-spectrogram", "bands": 64}
    with pytest.raises(UsageError, match="'facebook/x'; 'none' or 'distillmos' for a mel-spectrogram"):
        initial_network(recipe(mel, front_end_weights="facebook/x"), 0)


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoofcheck.training.initial.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"distillmos is not installed: pip install 'spoofcheck\[train\]'"):
        initial_network(recipe(STEM, front_end_weights="distillmos"), 0)


def test_a_run_may_start_from_a_model(tiny_model: Path, tiny_tracer_model: Path) -> None:
    like = {"front_end": tiny_config().front_end.model_dump(), "back_end": tiny_config().back_end.model_dump()}
    network = initial_network(recipe(**like, start_from=str(tiny_model)), 0)
    assert isinstance(network, Detector)
    start = load_bundle(tiny_model).network.state_dict()
    assert all(torch.equal(value, start[name]) for name, value in network.state_dict().items())

    with pytest.raises(UsageError, match=r"key 'model\.start_from': .* holds another network"):
        initial_network(recipe(STEM, back_end={"kind": "nes2net-x", "channels": 64}, start_from=str(tiny_model)), 0)
    with pytest.raises(UsageError, match="holds another network"):  # another number of classes
        initial_network(tracer(STEM, start_from=str(tiny_tracer_model)), 4)
    same = initial_network(tracer(STEM, start_from=str(tiny_tracer_model)), 3)
    assert isinstance(same, Tracer)
    with pytest.raises(ModelError, match="describes a detector"):
        initial_network(tracer(STEM, start_from=str(tiny_model)), 3)
    with pytest.raises(ModelError, match="no such model directory"):
        initial_network(recipe(STEM, start_from="/none"), 0)
