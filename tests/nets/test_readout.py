from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spoofcheck.errors import ModelError
from spoofcheck.nets.bundle import load_bundle, save_bundle
from spoofcheck.nets.config import StatisticsReadoutConfig
from spoofcheck.nets.detector import build_detector
from spoofcheck.nets.readout import StatisticsReadout
from tests.support.models import tiny_config


def readout(channels: int = 3) -> StatisticsReadout:
    torch.manual_seed(0)
    made = StatisticsReadout(channels)
    with torch.no_grad():
        made.weight.normal_()
        made.bias.fill_(0.25)
        made.mean.normal_()
        made.spread.uniform_(0.5, 2.0)
    return made.eval()


def test_the_raw_score_is_a_weighted_sum_of_mean_and_deviation() -> None:
    made = readout()
    features = torch.randn(5, 3, 40)
    logits = made(features)
    statistics = torch.cat((features.mean(dim=-1), features.std(dim=-1, correction=0)), dim=1)
    expected = ((statistics - made.mean) / made.spread) @ made.weight + 0.25
    assert torch.allclose(logits[:, 0] - logits[:, 1], expected, atol=1e-6)
    assert torch.allclose(logits.sum(dim=1), torch.zeros(5), atol=1e-6)


def test_one_frame_is_enough_and_order_in_time_is_not_heard() -> None:
    made = readout()
    features = torch.randn(2, 3, 20)
    assert torch.isfinite(made(features[..., :1])).all()
    assert torch.allclose(made(features), made(features.flip(-1)), atol=1e-6)


def test_autocast_changes_nothing() -> None:
    made = readout()
    features = torch.randn(2, 3, 20)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(made(features), made(features.clone()))
        inside = made(features)
    assert torch.equal(inside, made(features))


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \[B, 3, T\], got \[2, 4, 20\]"):
        readout()(torch.randn(2, 4, 20))


def test_a_model_with_a_readout_is_saved_and_loaded(tmp_path: Path) -> None:
    config = tiny_config().model_copy(update={"back_end": StatisticsReadoutConfig(channels=64)})
    network = build_detector(config.front_end, config.back_end)
    network.back_end.load_state_dict(readout(64).state_dict())
    save_bundle(tmp_path / "model", config, network, "card")
    loaded = load_bundle(tmp_path / "model").network
    waves = torch.randn(2, 64_000)
    with torch.inference_mode():
        assert torch.equal(loaded(waves), network.eval()(waves))


def test_a_spread_of_zero_is_never_written(tmp_path: Path) -> None:
    config = tiny_config().model_copy(update={"back_end": StatisticsReadoutConfig(channels=64)})
    network = build_detector(config.front_end, config.back_end)
    network.back_end.spread[3] = 0.0
    with pytest.raises(ModelError, match="readout's spread must be positive"):
        save_bundle(tmp_path / "model", config, network, "card")
