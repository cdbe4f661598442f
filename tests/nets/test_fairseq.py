"""Published checkpoints against other readings of them.

fairseq itself is not needed: `FairseqWav2Vec2` has its modules by its names, and torchaudio's `import_fairseq_model` is
the reference for what they compute.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torchaudio.models.wav2vec2.utils.import_fairseq import _map_key, import_fairseq_model

from spoofcheck.cli import run
from spoofcheck.detect.scan import Scanner, ScanOptions
from spoofcheck.errors import ModelError
from spoofcheck.nets.checkpoints import read_checkpoint
from spoofcheck.nets.config import XlsrConfig
from spoofcheck.nets.detector import Detector, build_detector
from spoofcheck.nets.fairseq import FRONT_END, Converted, convert
from spoofcheck.nets.published import ARCHITECTURES, Architecture
from spoofcheck.nets.tracer import Tracer, build_tracer
from tests.nets.test_nes2net import Reference
from tests.support.audio import noise, write_wav
from tests.support.fairseq import TINY, TINY_XLSR, published_state, with_unused, write_checkpoint

Array = NDArray[np.float64]
SOURCE = Path("c.pth")
LA = "xlsr-nes2net-la"
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


class FairseqWav2Vec2(nn.Module):
    """The modules of fairseq's `Wav2Vec2Model` as XLS-R has them; nothing is computed here."""

    def __init__(self, config: XlsrConfig) -> None:
        super().__init__()
        size, channels = config.hidden_size, config.conv_channels
        inputs = (1, *[channels] * 6)
        self.feature_extractor = nn.Module()
        self.feature_extractor.conv_layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(n, channels, kernel, stride),
                nn.Dropout(0.0),
                nn.Sequential(nn.Identity(), nn.LayerNorm(channels), nn.Identity()),
                nn.GELU(),
            )
            for n, kernel, stride in zip(inputs, KERNELS, STRIDES, strict=True)
        )
        self.layer_norm = nn.LayerNorm(channels)
        self.post_extract_proj = nn.Linear(channels, size)
        self.dropout_input = nn.Dropout(0.0)
        self.mask_emb = nn.Parameter(torch.zeros(size))
        self.quantizer = nn.Linear(channels, 4)
        self.project_q = nn.Linear(4, 4)
        self.final_proj = nn.Linear(size, 4)
        self.encoder = nn.Module()
        kernel, groups = config.position_kernel, config.position_groups
        position = nn.Conv1d(size, size, kernel, padding=kernel // 2, groups=groups)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # fairseq's form of it, which torch still has
            position = nn.utils.weight_norm(position, dim=2)
        self.encoder.pos_conv = nn.Sequential(position)
        self.encoder.layers = nn.ModuleList(FairseqLayer(config) for _ in range(config.layers))
        self.encoder.layer_norm = nn.LayerNorm(size)
        self.encoder.layer_norm_first = True
        self.encoder.layerdrop = 0.0


FairseqWav2Vec2.__name__ = "Wav2Vec2Model"  # what torchaudio knows fairseq's class by


class FairseqLayer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, config: XlsrConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.self_attn = nn.Module()
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            setattr(self.self_attn, name, nn.Linear(size, size))
        self.self_attn.num_heads = config.heads
        self.self_attn.dropout_module = nn.Dropout(0.0)
        self.self_attn_layer_norm = nn.LayerNorm(size)
        self.fc1 = nn.Linear(size, config.feed_forward_size)
        self.fc2 = nn.Linear(config.feed_forward_size, size)
        self.dropout2, self.dropout3 = nn.Dropout(0.0), nn.Dropout(0.0)
        self.final_layer_norm = nn.LayerNorm(size)


def fairseq_model(config: XlsrConfig, seed: int = 5) -> FairseqWav2Vec2:
    """With weights that matter everywhere: neither a bias nor a scale is left as it begins."""
    with torch.device("meta"):
        model = FairseqWav2Vec2(config)
    model.to_empty(device="cpu")
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight_g") or (parameter.ndim < 2 and not name.endswith("bias")):
                parameter.normal_(1.0, 0.1, generator=draw)
            else:
                fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
                parameter.normal_(0.0, fan_in**-0.5, generator=draw)
    return model


def published(model: nn.Module, back_end: dict[str, Tensor]) -> dict[str, Tensor]:
    return {FRONT_END + name: value for name, value in model.state_dict().items()} | back_end


def back_end_of(architecture: Architecture) -> dict[str, Tensor]:
    state = published_state(architecture.layout())
    return {name: value for name, value in state.items() if not name.startswith(FRONT_END)}


def converted(architecture: Architecture, state: dict[str, Tensor]) -> Converted:
    return convert(state, architecture.layout(), SOURCE)


def built(architecture: Architecture, state: dict[str, Tensor]) -> Detector | Tracer:
    front_end, back_end, head = architecture.front_end, architecture.back_end, architecture.head
    network: Detector | Tracer
    if head is not None:
        network = build_tracer(front_end, head, 21)
    else:
        assert back_end is not None
        network = build_detector(front_end, back_end)
    network.load_state_dict(converted(architecture, state).state, strict=True)
    return network.eval().requires_grad_(False)


def waves(samples: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples)) / 10


def test_every_name_agrees_with_torchaudios_renaming() -> None:
    """Its names are those of transformers but for three beginnings and the weight normalisation's two tensors."""
    architecture = TINY[LA]
    names = [key.name for key in architecture.layout().keys if key.name.startswith(FRONT_END)]
    marked = {
        key.name: torch.full(key.shape, float(number)) if key.floating else torch.tensor(number)
        for number, key in enumerate(architecture.layout().keys)
    }
    ours = {int(value.flatten()[0]): name for name, value in converted(architecture, marked).state.items()}
    assert len(ours) == len(marked)
    for number, name in enumerate(names):
        theirs = _map_key(name.removeprefix(FRONT_END))
        assert theirs is not None
        for old, new in (
            ("encoder.feature_projection.", "feature_projection."),
            ("encoder.transformer.", "encoder."),
            ("conv.weight_g", "conv.parametrizations.weight.original0"),
            ("conv.weight_v", "conv.parametrizations.weight.original1"),
        ):
            theirs = theirs.replace(old, new)
        assert ours[number] == f"front_end.model.{theirs}"
    in_vain = list(with_unused({}, global_attention=False))
    assert [_map_key(name.removeprefix(FRONT_END)) for name in in_vain] == [None] * len(in_vain)


@pytest.fixture(scope="module")
def tiny_pair() -> tuple[nn.Module, FairseqWav2Vec2]:
    """torchaudio's model of the stand-in, and the stand-in."""
    model = fairseq_model(TINY_XLSR)
    return import_fairseq_model(model).eval(), model


LENGTHS = (400, 719, 720, 721, 1_039, 4_000, 15_999, 16_000, 64_000, 64_600)


@pytest.mark.parametrize("samples", LENGTHS)
def test_the_front_end_computes_what_torchaudio_computes(
    samples: int, tiny_pair: tuple[nn.Module, FairseqWav2Vec2]
) -> None:
    reference, model = tiny_pair
    architecture = TINY[LA]
    network = built(architecture, published(model, back_end_of(architecture)))
    with torch.inference_mode():
        expected = reference(waves(samples))[0].transpose(1, 2)
        actual = network.front_end(waves(samples))
    assert expected.std() > 0.5
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def test_another_value_anywhere_in_the_front_end_is_another_output(
    tiny_pair: tuple[nn.Module, FairseqWav2Vec2],
) -> None:
    """So that the comparison above cannot pass with a tensor in a wrong place; a key's bias shifts all scores alike."""
    reference, model = tiny_pair
    architecture = TINY[LA]
    state = published(model, back_end_of(architecture))
    network = built(architecture, state)
    own = network.front_end.state_dict()
    with torch.inference_mode():
        expected = reference(waves(4_000))[0].transpose(1, 2)
        for name, value in own.items():
            if name.endswith("k_proj.bias"):
                continue
            kept = value.clone()
            value.copy_(kept.roll(1) + 0.5)
            assert (network.front_end(waves(4_000)) - expected).abs().max() > 1e-3, name
            value.copy_(kept)


@pytest.mark.parametrize("arch", [LA, "xlsr-nes2net-x"])
def test_nes2net_answers_as_the_independent_implementation(arch: str) -> None:
    architecture = TINY[arch]
    state = published_state(architecture.layout())
    network = built(architecture, with_unused(state, global_attention=arch == LA))

    class Published(nn.Module):
        def state_dict(self, *_: object, **__: object) -> dict[str, Tensor]:  # type: ignore[override]
            prefix = "Nested_Res2Net_TDNN."
            return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}

    reference = Reference(Published(), blocks=8, scale=8, dilation=2, batch_statistics=False)  # type: ignore[arg-type]
    with torch.inference_mode():
        features = network.front_end(waves(8_000))
        logits = network(waves(8_000))
    np.testing.assert_allclose(logits.numpy(), reference(features.double().numpy()), atol=1e-4)


def test_the_tracer_attends_over_all_layers_as_published(tiny_pair: tuple[nn.Module, FairseqWav2Vec2]) -> None:
    """Layers one after another in time, multi-head attention, mean, two linear layers with SELU after each."""
    reference, model = tiny_pair
    architecture = TINY["xlsr-tracer"]
    state = published(model, back_end_of(architecture))
    network = built(architecture, state)
    with torch.inference_mode():
        layers = reference.extract_features(waves(4_000))[0]
        actual = network(waves(4_000))
    x = torch.cat(layers, dim=1).double().numpy()
    w = {name: value.double().numpy() for name, value in state.items() if not name.startswith(FRONT_END)}
    size, heads = x.shape[-1], 4
    weights = np.split(w["layer_att.self_attn.in_proj_weight"], 3)
    biases = np.split(w["layer_att.self_attn.in_proj_bias"], 3)
    q, k, v = (x @ weight.T + bias for weight, bias in zip(weights, biases, strict=True))
    attended = np.empty_like(q)
    for head in range(heads):
        part = slice(head * size // heads, (head + 1) * size // heads)
        scores = q[..., part] @ k[..., part].swapaxes(1, 2) / np.sqrt(size // heads)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attended[..., part] = shares / shares.sum(axis=-1, keepdims=True) @ v[..., part]
    out = attended @ w["layer_att.self_attn.out_proj.weight"].T + w["layer_att.self_attn.out_proj.bias"]
    hidden = selu(out.mean(axis=1) @ w["fc1.weight"].T + w["fc1.bias"])
    expected = selu(hidden @ w["fc3.weight"].T + w["fc3.bias"])
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-4)


def selu(x: Array) -> Array:
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def test_nothing_is_left_out_in_silence() -> None:
    architecture = TINY[LA]
    state = published_state(architecture.layout())
    found = converted(architecture, with_unused(state))
    assert sum(found.loaded.values()) == len(state) == len(found.state)
    assert found.dropped == {"mask_emb": 1, "quantizer": 3, "project_q": 2, "final_proj": 2, "global_attn": 4}
    for extra in (
        "global_attn.in_proj_weight",
        "Nested_Res2Net_TDNN.global_attn2.weight",
        f"{FRONT_END}mask_emb2",
        f"{FRONT_END}encoder.layers.2.fc1.weight",
        f"{FRONT_END}quantizer",
        "mask_emb",
    ):
        with pytest.raises(ModelError, match=r"keys 1 unknown \(") as error:
            converted(architecture, state | {extra: torch.zeros(1)})
        assert f"({extra})" in str(error.value)
    few = {name: value for name, value in state.items() if ".layers.1." not in name}
    with pytest.raises(ModelError) as error:
        converted(architecture, few | {"a": torch.zeros(1)})
    message = str(error.value)
    assert "c.pth: not the weights of this architecture: keys 16 missing (ssl_model.model.encoder.layers.1." in message
    assert "and 11 more), 1 unknown (a)" in message
    with pytest.raises(ModelError, match="unknown"):  # attention that another architecture lacks is not dropped
        convert(with_unused(published_state(TINY["xlsr-nes2net-x"].layout())), TINY["xlsr-nes2net-x"].layout(), SOURCE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v[:-1], r"has shape \[1\]; this architecture has \[2\]"),
        (lambda v: v.int(), r"holds torch.int32, not fractions"),
        (lambda v: v * torch.nan, "holds values that are not finite"),
        (lambda v: v / 0, "holds values that are not finite"),
    ],
)
def test_values_that_cannot_be_weights_are_named(change: Callable[[Tensor], Tensor], message: str) -> None:
    architecture = TINY[LA]
    state = published_state(architecture.layout())
    key = "Nested_Res2Net_TDNN.fc.bias"
    with pytest.raises(ModelError, match=rf"'{key}' {message}"):
        converted(architecture, state | {key: change(state[key])})


def test_counts_stay_counts_and_halves_become_singles() -> None:
    architecture = TINY[LA]
    state = published_state(architecture.layout())
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    found = converted(architecture, half).state
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}
    count = "Nested_Res2Net_TDNN.bn.num_batches_tracked"
    assert found["back_end.bn.num_batches_tracked"] == state[count]
    with pytest.raises(ModelError, match="not counts"):
        converted(architecture, state | {count: torch.tensor(1.0)})


def test_the_newer_weight_norm_names_are_the_same_tensors() -> None:
    architecture = TINY[LA]
    state = published_state(architecture.layout())
    newer = dict(state)
    for number, name in enumerate(("weight_g", "weight_v")):
        position = f"{FRONT_END}encoder.pos_conv.0."
        newer[f"{position}parametrizations.weight.original{number}"] = newer.pop(position + name)
    ours = converted(architecture, state).state
    assert all(torch.equal(value, ours[name]) for name, value in converted(architecture, newer).state.items())


def checkpoint_forms(folder: Path, state: dict[str, Tensor]) -> Iterator[Path]:
    yield write_checkpoint(folder / "ddp.pth", state)
    for key in ("model", "state_dict", "model_state_dict"):
        torch.save({"epoch": 3, key: state, "optimizer_state_dict": {"lr": 0.1}}, folder / f"{key}.pt")
        yield folder / f"{key}.pt"
    torch.save(state, folder / "old.bin", _use_new_zipfile_serialization=False)
    yield folder / "old.bin"
    save_file(state, folder / "safe.safetensors")
    yield folder / "safe.safetensors"


def test_checkpoints_are_read_in_all_their_forms(tmp_path: Path) -> None:
    state = {"a.weight": torch.randn(3, 2), "a.bias": torch.randn(3)}
    for path in checkpoint_forms(tmp_path, state):
        read = read_checkpoint(path)
        assert read.keys() == state.keys(), path.name
        assert all(torch.equal(read[name], value) for name, value in state.items()), path.name
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "mixed.pt")
    assert read_checkpoint(tmp_path / "mixed.pt").keys() == {"module.a", "b"}


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(4)}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    for name, content, message in (
        ("text.pth", b"not a checkpoint", "not a checkpoint of PyTorch, or damaged"),
        ("empty.pth", b"", "not a checkpoint of PyTorch, or damaged"),
        ("short.pth", whole[: len(whole) // 2], "not a checkpoint of PyTorch, or damaged"),
        ("wrong.safetensors", whole, "not a safetensors file"),
    ):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, message)
    for protocol in (2, 4):  # of a plain pickle, and of one that torch does not read at all
        (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Code(), protocol))
        refused(tmp_path / "plain.pkl", "asks for posix.mkdir" if protocol == 2 else "not a checkpoint of PyTorch")
    for name, value, message in (
        ("code.pt", {"a": Code()}, "asks for posix.mkdir, and to load more than tensors could run code"),
        ("list.pt", [torch.ones(1)], "holds no state_dict"),
        ("nothing.pt", {}, "holds no state_dict"),
        ("numbers.pt", {"a": torch.ones(1), "epoch": 3}, "'epoch' is no tensor but int"),
        ("keys.pt", {3: torch.ones(1)}, "3 is no name of a tensor"),
        ("sparse.pt", {"a": torch.eye(3).to_sparse()}, "'a' is no dense tensor"),
        ("complex.pt", {"a": torch.ones(3, dtype=torch.complex64)}, "'a' is no dense tensor"),
        ("module.pt", nn.Linear(2, 2), "asks for torch.nn.modules.linear.Linear"),
    ):
        torch.save(value, tmp_path / name)
        refused(tmp_path / name, message)
    assert not Path("ran-code").exists()
    refused(tmp_path / "gone.pth", r"cannot be read \(No such file or directory\)")


class Code:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("ran-code",)


def refused(path: Path, message: str) -> None:
    with pytest.raises(ModelError, match=rf"{path.name}: .*{message}") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


@pytest.mark.large
def test_a_full_size_checkpoint_scans_and_its_front_end_is_torchaudios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """318 million random weights: written, imported, loaded, compared, scanned with."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "full.pth"
    lengths = (8_000, 16_000)
    layout = ARCHITECTURES[LA].layout()
    behind = published_state(replace(layout, keys=tuple(key for key in layout.keys if key.group == "back-end")))
    model = fairseq_model(XlsrConfig())
    write_checkpoint(path, published(model, behind))
    reference = import_fairseq_model(model).eval()
    del model
    with torch.inference_mode():
        expected = {samples: reference(waves(samples, 1))[0].transpose(1, 2) for samples in lengths}
    del reference

    assert run(["models", "import", str(path), "--arch", LA]) == 0
    said = capsys.readouterr().out
    assert "loaded     986 tensors (convolutions 28, feature projection 4, position 3, last normalisation 2," in said
    path.unlink()
    scanner = Scanner(LA, ScanOptions(device="cpu", precision="float32", vad=False))
    network = scanner.bundle.network
    # What transformers counts for XLS-R 300M, without the mask of pretraining, and the published back-end.
    assert sum(p.numel() for p in network.parameters()) == 315_438_720 - 1_024 + 578_599
    with torch.inference_mode():
        for samples, output in expected.items():
            torch.testing.assert_close(network.front_end(waves(samples, 1)), output, atol=1e-4, rtol=0)

    (finding,) = scanner.findings([write_wav(tmp_path / "short.wav", noise(64_600), 16_000)])
    assert finding.verdict == "uncalibrated"
    (window,) = finding.windows
    assert window.raw_score is not None
    assert window.spoof_llr is None
