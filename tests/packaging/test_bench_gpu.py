"""The GPU benchmark: its floor is what torch counts, it says when it measured nothing, and every step of it runs."""

from __future__ import annotations

import sys

import pytest
import soundfile
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench import gpu, gpufloor, training
from bench.gpufloor import Card, Part, counted_flops, floor_rows, parts
from bench.measure import Measurement
from bench.speech import EXAMPLES
from bench.training import Steps
from spoofcheck.nets.config import XlsrConfig
from spoofcheck.nets.xlsr import Xlsr

ODD = XlsrConfig(
    hidden_size=64, layers=3, heads=4, feed_forward_size=80, conv_channels=24, position_kernel=7, position_groups=2
)


@pytest.mark.parametrize(
    ("geometry", "samples"), [(XlsrConfig(), 64_000), (ODD, 64_600), (ODD, 16_001)], ids=["published", "odd", "short"]
)
def test_the_floor_is_what_torch_counts_part_by_part(geometry: XlsrConfig, samples: int) -> None:
    worked_out = {part.name: part.flops for part in parts(geometry, samples)}
    with torch.device("meta"):
        front_end = Xlsr(**geometry.model_dump(exclude={"kind"})).eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        front_end(torch.empty(1, samples, device="meta"))
    counts = {name: sum(each.values()) for name, each in counter.get_flop_counts().items()}
    model = "Xlsr.model."
    assert worked_out["convolutions"] == counts[f"{model}feature_extractor"]
    assert worked_out["projection"] == counts[f"{model}feature_projection"]
    assert worked_out["position embedding"] == counts[f"{model}encoder.pos_conv_embed"]
    layers = [f"{model}encoder.layers.{number}." for number in range(geometry.layers)]
    attention = worked_out["attention"] + worked_out["attention's projections"]
    assert attention == sum(counts[f"{layer}attention"] for layer in layers)
    assert worked_out["feed-forward"] == sum(counts[f"{layer}feed_forward"] for layer in layers)
    assert sum(worked_out.values()) == counted_flops(geometry, samples)[0] == counter.get_total_flops()


def test_weights_of_the_floor_are_those_of_the_network() -> None:
    with torch.device("meta"):
        front_end = Xlsr()
    products = sum(
        parameter.numel()
        for name, parameter in front_end.named_parameters()
        if parameter.dim() > 1 and not name.endswith(("original0", "masked_spec_embed"))
    )
    assert sum(part.weights for part in parts(XlsrConfig())) == products


def test_a_part_is_bound_by_the_slower_of_arithmetic_and_memory() -> None:
    card = Card(1e12, 1e9, "made up")
    assert Part("p", 2e12, 0, 1).floor_s(card, 1) == 2.0
    assert Part("p", 1, 1e9, 1e9).floor_s(card, 1) == 4.0
    assert Part("p", 1, 1e9, 1e9).floor_s(card, 4) == 2.5


def test_the_floor_says_what_it_rests_on() -> None:
    rows = {row.name: row for row in floor_rows(XlsrConfig(), gpufloor.H200)}
    assert rows["XLS-R on 4 s, worked out"].value == pytest.approx(147.3, abs=0.1)
    assert "data sheet" in rows["floor of a window"].note
    # 3,000 times real time are 750 windows a second.
    assert rows["needed for 3,000 x real time"].value == pytest.approx(0.75 * 147.44, rel=1e-3)


def test_without_a_card_one_line_says_that_nothing_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["bench.gpu"])
    assert gpu.main() == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "nothing was measured" in shown.err


def test_every_step_of_the_command_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[tuple[str, training.Plan]] = []

    def taken(recipe: str, planned: training.Plan) -> Steps:  # has tests of its own, and takes a process
        asked.append((recipe, planned))
        return Steps("CPU", 2, 0.25, "bf16-mixed", 26_000_000, 1.0, 1.0, 10**9, 0.7, 0.6, 1.0)

    pool = soundfile.read(EXAMPLES / "recordings/reading.mp3", dtype="float32")[0]  # all of it takes seconds to decode
    monkeypatch.setattr(gpu, "human_pool", lambda: pool)
    monkeypatch.setattr(
        gpufloor, "write_minutes", lambda folder, _: soundfile.write(folder / "a.wav", pool[:200_000], 16_000)
    )
    monkeypatch.setattr(training, "taken", taken)
    monkeypatch.setattr(gpufloor, "FORMATS", {kind: gpufloor.FORMATS[kind] for kind in ("WAV", "FLAC")})
    monkeypatch.setattr(sys, "argv", ["bench.gpu", "--dry-run"])
    if torch.cuda.is_available():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 0
    lines = capsys.readouterr().out.splitlines()
    for start in (
        "bf16 products", "memory", "floor of a window", "network, compiled layers and CUDA graph, batch 2",
        "network, best way, batch 1", "raw score, to float32 on the CPU: 99th percentile",
        "raw score, another row and company: largest change: 0", "decoded audio, end to end", "WAV folder, processes",
        "FLAC folder, processes", "FLAC folder, threads",
        "training xlsr-nes2net-la, activations computed again, on the CPU: peak memory",
    ):  # fmt: skip
        assert sum(line.startswith(start) for line in lines) == 1, start
    assert [(recipe, planned.checkpointing) for recipe, planned in asked] == [
        ("xlsr-nes2net-la", False),
        ("xlsr-nes2net-la", True),
    ]


def test_a_card_trains_with_the_recipes_own_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    kept, again = gpu.full().training
    assert (kept.device, kept.batch, kept.layers, kept.checkpointing) == ("cuda", 48, None, False)
    assert again.checkpointing


def test_what_fails_on_a_card_costs_its_own_row_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> list[Measurement]:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert gpu.attempted("folders", fails, []) == []
    assert capsys.readouterr().err == "folders: not measured: RuntimeError: no kernel image\n"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="no kernel image"):
        gpu.attempted("folders", fails, [])
