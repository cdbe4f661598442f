from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spoofcheck.detect import cudarunner
from spoofcheck.detect.cudarunner import CudaPass, batch_that_fits, cuda_runner
from spoofcheck.detect.devices import pick_devices
from spoofcheck.detect.fixedrunner import FixedBatchRunner, PlainPass, ShardedRunner
from spoofcheck.detect.programs import HearingProgram
from spoofcheck.detect.scorer import WindowScorer
from spoofcheck.errors import UsageError
from spoofcheck.nets.bundle import load_bundle
from tests.support.models import tiny_bundle, tiny_gate_config

CPU = torch.device("cpu")
SAMPLES = 8


class Sums(nn.Module):
    """Shape: `[B, N]` -> `sum` `[B]`, and the size of the batch it was in."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        self.seen.append(waveforms.clone())
        return {"sum": waveforms.double().sum(dim=1), "batch": torch.full((len(waveforms),), len(waveforms))}


def windows(count: int, first: int = 0) -> list[np.ndarray]:
    return [np.full(SAMPLES, index, dtype=np.float32) for index in range(first, first + count)]


def plain(network: nn.Module, batch: int) -> FixedBatchRunner:
    def prepare(batch_windows: int, samples: int) -> PlainPass:
        return PlainPass(network, CPU, torch.float32, batch_windows, samples)

    return FixedBatchRunner(prepare, CPU, torch.float32, batch)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 11])
def test_every_batch_is_full_and_what_fills_it_is_dropped(count: int) -> None:
    network = Sums()
    results = plain(network, 4).run(windows(count))
    assert results["sum"].tolist() == [SAMPLES * index for index in range(count)]
    assert set(results["batch"].tolist()) == {4}
    assert len(network.seen) == -(-count // 4)
    rest = count % 4 or 4
    assert network.seen[-1][:, 0].tolist() == [count - rest + index % rest for index in range(4)]


@pytest.mark.parametrize("cards", [1, 2, 3])
def test_results_keep_their_order_on_any_number_of_cards(cards: int) -> None:
    networks = [Sums() for _ in range(cards)]
    runners = [plain(network, 2) for network in networks]
    runner = ShardedRunner(runners)
    assert runner.batch_windows == 2 * cards
    pending = [runner.submit(windows(5, first)) for first in (0, 5, 10)]
    assert [value for each in pending for value in each()["sum"].tolist()] == [SAMPLES * n for n in range(15)]
    passes = [len(network.seen) for network in networks]
    assert sum(passes) == 9
    assert max(passes) - min(passes) <= 1


def test_a_batch_that_does_not_fit_is_halved_for_good_and_nothing_is_lost() -> None:
    prepared: list[int] = []

    def prepare(batch_windows: int, samples: int) -> PlainPass:
        prepared.append(batch_windows)
        if batch_windows > 2:
            raise torch.OutOfMemoryError
        return PlainPass(Sums(), CPU, torch.float32, batch_windows, samples)

    runner = FixedBatchRunner(prepare, CPU, torch.float32, 8)
    assert runner.run(windows(5))["sum"].tolist() == [0, 8, 16, 24, 32]
    assert runner.run(windows(1))["sum"].tolist() == [0]
    assert prepared == [8, 4, 2]
    assert runner.batch_windows == 2


def test_a_window_that_does_not_fit_alone_is_an_error() -> None:
    def prepare(batch_windows: int, samples: int) -> PlainPass:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        FixedBatchRunner(prepare, CPU, torch.float32, 2).run(windows(1))


def test_windows_of_another_length_are_prepared_for() -> None:
    runner = plain(Sums(), 2)
    assert runner.run(windows(1))["sum"].tolist() == [0]
    assert runner.run([np.ones(5, dtype=np.float32)])["sum"].tolist() == [5]


@pytest.mark.parametrize(
    ("free", "batch"), [(1e12, 128), (128 * 10 / 0.6, 128), (128 * 10 / 0.6 - 1, 64), (17, 1), (0, 1)]
)
def test_the_batch_follows_the_free_memory_in_powers_of_two(free: float, batch: int) -> None:
    assert batch_that_fits(free, 10) == batch


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(device) for device in pick_devices("auto")] == ["cuda:0", "cuda:1"]
    assert [str(device) for device in pick_devices("cuda")] == ["cuda:0", "cuda:1"]
    assert [str(device) for device in pick_devices("cuda:1")] == ["cuda:1"]
    assert [str(device) for device in pick_devices("cpu")] == ["cpu"]
    with pytest.raises(UsageError, match=r"--device cuda:2: not available on this machine \(2 CUDA devices\)"):
        pick_devices("cuda:2")
    for name in ("gpu", "cuda:", "cuda:x", "CUDA", ""):
        with pytest.raises(UsageError, match="no such device"):
            pick_devices(name)


class _Stream:
    """Of a card that does everything at once."""

    def __init__(self, *_: object) -> None: ...

    def synchronize(self) -> None: ...

    def wait_stream(self, _: object) -> None: ...

    def wait_event(self, event: _Mark) -> None:
        assert event.recorded


class _Mark:
    """An event on it."""

    def __init__(self, *_: object, **__: object) -> None:
        self.recorded = 0

    def record(self) -> None:
        self.recorded += 1

    def synchronize(self) -> None:
        assert self.recorded

    def elapsed_time(self, end: _Mark) -> float:
        assert self.recorded == end.recorded
        return 10.0


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.cuda as a card that is the CPU, and cannot record graphs."""

    @contextmanager
    def entered(*_: object, **__: object) -> Iterator[None]:
        yield

    @contextmanager
    def unrecorded(*_: object, **__: object) -> Iterator[None]:
        yield
        raise RuntimeError("operation not permitted when stream is capturing\nmore words")

    for name, stand_in in {
        "Stream": _Stream, "Event": _Mark, "CUDAGraph": _Mark, "current_stream": _Stream, "device": entered,
        "stream": entered, "graph": unrecorded, "reset_peak_memory_stats": lambda: None, "empty_cache": lambda: None,
        "memory_allocated": lambda: 0, "max_memory_allocated": lambda: 8, "mem_get_info": lambda: (14, 16),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)


def test_batches_on_their_way_are_read_before_their_buffers_are_used_again(card: None) -> None:
    ready = CudaPass(Sums(), CPU, torch.float32, 2, SAMPLES, graph=False)
    begun = [ready.begin(windows(2, first)) for first in range(0, 20, 2)]
    assert ready.busy_s == pytest.approx(0.01 * (10 - cudarunner._SLOTS))
    for order in (begun[5:], begun[:5]):
        assert [pending()["sum"][0].item() for pending in order] == [2 * SAMPLES * begun.index(p) for p in order]
    assert ready.busy_s == pytest.approx(0.1)
    assert begun[3]()["sum"].tolist() == [48, 56]  # what was read stays


def test_a_machine_that_cannot_record_says_so_once_and_goes_on(
    card: None, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    bundle = load_bundle(tiny_bundle(tmp_path / "gated", gate=tiny_gate_config()))
    expected = WindowScorer(bundle, "cpu", precision="float32").runner.run(noise(5))
    before = {name: value.clone() for name, value in bundle.network.state_dict().items()}
    runner = cuda_runner(HearingProgram(bundle.network), [CPU, CPU], None, torch.float32)
    assert runner.batch_windows == 2 * 8  # of 14 free bytes, 1 a window
    for _ in range(2):
        results = runner.run(noise(5))
        assert results.keys() == {"logits", "distances"}
        torch.testing.assert_close(results, dict(expected), rtol=1e-4, atol=1e-5)
    assert str(runner.device) == "cuda"
    reason = "operation not permitted when stream is capturing"
    line = f"cpu: no CUDA graph on this machine ({reason}); going on with kernel by kernel"
    assert [record.getMessage() for record in caplog.records] == [line, line]  # one a card
    assert all(torch.equal(value, before[name]) for name, value in bundle.network.state_dict().items())


def noise(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(0, 0.1, 16_000).astype(np.float32) for _ in range(count)]
