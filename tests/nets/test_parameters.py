from __future__ import annotations

import pytest
import torch
from torch import nn

from spoofcheck.nets.config import (
    AnyFrontEndConfig,
    ConcatConfig,
    MelSpectrogramConfig,
    SpectralStemConfig,
    VoiceStatisticsConfig,
    WhisperEncoderConfig,
    XlsrConfig,
)
from spoofcheck.nets.frontends import build_front_end
from spoofcheck.nets.parameters import parameter_depth_groups

STEM = SpectralStemConfig(channels=(4, 4, 8, 8, 8, 16))
XLSR = XlsrConfig(
    hidden_size=16, layers=3, heads=2, feed_forward_size=32, conv_channels=8, position_kernel=8, position_groups=2
)


@pytest.mark.parametrize(
    ("config", "groups"),
    [
        (STEM, 6),
        (XLSR, 4),
        (XLSR.model_copy(update={"output": "all-layers"}), 4),
        (XLSR.model_copy(update={"layers": 1}), 2),
        (WhisperEncoderConfig(width=16, heads=2, feed_forward_size=32), 1),
        (ConcatConfig(parts=(STEM, XLSR), project_to=8), 1),
        (MelSpectrogramConfig(), 0),
        (VoiceStatisticsConfig(), 0),
    ],
    ids=["stem", "xlsr", "xlsr all layers", "xlsr one layer", "whisper", "concat", "mel", "statistics"],
)
def test_every_parameter_is_in_exactly_one_group(config: AnyFrontEndConfig, groups: int) -> None:
    front_end = build_front_end(config)
    found = parameter_depth_groups(front_end)
    assert len(found) == groups
    assert sorted(id(p) for group in found for p in group) == sorted(id(p) for p in front_end.parameters())


def names(front_end: nn.Module) -> list[set[str]]:
    by_id = {id(parameter): name for name, parameter in front_end.named_parameters()}
    return [{by_id[id(p)] for p in group} for group in parameter_depth_groups(front_end)]


def test_xlsr_goes_from_the_convolutions_to_the_last_layer() -> None:
    below, first, second, last = names(build_front_end(XLSR))
    parts = ("model.feature_extractor.", "model.feature_projection.", "model.encoder.pos_conv_embed.")
    assert all(name.startswith(parts) for name in below)
    assert all(any(name.startswith(part) for name in below) for part in parts)
    assert all(name.startswith("model.encoder.layers.0.") for name in first)
    assert all(name.startswith("model.encoder.layers.1.") for name in second)
    assert {"model.encoder.layer_norm.weight", "model.encoder.layer_norm.bias"} < last
    assert any(name.startswith("model.encoder.layers.2.") for name in last)


def test_stem_goes_from_convolution_to_convolution() -> None:
    assert names(build_front_end(STEM)) == [{f"cnn.{2 * i}.weight", f"cnn.{2 * i}.bias"} for i in range(6)]


def test_the_full_size_encoder_has_25_groups() -> None:
    with torch.device("meta"):
        assert len(parameter_depth_groups(build_front_end(XlsrConfig()))) == 25
