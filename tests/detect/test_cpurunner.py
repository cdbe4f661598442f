from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from spoofcheck.detect.cpurunner import CpuRunner, torch_runner
from spoofcheck.detect.programs import HearingProgram
from spoofcheck.detect.runner import Tensors
from spoofcheck.nets.bundle import load_bundle
from spoofcheck.nets.precision import Precision, has_native_bf16
from tests.support.models import tiny_bundle, tiny_gate_config


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("gated") / "model", gate=tiny_gate_config())


def noise(windows: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.02 * (i + 1), 16_000).astype(np.float32) for i in range(windows)]


def first_sample(waveform: Tensor) -> Tensors:
    return {"first": waveform[:, 0]}


@pytest.mark.parametrize(
    "precision",
    [
        "float32",
        pytest.param("bf16", marks=pytest.mark.skipif(not has_native_bf16(), reason="this CPU has no bfloat16")),
    ],
)
def test_neither_threads_nor_order_nor_company_move_a_bit(gated: Path, precision: Precision) -> None:
    program = HearingProgram(load_bundle(gated).network)
    windows = noise(7)

    def bits(threads: int, order: list[int]) -> dict[int, tuple[bytes, ...]]:
        outputs = torch_runner(program, precision, threads).run([windows[i] for i in order])
        assert set(outputs) == {"logits", "distances"}
        return {i: tuple(value[n].numpy().tobytes() for value in outputs.values()) for n, i in enumerate(order)}

    alone = {i: bits(1, [i])[i] for i in range(7)}
    assert len(set(alone.values())) == 7
    for threads in (1, 2, 3):
        for order in ([0, 1, 2, 3, 4, 5, 6], [5, 2, 6, 0, 4, 1, 3]):
            assert bits(threads, order) == alone


def test_results_keep_the_order_of_windows_and_of_submissions() -> None:
    def slow_first(waveform: Tensor) -> Tensors:
        if waveform[0, 0] == 0:
            time.sleep(0.05)
        return first_sample(waveform)

    runner = CpuRunner(slow_first, torch.float32, threads=3)
    pending = [runner.submit([np.full(4, n + 10 * batch, np.float32) for n in range(5)]) for batch in range(2)]
    assert pending[0]()["first"].tolist() == [0, 1, 2, 3, 4]
    assert pending[1]()["first"].tolist() == [10, 11, 12, 13, 14]


def test_windows_run_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=30)

    def meet(waveform: Tensor) -> Tensors:
        together.wait()
        return first_sample(waveform)

    assert CpuRunner(meet, torch.float32, threads=2).run(noise(2))["first"].shape == (2,)


def test_every_window_has_one_thread_and_the_process_keeps_its_own() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        runner = CpuRunner(lambda _: {"threads": torch.tensor([torch.get_num_threads()])}, torch.float32, threads=2)
        assert runner.run(noise(8))["threads"].tolist() == [1] * 8
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_goes_wrong_in_a_thread_is_raised_to_who_asks() -> None:
    def fail(waveform: Tensor) -> Tensors:
        raise RuntimeError(f"{waveform.shape[1]} samples")

    pending = CpuRunner(fail, torch.float32, threads=1).submit(noise(2))
    with pytest.raises(RuntimeError, match="16000 samples"):
        pending()


def test_when_one_fails_the_rest_is_not_heard() -> None:
    heard: list[float] = []
    gate = threading.Event()

    def fail_first(waveform: Tensor) -> Tensors:
        heard.append(float(waveform[0, 0]))
        if len(heard) == 1:
            raise RuntimeError("the first")
        gate.wait(30)
        return first_sample(waveform)

    runner = CpuRunner(fail_first, torch.float32, threads=1)
    first, second = (runner.submit([np.full(4, n, np.float32) for n in part]) for part in ((0, 1, 2), (3, 4)))
    with pytest.raises(RuntimeError, match="the first"):
        first()
    gate.set()
    with pytest.raises(CancelledError):
        second()
    assert len(heard) <= 2
    assert runner.run(noise(1))["first"].shape == (1,)


def test_a_program_stays_as_it_is(gated: Path) -> None:
    program = HearingProgram(load_bundle(gated).network)
    before = {name: value.clone() for name, value in program.state_dict().items()}
    torch_runner(program, "auto", 1).run(noise(1))
    after = program.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) and value.dtype == before[name].dtype for name, value in after.items())
