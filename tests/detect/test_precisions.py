"""How far results lie from float32 on the CPU, in bfloat16 here, and on a CUDA card where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from spoofcheck.detect.cudarunner import cuda_runner
from spoofcheck.detect.fixedrunner import FixedBatchRunner, PlainPass
from spoofcheck.detect.programs import HearingProgram
from spoofcheck.detect.runner import Runner, TorchRunner
from spoofcheck.detect.validity import window_llr
from spoofcheck.nets.bundle import Bundle, load_bundle
from spoofcheck.nets.config import Nes2NetLaConfig, XlsrConfig
from spoofcheck.nets.detector import Detector, build_detector
from spoofcheck.nets.index import find_model
from spoofcheck.nets.xlsr import Xlsr

CPU = torch.device("cpu")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples/recordings"
GEOMETRY = XlsrConfig(
    hidden_size=64, layers=4, heads=4, feed_forward_size=128, conv_channels=32, position_kernel=16, position_groups=4
)
MAX_LLR_SHIFT = 0.05
"""Of the shipped model, on human and synthetic windows."""
MAX_SHARE = 0.05
"""Of the range of raw scores, with random weights, whose scores mean nothing."""

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


@pytest.fixture(scope="module")
def xlsr() -> Detector:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(5)
        detector = build_detector(GEOMETRY, Nes2NetLaConfig(channels=64))
    return detector.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(find_model(None))


@pytest.fixture(scope="module")
def windows() -> list[np.ndarray]:
    speech = np.resize(soundfile.read(EXAMPLES / "reading.mp3", dtype="float32")[0], (4, 64_000))
    return [*speech, *(0.1 * np.random.default_rng(0).normal(0, 1, (2, 64_000))).astype(np.float32)]


def raw(runner: Runner, windows: list[np.ndarray]) -> np.ndarray:
    logits = runner.run(windows)["logits"].double()
    return (logits[:, 0] - logits[:, 1]).numpy()


def exact(network: nn.Module) -> TorchRunner:
    return TorchRunner(network, CPU, 1)


def in_bf16(network: nn.Module, batch: int) -> FixedBatchRunner:
    return FixedBatchRunner(
        lambda size, samples: PlainPass(network, CPU, torch.bfloat16, size, samples), CPU, torch.bfloat16, batch
    )


def assert_close(scores: np.ndarray, reference: np.ndarray) -> None:
    shift = np.abs(scores - reference)
    assert shift.max() > 0  # it was computed otherwise
    assert shift.max() <= MAX_SHARE * np.ptp(reference)


def llrs(bundle: Bundle, runner: Runner, windows: list[np.ndarray]) -> np.ndarray:
    distances = runner.run(windows)["distances"].tolist() if bundle.network.gate is not None else [None] * len(windows)
    return np.array(
        [
            window_llr(float(score), distance, bundle.config)
            for score, distance in zip(raw(runner, windows), distances, strict=True)
        ]
    )


def test_xlsr_in_bf16_stays_near_float32(xlsr: Detector, windows: list[np.ndarray]) -> None:
    program = HearingProgram(xlsr)
    assert_close(raw(in_bf16(program, 4), windows), raw(exact(program), windows))


def test_the_shipped_model_in_bf16_stays_near_float32(bundle: Bundle, windows: list[np.ndarray]) -> None:
    program = HearingProgram(bundle.network)
    shift = np.abs(llrs(bundle, in_bf16(program, 3), windows) - llrs(bundle, exact(program), windows))
    assert 0 < shift.max() <= MAX_LLR_SHIFT


def test_prepared_weights_and_compiled_layers_change_nothing_under_autocast(xlsr: Detector) -> None:
    """With the compiler's front half alone: its back half writes the kernels of a card."""
    waves = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    front_end = xlsr.front_end
    assert isinstance(front_end, Xlsr)
    assert front_end.model.config._attn_implementation == "sdpa"
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(5)
        prepared = build_detector(GEOMETRY, Nes2NetLaConfig(channels=64)).eval().requires_grad_(False).front_end
    assert isinstance(prepared, Xlsr)
    prepared.prepare_weights(torch.bfloat16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = front_end(waves)
        assert torch.equal(prepared(waves), expected)
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        prepared.compile_blocks("eager")
        assert torch.equal(prepared(waves), expected)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    torch._dynamo.reset()
    assert graphs == 2  # the convolutions, and one layer for all four


@needs_cuda
def test_a_card_stays_near_float32_on_the_cpu(xlsr: Detector, bundle: Bundle, windows: list[np.ndarray]) -> None:
    cards = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    program = HearingProgram(xlsr)
    assert_close(raw(cuda_runner(program, cards, 4, torch.bfloat16), windows), raw(exact(program), windows))
    shipped = HearingProgram(bundle.network)
    on_card = llrs(bundle, cuda_runner(shipped, cards, None, torch.bfloat16), windows)
    assert np.abs(on_card - llrs(bundle, exact(shipped), windows)).max() <= MAX_LLR_SHIFT


@needs_cuda
def test_on_a_card_neither_row_nor_company_nor_number_of_cards_move_a_score(
    xlsr: Detector, windows: list[np.ndarray]
) -> None:
    cards = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    program = HearingProgram(xlsr)
    runner = cuda_runner(program, cards[:1], 4, torch.bfloat16)
    scores = raw(runner, windows)
    np.testing.assert_allclose(raw(runner, windows[::-1])[::-1], scores, atol=1e-3 * np.abs(scores).max())
    np.testing.assert_array_equal(raw(runner, windows), scores)
    np.testing.assert_array_equal(raw(cuda_runner(program, cards, 4, torch.bfloat16), windows), scores)
