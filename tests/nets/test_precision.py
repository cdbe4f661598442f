from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from spoofcheck.audio.recording import read_windows
from spoofcheck.detect.controls import read_controls
from spoofcheck.detect.exhibittracer import shipped_twin
from spoofcheck.detect.gallery import embedding_head
from spoofcheck.detect.runner import Runtime
from spoofcheck.detect.scorer import WindowScorer
from spoofcheck.detect.validity import window_llr
from spoofcheck.errors import UsageError
from spoofcheck.nets import precision
from spoofcheck.nets.bundle import load_bundle
from spoofcheck.nets.index import find_model
from spoofcheck.nets.precision import Precision, chosen_dtype, flags_have_bf16, has_native_bf16, lowered
from spoofcheck.nets.stem import SpectralStem
from spoofcheck.resources import controls_dir
from spoofcheck.types import Window

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))
needs_bf16 = pytest.mark.skipif(not has_native_bf16(), reason="this CPU has no bfloat16")


def stem_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(SpectralStem((4, 4, 8, 8, 8, 16))).eval()


@pytest.mark.parametrize(
    ("wanted", "device", "native", "expected"),
    [
        ("auto", CPU, True, torch.bfloat16),
        ("auto", CPU, False, torch.float32),
        ("auto", CUDA, False, torch.bfloat16),
        ("auto", MPS, True, torch.float32),
        ("float32", CPU, True, torch.float32),
        ("float32", CUDA, True, torch.float32),
        ("bf16", CPU, True, torch.bfloat16),
        ("bf16", CUDA, False, torch.bfloat16),
    ],
)
def test_what_a_choice_means(
    wanted: Precision, device: torch.device, native: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda: native)
    assert chosen_dtype(wanted, device, stem_network()) == expected


def test_auto_leaves_alone_what_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda: True)
    assert chosen_dtype("auto", CPU, nn.Linear(2, 2)) == torch.float32
    assert chosen_dtype("bf16", CPU, nn.Linear(2, 2)) == torch.bfloat16


@pytest.mark.parametrize(("device", "why"), [(CPU, "no instructions for it"), (MPS, "not on MPS")])
def test_bf16_is_refused_where_it_would_not_help(
    device: torch.device, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda: False)
    with pytest.raises(UsageError, match=why):
        chosen_dtype("bf16", device, stem_network())


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 clzero\n", True),
        ("flags : amx_bf16\n", True),
        ("flags : fpu avx2 avx512f\nbugs : avx512_bf16\n", False),
        ("Features : bf16\n", False),
        ("", False),
    ],
)
def test_flags_of_a_processor(facts: str, expected: bool) -> None:
    assert flags_have_bf16(facts) is expected


@needs_bf16
def test_a_lowered_network_shares_weights_and_leaves_the_network_as_it_was() -> None:
    network = stem_network()
    before = copy.deepcopy(network.state_dict())
    prepared = lowered(network)
    addresses = {parameter.data_ptr() for parameter in network.parameters()}
    assert {parameter.data_ptr() for parameter in prepared.parameters()} == addresses
    waves = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        exact, rounded = network(waves), prepared(waves)
    assert rounded.dtype == torch.float32
    assert rounded.shape == exact.shape
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).abs().max() < 0.02 * exact.abs().max()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@needs_bf16
def test_biases_are_not_rounded() -> None:
    network = stem_network()
    stem = network[0]
    assert isinstance(stem, SpectralStem)
    bias = 1 + 2**-8 + 2**-10  # in bfloat16 1 + 2**-7
    with torch.no_grad():
        for stage in stem.stages():
            stage.weight.zero_()
            stage.bias.fill_(1.0)
        last = stem.stages()[-1]
        last.weight[:, 0, 0, 1] = -1.0
        last.bias.fill_(bias)
    with torch.inference_mode():
        maps = lowered(network)(torch.zeros(1, 1_600))
    assert maps.unique().tolist() == [bias - 1]


@pytest.mark.weights
@pytest.mark.parametrize(
    ("wanted", "runtime", "largest_llr", "largest_rest"),
    [
        pytest.param("bf16", "torch", 0.05, 0.01, marks=needs_bf16),
        ("float32", "onnx", 1e-3, 1e-3),
    ],
)
def test_the_shipped_model_hardly_moves(
    wanted: Precision, runtime: Runtime, largest_llr: float, largest_rest: float
) -> None:
    if runtime == "onnx":
        pytest.importorskip("onnxruntime")
    bundle = load_bundle(find_model(None))
    tracer = shipped_twin(bundle)
    assert tracer is not None
    head = embedding_head(tracer)
    windows = control_windows(bundle.config.window_samples)
    assert len(windows) >= 4
    exact = WindowScorer(bundle, "cpu", None, head, "float32").score(windows)
    found = WindowScorer(bundle, "cpu", None, head, wanted, runtime).score(windows)
    for ours, theirs in zip(found, exact, strict=True):
        llrs = [window_llr(each.raw_score, each.validity_distance, bundle.config) for each in (ours, theirs)]
        assert llrs[0] == pytest.approx(llrs[1], abs=largest_llr)
        assert ours.validity_distance == pytest.approx(theirs.validity_distance, abs=largest_rest)
        assert ours.embedding is not None
        assert theirs.embedding is not None
        assert float(ours.embedding @ theirs.embedding) > 1 - largest_rest
    assert [each.raw_score for each in found] != [each.raw_score for each in exact]


def control_windows(window_samples: int) -> list[np.ndarray]:
    folder = controls_dir()
    return [
        item.samples
        for control in read_controls(folder)
        for item in read_windows(
            folder / control.file, window_samples=window_samples, hop_samples=window_samples, channels="mix",
            vad=False, min_window_speech_s=0.0,
        )
        if isinstance(item, Window) and item.samples is not None
    ]  # fmt: skip
